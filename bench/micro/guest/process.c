// Processes: switching between them, making and ending them.
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench.h"

static pid_t other = -1;
static int request[2], answer[2];

// Whoever comes after another on one processor comes in turn, at once, and by no share of time.
static void in_turn(void) {
  const struct sched_param first = {.sched_priority = 1};
  must(sched_setscheduler(0, SCHED_FIFO, &first) == 0, "sched_setscheduler");
}
static void as_usual(void) {
  const struct sched_param usual = {.sched_priority = 0};
  must(sched_setscheduler(0, SCHED_OTHER, &usual) == 0, "sched_setscheduler");
}

static void end_other(void) {
  kill(other, SIGKILL);
  waitpid(other, NULL, 0);
}

static void start_yielding(void) {
  in_turn();
  if ((other = fork()) == 0)
    for (;;) sched_yield();
  must(other > 0, "fork");
}
static void stop_yielding(void) {
  end_other();
  as_usual();
}
static uint64_t yield(uint64_t n) {
  for (uint64_t i = 0; i < n; i += 2) sched_yield();  // there and back: two switches
  return n;
}

static void echo_on(int processor) {
  must(pipe(request) == 0 && pipe(answer) == 0, "pipe");
  if ((other = fork()) == 0) {
    char byte;
    stay_on(processor);
    while (read(request[0], &byte, 1) == 1 && write(answer[1], &byte, 1) == 1) {
    }
    _exit(0);
  }
  must(other > 0, "fork");
}
static void echo_here(void) { echo_on(0); }
static void echo_there(void) { echo_on(1); }
static void stop_echo(void) {
  end_other();
  for (int i = 0; i < 2; i++) close(request[i]), close(answer[i]);
}
static uint64_t ping_pong(uint64_t n) {
  char byte = 1;
  uint64_t sum = 0;
  for (uint64_t i = 0; i < n; i++) sum += write(request[1], &byte, 1) == 1 && read(answer[0], &byte, 1) == 1;
  return sum;
}

static uint64_t ended_well(pid_t child) {
  int status;
  must(child > 0, "fork");
  return waitpid(child, &status, 0) == child && status == 0;
}
static uint64_t fork_exit(uint64_t n) {
  uint64_t sum = 0;
  for (uint64_t i = 0; i < n; i++) {
    const pid_t child = fork();
    if (child == 0) _exit(0);
    sum += ended_well(child);
  }
  return sum;
}
static char* const command[] = {"micro", "--exit", NULL};
static uint64_t fork_exec(uint64_t n) {
  uint64_t sum = 0;
  for (uint64_t i = 0; i < n; i++) {
    const pid_t child = fork();
    if (child == 0) {
      execv("/proc/self/exe", command);
      _exit(1);
    }
    sum += ended_well(child);
  }
  return sum;
}
static uint64_t spawn(uint64_t n) {
  uint64_t sum = 0;
  for (uint64_t i = 0; i < n; i++) {
    pid_t child;
    must(posix_spawn(&child, "/proc/self/exe", NULL, NULL, command, NULL) == 0, "posix_spawn");
    sum += ended_well(child);
  }
  return sum;
}
// A large process forks: its page tables are copied and its pages become read-only.
static char* large;
enum { large_size = 64 << 20 };
static void grow(void) {
  large = must_map(large_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
  madvise(large, large_size, MADV_NOHUGEPAGE);
  for (size_t i = 0; i < large_size; i += 4096) large[i] = 1;
}
static void shrink(void) { munmap(large, large_size); }

static void* nothing(void* given) { return given; }
static uint64_t thread(uint64_t n) {
  uint64_t sum = 0;
  for (uint64_t i = 0; i < n; i++) {
    pthread_t id;
    must(pthread_create(&id, NULL, nothing, NULL) == 0, "pthread_create");
    sum += pthread_join(id, NULL) == 0;
  }
  return sum;
}

const struct Case process_cases[] = {
    {.name = "context-switch-yield",
     .operations = 400,
     .batch = yield,
     .prepare = start_yielding,
     .finish = stop_yielding},
    {.name = "pipe-ping-pong", .operations = 50, .batch = ping_pong, .prepare = echo_here, .finish = stop_echo},
    {.name = "pipe-ping-pong-2-harts",
     .operations = 20,
     .batch = ping_pong,
     .prepare = echo_there,
     .finish = stop_echo},
    {.name = "thread-create+join", .operations = 10, .batch = thread},
    {.name = "fork+exit", .operations = 2, .batch = fork_exit},
    {.name = "fork+exec", .operations = 1, .batch = fork_exec},
    {.name = "spawn", .operations = 2, .batch = spawn},
    {.name = "fork+exit-64M", .operations = 1, .batch = fork_exit, .prepare = grow, .finish = shrink},
    {0},
};
