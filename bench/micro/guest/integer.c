// Integer instructions: chains, independent operations, loops, and what hashes are made of.
#include "bench.h"

static uint64_t chain(uint64_t n) {
  uint64_t x = 1;
  for (uint64_t i = 0; i < n; i += 8)
    __asm__ volatile(
        "add %0,%0,%1\n xor %0,%0,%1\n addi %0,%0,13\n sub %0,%0,%1\n"
        "or %0,%0,%1\n add %0,%0,%1\n xori %0,%0,85\n add %0,%0,%1"
        : "+r"(x)
        : "r"(i));
  return x;
}

static uint64_t independent(uint64_t n) {
  uint64_t a = 1, b = 2, c = 3, d = 4;
  for (uint64_t i = 0; i < n; i += 8)
    __asm__ volatile(
        "add %0,%0,%4\n add %1,%1,%4\n add %2,%2,%4\n add %3,%3,%4\n"
        "xor %0,%0,%4\n xor %1,%1,%4\n xor %2,%2,%4\n xor %3,%3,%4"
        : "+r"(a), "+r"(b), "+r"(c), "+r"(d)
        : "r"(i));
  return a + b + c + d;
}

static uint64_t loop(uint64_t n) {
  uint64_t sum = 0;
  for (uint64_t i = 0; i < n; i++) {
    sum += i;
    OPAQUE(sum);
  }
  return sum;
}

// Twenty-four registers at once: more than the host has.
#define ALL_REGISTERS(of)                                                                                          \
  of("t0", "s11") of("t1", "t0") of("t2", "t1") of("t3", "t2") of("t4", "t3") of("t5", "t4") of("t6", "t5")        \
      of("a1", "t6") of("a2", "a1") of("a3", "a2") of("a4", "a3") of("a5", "a4") of("a6", "a5") of("a7", "a6")     \
          of("s2", "a7") of("s3", "s2") of("s4", "s3") of("s5", "s4") of("s6", "s5") of("s7", "s6") of("s8", "s7") \
              of("s9", "s8") of("s10", "s9") of("s11", "s10")
#define SET(r, before) "li " r ",1\n"
#define SUM(r, before) "add " r "," r "," before "\n"
static uint64_t many_registers(uint64_t n) {
  register uint64_t left __asm__("a0") = n;
  __asm__ volatile(ALL_REGISTERS(SET) "1:\n" ALL_REGISTERS(SUM) "addi a0,a0,-24\n bnez a0,1b\n mv a0,s11"
                   : "+r"(left)
                   :
                   : "t0", "t1", "t2", "t3", "t4", "t5", "t6", "a1", "a2", "a3", "a4", "a5", "a6", "a7", "s2", "s3",
                     "s4", "s5", "s6", "s7", "s8", "s9", "s10", "s11");
  return left;
}

static uint64_t words(uint64_t n) {
  int32_t x = 1, y = 3;
  for (uint64_t i = 0; i < n; i += 8)
    __asm__ volatile(
        "addw %0,%0,%1\n slliw %1,%1,3\n subw %0,%0,%1\n addiw %1,%1,77\n"
        "addw %0,%0,%1\n sraiw %1,%1,1\n addw %1,%1,%0\n srliw %0,%0,1"
        : "+r"(x), "+r"(y));
  return (uint32_t)(x + y);
}

static uint64_t multiply(uint64_t n) {
  uint64_t x = 3, y = 0x9e3779b97f4a7c15;
  for (uint64_t i = 0; i < n; i += 4)
    __asm__ volatile("mul %0,%0,%1\n mulhu %0,%0,%1\n mul %0,%0,%1\n mul %0,%0,%1" : "+r"(x) : "r"(y));
  return x;
}

static uint64_t divide(uint64_t n) {
  uint64_t sum = 0, divisor = 7;
  for (uint64_t i = 0; i < n; i += 2) {
    uint64_t q, r;
    __asm__ volatile("divu %0,%2,%3\n rem %1,%2,%3" : "=&r"(q), "=r"(r) : "r"(i * 77777), "r"(divisor));
    sum += q + r;
    divisor = (divisor & 1023) + 3;
  }
  return sum;
}

// A branch that goes either way by chance: the host's predictor fails as it would natively.
static uint64_t unpredictable(uint64_t n) {
  uint64_t state = 88172645463325252, sum = 0;
  for (uint64_t i = 0; i < n; i++) {
    uint64_t bit = next_random(&state) >> 40 & 1;
    OPAQUE(bit);
    if (bit) {
      sum += 3;
      OPAQUE(sum);
    } else {
      sum ^= i;
      OPAQUE(sum);
    }
  }
  return sum;
}

uint64_t sha256_base(uint64_t blocks), sha256_zbb(uint64_t blocks);

static uint64_t crc(uint64_t n) {
  uint64_t c = ~0u;
  for (uint64_t i = 0; i < n; i++) {
    c ^= i & 255;
    for (int bit = 0; bit < 8; bit++) {
      OPAQUE(c);
      c = c >> 1 ^ (0xedb88320 & -(c & 1));
    }
  }
  return c;
}

const struct Case integer_cases[] = {
    {.name = "alu-chain", .operations = 2000000, .batch = chain},
    {.name = "alu-independent", .operations = 2000000, .batch = independent},
    {.name = "alu-words", .operations = 2000000, .batch = words},
    {.name = "alu-many-registers", .operations = 1200000, .batch = many_registers},
    {.name = "alu-loop", .operations = 1000000, .batch = loop},
    {.name = "branch-by-chance", .operations = 100000, .batch = unpredictable},
    {.name = "multiply", .operations = 1000000, .batch = multiply},
    {.name = "divide", .operations = 200000, .batch = divide},
    {.name = "crc-bitwise-byte", .operations = 80000, .batch = crc},
    {.name = "sha256-block", .operations = 500, .batch = sha256_base},
    {.name = "sha256-block-zbb", .operations = 500, .batch = sha256_zbb},
    {0},
};
