#include "process/program.h"

#include <gmock/gmock.h>

#include "unit/process/program_file.h"

namespace doppel {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

class ProgramTest : public testing::Test {
 protected:
  ProgramConfiguration configuration(const std::string& text, std::string invoke = "f") {
    ProgramConfiguration out;
    out.file = folder_.file("program.wat", text);
    out.wasi.arguments = {out.file};
    out.wasi.stdio = {-1, -1, -1};
    out.invoke = std::move(invoke);
    return out;
  }
  static ProgramEnd end_of(ProgramConfiguration configuration) {
    auto program = Program::create(std::move(configuration));
    if (!program) return {.status = -1, .complaint = program.message(), .results = {}};
    auto end = (*program)->run();
    if (!end) return {.status = -2, .complaint = end.message(), .results = {}};
    return *std::move(end);
  }
  std::string refusal(const std::string& text, std::string invoke = "f") {
    const auto program = Program::create(configuration(text, std::move(invoke)));
    return program ? "" : program.message();
  }

  TestFolder folder_;
};

constexpr const char* spinning = R"((module (func $spin (export "f") (loop (br 0)))))";

TEST_F(ProgramTest, EndsWithItsStatusAndGivesResults) {
  const auto done =
      end_of(configuration(R"((module (func (export "f") (result i32 f64) i32.const -1 f64.const 0.5)))"));
  EXPECT_EQ(done.status, 0);
  EXPECT_EQ(done.complaint, "");
  EXPECT_THAT(done.results, ElementsAre("-1", "0.5"));
  const auto exited =
      end_of(configuration(R"((module (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
    (memory (export "memory") 1) (func (export "_start") (call $exit (i32.const 77)))))",
                           ""));
  EXPECT_EQ(exited.status, 77);
}

TEST_F(ProgramTest, StartAndInitializeRunFirst) {
  const std::string text = R"((module (global $n (mut i32) (i32.const 1)) (start $start)
    (func $start (global.set $n (i32.mul (global.get $n) (i32.const 10))))
    (func (export "_initialize") (global.set $n (i32.add (global.get $n) (i32.const 3))))
    (func (export "f") (result i32) (global.get $n))))";
  EXPECT_THAT(end_of(configuration(text)).results, ElementsAre("13"));
  EXPECT_EQ(end_of(configuration("(module (func $f unreachable) (start $f))", "")).status, Program::trap_status);
  EXPECT_EQ(end_of(configuration("(module (func $f) (start $f))", "")).status, 0);
}

TEST_F(ProgramTest, ATrapSaysWhatAndWhere) {
  const auto end = end_of(configuration(R"((module
    (func $inner (drop (i32.load (i32.const 0x10000)))) (memory 1)
    (func $"out\0ar" (export "f") (call $inner))))"));
  EXPECT_EQ(end.status, Program::trap_status);
  EXPECT_THAT(end.complaint, StartsWith("program.wat was stopped: out of bounds memory access\n  at inner (byte 0x"));
  EXPECT_THAT(end.complaint, HasSubstr("\n  at out?r (byte 0x"));
}

TEST_F(ProgramTest, ATraceIsShortHoweverDeepTheRecursion) {
  auto deep = configuration(R"((module (func $even (export "f") (call $odd)) (func $odd (call $even))))");
  deep.stack_bytes = 1 << 20;
  const auto end = end_of(std::move(deep));
  EXPECT_THAT(end.complaint, HasSubstr("call stack exhausted"));
  EXPECT_EQ(std::ranges::count(end.complaint, '\n'), 51);
  EXPECT_THAT(end.complaint, HasSubstr(" more\n  at "));
  EXPECT_THAT(end_of(configuration(R"((module (func $f (export "f") (call $f))))")).complaint,
              testing::EndsWith(" times"));
}

TEST_F(ProgramTest, FuelIsCountedInInstructions) {
  // nop, nop, end
  auto three = configuration(R"((module (func (export "f") nop nop)))");
  three.fuel = 3;
  EXPECT_EQ(end_of(three).status, 0);
  three.fuel = 2;
  const auto end = end_of(three);
  EXPECT_EQ(end.status, Program::trap_status);
  EXPECT_THAT(end.complaint, HasSubstr("all fuel consumed"));
}

