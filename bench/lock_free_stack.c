// A lock-free stack (Treiber's) between two harts, few nodes, so that a node soon comes back to where it was: whoever
// pops with a compare-and-swap instead of LR/SC then corrupts it (the ABA problem). As the guest's first process.
// SECONDS and NODES come from the kernel's command line. Prints a line every ten seconds, and at the end whether all
// nodes are there.
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/reboot.h>
#include <time.h>
#include <unistd.h>

enum { most_nodes = 4096, hands = 3, threads = 2 };

struct Node {
  struct Node* next;
  uint32_t held;  // by whoever popped it
} __attribute__((aligned(64)));

static struct Node* head __attribute__((aligned(64)));
static struct Node nodes[most_nodes];
static volatile bool stop;
static struct Counts {
  volatile uint64_t operations, corrupt;
} __attribute__((aligned(64))) counts[threads];

static void push(struct Node* node) {
  uint64_t failed;
  do {
    struct Node* top = __atomic_load_n(&head, __ATOMIC_RELAXED);
    struct Node* seen;
    node->next = top;
    // A node that was popped and pushed in between does no harm here: what counts is that it is on top.
    __asm__ volatile("1: lr.d %0,%2\n li %1,1\n bne %0,%4,2f\n sc.d.rl %1,%3,%2\n 2:"
                     : "=&r"(seen), "=&r"(failed), "+A"(head)
                     : "r"(node), "r"(top)
                     : "memory");
  } while (failed);
}

// The load between LR and SC is the point: the SC must fail if anybody wrote head, even what was there.
static struct Node* pop(void) {
  struct Node *top, *next;
  uint64_t failed;
  __asm__ volatile("1: lr.d.aq %0,%3\n li %2,0\n beqz %0,2f\n ld %1,0(%0)\n sc.d.rl %2,%1,%3\n bnez %2,1b\n 2:"
                   : "=&r"(top), "=&r"(next), "=&r"(failed), "+A"(head)
                   :
                   : "memory");
  return top;
}

// Pops some, pushes them back in another order.
static void* work(void* given) {
  const int self = (int)(intptr_t)given;
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(self, &set);
  sched_setaffinity(0, sizeof set, &set);
  struct Counts* mine = &counts[self];
  uint64_t state = 88172645463325252 + self;
  while (!stop) {
    struct Node* held[hands];
    state ^= state << 13, state ^= state >> 7, state ^= state << 17;
    const int wanted = 1 + state % hands;
    int got = 0;
    while (got < wanted && (held[got] = pop())) {
      if (__atomic_exchange_n(&held[got]->held, 1, __ATOMIC_RELAXED)) mine->corrupt++;  // two have it
      got++;
    }
    for (int i = 0; i < got; i++) {
      struct Node* node = held[(i + (state >> 32)) % got];
      if (!__atomic_exchange_n(&node->held, 0, __ATOMIC_RELAXED)) mine->corrupt++;
      push(node);
    }
    mine->operations += 2 * got;
  }
  return NULL;
}

static uint64_t number(const char* name, uint64_t usual) {
  const char* text = getenv(name);
  return text ? strtoull(text, NULL, 10) : usual;
}

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec + t.tv_nsec * 1e-9;
}

static uint64_t operations(void) { return counts[0].operations + counts[1].operations; }

// Every node is in the stack once, or it is corrupt.
static bool complete(uint64_t n) {
  uint64_t found = 0;
  for (struct Node* node = head; node && found <= n; node = node->next) {
    if (node->held) return false;
    node->held = 1;
    found++;
  }
  return found == n;
}

int main(void) {
  const uint64_t n = number("NODES", 8);
  const double seconds = number("SECONDS", 10);
  pthread_t other[threads];
  for (uint64_t i = 0; i < n && i < most_nodes; i++) push(&nodes[i]);
  const double begin = now();
  for (intptr_t i = 0; i < threads; i++) pthread_create(&other[i], NULL, work, (void*)i);
  double last = begin;
  uint64_t before = 0;
  while (last - begin < seconds && !counts[0].corrupt && !counts[1].corrupt) {
    usleep(1000 * 1000 * (seconds < 10 ? 1 : 10));
    const double t = now();
    const uint64_t done = operations();
    printf("%.0f s: %.0f operations a second\n", t - begin, (done - before) / (t - last));
    fflush(stdout);
    last = t, before = done;
  }
  stop = true;
  for (int i = 0; i < threads; i++) pthread_join(other[i], NULL);
  const bool whole = complete(n) && !counts[0].corrupt && !counts[1].corrupt;
  printf("in all %lu operations, %.0f a second: the stack is %s\n", operations(), operations() / (now() - begin),
         whole ? "whole" : "corrupt");
  fflush(stdout);
  reboot(RB_POWER_OFF);
  return 0;
}
