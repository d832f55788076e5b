// Loads and stores: what a look-up that hits costs, and one that misses, in working sets of several sizes.
#define _GNU_SOURCE
#include <string.h>
#include <sys/mman.h>

#include "bench.h"

enum { page = 4096, megabyte = 1 << 20 };

static char arena[16 * page] __attribute__((aligned(4096)));

// Eight loads, each from another page off a register of its own.
static uint64_t load_hit(uint64_t n) {
  char* p = arena;
  uint64_t sum = 0, x;
  for (uint64_t i = 0; i < n; i += 8)
    for (int k = 0; k < 8; k++) {
      __asm__ volatile("ld %0,8(%1)" : "=r"(x) : "r"(p + k * page));
      sum += x;
    }
  return sum;
}

static uint64_t store_hit(uint64_t n) {
  char* p = arena;
  for (uint64_t i = 0; i < n; i += 8)
    for (int k = 0; k < 8; k++) __asm__ volatile("sd %0,16(%1)" : : "r"(i), "r"(p + k * page) : "memory");
  return *(uint64_t*)(arena + 16);
}

// Eight loads off one register, as a function's epilogue has them.
static uint64_t load_one_base(uint64_t n) {
  uint64_t a, b, sum = 0;
  for (uint64_t i = 0; i < n; i += 8) {
    __asm__ volatile(
        "ld %0,0(%2)\n ld %1,8(%2)\n ld %0,16(%2)\n ld %1,24(%2)\n"
        "ld %0,32(%2)\n ld %1,40(%2)\n ld %0,48(%2)\n ld %1,56(%2)"
        : "=&r"(a), "=&r"(b)
        : "r"(arena + 2048));
    sum += a + b;
  }
  return sum;
}

// A pointer that is followed: the latency of a load.
static uint64_t load_chain(uint64_t n) {
  void** p = (void**)arena;
  for (int i = 0; i < 4; i++) p[i] = &p[(i + 1) % 4];
  for (uint64_t i = 0; i < n; i++) __asm__ volatile("ld %0,0(%0)" : "+r"(p) : : "memory");
  const uint64_t where = (char*)p - arena;
  memset(arena, 0, 64);
  return where;
}

static uint64_t unaligned(uint64_t n) {
  char* p = arena + 61;
  uint64_t sum = 0, x;
  for (uint64_t i = 0; i < n; i++) {
    __asm__ volatile("ld %0,0(%1)" : "=r"(x) : "r"(p));
    sum += x;
  }
  return sum;
}

static uint64_t over_two_pages(uint64_t n) {
  char* p = arena + 2 * page - 3;
  uint64_t sum = 0, x;
  for (uint64_t i = 0; i < n; i++) {
    __asm__ volatile("ld %0,0(%1)" : "=r"(x) : "r"(p));
    sum += x;
  }
  return sum;
}

// A walk over the pages of a working set in an order by chance, one cache line of each page: every step is a look-up
// that misses as soon as the set is larger than the TLB.
static char* set;
static size_t set_size, mapped_size;
static void* mapped;
static void** position;

