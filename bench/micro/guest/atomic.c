// Atomics: alone, and against another hart. For the latter an operation is one of the two threads' together.
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <unistd.h>

#include "bench.h"

static uint64_t counter __attribute__((aligned(64)));

static uint64_t amo(uint64_t n) {
  counter = 0;
  for (uint64_t i = 0; i < n; i++) __asm__ volatile("amoadd.d.aqrl zero,%1,%0" : "+A"(counter) : "r"(1));
  return counter;
}
static void reserve_and_add(uint64_t n) {
  for (uint64_t i = 0; i < n; i++) {
    uint64_t old, failed;
    __asm__ volatile("1: lr.d.aq %0,%2\n addi %0,%0,1\n sc.d.rl %1,%0,%2\n bnez %1,1b"
                     : "=&r"(old), "=&r"(failed), "+A"(counter));
  }
}
static uint64_t reserved(uint64_t n) {
  counter = 0;
  reserve_and_add(n);
  return counter;
}
// The compilers' compare-and-swap.
static void compare_and_swap(uint64_t n) {
  for (uint64_t i = 0; i < n; i++) {
    uint64_t old = __atomic_load_n(&counter, __ATOMIC_RELAXED);
    while (!__atomic_compare_exchange_n(&counter, &old, old + 1, true, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED)) {
    }
  }
}
static uint64_t swapped(uint64_t n) {
  counter = 0;
  compare_and_swap(n);
  return counter;
}

static uint64_t locked(uint64_t n) {
  static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
  counter = 0;
  for (uint64_t i = 0; i < n; i++) {
    pthread_mutex_lock(&mutex);
    counter++;
    pthread_mutex_unlock(&mutex);
  }
  return counter;
}

static uint64_t fences(uint64_t n) {
  for (uint64_t i = 0; i < n; i++) __asm__ volatile("fence rw,rw" ::: "memory");
  return n;
}

// Two threads, each on a hart of its own, do half each; they begin together.
struct Half {
  void (*work)(uint64_t n);
  uint64_t n;
  int ready;
};
static void* other_half(void* given) {
  struct Half* half = given;
  stay_on(1);
  __atomic_store_n(&half->ready, 1, __ATOMIC_SEQ_CST);
  half->work(half->n);
  return NULL;
}
static uint64_t together(uint64_t n, void (*work)(uint64_t)) {
  if (sysconf(_SC_NPROCESSORS_ONLN) < 2) return 0;
  struct Half half = {work, n / 2, 0};
  pthread_t thread;
  counter = 0;
  must(pthread_create(&thread, NULL, other_half, &half) == 0, "pthread_create");
  while (!__atomic_load_n(&half.ready, __ATOMIC_SEQ_CST)) {
  }
  work(n / 2);
  pthread_join(thread, NULL);
  return counter;
}
static void amo_loop(uint64_t n) {
  for (uint64_t i = 0; i < n; i++) __asm__ volatile("amoadd.d.aqrl zero,%1,%0" : "+A"(counter) : "r"(1));
}
static uint64_t amo_contended(uint64_t n) { return together(n, amo_loop); }
static uint64_t reserved_contended(uint64_t n) { return together(n, reserve_and_add); }
static uint64_t swapped_contended(uint64_t n) { return together(n, compare_and_swap); }

// Each waits for the other's store: a cache line goes back and forth.
static void ping_pong(uint64_t n) {
  static int turns;
  const int mine = __atomic_fetch_add(&turns, 1, __ATOMIC_SEQ_CST) & 1;
  for (uint64_t i = 0; i < n; i++) {
    while ((__atomic_load_n(&counter, __ATOMIC_ACQUIRE) & 1) != (uint64_t)mine) {
    }
    __atomic_store_n(&counter, counter + 1, __ATOMIC_RELEASE);
  }
}
static uint64_t handed_over(uint64_t n) { return together(n, ping_pong); }

const struct Case atomic_cases[] = {
    {.name = "amoadd", .operations = 500000, .batch = amo},
    {.name = "lr/sc-increment", .operations = 500000, .batch = reserved},
    {.name = "compare-and-swap", .operations = 500000, .batch = swapped},
    {.name = "mutex", .operations = 20000, .batch = locked},
    {.name = "fence", .operations = 500000, .batch = fences},
    {.name = "amoadd-2-harts", .operations = 200000, .batch = amo_contended},
    {.name = "lr/sc-increment-2-harts", .operations = 100000, .batch = reserved_contended},
    {.name = "compare-and-swap-2-harts", .operations = 100000, .batch = swapped_contended},
    {.name = "hand-over-2-harts", .operations = 2000, .batch = handed_over},
    {0},
};
