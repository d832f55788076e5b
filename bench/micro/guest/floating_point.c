// Floating point: latency (each waits for the one before), throughput (eight that do not), flags and conversions.
#include <string.h>

#include "bench.h"

static uint64_t bits(double x) {
  uint64_t value;
  memcpy(&value, &x, sizeof value);
  return value;
}

// Eight times the same instruction on one value, and once on each of eight.
#define LATENCY(name, instruction)                                                                               \
  static uint64_t name##_latency(uint64_t n) {                                                                   \
    double x = 1.25, y = 1.0000001;                                                                              \
    for (uint64_t i = 0; i < n; i += 8)                                                                          \
      __asm__ volatile(instruction("%0") instruction("%0") instruction("%0") instruction("%0") instruction("%0") \
                           instruction("%0") instruction("%0") instruction("%0")                                 \
                       : "+f"(x)                                                                                 \
                       : "f"(x), "f"(x), "f"(x), "f"(x), "f"(x), "f"(x), "f"(x), "f"(y));                        \
    return bits(x);                                                                                              \
  }
#define THROUGHPUT(name, instruction)                                                                            \
  static uint64_t name##_throughput(uint64_t n) {                                                                \
    double a = 1, b = 2, c = 3, d = 4, e = 5, f = 6, g = 7, h = 8, y = 1.0000001;                                \
    for (uint64_t i = 0; i < n; i += 8)                                                                          \
      __asm__ volatile(instruction("%0") instruction("%1") instruction("%2") instruction("%3") instruction("%4") \
                           instruction("%5") instruction("%6") instruction("%7")                                 \
                       : "+f"(a), "+f"(b), "+f"(c), "+f"(d), "+f"(e), "+f"(f), "+f"(g), "+f"(h)                  \
                       : "f"(y));                                                                                \
    return bits(a + b + c + d + e + f + g + h);                                                                  \
  }
#define ADD(r) "fadd.d " r "," r ",%8\n"
#define MULTIPLY(r) "fmul.d " r "," r ",%8\n"
#define FUSED(r) "fmadd.d " r "," r ",%8,%8\n"
#define DIVIDE(r) "fdiv.d " r "," r ",%8\n"
#define ROOT(r) "fsqrt.d " r "," r "\n"
LATENCY(add, ADD)
THROUGHPUT(add, ADD)
LATENCY(multiply, MULTIPLY)
THROUGHPUT(multiply, MULTIPLY)
LATENCY(fused, FUSED)
THROUGHPUT(fused, FUSED)
LATENCY(divide, DIVIDE)
LATENCY(root, ROOT)

static uint64_t add_single(uint64_t n) {
  float x = 1.25f, y = 0.0001f;
  for (uint64_t i = 0; i < n; i += 4)
    __asm__ volatile("fadd.s %0,%0,%1\n fsub.s %0,%0,%1\n fadd.s %0,%0,%1\n fadd.s %0,%0,%1" : "+f"(x) : "f"(y));
  return bits(x);
}

// The guest looks at the exceptions after each addition.
static uint64_t flags_read(uint64_t n) {
  double x = 1, y = 0x1p-40;
  uint64_t flags = 0;
  for (uint64_t i = 0; i < n; i++) {
    uint64_t now;
    __asm__ volatile("fadd.d %0,%0,%2\n frflags %1" : "+f"(x), "=r"(now) : "f"(y));
    flags += now;
  }
  return flags;
}

// What libm's functions do around a part that must not raise inexact: save and restore the flags.
static uint64_t flags_saved(uint64_t n) {
  double x = 1, y = 0x1p-40;
  for (uint64_t i = 0; i < n; i++) {
    uint64_t old;
    __asm__ volatile("frflags %1\n fadd.d %0,%0,%2\n fsflags %1" : "+f"(x), "=&r"(old) : "f"(y));
  }
  return bits(x);
}

static uint64_t rounding_mode(uint64_t n) {
  double x = 1, y = 0x1p-40;
  for (uint64_t i = 0; i < n; i++) __asm__ volatile("fsrmi 2\n fadd.d %0,%0,%1\n fsrmi 0" : "+f"(x) : "f"(y));
  return bits(x);
}

static uint64_t convert(uint64_t n) {
  uint64_t sum = 0;
  for (uint64_t i = 0; i < n; i++) {
    double x;
    int64_t y;
    __asm__ volatile("fcvt.d.l %0,%2\n fcvt.l.d %1,%0,rtz" : "=&f"(x), "=r"(y) : "r"(i));
    sum += y;
  }
  return sum;
}

static uint64_t compare(uint64_t n) {
  double x = 0.5, y = 1;
  uint64_t sum = 0;
  for (uint64_t i = 0; i < n; i++) {
    uint64_t less;
    __asm__ volatile("flt.d %0,%1,%2" : "=r"(less) : "f"(x), "f"(y));
    sum += less;
  }
  return sum;
}

static double matrix[3][64 * 64];
static uint64_t matrix_product(uint64_t n) {
  for (int i = 0; i < 64 * 64; i++) matrix[0][i] = i % 7, matrix[1][i] = i % 5 * .5, matrix[2][i] = 0;
  for (uint64_t done = 0; done < n; done += 64 * 64 * 64)
    for (int i = 0; i < 64; i++)
      for (int j = 0; j < 64; j++) {
        double sum = 0;
        for (int m = 0; m < 64; m++) sum += matrix[0][i * 64 + m] * matrix[1][m * 64 + j];
        matrix[2][i * 64 + j] += sum;
      }
  return bits(matrix[2][77]);
}

const struct Case floating_point_cases[] = {
    {.name = "fp-add-latency", .operations = 400000, .batch = add_latency},
    {.name = "fp-add-throughput", .operations = 400000, .batch = add_throughput},
    {.name = "fp-mul-latency", .operations = 400000, .batch = multiply_latency},
    {.name = "fp-mul-throughput", .operations = 400000, .batch = multiply_throughput},
    {.name = "fp-fma-latency", .operations = 200000, .batch = fused_latency},
    {.name = "fp-fma-throughput", .operations = 200000, .batch = fused_throughput},
    {.name = "fp-div-latency", .operations = 200000, .batch = divide_latency},
    {.name = "fp-sqrt-latency", .operations = 200000, .batch = root_latency},
    {.name = "fp-add-single", .operations = 400000, .batch = add_single},
    {.name = "fp-compare", .operations = 400000, .batch = compare},
    {.name = "fp-convert-and-back", .operations = 200000, .batch = convert},
    {.name = "fp-add+flags-read", .operations = 20000, .batch = flags_read},
    {.name = "fp-add+flags-saved", .operations = 20000, .batch = flags_saved},
    {.name = "fp-rounding-mode", .operations = 10000, .batch = rounding_mode},
    {.name = "fp-matrix-step", .operations = 64 * 64 * 64, .batch = matrix_product},
    {0},
};
