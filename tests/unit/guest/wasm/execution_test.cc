// Runs in the interpreter: that they stop anywhere, can be copied and go on, and what bounds them.
#include "guest/wasm/execution.h"

#include "guest/wasm/opcode.h"
#include "unit/guest/wasm/wat_program.h"

namespace doppel::wasm::bench {
namespace {

constexpr auto fibonacci = R"((module
  (func $fib (export "fib") (param $n i32) (result i32)
    (if (result i32) (i32.lt_u (local.get $n) (i32.const 2))
      (then (local.get $n))
      (else (i32.add (call $fib (i32.sub (local.get $n) (i32.const 1)))
                     (call $fib (i32.sub (local.get $n) (i32.const 2)))))))))";

TEST(Execution, GivesResults) { EXPECT_EQ(Program(fibonacci).call("fib", one(15)), one(610)); }

// The count is part of what a deterministic run is: it may not depend on where the run was stopped.
TEST(Execution, StopsAtItsBudgetAndGoesOn) {
  Program p(fibonacci);
  const auto count = [&](std::int64_t slice) {
    Execution e(p.store);
    e.call(p.function("fib"), one(10));
    for (std::int64_t sum = 0;;) {
      std::int64_t budget = slice;
      const Stop stop = e.run(budget);
      EXPECT_GE(budget, 0);
      sum += slice - budget;
      if (stop.kind == Stop::Kind::exhausted) continue;
      EXPECT_EQ(e.results()[0].i32(), 55U);
      return sum;
    }
  };
  const auto whole = count(1'000'000);
  EXPECT_EQ(count(1), whole);
  EXPECT_EQ(count(7), whole);
}

// Snapshots: an execution is its frames and stack, with nothing else hidden in it.
TEST(Execution, IsTakenUpByACopyAfterEveryInstruction) {
  Program p(R"((module
    (func $f (param i32 v128) (result v128 i32) (local v128 i64)
      (local.set 2 (i8x16.add (local.get 1) (local.get 1)))
      (block $out (result v128 i32)
        (loop $again (result v128 i32)
          (local.set 0 (i32.sub (local.get 0) (i32.const 1)))
          (local.set 2 (select (local.get 2) (local.get 1) (i32.const 1)))
          (drop (local.get 1))
          (br_if $out (local.get 2) (local.get 0) (i32.eqz (local.get 0)))
          (drop) (drop)
          (br $again))))
    (func (export "run") (result i32) (local v128 i32)
      (i32.add (i32.const 1000)
        (block (result i32)
          (call $f (i32.const 5) (v128.const i8x16 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16))
          (local.set 1) (i8x16.extract_lane_u 3))))))");
  auto e = std::make_unique<Execution>(p.store);
  e->call(p.function("run"), {});
  for (int n = 0; n < 1000; n++) {
    std::int64_t budget = 1;
    const Stop stop = e->run(budget);
    if (stop.kind == Stop::Kind::finished) {
      EXPECT_EQ(e->results()[0].i32(), 1008U);
      return;
    }
    ASSERT_EQ(stop.kind, Stop::Kind::exhausted);
    auto copy = std::make_unique<Execution>(p.store);
    const auto restored = copy->restore(e->frames(), e->stack());
    ASSERT_TRUE(restored.ok()) << restored.message() << " after " << n;
    e = std::move(copy);
  }
  FAIL() << "does not end";
}

