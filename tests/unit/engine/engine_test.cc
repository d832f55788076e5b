// What the engine adds to the generator: code that changes, code on two pages, memory for code that runs out.
#define DOPPEL_BENCH_ENGINE
#include "engine/engine.h"

#include <gtest/gtest.h>

#include "unit/guest/riscv64/bench_hart.h"

namespace doppel::riscv64::bench {
namespace {

constexpr U64 function = code + 0x1000, far_function = function + 0x800;

/// Calls two functions in one page over and over: x5 counts what the first gives, x6 what the second gives, x20 times.
void put_caller(Bench& b) {
  const auto call = [](U64 from, U64 to) { return jump(int(to - from), 1); };
  b.put(code, {call(code, function), call(code + 4, far_function), i(Opcode::addi, 20, 20, -1),
               branch(Opcode::bne, 20, 0, -12), plain(Opcode::fence_i), plain(Opcode::wfi)});
  b.put(function, {i(Opcode::addi, 5, 5, 1), i(Opcode::jalr, 0, 1, 0)});
  b.put(far_function, {i(Opcode::addi, 6, 6, 1), i(Opcode::jalr, 0, 1, 0)});
}
void run_caller(Bench& b, U64 times) {
  b.x(20) = times;
  b.state().pc = code;
  b.state().waiting = 0;
  EXPECT_EQ(b.run(1'000'000), Hart::Stop::waiting);
}

// A JIT in the guest, or its kernel patching itself: new instructions run after FENCE.I, and only they are translated.
TEST(Engine, OnlyWhatChangedIsTranslatedAnew) {
  Bench b;
  put_caller(b);
  b.hart().restore();
  run_caller(b, 100);
  EXPECT_EQ(b.x(5), 100u);
  EXPECT_EQ(b.x(6), 100u);
  const auto before = b.engine_counters();
  EXPECT_GT(before.links + before.translations, 2u);
  b.put(function, {i(Opcode::addi, 5, 5, 1000)});
  b.hart().flush_instructions();
  run_caller(b, 100);
  EXPECT_EQ(b.x(5), 100'100u);
  EXPECT_EQ(b.x(6), 200u);
  EXPECT_EQ(b.engine_counters().invalidated - before.invalidated, 1u);
  EXPECT_EQ(b.engine_counters().translations - before.translations, 1u);
}

// The lowest bit of an address in a register does not count, whether the way there is known or not.
TEST(Engine, JumpsThroughRegistersGoToEvenAddresses) {
  Bench b;
  b.put(code,
        {i(Opcode::jalr, 1, 10, 0), i(Opcode::addi, 20, 20, -1), branch(Opcode::bne, 20, 0, -8), plain(Opcode::wfi)});
  b.put(function, {i(Opcode::addi, 5, 5, 1), i(Opcode::addi, 1, 1, 1), i(Opcode::jalr, 0, 1, 0)});
  b.x(10) = function | 1;
  b.hart().restore();
  run_caller(b, 500);
  EXPECT_EQ(b.x(5), 500u);
}

// A boot would spend more time on translating than on executing what it executes once.
TEST(Engine, WhatIsExecutedOnceIsNotTranslated) {
  Bench::interprets_new = true;
  Bench b;
  Bench::interprets_new = false;
  put_caller(b);
  b.hart().restore();
  run_caller(b, 1);
  EXPECT_EQ(b.x(5), 1u);
  const auto once = b.engine_counters();
  EXPECT_EQ(once.translations, 0u);
  EXPECT_GT(once.first_runs, 1u);
  run_caller(b, 100);
  EXPECT_EQ(b.x(5), 101u);
  EXPECT_EQ(b.x(6), 101u);
  EXPECT_GT(b.engine_counters().translations, 1u);
  EXPECT_EQ(b.engine_counters().first_runs, once.first_runs);
  // It is not what the interpreter has to do for want of a translation.
  for (const auto op : {Opcode::addi, Opcode::jal, Opcode::jalr})
    EXPECT_EQ(b.hart().counters().interpreted[std::size_t(op)], 0u);
}

// The same by the guest's own stores, many times, with the page written to and fenced in a loop.
TEST(Engine, GuestsMayRewriteTheirCode) {
  Bench b;
  // x10: where the instruction is; x11: the instruction addi x5, x5, 0; x12: its immediate's unit
  b.put(code,
        {store(Opcode::sw, 11, 0, 10), plain(Opcode::fence_i), jump(int(function - code - 8), 1),
         r(Opcode::add, 11, 11, 12), i(Opcode::addi, 20, 20, -1), branch(Opcode::bne, 20, 0, -20), plain(Opcode::wfi)});
  b.put(function, {nop(), i(Opcode::jalr, 0, 1, 0)});
  b.x(10) = function, b.x(11) = i(Opcode::addi, 5, 5, 0), b.x(12) = 1 << 20, b.x(20) = 1000;
  b.state().pc = code;
  b.hart().restore();
  EXPECT_EQ(b.run(1'000'000), Hart::Stop::waiting);
  EXPECT_EQ(b.x(5), 1000u * 999 / 2);
}

// A change is worth what it costs to translate what changed: the ways to all other code stay known, and those to what
// changed are found again once.
TEST(Engine, AChangeForgetsNoOtherCode) {
  constexpr unsigned functions = 200;
  const auto at = [](unsigned n) { return function + n * page_size; };
  Bench b;
  for (unsigned n = 0; n < functions; n++) {
    b.put(at(n), {i(Opcode::addi, 5, 5, 1), i(Opcode::jalr, 0, 1, 0)});
    b.put(code + 4 * n, {jump(int(at(n) - (code + 4 * n)), 1)});
  }
  b.put(code + 4 * functions, {plain(Opcode::fence_i), plain(Opcode::wfi)});
  b.hart().restore();
  const auto misses = [&] {
    const auto before = b.hart().counters().dispatches + b.hart().counters().jump_misses;
    b.state().pc = code;
    b.state().waiting = 0;
    EXPECT_EQ(b.run(1'000'000), Hart::Stop::waiting);
    return b.hart().counters().dispatches + b.hart().counters().jump_misses - before;
  };
  EXPECT_GT(misses(), functions);
  const auto usual = misses();
  b.put(at(17), {i(Opcode::addi, 5, 5, 100)});
  b.hart().flush_instructions();
  EXPECT_LT(misses(), usual + 10);
  EXPECT_EQ(misses(), usual);
  EXPECT_EQ(b.x(5), functions * 4u + 2 * 99);
}

// Two functions that share a place in the jump cache and are called in turn: known code is gone on to without a way
// out.
TEST(Engine, KnownCodeIsFoundWithoutLeaving) {
  constexpr unsigned times = 1000;
  auto other = function + page_size;
  while (ir::code_jump_index(other) != ir::code_jump_index(function)) other += 4;
  ASSERT_LT(other, code + (1 << 20));
  Bench b;
  const auto call = [](U64 from, U64 to) { return jump(int(to - from), 1); };
  b.put(code, {call(code, function), call(code + 4, other), i(Opcode::addi, 20, 20, -1),
               branch(Opcode::bne, 20, 0, -12), plain(Opcode::wfi)});
  b.put(function, {i(Opcode::addi, 5, 5, 1), i(Opcode::jalr, 0, 1, 0)});
  b.put(other, {i(Opcode::addi, 5, 5, 3), i(Opcode::jalr, 0, 1, 0)});
  b.x(20) = times;
  b.state().pc = code;
  b.hart().restore();
  EXPECT_EQ(b.run(1'000'000), Hart::Stop::waiting);
  EXPECT_EQ(b.x(5), 4u * times);
  EXPECT_GE(b.hart().counters().jump_misses, 2u * times - 2);
  EXPECT_LT(b.hart().counters().dispatches, 20u);
}

// A device that loads code into a page that held other code.
TEST(Engine, DevicesMayWriteCode) {
  Bench b;
  put_caller(b);
  b.hart().restore();
  run_caller(b, 10);
  const auto changed = i(Opcode::addi, 6, 6, 7);
  ASSERT_TRUE(b.memory().write(far_function, &changed, 4));
  b.hart().flush_instructions();
  run_caller(b, 10);
  EXPECT_EQ(b.x(6), 10u + 70);
}

// An instruction whose halves are on pages that are mapped apart, and then elsewhere.
TEST(Engine, AnInstructionMayLieOnTwoPages) {
  Bench b;
  Pages pages(b);
  constexpr U64 at = 0x40'0ffe, first = data, second = data + 0x5000, other = data + 0x9000;
  const auto one = i(Opcode::addi, 5, 5, 1), hundred = i(Opcode::addi, 5, 5, 100);
  ASSERT_EQ(one & 0xffff, hundred & 0xffff);
  b.poke(first + 0xffe, one & 0xffff, 2);
  for (const auto [frame, instruction] : {std::pair{second, one}, {other, hundred}}) {
    b.poke(frame, instruction >> 16, 2);
    b.poke(frame + 2, jump(-4) & 0xffff, 2), b.poke(frame + 4, jump(-4) >> 16, 2);
  }
  pages.map(at & ~page_mask, first);
  pages.map(at + 2, second);
  b.state().pc = at;
  b.state().privilege = std::uint8_t(Privilege::supervisor);
  b.hart().restore();
  b.run(200);
  EXPECT_EQ(b.x(5), 100u);
  pages.map(at + 2, other);
  b.hart().flush_translations(at + 2, 1);
  b.run(200);
  EXPECT_EQ(b.x(5), 100u + 10'000);
}

// A guest that executes more code than is kept goes on, and the bound holds.
TEST(Engine, CodeMemoryThatIsFullIsEmptied) {
  Bench::code_bytes = 1 << 16;
  Bench b;
  Bench::code_bytes = 16 << 20;
  constexpr unsigned blocks = 2000;
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
  EXPECT_LE(b.engine_counters().code_bytes, 1u << 16);
}

// A guest that executes much code keeps all of it, as far as the memory goes: dropping it would be seconds of work.
TEST(Engine, ManyTranslationsAreKept) {
  Bench b;
  constexpr unsigned blocks = 9000;
  for (unsigned n = 0; n < blocks; n++)
    b.put(code + n * 64, {i(Opcode::addi, 5, 5, 1), n + 1 < blocks ? jump(60) : plain(Opcode::wfi)});
  for (unsigned round = 0; round < 2; round++) {
    b.state().pc = code;
    b.state().waiting = 0;
    b.hart().restore();
    EXPECT_EQ(b.run(1'000'000), Hart::Stop::waiting);
  }
  EXPECT_EQ(b.x(5), 2u * blocks);
  EXPECT_EQ(b.engine_counters().translations, blocks);
  EXPECT_EQ(b.engine_counters().flushes, 0u);
}

// A user program must not end the machine by what it has between an LR and its SC.
TEST(Engine, TheInterpreterMayExecuteBetweenAnLrAndItsSc) {
  Bench b;
  b.put(code, {lr(Opcode::lr_d, 5, 10), r(Opcode::clmul, 6, 5, 11), amo(Opcode::sc_d, 7, 6, 10), plain(Opcode::wfi)});
  b.x(10) = data, b.x(11) = 2, b.x(7) = 77;
  b.poke(data, 21);
  b.state().pc = code;
  b.hart().restore();
  EXPECT_EQ(b.run(1'000'000), Hart::Stop::waiting);
  EXPECT_LE(b.x(7), 1u);
  EXPECT_EQ(b.peek(data), b.x(7) == 0 ? 42u : 21u);
}

// Two harts in the same code while a third of the time one of them changes it and fences both.
TEST(Engine, HartsShareCodeThatChanges) {
  Bench b(2);
  put_caller(b);
  for (unsigned id = 0; id < 2; id++) b.hart(id).restore(), b.x(20, id) = 2'000'000, b.state(id).pc = code;
  b.put(code + 0x3000,
        {store(Opcode::sw, 11, 0, 10), plain(Opcode::fence_i), store(Opcode::sw, 12, 0, 10), plain(Opcode::fence_i),
         i(Opcode::addi, 20, 20, -1), branch(Opcode::bne, 20, 0, -20), plain(Opcode::wfi)});
  b.state(1).pc = code + 0x3000;
  b.x(10, 1) = function, b.x(11, 1) = i(Opcode::addi, 5, 5, 2), b.x(12, 1) = i(Opcode::addi, 5, 5, 1),
          b.x(20, 1) = 2000;
  EXPECT_TRUE(b.run_all());
  EXPECT_GE(b.x(5), 2'000'000u);
  EXPECT_LE(b.x(5), 4'000'000u);
  EXPECT_EQ(b.x(6), 2'000'000u);
}

// An interrupt line that moves while the hart begins to run: however the two fall, the hart goes on. One ask a run, so
// that no later one helps out.
TEST(Engine, AsksForAttentionAreNeverLostNorLast) {
  constexpr unsigned runs = 100'000;
  Bench b;
  b.put(code, {i(Opcode::addi, 5, 5, 1), jump(-4)});
  b.state().pc = code;
  b.hart().restore();
  std::atomic<unsigned> run = 0;
  std::thread asking([&] {
    for (unsigned asked = 0; asked < runs;)
      if (const auto now = run.load(); now != asked) asked = now, b.hart().ask_attention();
  });
  for (unsigned n = 1; n <= runs; n++) {
    run = n;
    ASSERT_EQ(b.run(1000), Hart::Stop::budget);
  }
  asking.join();
  EXPECT_EQ(b.x(5), U64(runs) * 500);
}

}  // namespace
}  // namespace doppel::riscv64::bench
