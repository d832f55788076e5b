// Jumps: direct, indirect to one target and to sixteen, calls and returns near, far and deep.
#include "bench.h"

enum { steps = 4096 };
static uint8_t one_target[steps], sixteen_targets[steps];

static void choose_targets(void) {
  uint64_t state = 88172645463325252;
  for (int i = 0; i < steps; i++) one_target[i] = 5, sixteen_targets[i] = next_random(&state) >> 20 & 15;
}

// As a threaded interpreter does it: each target has a dispatch of its own.
static uint64_t dispatch(uint64_t n, const uint8_t* code) {
  static void* const labels[16] = {&&t0, &&t1, &&t2,  &&t3,  &&t4,  &&t5,  &&t6,  &&t7,
                                   &&t8, &&t9, &&t10, &&t11, &&t12, &&t13, &&t14, &&t15};
  uint64_t sum = 0, i = 0;
#define NEXT                \
  if (i++ == n) return sum; \
  goto* labels[code[i % steps]]
#define TARGET(number)                \
  t##number : sum = sum * 3 + number; \
  OPAQUE(sum);                        \
  NEXT;
  NEXT;
  TARGET(0)
  TARGET(1)
  TARGET(2) TARGET(3) TARGET(4) TARGET(5) TARGET(6) TARGET(7) TARGET(8) TARGET(9) TARGET(10) TARGET(11) TARGET(12)
      TARGET(13) TARGET(14) TARGET(15)
}
static uint64_t indirect_one(uint64_t n) { return dispatch(n, one_target); }
static uint64_t indirect_sixteen(uint64_t n) { return dispatch(n, sixteen_targets); }

// As a switch does it: one jump that goes to all sixteen.
static uint64_t switched(uint64_t n) {
  uint64_t sum = 0;
  for (uint64_t i = 0; i < n; i++) switch (sixteen_targets[i % steps]) {
#define ARM(number)              \
  case number:                   \
    sum = sum * 5 + number * 11; \
    OPAQUE(sum);                 \
    break;
      ARM(0)
      ARM(1) ARM(2) ARM(3) ARM(4) ARM(5) ARM(6) ARM(7) ARM(8) ARM(9) ARM(10) ARM(11) ARM(12) ARM(13) ARM(14) ARM(15)
    }
  return sum;
}

// A chain of thirty-two direct jumps, as many blocks.
static uint64_t direct(uint64_t n) {
  uint64_t x = 0;
  for (uint64_t i = 0; i < n; i += 32)
    __asm__ volatile(".rept 32\n addi %0,%0,1\n j 1f\n .4byte 0\n 1:\n .endr" : "+r"(x));
  return x;
}

static __attribute__((noinline)) uint64_t leaf(uint64_t x) {
  OPAQUE(x);
  return x + 1;
}
static uint64_t call_near(uint64_t n) {
  uint64_t x = 0;
  for (uint64_t i = 0; i < n; i++) x = leaf(x);
  return x;
}

static __attribute__((noinline, aligned(8192))) uint64_t far_leaf(uint64_t x) {
  OPAQUE(x);
  return x + 1;
}
static uint64_t call_far(uint64_t n) {
  uint64_t x = 0;
  for (uint64_t i = 0; i < n; i++) x = far_leaf(x);
  return x;
}

static uint64_t call_by_pointer(uint64_t n) {
  uint64_t x = 0;
  uint64_t (*function)(uint64_t) = leaf;
  for (uint64_t i = 0; i < n; i++) {
    OPAQUE(function);
    x = function(x);
  }
  return x;
}

// Calls sixty-four deep: more than a return-address stack of a small machine holds.
static __attribute__((noinline)) uint64_t recurse(uint64_t depth) {
  OPAQUE(depth);
  uint64_t deeper = depth ? recurse(depth - 1) : 0;
  OPAQUE(deeper);
  return deeper + 1;
}
static uint64_t call_deep(uint64_t n) {
  uint64_t sum = 0;
  for (uint64_t i = 0; i < n; i += 64) sum += recurse(63);
  return sum;
}

// Sixteen functions, each on a page of its own, that call one another in turn.
#define ON_ITS_PAGE(number, inside)                                                    \
  static __attribute__((noinline, aligned(4096))) uint64_t page_##number(uint64_t x) { \
    OPAQUE(x);                                                                         \
    uint64_t y = inside;                                                               \
    OPAQUE(y);                                                                         \
    return y + 1;                                                                      \
  }
ON_ITS_PAGE(0, x)
ON_ITS_PAGE(1, page_0(x))
ON_ITS_PAGE(2, page_1(x))
ON_ITS_PAGE(3, page_2(x))
ON_ITS_PAGE(4, page_3(x))
ON_ITS_PAGE(5, page_4(x))
ON_ITS_PAGE(6, page_5(x))
ON_ITS_PAGE(7, page_6(x))
ON_ITS_PAGE(8, page_7(x))
ON_ITS_PAGE(9, page_8(x))
ON_ITS_PAGE(10, page_9(x))
ON_ITS_PAGE(11, page_10(x))
ON_ITS_PAGE(12, page_11(x))
ON_ITS_PAGE(13, page_12(x))
ON_ITS_PAGE(14, page_13(x))
ON_ITS_PAGE(15, page_14(x))
static uint64_t call_deep_far(uint64_t n) {
  uint64_t sum = 0;
  for (uint64_t i = 0; i < n; i += 16) sum += page_15(i);
  return sum;
}

// One function called from sixteen places: its return is an indirect jump with as many targets.
static uint64_t call_from_many(uint64_t n) {
  uint64_t x = 0;
  for (uint64_t i = 0; i < n; i += 16) {
    x = leaf(x), x = leaf(x), x = leaf(x), x = leaf(x), x = leaf(x), x = leaf(x), x = leaf(x), x = leaf(x);
    x = leaf(x), x = leaf(x), x = leaf(x), x = leaf(x), x = leaf(x), x = leaf(x), x = leaf(x), x = leaf(x);
  }
  return x;
}

static __attribute__((noinline)) uint64_t fibonacci(uint64_t n) {
  return n < 2 ? 1 : fibonacci(n - 1) + fibonacci(n - 2);
}
static uint64_t recursive(uint64_t n) { return fibonacci(20) + 0 * n; }

const struct Case control_flow_cases[] = {
    {.name = "jump-direct", .operations = 800000, .batch = direct},
    {.name = "jump-indirect-1", .operations = 100000, .batch = indirect_one, .prepare = choose_targets},
    {.name = "jump-indirect-16", .operations = 100000, .batch = indirect_sixteen, .prepare = choose_targets},
    {.name = "jump-switch-16", .operations = 100000, .batch = switched, .prepare = choose_targets},
    {.name = "call+return", .operations = 200000, .batch = call_near},
    {.name = "call+return-other-page", .operations = 200000, .batch = call_far},
    {.name = "call+return-by-pointer", .operations = 200000, .batch = call_by_pointer},
    {.name = "call+return-16-callers", .operations = 100000, .batch = call_from_many},
    {.name = "call+return-64-deep", .operations = 128000, .batch = call_deep},
    {.name = "call+return-16-pages", .operations = 16000, .batch = call_deep_far},
    {.name = "fibonacci-call", .operations = 21891, .batch = recursive},
    {0},
};