// Snapshots come from files: what does not fit the code would make the interpreter leave its stack.
TEST(Execution, RefusesFramesThatNoRunLeaves) {
  Program p(fibonacci);
  Execution e(p.store);
  e.call(p.function("fib"), one(10));
  std::int64_t budget = 40;
  e.run(budget);
  ASSERT_GT(e.frames().size(), 2U);
  const std::vector<Frame> frames(e.frames().begin(), e.frames().end());
  const std::vector<std::uint64_t> stack(e.stack().begin(), e.stack().end());
  Execution copy(p.store);
  EXPECT_TRUE(copy.restore(frames, stack).ok());
  for (std::size_t n = 0; n < frames.size(); n++) {
    auto wrong = frames;
    wrong[n].function = 77;
    EXPECT_FALSE(copy.restore(wrong, stack).ok());
    wrong = frames;
    wrong[n].locals++;
    EXPECT_FALSE(copy.restore(wrong, stack).ok());
    wrong = frames;
    wrong[n].pc = ~0U;
    EXPECT_FALSE(copy.restore(wrong, stack).ok());
    wrong[n].pc = 0;
    EXPECT_FALSE(copy.restore(wrong, stack).ok());
  }
  EXPECT_FALSE(copy.restore(frames, std::span(stack).first(stack.size() - 1)).ok());
  EXPECT_TRUE(copy.restore(frames, stack).ok());
  EXPECT_EQ(copy.run().kind, Stop::Kind::finished);
  EXPECT_EQ(copy.results()[0].i32(), 55U);
}

TEST(Execution, ATrapShowsWhereAndComesAgain) {
  Program p(R"((module (memory 1)
    (func $inner (param i32) (result i32) (i32.div_u (i32.const 1) (i32.load (local.get 0))))
    (func (export "run") (param i32) (result i32) (call $inner (local.get 0)))))");
  Execution e(p.store);
  e.call(p.function("run"), one(0));
  for (int n = 0; n < 2; n++) {
    const Stop stop = e.run();
    EXPECT_EQ(stop.kind, Stop::Kind::trapped);
    EXPECT_EQ(stop.trap, Trap::divide_by_zero);
    ASSERT_EQ(e.frames().size(), 2U);
    EXPECT_EQ((*p.instance->module->bytes)[e.frames()[1].pc], row(Opcode::i32_div_u).code);
    EXPECT_EQ(e.stack().size(), 1U + 1U + 2U);
  }
  EXPECT_EQ(p.trap("run", one(65533)), Trap::memory_bounds);
}

TEST(Execution, AHostFunctionThatWaitsIsCalledAgain) {
  Program p;
  int calls = 0;
  p.add_host("read", {i32}, {i32, i64}, [&](const HostCall& call) {
    EXPECT_EQ(call.caller, p.instance);
    if (++calls < 3) return HostOutcome::waits();
    call.results[0] = Cell::of_i32(call.arguments[0].i32() * 2);
    call.results[1] = Cell::of_i64(5);
    return HostOutcome::returned();
  });
  p.add(R"((module (import "host" "read" (func $read (param i32) (result i32 i64)))
    (func (export "run") (param i32) (result i32 i64) (i32.const 1) (call $read (local.get 0)) (br 0) (unreachable))
    (func (export "tail") (param i32) (result i32 i64) (return_call $read (local.get 0)))))");
  for (const auto* name : {"run", "tail"}) {
    calls = 0;
    Execution e(p.store);
    e.call(p.function(name), one(21));
    std::int64_t budget = 100;
    EXPECT_EQ(e.run(budget).kind, Stop::Kind::waits);
    const auto spent = budget;
    EXPECT_EQ(e.run(budget).kind, Stop::Kind::waits);
    EXPECT_EQ(budget, spent) << "nothing has happened";
    EXPECT_EQ(e.run(budget).kind, Stop::Kind::finished);
    EXPECT_EQ(e.results()[0].i32(), 42U);
    EXPECT_EQ(e.results()[1].i64(), 5U);
  }
}

TEST(Execution, AHostFunctionIsCalledByTheHost) {
  Program p;
  bool ready = false;
  p.add_host("twice", {i64}, {i64}, [&](const HostCall& call) {
    EXPECT_EQ(call.caller, nullptr);
    if (!ready) return HostOutcome::waits();
    call.results[0] = Cell::of_i64(2 * call.arguments[0].i64());
    return HostOutcome::returned();
  });
  Execution e(p.store);
  e.call(p.host["twice"].number, std::vector{Cell::of_i64(4)});
  EXPECT_EQ(e.run().kind, Stop::Kind::waits);
  Execution copy(p.store);
  ASSERT_TRUE(copy.restore(e.frames(), e.stack()).ok());
  ready = true;
  EXPECT_EQ(copy.run().kind, Stop::Kind::finished);
  EXPECT_EQ(copy.results()[0].i64(), 8U);
}

