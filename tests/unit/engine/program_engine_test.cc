// WebAssembly as host code: calls in all directions, traps with their places, what grows and what is exhausted.
#include "engine/program_engine.h"

#include <random>

#include "unit/guest/wasm/wat_program.h"

namespace doppel {
namespace {

using wasm::Cell;
using wasm::HostCall;
using wasm::HostOutcome;
using wasm::Stop;
using wasm::Trap;
using wasm::bench::one;
using wasm::bench::Program;

/// A program and the engine that runs it.
struct Compiled : Program {
  std::unique_ptr<ProgramEngine> engine;
  Compiled() { make(); }
  explicit Compiled(std::string_view text) : Program(text) { make(); }

  void make() {
    auto made = ProgramEngine::create(store);
    if (!made) FAIL() << made.message();
    engine = std::move(*made);
  }
  std::vector<Cell> run(std::string_view name, std::vector<Cell> arguments = {}) {
    std::vector<Cell> results;
    const auto stop = engine->call(function(name), arguments, results);
    EXPECT_EQ(stop.kind, Stop::Kind::finished) << spelling(stop.trap);
    return results;
  }
  Trap trapped(std::string_view name, std::vector<Cell> arguments = {}) {
    std::vector<Cell> results;
    const auto stop = engine->call(function(name), arguments, results);
    EXPECT_EQ(stop.kind, Stop::Kind::trapped);
    return stop.trap;
  }
};

TEST(ProgramEngine, CompilesWhatIsCalledAndNothingElse) {
  Compiled p(R"((module
    (func $fib (export "fib") (param $n i32) (result i32)
      (if (result i32) (i32.lt_u (local.get $n) (i32.const 2))
        (then (local.get $n))
        (else (i32.add (call $fib (i32.sub (local.get $n) (i32.const 1)))
                       (call $fib (i32.sub (local.get $n) (i32.const 2)))))))
    (func (export "other"))))");
  EXPECT_EQ(p.engine->compiled_functions(), 0U);
  EXPECT_EQ(p.run("fib", one(20)), one(6765));
  EXPECT_EQ(p.engine->compiled_functions(), 1U);
}

TEST(ProgramEngine, PassesMoreArgumentsAndResultsThanThereAreRegisters) {
  std::string types, gets;
  std::vector<Cell> arguments;
  for (std::uint32_t n = 0; n < 30; n++) {
    types += n % 3 == 0 ? " i32" : n % 3 == 1 ? " f64" : " v128";
    gets.insert(0, "(local.get " + std::to_string(n) + ")");
    arguments.push_back(n % 3 == 0 ? Cell::of_i32(n) : n % 3 == 1 ? Cell::of_f64(n) : Cell{n, std::uint64_t{n} << 40});
  }
  std::string reversed;
  for (int n = 29; n >= 0; n--) reversed += n % 3 == 0 ? " i32" : n % 3 == 1 ? " f64" : " v128";
  std::string straight;
  for (int n = 0; n < 30; n++) straight += "(local.get " + std::to_string(n) + ")";
  Compiled p("(func $turn (param" + types + ") (result" + reversed + ")" + gets + ") (func (export \"run\") (param" +
             types + ") (result" + reversed + ") (call $turn " + straight + "))");
  auto expected = arguments;
  std::ranges::reverse(expected);
  EXPECT_EQ(p.run("run", arguments), expected);
}

TEST(ProgramEngine, CallsTheHostAndIsCalledByIt) {
  Compiled p;
  wasm::Instance* caller = nullptr;
  p.add_host("twice", {wasm::i32, wasm::f64}, {wasm::f64, wasm::i32}, [&](const HostCall& call) {
    caller = call.caller;
    std::vector<Cell> inner;
    EXPECT_EQ(p.engine->call(p.function("inner"), std::vector{call.arguments[0]}, inner).kind, Stop::Kind::finished);
    call.results[0] = Cell::of_f64(call.arguments[1].f64() * 2);
    call.results[1] = inner[0];
    return HostOutcome::returned();
  });
  p.add(R"((import "host" "twice" (func $twice (param i32 f64) (result f64 i32)))
    (func (export "inner") (param i32) (result i32) (i32.add (local.get 0) (i32.const 1)))
    (func (export "run") (param i32 f64) (result f64 i32) (i32.const 9) (call $twice (local.get 0) (local.get 1))
      (return) )
    (func (export "tail") (param i32 f64) (result f64 i32) (return_call $twice (local.get 0) (local.get 1))))");
  const std::vector<Cell> expected = {Cell::of_f64(5), Cell::of_i32(42)};
  EXPECT_EQ(p.run("run", {Cell::of_i32(41), Cell::of_f64(2.5)}), expected);
  EXPECT_EQ(caller, p.instance);
  EXPECT_EQ(p.run("tail", {Cell::of_i32(41), Cell::of_f64(2.5)}), expected);
  EXPECT_EQ(caller, p.instance);
}

TEST(ProgramEngine, EndsAsTheHostSays) {
  Compiled p;
  p.add_host("exit", {}, {}, [](const HostCall&) { return HostOutcome::ended(7); });
  p.add_host("fail", {}, {}, [](const HostCall&) { return HostOutcome::trapped(Trap::null_reference); });
  p.add(R"((import "host" "exit" (func $exit)) (import "host" "fail" (func $fail))
    (func (export "exit") (call $exit)) (func (export "fail") (call $fail)))");
  std::vector<Cell> results;
  const auto stop = p.engine->call(p.function("exit"), {}, results);
  EXPECT_EQ(stop.kind, Stop::Kind::ended);
  EXPECT_EQ(stop.status, 7);
  EXPECT_EQ(p.trapped("fail"), Trap::null_reference);
}

// Each trap is told with the byte of the module where its instruction is, whether code noticed or the host's memory.
TEST(ProgramEngine, SaysWhereItTrapped) {
  struct Case {
    const char* body;
    std::uint32_t instruction;  // of the trapping one, from the body's begin (its empty list of locals is one byte)
    Trap trap;
  };
  const Case cases[] = {
      {"(drop (i32.div_s (i32.const 1) (local.get 0)))", 5, Trap::divide_by_zero},
      {"(drop (i32.load (i32.const 65533)))", 5, Trap::memory_bounds},
      {"(i64.store (i32.const -1) (i64.const 0))", 5, Trap::memory_bounds},
      {"(unreachable)", 1, Trap::unreachable},
      {"(memory.fill (i32.const -1) (local.get 0) (i32.const 2))", 7, Trap::memory_bounds},
      {"(drop (i32.trunc_f32_s (f32.const nan)))", 6, Trap::invalid_conversion},
  };
  for (const auto& c : cases) {
    Compiled p(std::string("(memory 1) (func (export \"f\") (param i32) ") + c.body + ")");
    EXPECT_EQ(p.trapped("f", one(0)), c.trap) << c.body;
    ASSERT_TRUE(p.engine->trapped_at()) << c.body;
    EXPECT_EQ(p.engine->trapped_at()->function, p.function("f"));
    EXPECT_EQ(p.engine->trapped_at()->pc, p.instance->module->functions[0].body.begin + c.instruction) << c.body;
  }
}

TEST(ProgramEngine, GoesOnAfterTraps) {
  Compiled p(R"((memory 1) (func (export "f") (param i32) (result i32) (i32.load (local.get 0))))");
  for (int n = 0; n < 3; n++) {
    EXPECT_EQ(p.trapped("f", one(65536)), Trap::memory_bounds);
    EXPECT_EQ(p.run("f", one(65532)), one(0));
  }
}

TEST(ProgramEngine, StopsRecursionWithoutEnd) {
  Compiled p(R"((func $f (export "f") (param i32) (result i32) (i32.add (call $f (local.get 0)) (i32.const 1)))
    (func (export "large") (call $large) (call $large))
    (func $large (local v128 v128 v128 v128 v128 v128 v128 v128) (call $large))
    (func $even (export "even") (param i32) (result i32)
      (if (result i32) (local.get 0) (then (return_call $odd (i32.sub (local.get 0) (i32.const 1)))) (else (i32.const 1))))
    (func $odd (param i32) (result i32)
      (if (result i32) (local.get 0) (then (return_call $even (i32.sub (local.get 0) (i32.const 1)))) (else (i32.const 0)))))");
  EXPECT_EQ(p.trapped("f", one(0)), Trap::stack_exhausted);
  EXPECT_EQ(p.trapped("large"), Trap::stack_exhausted);
  EXPECT_EQ(p.run("even", one(1'000'001)), one(0));
}

TEST(ProgramEngine, CallsOtherInstancesThroughTables) {
  Compiled p;
  p.add(R"((global $g (mut i32) (i32.const 5)) (memory 1)
    (func $next (export "next") (param i32) (result i32)
      (global.set $g (i32.add (global.get $g) (local.get 0)))
      (i32.store (i32.const 0) (global.get $g)) (i32.load (i32.const 0)))
    (table (export "table") 4 funcref) (elem (i32.const 1) $next $other) (func $other))");
  auto* const first = p.instance;
  p.host["next"] = p.store.exported(*first, *first->module->find_export("next"));
  p.host["table"] = p.store.exported(*first, *first->module->find_export("table"));
  p.add(R"((import "host" "next" (func $next (param i32) (result i32))) (import "host" "table" (table 4 funcref))
    (memory 1) (data (i32.const 0) "\2a") (type $t (func (param i32) (result i32)))
    (func (export "indirect") (param i32 i32) (result i32)
      (i32.add (i32.mul (call_indirect (type $t) (local.get 1) (local.get 0)) (i32.const 100)) (i32.load (i32.const 0))))
    (func (export "import") (param i32) (result i32)
      (i32.add (i32.mul (call $next (local.get 0)) (i32.const 100)) (i32.load (i32.const 0))))
    (func (export "tail") (param i32) (result i32) (return_call $next (local.get 0))))");
  EXPECT_EQ(p.run("indirect", {Cell::of_i32(1), Cell::of_i32(2)}), one(742));
  EXPECT_EQ(p.run("import", one(1)), one(842));
  EXPECT_EQ(p.run("tail", one(1)), one(9));
  EXPECT_EQ(p.trapped("indirect", {Cell::of_i32(0), Cell::of_i32(2)}), Trap::uninitialized_element);
  EXPECT_EQ(p.trapped("indirect", {Cell::of_i32(2), Cell::of_i32(2)}), Trap::type_mismatch);
  EXPECT_EQ(p.trapped("indirect", {Cell::of_i32(4), Cell::of_i32(2)}), Trap::undefined_element);
}

TEST(ProgramEngine, SeesMemoriesGrow) {
  for (const std::string_view kind : {"1", "i64 1"}) {
    const bool is64 = kind != "1";
    const std::string a = is64 ? "i64" : "i32";
    Compiled p("(memory " + std::string(kind) + ") (func (export \"f\") (param " + a + ") (result " + a + " " + a +
               " i32) (memory.grow (local.get 0)) (" + a +
               ".const 65536) (i32.const 7) (i32.store) (memory.size) (i32.load (" + a + ".const 65536)))");
    const auto cell = [&](std::uint64_t v) { return Cell{v, 0}; };
    EXPECT_EQ(p.trapped("f", {cell(0)}), Trap::memory_bounds);
    EXPECT_EQ(p.run("f", {cell(1)}), (std::vector<Cell>{cell(1), cell(2), cell(7)}));
  }
}

// Whatever the registers are full of: sums of more operands than there are registers, over calls and joins.
TEST(ProgramEngine, KeepsMoreValuesThanThereAreRegisters) {
  std::string pushes, adds, floats, float_adds;
  for (int n = 0; n < 40; n++) {
    pushes += "(i32.mul (local.get 0) (i32.const " + std::to_string(n) + "))";
    floats += "(f64.mul (local.get 1) (f64.const " + std::to_string(n) + "))";
    if (n > 0) adds += "(i32.add)", float_adds += "(f64.add)";
  }
  Compiled p(
      "(func $id (param i32) (result i32) (local.get 0))"
      "(func (export \"f\") (param i32 f64) (result i32 f64)" +
      pushes + "(block (br_if 0 (call $id (local.get 0))) (local.set 0 (i32.const 100)))" + adds + floats +
      "(drop (call $id (i32.const 1)))" + float_adds + ")");
  EXPECT_EQ(p.run("f", {Cell::of_i32(3), Cell::of_f64(0.5)}),
            (std::vector<Cell>{Cell::of_i32(2340), Cell::of_f64(390)}));
}

}  // namespace
}  // namespace doppel
