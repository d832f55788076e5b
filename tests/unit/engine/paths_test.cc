// Paths: programs that need more registers than the host has, that leave in the middle, that change, against the
// interpreter.
#define DOPPEL_BENCH_ENGINE
#include <gtest/gtest.h>

#include <random>

#include "unit/engine/code_objects.h"
#include "unit/guest/riscv64/bench_hart.h"

namespace doppel::riscv64::bench {
namespace {

struct Paths : testing::Test {
  Paths() { Bench::optimizing = true; }
  ~Paths() override { Bench::optimizing = false; }
  /// Puts a hart in S-mode in front of a program that sees `pages` pages at `first`, each where `place` says, by the
  /// engine or by the interpreter.
  template <typename F>
  static void put_in_pages(Bench& b, bool by_engine, const Program& program, U64 first, U64 pages, F&& place) {
    if (!by_engine) b.hart().set_executor(nullptr);
    riscv64::bench::Pages table(b);
    table.map(code, code);
    for (U64 n = 0; n < pages; n++) table.map(first + n * page_size, place(n));
    b.put(code, program);
    b.state().privilege = std::uint8_t(Privilege::supervisor);
    b.state().pc = code;
  }
};

constexpr unsigned counter = 31, pointer = 30;

/// A loop over random arithmetic on all registers, with loads, stores and branches that are rarely taken.
Program random_loop(std::mt19937& random, unsigned length) {
  constexpr Opcode ops[] = {Opcode::add,  Opcode::sub,    Opcode::xor_,     Opcode::or_,    Opcode::and_,
                            Opcode::addw, Opcode::subw,   Opcode::mul,      Opcode::mulhu,  Opcode::mulh,
                            Opcode::sllw, Opcode::srl,    Opcode::sra,      Opcode::sltu,   Opcode::slt,
                            Opcode::rorw, Opcode::div,    Opcode::remuw,    Opcode::sh2add, Opcode::min,
                            Opcode::andn, Opcode::mulhsu, Opcode::czero_eqz};
  const auto reg = [&] { return 1 + random() % 29; };
  Program program;
  for (unsigned n = 0; n < length; n++) {
    switch (random() % 12) {
      case 0:
        program.push_back(load(random() % 2 ? Opcode::ld : Opcode::lw, reg(), int(random() % 64) * 8, pointer));
        break;
      case 1:
        program.push_back(store(random() % 2 ? Opcode::sd : Opcode::sw, reg(), int(random() % 64) * 8, pointer));
        break;
      case 2:
        program.push_back(branch(random() % 2 ? Opcode::bltu : Opcode::beq, reg(), reg(), 8));
        break;
      case 3:
        program.push_back(i(random() % 2 ? Opcode::addiw : Opcode::slli, reg(), reg(), int(random() % 32)));
        break;
      default:
        program.push_back(r(ops[random() % std::size(ops)], reg(), reg(), reg()));
    }
  }
  program.push_back(nop());
  program.push_back(i(Opcode::addi, counter, counter, -1));
  program.push_back(branch(Opcode::bne, counter, 0, -int(4 * (length + 2))));
  program.push_back(plain(Opcode::wfi));
  return program;
}

// More values than registers: whatever makes room must not lose what is wanted later, where the path goes round or is
// left too.
TEST_F(Paths, ValuesThatFindNoRegisterAreKept) {
  std::mt19937 random(5);
  U64 paths = 0;
  for (unsigned round = 0; round < 60; round++) {
    const auto program = random_loop(random, 20 + random() % 200);
    std::array<U64, 32> begin{};
    for (auto& value : begin) value = random() % 4 ? U64(random()) << 32 | random() : random() % 16;
    begin[0] = 0, begin[counter] = 40, begin[pointer] = data + 0x100;
    std::array<U64, 33> end[2];
    std::uint64_t hash[2];
    for (const bool by_engine : {false, true}) {
      Bench b;
      if (!by_engine) b.hart().set_executor(nullptr);
      b.put(code, program);
      std::copy(begin.begin(), begin.end(), b.state().x.begin());
      b.state().pc = code;
      b.hart().restore();
      ASSERT_EQ(b.run(1'000'000), Hart::Stop::waiting);
      end[by_engine] = b.state().x;
      hash[by_engine] = b.memory().hash();
      if (by_engine) paths += b.engine_counters().paths;
    }
    for (unsigned n = 1; n < 32; n++) ASSERT_EQ(end[1][n], end[0][n]) << "x" << n << ", round " << round;
    ASSERT_EQ(hash[1], hash[0]);
  }
  EXPECT_GT(paths, 60u);
}

// A guest must not end the machine by code that wants more look-ups at once than there is room for.
TEST_F(Paths, WhatWantsTooMuchIsNoPath) {
  Program program;
  const auto touch = [&](Opcode op) {
    for (unsigned base = 5; base < 31; base++)
      for (int offset = -2000; offset <= 2000; offset += 1200) program.push_back(load(op, 1, offset, base));
  };
  touch(Opcode::lb), touch(Opcode::lbu);
  program.push_back(i(Opcode::addi, counter, counter, -1));
  program.push_back(plain(Opcode::wfi));
  Bench b;
  b.put(code, program);
  for (unsigned base = 5; base < 31; base++) b.x(base) = data + 0x4000;
  b.state().pc = code;
  b.hart().restore();
  EXPECT_EQ(b.run(1'000'000), Hart::Stop::waiting);
}

// A kernel patches what a path was made from, on a page in the middle of it: the path is not taken any more.
TEST_F(Paths, ChangesAreSeenOnAnyOfItsPages) {
  Bench b;
  constexpr U64 function = code + 0x2000;
  b.put(code, {jump(int(function - code), 1), i(Opcode::addi, 20, 20, -1), branch(Opcode::bne, 20, 0, -8),
               plain(Opcode::wfi)});
  b.put(function, {i(Opcode::addi, 5, 5, 1), i(Opcode::jalr, 0, 1, 0)});
  const auto run = [&](U64 times) {
    b.x(20) = times;
    b.state().pc = code;
    b.state().waiting = 0;
    EXPECT_EQ(b.run(1'000'000), Hart::Stop::waiting);
  };
  b.hart().restore();
  run(100);
  EXPECT_EQ(b.x(5), 100u);
  EXPECT_GT(b.engine_counters().paths, 0u);
  b.put(function, {i(Opcode::addi, 5, 5, 1000)});
  b.hart().flush_instructions();
  run(100);
  EXPECT_EQ(b.x(5), 100'100u);
}

// Code that rewrites itself while a path is recorded, on a page that nothing was translated of before.
TEST_F(Paths, StoresThatAreRecordedAreNoticed) {
  Bench b;
  constexpr U64 function = code + 0x2000;
  b.put(code, {jump(int(function - code), 1), i(Opcode::addi, 20, 20, -1), branch(Opcode::bne, 20, 0, -8),
               plain(Opcode::wfi)});
  b.put(function,
        {i(Opcode::addi, 5, 5, 1), store(Opcode::sw, 11, 0, 10), plain(Opcode::fence_i), i(Opcode::jalr, 0, 1, 0)});
  b.x(10) = function, b.x(11) = i(Opcode::addi, 5, 5, 1000), b.x(20) = 3;
  b.state().pc = code;
  b.hart().restore();
  EXPECT_EQ(b.run(1'000'000), Hart::Stop::waiting);
  EXPECT_EQ(b.x(5), 2001u);
}

// Processes that share a page of code have different pages behind it: a path over both is for one of them only.
TEST_F(Paths, MappingsAreLookedAtWhereAPathLiesOnSeveralPages) {
  Bench b;
  Pages pages(b);
  constexpr U64 first = 0x40'0000, second = 0x40'1000, shared = code + 0x1000, one = code + 0x2000,
                other = code + 0x3000;
  pages.map(first, shared), pages.map(second, one);
  pages.map(code, code), pages.map(data, data);
  b.put(shared, {jump(0x1000, 1), i(Opcode::addi, 20, 20, -1), branch(Opcode::bne, 20, 0, -8), plain(Opcode::wfi)});
  b.put(one, {i(Opcode::addi, 5, 5, 1), i(Opcode::jalr, 0, 1, 0)});
  b.put(other, {i(Opcode::addi, 6, 6, 1), i(Opcode::jalr, 0, 1, 0)});
  b.state().privilege = std::uint8_t(Privilege::supervisor);
  const auto run = [&] {
    b.x(20) = 50;
    b.state().pc = first;
    b.state().waiting = 0;
    EXPECT_EQ(b.run(1'000'000), Hart::Stop::waiting);
  };
  b.hart().restore();
  run();
  EXPECT_EQ(b.x(5), 50u);
  pages.map(second, other);
  b.hart().flush_translations(second, page_size);
  run();
  EXPECT_EQ(b.x(5), 50u);
  EXPECT_EQ(b.x(6), 50u);
}

// Loops along memory whose pages lie apart: what is known of a page must not be taken for the next one, in either
// direction, with accesses that lie on both.
TEST_F(Paths, LoopsGoFromPageToPage) {
  constexpr U64 first = 0x50'0000, pages = 8;
  std::mt19937 random(7);
  for (unsigned round = 0; round < 80; round++) {
    const int step = int(random() % 17 ? random() % 512 : random() % 2000) - 256;
    Program program;
    const unsigned accesses = 1 + random() % 5;
    // Off a pointer, or off one made of an index that goes on.
    constexpr unsigned base = 28, index = 29;
    const bool indexed = random() % 2;
    const auto scale = 1 + random() % 3;
    if (indexed)
      program.insert(program.end(),
                     {i(Opcode::slli, pointer, index, int(scale)), r(Opcode::add, pointer, base, pointer)});
    for (unsigned n = 0; n < accesses; n++) {
      const auto offset = int(random() % 128) - 64;
      if (random() % 3)
        program.push_back(load(random() % 2 ? Opcode::ld : Opcode::lbu, 6, offset, pointer));
      else
        program.push_back(store(random() % 2 ? Opcode::sd : Opcode::sb, 5, offset, pointer));
      program.push_back(r(Opcode::add, 5, 5, 6));
    }
    program.push_back(indexed ? i(random() % 2 ? Opcode::addi : Opcode::addiw, index, index, step >> scale)
                              : i(Opcode::addi, pointer, pointer, step));
    program.push_back(i(Opcode::addi, counter, counter, -1));
    program.push_back(branch(Opcode::bne, counter, 0, -int(4 * program.size())));
    program.push_back(plain(Opcode::wfi));
    const auto begin = first + pages / 2 * page_size + random() % 64;
    U64 sum[2];
    std::uint64_t hash[2];
    for (const bool by_engine : {false, true}) {
      Bench b;
      put_in_pages(b, by_engine, program, first, pages,
                   [](U64 n) { return data + 0x1'0000 + (n * 5 % pages) * 2 * page_size; });
      for (U64 n = 0; n < 2 * pages * page_size; n += 8)
        EXPECT_TRUE(b.memory().write(data + 0x1'0000 + n, &n, sizeof n));
      b.x(counter) = std::min<U64>(300, 3 * page_size / U64(std::abs(step) + 1));
      b.x(pointer) = b.x(base) = begin;
      b.hart().restore();
      ASSERT_EQ(b.run(1'000'000), Hart::Stop::waiting);
      sum[by_engine] = b.x(5), hash[by_engine] = b.memory().hash();
      if (by_engine) EXPECT_GT(b.engine_counters().paths, 0u);
    }
    ASSERT_EQ(sum[1], sum[0]) << "round " << round << ", step " << step;
    ASSERT_EQ(hash[1], hash[0]) << "round " << round << ", step " << step;
  }
}

// Loops that only copy: any element, any distance (also where what is copied was just written, or is the same memory at
// another address), over pages, up to one that is not there, until any of their registers says so.
TEST_F(Paths, CopiesAreWhatTheirLoopsWouldDo) {
  constexpr U64 first = 0x50'0000, pages = 6, missing = first + pages * page_size, memory = data + 0x1'0000;
  constexpr Opcode loads[] = {Opcode::lb, Opcode::lbu, Opcode::lh, Opcode::lhu, Opcode::lw, Opcode::lwu, Opcode::ld};
  constexpr Opcode stores[] = {Opcode::sb, Opcode::sb, Opcode::sh, Opcode::sh, Opcode::sw, Opcode::sw, Opcode::sd};
  constexpr int sizes[] = {1, 1, 2, 2, 4, 4, 8};
  constexpr Reg from = 11, to = 31, end = 13, value = 14, times = 20, count = 21;
  enum Until { source_at_end, target_at_end, count_is_zero, ways };
  std::mt19937 random(9);
  for (unsigned round = 0; round < 150; round++) {
    const auto kind = random() % 7;
    const int size = sizes[kind];
    // Executed three times, so that a path is there for the last.
    const auto until = Until(random() % ways);
    const bool to_equal = until == count_is_zero || random() % 3 == 0, store_behind = random() % 2;
    const auto counted = until == source_at_end ? from : until == target_at_end ? to : count;
    const auto step_target = i(Opcode::addi, to, to, size);
    const auto store_it = store(stores[kind], value, store_behind ? -size : 0, to);
    const Program program = {
        r(Opcode::add, from, 5, 0),
        r(Opcode::add, to, 6, 0),
        r(Opcode::add, count, 7, 0),
        load(loads[kind], value, 0, from),
        i(Opcode::addi, from, from, size),
        store_behind ? step_target : store_it,
        store_behind ? store_it : step_target,
        i(Opcode::addi, count, count, size == 2 ? -2 : -1),
        branch(to_equal ? Opcode::bne : Opcode::bltu, counted, until == count_is_zero ? 0 : end, -20),
        i(Opcode::addi, times, times, -1),
        branch(Opcode::bne, times, 0, -40),
        plain(Opcode::wfi)};
    const auto aligned = [&](U64 address) { return random() % 4 ? address & ~U64(size - 1) : address; };
    const auto source = aligned(first + random() % (3 * page_size));
    const auto target = aligned(random() % 2 ? source + random() % 64 - 32 : first + random() % (3 * page_size));
    const auto bytes = (random() % 3 ? random() % 200 : random() % (4 * page_size)) / U64(size) * U64(size) + U64(size);
    HartState state[2];
    std::uint64_t hash[2];
    for (const bool by_engine : {false, true}) {
      Bench b;
      // Two of them are the same memory.
      put_in_pages(b, by_engine, program, first, pages, [](U64 n) { return memory + (n == 4 ? 1 : n) * page_size; });
      for (U64 n = 0; n < pages * page_size; n += 8) {
        const auto word = (n + 1) * 0x9e3779b97f4a7c15;
        EXPECT_TRUE(b.memory().write(memory + n, &word, sizeof word));
      }
      b.put(handler, {jump(0)});
      auto& s = b.state();
      b.x(5) = source, b.x(6) = target, b.x(times) = 3;
      b.x(end) = (until == target_at_end ? target : source) + bytes;
      b.x(7) = size == 2 ? bytes : bytes / U64(size);
      b.hart().restore();
      b.run(400'000);
      EXPECT_TRUE(s.waiting || s.pc == handler) << round;
      EXPECT_LT(std::max(source, target) + bytes, missing + 2 * page_size);
      state[by_engine] = s, hash[by_engine] = b.memory().hash();
    }
    for (unsigned n = 1; n < 32; n++) ASSERT_EQ(state[1].x[n], state[0].x[n]) << "round " << round << " x" << n;
    ASSERT_EQ(state[1].pc, state[0].pc) << round;
    ASSERT_EQ(state[1].mepc, state[0].mepc) << round;
    ASSERT_EQ(state[1].mtval, state[0].mtval) << round;
    if (state[0].waiting) ASSERT_EQ(state[1].steps, state[0].steps) << round;
    ASSERT_EQ(hash[1], hash[0]) << "round " << round;
  }
}

struct StoredPaths : Paths {
  StoredPaths() { Bench::code_store = {.folder = cache.path(), .must = true}; }
  ~StoredPaths() override { Bench::code_store = {}; }
  /// A loop on one page with a function on another, executed `times` times: counts in x5.
  void run(Bench& b, U64 at, int step, U64 times) {
    b.put(at, {jump(0x2000, 1), i(Opcode::addi, 20, 20, -1), branch(Opcode::bne, 20, 0, -8), plain(Opcode::wfi)});
    b.put(at + 0x2000, {i(Opcode::addi, 5, 5, step), i(Opcode::jalr, 0, 1, 0)});
    b.x(5) = 0, b.x(20) = times;
    b.state().pc = at;
    b.state().waiting = 0;
    b.hart().flush_instructions();
    b.hart().restore();
    ASSERT_EQ(b.run(1'000'000), Hart::Stop::waiting);
    ASSERT_EQ(b.x(5), U64(step) * times);
  }
  test::CacheFolder cache;
};

// What a machine is fast by is there in the next run at once, wherever the guest has its code then.
TEST_F(StoredPaths, AreThereInTheNextRun) {
  U64 paths = 0, blocks = 0;
  {
    Bench b;
    run(b, code, 3, 1000);
    paths = b.engine_counters().paths;
    blocks = b.engine_counters().translations;
    EXPECT_GT(paths, 0u);
  }
  Bench b;
  run(b, code + 0x5000, 3, 1000);
  EXPECT_EQ(b.engine_counters().paths, paths);
  EXPECT_EQ(b.engine_counters().translations, 0u);
  EXPECT_EQ(b.store_counters().loaded, blocks + paths);
  // It is bound to its bytes as one that was recorded is.
  run(b, code + 0x5000, 1000, 1000);
}

// A page of the path that has other bytes in the next run.
TEST_F(StoredPaths, BelongToTheBytesOfAllTheirPages) {
  {
    Bench b;
    run(b, code, 3, 1000);
  }
  Bench b;
  run(b, code, 4, 1000);
  EXPECT_GT(b.engine_counters().paths, 0u);
}

}  // namespace
}  // namespace doppel::riscv64::bench
