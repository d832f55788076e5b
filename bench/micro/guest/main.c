// micro [REGEX]: runs the cases whose names match, each for SECONDS but in at least BATCHES, and prints for each its
// name, the nanoseconds of one operation in the fastest batch, and what the batch computed. As the guest's first
// process it powers off at the end.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <regex.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "bench.h"

static const struct Case* const chapters[] = {integer_cases,      floating_point_cases, memory_cases,
                                              control_flow_cases, code_cases,           atomic_cases,
                                              time_cases,         system_cases,         process_cases};

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1e9 + t.tv_nsec;
}

static void leave(int status) {
  fflush(stdout);
  if (getpid() != 1) exit(status);
  sync();
  reboot(RB_POWER_OFF);
  for (;;) pause();
}

void must(bool done, const char* what) {
  if (done) return;
  printf("failed: %s: %s\n", what, strerror(errno));
  leave(1);
}

void* must_map(size_t size, int protection, int flags, int file) {
  void* place = mmap(NULL, size, protection, flags, file, 0);
  must(place != MAP_FAILED, "mmap");
  return place;
}

bool stay_on(int processor) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(processor, &set);
  return sched_setaffinity(0, sizeof set, &set) == 0;
}

uint64_t next_random(uint64_t* state) {
  *state ^= *state << 13;
  *state ^= *state >> 7;
  return *state ^= *state << 17;
}

// The fastest of at least so many batches, and of as many as fit in that time: what disturbs only ever adds.
static void run(const struct Case* c, int fewest, double enough) {
  double best = 1e300, all = 0;
  uint64_t result = 0;
  printf("begin %s\n", c->name);  // where a profile of the case begins
  fflush(stdout);
  stay_on(0);
  if (c->prepare) c->prepare();
  for (int turn = 0; turn < fewest || all < enough; turn++) {
    if (c->before) c->before();
    const double begin = now();
    const uint64_t computed = c->batch(c->operations);
    const double took = now() - begin;
    if (turn == 0) result = computed;
    if (turn > 0 && computed != result) printf("failed: %s computes %lx and then %lx\n", c->name, result, computed);
    if (took < best) best = took;
    all += took;
  }
  if (c->finish) c->finish();
  printf("%s %.3f ns %lx\n", c->name, best / c->operations, result);
  fflush(stdout);
}

static void mount_what_is_needed(void) {
  mkdir("/proc", 0755);
  mkdir("/dev", 0755);
  mount("proc", "/proc", "proc", 0, NULL);
  mount("dev", "/dev", "devtmpfs", 0, NULL);
}

int main(int count, char** words) {
  if (count > 1 && strcmp(words[1], "--exit") == 0) return 0;  // what fork+exec runs
  if (getpid() == 1) mount_what_is_needed();
  regex_t wanted;
  // From the kernel's command line.
  const char *expression = getenv("CASES"), *seconds = getenv("SECONDS"), *batches = getenv("BATCHES");
  if (count > 1) expression = words[1];
  must(regcomp(&wanted, expression ? expression : ".", REG_EXTENDED | REG_NOSUB) == 0, "the regular expression");
  for (size_t i = 0; i < sizeof chapters / sizeof *chapters; i++)
    for (const struct Case* c = chapters[i]; c->name; c++)
      if (regexec(&wanted, c->name, 0, NULL, 0) == 0)
        run(c, batches ? atoi(batches) : 5, seconds ? atof(seconds) * 1e9 : 0.3e9);
  printf("micro is done\n");
  leave(0);
}
