// Code as data: many blocks, new code, code that is changed. The blocks are made here, so that their number is exact.
#define _GNU_SOURCE
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "bench.h"

enum { ret = 0x00008067, a0 = 10, t0 = 5, block_words = 10 };

static uint32_t* code;
static size_t code_size;

static uint32_t addi(int rd, int rs, int value) { return (uint32_t)value << 20 | rs << 15 | rd << 7 | 0x13; }
static uint32_t xori(int rd, int rs, int value) { return addi(rd, rs, value) | 4 << 12; }
static uint32_t slli(int rd, int rs, int by) { return addi(rd, rs, by) | 1 << 12; }
static uint32_t add(int rd, int rs1, int rs2) { return rs2 << 20 | rs1 << 15 | rd << 7 | 0x33; }
static uint32_t jal(int rd, int32_t by) {
  const uint32_t u = by;
  return (u >> 20 & 1) << 31 | (u >> 1 & 1023) << 21 | (u >> 11 & 1) << 20 | (u >> 12 & 255) << 12 | rd << 7 | 0x6f;
}
static void fence_i(void) { __asm__ volatile("fence.i" ::: "memory"); }
static uint64_t call(void* function) { return ((uint64_t (*)(uint64_t))function)(1); }

static void map_code(size_t size) {
  code_size = size;
  code = must_map(size, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1);
  must(madvise(code, size, MADV_NOHUGEPAGE) == 0, "madvise");
}
static void unmap_code(void) { munmap(code, code_size); }

// Blocks that jump to one another in an order by chance, but inside a window that a direct jump reaches.
static void lay_blocks(size_t blocks) {
  enum { window = 8192 };
  map_code((blocks * block_words + 1) * sizeof *code);
  static uint32_t order[65536];
  uint64_t state = 88172645463325252;
  for (size_t i = 0; i < blocks; i++) order[i] = i;
  for (size_t i = blocks - 1; i > 0; i--) {
    const size_t low = i / window * window + (i < window);  // block 0 stays the first
    const size_t other = low + next_random(&state) % (i - low + 1);
    const uint32_t kept = order[i];
    order[i] = order[other], order[other] = kept;
  }
  for (size_t i = 0; i < blocks; i++) {
    uint32_t* at = code + order[i] * block_words;
    for (int k = 0; k < 8; k++)
      *at++ = k % 4 == 3   ? add(a0, a0, t0)
              : k % 4 == 2 ? slli(t0, a0, 7)
              : k % 4      ? xori(a0, a0, i % 512)
                           : addi(a0, a0, k);
    const int32_t to_next =
        i + 1 < blocks ? (int32_t)(order[i + 1] * block_words * 4) - (int32_t)((char*)at - (char*)code) : 0;
    *at = i + 1 < blocks ? jal(0, to_next) : ret;
  }
  fence_i();
}
static void lay_1k(void) { lay_blocks(1024); }
static void lay_16k(void) { lay_blocks(16384); }
static void lay_64k(void) { lay_blocks(65536); }

static uint64_t round_robin(uint64_t n, size_t blocks) {
  uint64_t sum = 0;
  for (uint64_t i = 0; i < n; i += blocks) sum += call(code);
  return sum;
}
static uint64_t round_1k(uint64_t n) { return round_robin(n, 1024); }
static uint64_t round_16k(uint64_t n) { return round_robin(n, 16384); }
static uint64_t round_64k(uint64_t n) { return round_robin(n, 65536); }

// New code in new memory, executed once: what translating costs, for each instruction.
enum { fresh_words = 1 << 14 };
static uint64_t turn;
static void lay_fresh(void) {
  if (code) unmap_code();
  map_code(fresh_words * sizeof *code);
  uint64_t state = 88172645463325252 + ++turn;
  for (int i = 0; i < fresh_words; i++) {
    const uint64_t chance = next_random(&state);
    const int value = chance >> 8 & 1023, rd = 5 + (chance >> 20) % 3, rs = 5 + (chance >> 30) % 3;
    const uint32_t kinds[4] = {addi(rd, rs, value), xori(rd, rs, value), slli(rd, rs, value & 31), add(rd, rs, a0)};
    code[i] = i % 8 == 7 ? jal(0, 4) : kinds[chance & 3];
  }
  code[fresh_words - 1] = ret;
  fence_i();
}
static uint64_t run_fresh(uint64_t n) { return call(code) + 0 * n; }
static void start_fresh(void) { code = NULL; }