TEST(Execution, AHostFunctionEndsTheProgramOrTraps) {
  Program p;
  p.add_host("exit", {i32}, {}, [](const HostCall& call) { return HostOutcome::ended(int(call.arguments[0].i32())); });
  p.add_host("fail", {}, {}, [](const HostCall&) { return HostOutcome::trapped(Trap::memory_bounds); });
  p.add(R"((module (import "host" "exit" (func $exit (param i32))) (import "host" "fail" (func $fail))
    (func (export "exit") (call $exit (i32.const 3)) (unreachable)) (func (export "fail") (call $fail))))");
  Execution e(p.store);
  e.call(p.function("exit"), {});
  const Stop stop = e.run();
  EXPECT_EQ(stop.kind, Stop::Kind::ended);
  EXPECT_EQ(stop.status, 3);
  EXPECT_EQ(p.trap("fail"), Trap::memory_bounds);
}

TEST(Execution, RecursionIsBoundedByFramesAndByWords) {
  Program p(R"((module (func $deep (export "deep") (param i64) (local v128 v128) (call $deep (local.get 0)))))");
  const auto depth = [&](std::uint32_t words, std::uint32_t frames) {
    Execution e(p.store, words, frames);
    e.call(p.function("deep"), std::vector{Cell::of_i64(1)});
    const Stop stop = e.run();
    EXPECT_EQ(stop.trap, Trap::stack_exhausted);
    return e.frames().size();
  };
  EXPECT_EQ(depth(1 << 20, 100), 100U);
  EXPECT_LT(depth(100, 1000), 25U);
  EXPECT_GT(depth(100, 1000), 10U);
}

TEST(Execution, TailCallsTakeNoStack) {
  Program p(R"((module (type $t (func (param i32 i64) (result i64))) (table funcref (elem $even $odd))
    (func $even (export "even") (param i32 i64) (result i64)
      (if (result i64) (i32.eqz (local.get 0)) (then (i64.const 44))
        (else (return_call $odd (i32.sub (local.get 0) (i32.const 1)) (local.get 1)))))
    (func $odd (param i32 i64) (result i64) (local v128 v128)
      (return_call_indirect (type $t) (i32.sub (local.get 0) (i32.const 1)) (local.get 1) (i32.const 0)))))");
  Execution e(p.store, 64, 2);
  e.call(p.function("even"), std::vector{Cell::of_i32(100'000), Cell::of_i64(1)});
  EXPECT_EQ(e.run().kind, Stop::Kind::finished);
  EXPECT_EQ(e.results()[0].i64(), 44U);
}

// The caller of a tail call has no room for the results that the host's function gives.
TEST(Execution, ATailCallOfAHostFunctionHasRoomForItsResults) {
  Program p;
  constexpr std::size_t many = 600;
  p.add_host("many", {}, std::vector<ValueType>(many, i64), [](const HostCall& call) {
    for (std::size_t n = 0; n < call.results.size(); n++) call.results[n] = Cell::of_i64(n);
    return HostOutcome::returned();
  });
  std::string results;
  for (std::size_t n = 0; n < many; n++) results += " i64";
  p.add("(module (import \"host\" \"many\" (func $many (result" + results +
        "))) (func $tail (export \"tail\") (result" + results +
        ") (return_call $many)) (func (export \"run\") (result" + results + ") (call $tail)))");
  EXPECT_EQ(p.call("tail").back(), Cell::of_i64(many - 1));
  EXPECT_EQ(p.call("run").back(), Cell::of_i64(many - 1));
}

// Bodies are validated at their first call: one that is wrong must not run, and not be taken for right later.
TEST(Execution, AnInvalidFunctionTrapsWheneverItIsCalled) {
  Program p(
      R"((module (func $bad (result i32)) (func (export "run") (result i32) (call $bad)) (func (export "good"))))");
  EXPECT_EQ(p.trap("run"), Trap::invalid_function);
  EXPECT_EQ(p.trap("run"), Trap::invalid_function);
  p.call("good");
}

}  // namespace
}  // namespace doppel::wasm::bench
