// The engine with a code cache on disk: code of an earlier run executes as code made now does.
#define DOPPEL_BENCH_ENGINE
#include <gtest/gtest.h>

#include "unit/engine/code_objects.h"
#include "unit/guest/riscv64/bench_hart.h"

namespace doppel::riscv64::bench {
namespace {

struct StoredCode : testing::Test {
  StoredCode() { Bench::code_store = {.folder = cache.path(), .must = true}; }
  ~StoredCode() override { Bench::code_store = {}; }
  test::CacheFolder cache;
};

/// Loops, calls, memory, floating point and an instruction on two pages; sums up in x5.
void put_program(Bench& b, U64 at) {
  b.put(at, {i(Opcode::addi, 20, 0, 200), i(Opcode::addi, 6, 0, 3), r(Opcode::mul, 7, 20, 6),
             store(Opcode::sd, 7, 0, 10), load(Opcode::ld, 8, 0, 10), r(Opcode::add, 5, 5, 8), jump(0x100, 1),
             i(Opcode::addi, 20, 20, -1), branch(Opcode::bne, 20, 0, -24), plain(Opcode::wfi)});
  b.put(at + 24 + 0x100, {branch(Opcode::beq, 20, 6, 8), i(Opcode::addi, 5, 5, 1), i(Opcode::jalr, 0, 1, 0)});
}
constexpr U64 expected = 3 * (200 * 201 / 2) + 199;

void run_program(Bench& b, U64 at) {
  b.x(5) = 0, b.x(10) = data;
  b.state().pc = at;
  b.state().waiting = 0;
  b.hart().restore();
  ASSERT_EQ(b.run(1'000'000), Hart::Stop::waiting);
  ASSERT_EQ(b.x(5), expected);
}

TEST_F(StoredCode, ASecondRunTranslatesNothing) {
  U64 translations = 0;
  {
    Bench b;
    put_program(b, code);
    run_program(b, code);
    translations = b.engine_counters().translations;
    EXPECT_GT(translations, 3u);
    EXPECT_EQ(b.store_counters().loaded, 0u);
  }
  Bench b;
  put_program(b, code);
  run_program(b, code);
  EXPECT_EQ(b.engine_counters().translations, 0u);
  EXPECT_EQ(b.store_counters().loaded, translations);
  EXPECT_GT(b.engine_counters().links, 0u);
}

// Neither the guest's addresses nor the host's are in it.
TEST_F(StoredCode, CodeBelongsToItsBytesWhereverTheyAre) {
  {
    Bench b;
    put_program(b, code);
    run_program(b, code);
  }
  Bench b;
  put_program(b, code + 0x7'0000);
  // Code in front of it, so that nothing is where it was in the host's memory.
  b.put(code + 0x2000, {i(Opcode::addi, 30, 30, 77), plain(Opcode::wfi)});
  b.state().pc = code + 0x2000;
  b.hart().restore();
  b.run(1000);
  const auto before = b.engine_counters().translations;
  run_program(b, code + 0x7'0000);
  EXPECT_EQ(b.engine_counters().translations, before);
}

// Code that the guest puts back, as a kernel does with its static keys, is there again.
TEST_F(StoredCode, WhatChangesBackIsFoundInTheSameRun) {
  Bench b;
  put_program(b, code);
  run_program(b, code);
  const auto before = b.engine_counters();
  for (unsigned round = 0; round < 10; round++) {
    b.put(code, {nop(), nop(), nop(), nop(), nop(), nop(), plain(Opcode::wfi)});
    b.hart().flush_instructions();
    b.state().pc = code, b.state().waiting = 0;
    EXPECT_EQ(b.run(1000), Hart::Stop::waiting);
    put_program(b, code);
    b.hart().flush_instructions();
    run_program(b, code);
  }
  EXPECT_GE(b.engine_counters().invalidated - before.invalidated, 20u);
  EXPECT_EQ(b.engine_counters().translations - before.translations, 1u);
}

TEST_F(StoredCode, AnInstructionOnTwoPagesBelongsToBothHalves) {
  constexpr U64 at = 0x40'0ffe, first = data, second = data + 0x5000;
  const auto run = [&](int addend) {
    Bench b;
    Pages pages(b);
    const auto instruction = i(Opcode::addi, 5, 5, addend);
    b.poke(first + 0xffe, instruction & 0xffff, 2);
    b.poke(second, instruction >> 16, 2);
    b.poke(second + 2, jump(-4) & 0xffff, 2), b.poke(second + 4, jump(-4) >> 16, 2);
    pages.map(at & ~page_mask, first);
    pages.map(at + 2, second);
    b.state().pc = at;
    b.state().privilege = std::uint8_t(Privilege::supervisor);
    b.hart().restore();
    b.run(200);
    EXPECT_EQ(b.x(5), 100u * unsigned(addend));
    return b.engine_counters().translations;
  };
  EXPECT_EQ(run(1), 2u);
  EXPECT_EQ(run(1), 0u);
  EXPECT_EQ(run(100), 1u);
  EXPECT_EQ(run(100), 0u);
  EXPECT_EQ(run(1), 0u);
}

// By the instruction clock a block must end where one made now would: in front of an instruction on two pages, but not
// in front of one that is in the page.
TEST_F(StoredCode, ABlockAtThePagesEndBelongsToWhatIsBehindIt) {
  constexpr U64 at = code + 0xff6;
  const auto run = [&](bool crossing) {
    Bench b;
    b.put(at, {i(Opcode::addi, 5, 5, 1), i(Opcode::addi, 5, 5, 1)});
    if (crossing)
      b.put(at + 8, {i(Opcode::addi, 5, 5, 1), plain(Opcode::wfi)});
    else
      b.poke(at + 8, 0x0285, 2), b.put(at + 10, {plain(Opcode::wfi)});  // c.addi x5, 1
    b.state().pc = at;
    b.hart().restore();
    EXPECT_EQ(b.run(100), Hart::Stop::waiting);
    EXPECT_EQ(b.x(5), 3u);
    return b.store_counters().loaded;
  };
  EXPECT_EQ(run(true), 0u);
  EXPECT_EQ(run(false), 0u);
  EXPECT_EQ(run(true), 3u);
  EXPECT_EQ(run(false), 2u);
}

// Full memory for code is emptied: what was in it comes from the store.
TEST_F(StoredCode, AFlushLosesNothing) {
  Bench::code_bytes = 1 << 16;
  Bench b;
  Bench::code_bytes = 16 << 20;
  constexpr unsigned blocks = 1000;
  for (unsigned n = 0; n < blocks; n++)
    b.put(code + n * 64, {i(Opcode::addi, 5, 5, 1), n + 1 < blocks ? jump(60) : plain(Opcode::wfi)});
  for (unsigned round = 0; round < 3; round++) {
    b.state().pc = code;
    b.state().waiting = 0;
    b.hart().restore();
    EXPECT_EQ(b.run(1'000'000), Hart::Stop::waiting);
  }
  EXPECT_EQ(b.x(5), 3u * blocks);
  EXPECT_GT(b.engine_counters().flushes, 1u);
  EXPECT_LE(b.engine_counters().translations, 70u) << "blocks that are alike at one offset are one object";
}

// A guest that changes code while it is translated must not leave one's code under the other's bytes: the next machine
// would execute it.
TEST_F(StoredCode, CodeThatChangesMeanwhileIsStoredForItsBytes) {
  constexpr U64 function = code + 0x1000;
  const auto put_caller = [&](Bench& b, int addend) {
    b.put(code, {jump(int(function - code), 1), i(Opcode::addi, 20, 20, -1), branch(Opcode::bne, 20, 0, -8),
                 plain(Opcode::wfi)});
    b.put(function, {i(Opcode::addi, 5, 5, addend), i(Opcode::addi, 5, 5, addend), i(Opcode::jalr, 0, 1, 0)});
  };
  {
    Bench b(2);
    put_caller(b, 1);
    b.put(code + 0x3000, {store(Opcode::sw, 11, 0, 10), store(Opcode::sw, 11, 4, 10), plain(Opcode::fence_i),
                          store(Opcode::sw, 12, 0, 10), store(Opcode::sw, 12, 4, 10), plain(Opcode::fence_i),
                          i(Opcode::addi, 20, 20, -1), branch(Opcode::bne, 20, 0, -28), plain(Opcode::wfi)});
    for (unsigned id = 0; id < 2; id++) b.hart(id).restore();
    b.state(0).pc = code, b.x(20, 0) = 500'000;
    b.state(1).pc = code + 0x3000, b.x(20, 1) = 5000;
    b.x(10, 1) = function, b.x(11, 1) = i(Opcode::addi, 5, 5, 2), b.x(12, 1) = i(Opcode::addi, 5, 5, 1);
    EXPECT_TRUE(b.run_all());
  }
  for (const int addend : {1, 2}) {
    Bench b;
    put_caller(b, addend);
    b.hart().restore();
    b.state().pc = code, b.x(20) = 100;
    EXPECT_EQ(b.run(1'000'000), Hart::Stop::waiting);
    EXPECT_EQ(b.x(5), 200u * unsigned(addend));
  }
}

TEST_F(StoredCode, AFolderThatNeedNotBeUsedIsSaidToBeNone) {
  std::filesystem::create_directory_symlink(cache.top(), cache.path());
  Bench::code_store.must = false;
  Bench b;
  put_program(b, code);
  run_program(b, code);
  EXPECT_NE(b.store_counters().problem, "");
}

}  // namespace
}  // namespace doppel::riscv64::bench
