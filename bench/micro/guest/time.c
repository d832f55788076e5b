// Reading the time, waiting for it, and being interrupted by it.
#define _GNU_SOURCE
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "bench.h"

static uint64_t read_time(uint64_t n) {
  uint64_t t;
  for (uint64_t i = 0; i < n; i++) __asm__ volatile("rdtime %0" : "=r"(t));
  return 0;
}
static uint64_t read_clock(uint64_t n) {
  struct timespec t;
  for (uint64_t i = 0; i < n; i++) clock_gettime(CLOCK_MONOTONIC, &t);
  return 0;
}
static uint64_t read_clock_by_call(uint64_t n) {
  struct timespec t;
  for (uint64_t i = 0; i < n; i++) syscall(SYS_clock_gettime, CLOCK_MONOTONIC, &t);
  return 0;
}

// A sleep that is over at once: the timer is set, the hart waits, the interrupt wakes it.
static void precise(void) { must(prctl(PR_SET_TIMERSLACK, 1UL, 0, 0, 0) == 0, "prctl"); }
static uint64_t sleep_shortly(uint64_t n) {
  const struct timespec shortest = {0, 1};
  for (uint64_t i = 0; i < n; i++) clock_nanosleep(CLOCK_MONOTONIC, 0, &shortest, NULL);
  return 0;
}

// A timer that is always due interrupts a loop: interrupt, signal, timer set again.
static volatile uint64_t ticks;
static void on_tick(int number) { ticks += number == SIGALRM; }
static uint64_t be_interrupted(uint64_t n) {
  struct sigaction action = {.sa_handler = on_tick}, old;
  struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGALRM};
  const struct itimerspec often = {{0, 1000}, {0, 1000}};
  timer_t timer;
  ticks = 0;
  must(sigaction(SIGALRM, &action, &old) == 0, "sigaction");
  must(timer_create(CLOCK_MONOTONIC, &event, &timer) == 0, "timer_create");
  must(timer_settime(timer, 0, &often, NULL) == 0, "timer_settime");
  while (ticks < n) {
  }
  timer_delete(timer);
  sigaction(SIGALRM, &old, NULL);
  return 0;
}

const struct Case time_cases[] = {
    {.name = "rdtime", .operations = 20000, .batch = read_time},
    {.name = "clock_gettime", .operations = 10000, .batch = read_clock},
    {.name = "clock_gettime-syscall", .operations = 1000, .batch = read_clock_by_call},
    {.name = "timer-sleep", .operations = 20, .batch = sleep_shortly, .prepare = precise},
    {.name = "timer-interrupt+signal", .operations = 40, .batch = be_interrupted},
    {0},
};