// A function is changed and called, as a just-in-time compiler with inline caches does it.
static void lay_small(void) { map_code(65536); }
static uint64_t patch(uint64_t n, void (*make_visible)(void)) {
  uint64_t sum = 0;
  code[1] = ret;
  for (uint64_t i = 0; i < n; i++) {
    code[0] = addi(a0, 0, i & 1023);
    make_visible();
    sum += call(code);
  }
  return sum;
}
static void by_system_call(void) { syscall(259 /* riscv_flush_icache */, code, code + 16, 0); }
static void by_system_call_local(void) { syscall(259, code, code + 16, 1 /* this thread only */); }
static uint64_t patch_fence(uint64_t n) { return patch(n, fence_i); }
static uint64_t patch_flush(uint64_t n) { return patch(n, by_system_call); }
static uint64_t patch_flush_local(uint64_t n) { return patch(n, by_system_call_local); }

// Data beside code: a counter in the page of the function that counts, as in some just-in-time compilers and in the
// kernel.
static uint64_t data_beside(uint64_t n) {
  code[0] = addi(a0, a0, 1), code[1] = ret;
  volatile uint64_t* counter = (uint64_t*)(code + 512);
  *counter = 0;
  fence_i();
  for (uint64_t i = 0; i < n; i++) *counter += call(code);
  return *counter;
}

// FENCE.I after nothing was changed.
static uint64_t fence_alone(uint64_t n) {
  for (uint64_t i = 0; i < n; i++) fence_i();
  return n;
}

// Appending: each function is new, in a page that has older ones (a just-in-time compiler that warms up).
static uint64_t append(uint64_t n) {
  static uint64_t made;
  uint64_t right = 0;
  for (uint64_t i = 0; i < n; i++, made++) {
    const uint64_t value = (made + (made >> 10)) & 1023;  // not what was there when it comes round
    uint32_t* at = code + made % 1024 * 16;
    at[0] = addi(a0, 0, value), at[1] = ret;
    fence_i();
    right += call(at) == value;
  }
  return right;
}

const struct Case code_cases[] = {
    {.name = "blocks-1K", .operations = 1024 * 128, .batch = round_1k, .prepare = lay_1k, .finish = unmap_code},
    {.name = "blocks-16K", .operations = 16384, .batch = round_16k, .prepare = lay_16k, .finish = unmap_code},
    {.name = "blocks-64K", .operations = 65536, .batch = round_64k, .prepare = lay_64k, .finish = unmap_code},
    {.name = "new-code-instruction",
     .operations = fresh_words,
     .batch = run_fresh,
     .prepare = start_fresh,
     .before = lay_fresh,
     .finish = unmap_code},
    {.name = "fence.i", .operations = 5000, .batch = fence_alone},
    {.name = "patch+fence.i+call", .operations = 20, .batch = patch_fence, .prepare = lay_small, .finish = unmap_code},
    {.name = "patch+flush+call", .operations = 20, .batch = patch_flush, .prepare = lay_small, .finish = unmap_code},
    {.name = "patch+flush-local+call",
     .operations = 20,
     .batch = patch_flush_local,
     .prepare = lay_small,
     .finish = unmap_code},
    {.name = "append+fence.i+call", .operations = 64, .batch = append, .prepare = lay_small, .finish = unmap_code},
    {.name = "store-beside-code",
     .operations = 20000,
     .batch = data_beside,
     .prepare = lay_small,
     .finish = unmap_code},
    {0},
};