TEST_F(ProgramTest, TimeoutStopsWhatComputesAndWhatWaits) {
  auto computing = configuration(spinning);
  computing.timeout = std::chrono::milliseconds(20);
  const auto late = end_of(std::move(computing));
  EXPECT_EQ(late.status, Program::timeout_status);
  EXPECT_THAT(late.complaint, StartsWith("program.wat was stopped: its time is over\n  at spin"));

  int ends[2];
  ASSERT_EQ(pipe(ends), 0);
  const std::string reading = R"((module
    (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
    (memory (export "memory") 1) (data (i32.const 4) "\08")
    (func $main (export "f") (result i32) (call $read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 8)))))";
  for (const bool counted : {false, true}) {
    auto waiting = configuration(reading);
    waiting.wasi.stdio[0] = ends[0];
    waiting.timeout = std::chrono::milliseconds(20);
    waiting.instruction_clock = counted;
    EXPECT_EQ(end_of(waiting).status, Program::timeout_status) << counted;
    ASSERT_EQ(write(ends[1], "x", 1), 1);
    waiting.timeout = std::chrono::hours(1);
    EXPECT_THAT(end_of(waiting).results, ElementsAre("0")) << counted;
  }
  close(ends[0]);
  close(ends[1]);
}

TEST_F(ProgramTest, CountedTimeIsTheSameInEveryRun) {
  // The clock before and after a sleep of a second, and a random number.
  const std::string text = R"((module
    (import "wasi_snapshot_preview1" "clock_time_get" (func $now (param i32 i64 i32) (result i32)))
    (import "wasi_snapshot_preview1" "random_get" (func $random (param i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
    (memory (export "memory") 1)
    (func (export "f") (result i64 i64 i64)
      (drop (call $now (i32.const 1) (i64.const 0) (i32.const 0)))
      (i32.store (i32.const 0x110) (i32.const 1))
      (i64.store (i32.const 0x118) (i64.const 1_000_000_000))
      (drop (call $poll (i32.const 0x100) (i32.const 0x200) (i32.const 1) (i32.const 24)))
      (drop (call $now (i32.const 1) (i64.const 0) (i32.const 8)))
      (drop (call $random (i32.const 16) (i32.const 8)))
      (i64.load (i32.const 0)) (i64.load (i32.const 8)) (i64.load (i32.const 16)))))";
  auto counted = configuration(text);
  counted.instruction_clock = true;
  const auto first = end_of(counted);
  ASSERT_EQ(first.results.size(), 3u) << first.complaint;
  EXPECT_EQ(end_of(counted).results, first.results);
  const auto slept = std::stoll(first.results[1]) - std::stoll(first.results[0]);
  EXPECT_GE(slept, 1'000'000'000);
  EXPECT_LT(slept, 1'000'000'100);
  counted.timeout = std::chrono::hours(1);
  EXPECT_EQ(end_of(counted).results, first.results) << "a limit that is not reached changes nothing";
  EXPECT_NE(end_of(configuration(text)).results[2], first.results[2]);
}

TEST_F(ProgramTest, WhatCannotRunIsOneSentence) {
  const std::string memory = R"((module (memory (export "f") 1)))";
  EXPECT_THAT(refusal(memory), HasSubstr("program.wat exports f, but not as a function"));
  EXPECT_THAT(refusal(memory, ""), HasSubstr("exports no function _start: name one with --invoke"));
  EXPECT_THAT(refusal(R"((module (import "a" "b" (func)) (import "c" "d" (func))))"),
              HasSubstr("imports a.b, which is not part of WASI preview 1"));
  EXPECT_THAT(refusal(R"((module (import "wasi_snapshot_preview1" "proc_exit" (func))))"),
              HasSubstr("imports wasi_snapshot_preview1.proc_exit as something else"));
  EXPECT_THAT(refusal(R"((module (memory 1) (data (i32.const 65536) "x") (func (export "f"))))"),
              HasSubstr("cannot start: out of bounds memory access"));
  EXPECT_THAT(refusal(R"((module (func (export "f") (param i32))))"), HasSubstr("takes 1 arguments, not 0"));
  auto large = configuration(R"((module (memory 2) (func (export "f"))))");
  large.memory_bytes = 1 << 16;
  EXPECT_THAT(end_of(std::move(large)).complaint, HasSubstr("program.wat cannot start: a memory of 2 pages"));
}

TEST_F(ProgramTest, AnInvalidFunctionOfALargeModuleIsNamedWhenItIsCalled) {
  std::string nops;
  for (int n = 0; n < 300'000; n++) nops += "nop ";
  const auto text = R"((module (func (export "f")) (func )" + nops + R"() (func (export "bad") i32.add drop)))";
  EXPECT_EQ(end_of(configuration(text)).status, 0);
  const auto end = end_of(configuration(text, "bad"));
  EXPECT_EQ(end.status, Program::trap_status);
  EXPECT_THAT(end.complaint, HasSubstr("invalid function: "));
  EXPECT_THAT(end.complaint, HasSubstr("type mismatch"));
}

}  // namespace
}  // namespace doppel