static void map_set(size_t size, int advice) {
  enum { huge = 2 * megabyte };
  set_size = size;
  mapped_size = size + huge;
  mapped = must_map(mapped_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
  set = (char*)(((uintptr_t)mapped + huge - 1) & -(uintptr_t)huge);
  must(madvise(set, size, advice) == 0, "madvise");
  const size_t pages = size / page;
  uint32_t* order = must_map(pages * sizeof *order, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
  uint64_t state = 88172645463325252;
  for (size_t i = 0; i < pages; i++) order[i] = i;
  for (size_t i = pages - 1; i > 0; i--) {  // Sattolo: one cycle through all
    const size_t other = next_random(&state) % i;
    const uint32_t kept = order[i];
    order[i] = order[other], order[other] = kept;
  }
#define LINE_OF(i) (void**)(set + (size_t)(i) * page + ((i) * 37 % 64) * 64)
  for (size_t i = 0; i < pages; i++) *LINE_OF(i) = LINE_OF(order[i]);
  position = LINE_OF(0);
  munmap(order, pages * sizeof *order);
}
static void map_1(void) { map_set(1 * megabyte, MADV_NOHUGEPAGE); }
static void map_16(void) { map_set(16 * megabyte, MADV_NOHUGEPAGE); }
static void map_256(void) { map_set(256 * megabyte, MADV_NOHUGEPAGE); }
static void map_16_huge(void) { map_set(16 * megabyte, MADV_HUGEPAGE); }
static void map_256_huge(void) { map_set(256 * megabyte, MADV_HUGEPAGE); }
static void unmap_set(void) { munmap(mapped, mapped_size); }

static uint64_t walk(uint64_t n) {
  void** p = position;
  for (uint64_t i = 0; i < n; i++) __asm__ volatile("ld %0,0(%0)" : "+r"(p) : : "memory");
  position = p;
  return 0;
}

static uint64_t stream(uint64_t n) {
  uint64_t sum = 0;
  const uint64_t* p = (uint64_t*)set;
  for (uint64_t i = 0; i < n; i += 8)
    for (int k = 0; k < 8; k++) {
      sum += p[i % (set_size / 8) + k];
      OPAQUE(sum);
    }
  return 0;
}

static char from[megabyte] __attribute__((aligned(4096))), to[megabyte] __attribute__((aligned(4096)));
static uint64_t copy(uint64_t n, size_t size) {
  memset(from, 7, size);
  for (uint64_t i = 0; i < n; i++) {
    memcpy(to, from, size);
    __asm__ volatile("" : : "r"(to), "r"(from) : "memory");
  }
  return to[size - 1];
}
static uint64_t copy_64(uint64_t n) { return copy(n, 64); }
static uint64_t copy_4k(uint64_t n) { return copy(n, 4096); }
static uint64_t copy_1m(uint64_t n) { return copy(n, megabyte); }
static uint64_t clear_4k(uint64_t n) {
  for (uint64_t i = 0; i < n; i++) {
    memset(to, i, 4096);
    __asm__ volatile("" : : "r"(to) : "memory");
  }
  return to[4095];
}
static uint64_t length_4k(uint64_t n) {
  uint64_t sum = 0;
  memset(from, 7, 4095);
  from[4095] = 0;
  for (uint64_t i = 0; i < n; i++) {
    char* text = from;
    OPAQUE(text);
    sum += strlen(text);
  }
  return sum;
}

const struct Case memory_cases[] = {
    {.name = "load-hit", .operations = 800000, .batch = load_hit},
    {.name = "store-hit", .operations = 800000, .batch = store_hit},
    {.name = "load-one-base", .operations = 1600000, .batch = load_one_base},
    {.name = "load-chain", .operations = 400000, .batch = load_chain},
    {.name = "load-unaligned", .operations = 500000, .batch = unaligned},
    {.name = "load-over-two-pages", .operations = 5000, .batch = over_two_pages},
    {.name = "walk-1M", .operations = 200000, .batch = walk, .prepare = map_1, .finish = unmap_set},
    {.name = "walk-16M", .operations = 40000, .batch = walk, .prepare = map_16, .finish = unmap_set},
    {.name = "walk-256M", .operations = 6000, .batch = walk, .prepare = map_256, .finish = unmap_set},
    {.name = "walk-16M-huge", .operations = 40000, .batch = walk, .prepare = map_16_huge, .finish = unmap_set},
    {.name = "walk-256M-huge", .operations = 6000, .batch = walk, .prepare = map_256_huge, .finish = unmap_set},
    {.name = "stream-16M", .operations = 400000, .batch = stream, .prepare = map_16, .finish = unmap_set},
    {.name = "memcpy-64", .operations = 50000, .batch = copy_64},
    {.name = "memcpy-4K", .operations = 1000, .batch = copy_4k},
    {.name = "memcpy-1M", .operations = 4, .batch = copy_1m},
    {.name = "memset-4K", .operations = 1000, .batch = clear_4k},
    {.name = "strlen-4K", .operations = 500, .batch = length_4k},
    {0},
};
