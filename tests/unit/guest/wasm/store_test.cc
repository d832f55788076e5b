// Linking and instantiation (core specification, 4.5.3 and 4.5.4).
#include "guest/wasm/store.h"

#include "unit/guest/wasm/wat_program.h"

namespace doppel::wasm::bench {
namespace {

HostOutcome nothing(const HostCall&) { return HostOutcome::returned(); }

InstantiationError refusal(Program& program, std::string_view text) {
  const auto made = program.instantiate(text);
  const auto* wrong = std::get_if<InstantiationError>(&made);
  EXPECT_TRUE(wrong);
  return wrong ? *wrong : InstantiationError{};
}

TEST(Store, AnImportThatIsNotThereIsNamed) {
  Program p;
  const auto wrong = refusal(p, R"((module (import "host" "f" (func))))");
  EXPECT_EQ(wrong.kind, InstantiationError::Kind::unlinkable);
  EXPECT_EQ(wrong.message, R"(unknown import of function "host" "f")");
}

TEST(Store, AnImportOfAnotherTypeIsNamed) {
  Program p;
  p.add_host("f", {i32}, {}, nothing);
  EXPECT_EQ(refusal(p, R"((module (import "host" "f" (func (param i64)))))").message,
            R"(incompatible import type of function "host" "f")");
  p.add(R"((module (import "host" "f" (func (param i32)))))");
}

TEST(Store, TablesAndMemoriesMatchByWhatTheyHaveGrownTo) {
  Program p(R"((module (memory (export "m") 1 3) (func (export "grow") (drop (memory.grow (i32.const 1))))))");
  p.host["m"] = {ExternKind::memory, p.instance->memories[0]};
  constexpr auto wants_two = R"((module (import "host" "m" (memory 2 3))))";
  EXPECT_EQ(refusal(p, wants_two).kind, InstantiationError::Kind::unlinkable);
  p.call("grow");
  p.add(wants_two);
  EXPECT_EQ(refusal(p, R"((module (import "host" "m" (memory 2 2))))").kind, InstantiationError::Kind::unlinkable);
}

TEST(Store, WhatIsRefusedLeavesNothingBehind) {
  Program p(StoreLimits{.memory_bytes = 2 << 16, .table_elements = 10});
  EXPECT_EQ(refusal(p, "(module (memory 1) (memory 2) (table 1 funcref))").kind, InstantiationError::Kind::resources);
  EXPECT_EQ(refusal(p, "(module (memory 1) (table 6 funcref) (table 5 funcref))").kind,
            InstantiationError::Kind::resources);
  EXPECT_TRUE(p.store.memories.empty());
  EXPECT_TRUE(p.store.tables.empty());
  EXPECT_TRUE(p.store.instances.empty());
  p.add("(module (memory 2) (table 10 funcref))");
}

TEST(Store, GrowingStaysWithinTheStoresLimits) {
  Program p(StoreLimits{.memory_bytes = 3 << 16, .table_elements = 4});
  p.add(R"((module (memory 1) (table 2 funcref) (memory 1)
    (func (export "memory") (param i32) (result i32) (memory.grow (local.get 0)))
    (func (export "table") (param i32) (result i32) (table.grow (ref.null func) (local.get 0)))))");
  EXPECT_EQ(p.call("memory", one(2)), one(~0U));
  EXPECT_EQ(p.call("memory", one(1)), one(1));
  EXPECT_EQ(p.call("table", one(3)), one(~0U));
  EXPECT_EQ(p.call("table", one(2)), one(2));
}

// 4.5.4: what a segment has written stays when a later one traps, and functions of the instance stay callable.
TEST(Store, ASegmentThatTrapsKeepsWhatWasWrittenBefore) {
  Program p(R"((module (table (export "t") 2 funcref) (memory (export "m") 1)
    (func (export "call") (result i32) (call_indirect (result i32) (i32.const 0)))
    (func (export "load") (result i32) (i32.load8_u (i32.const 65535)))))");
  p.host["t"] = {ExternKind::table, p.instance->tables[0]};
  p.host["m"] = {ExternKind::memory, p.instance->memories[0]};
  const auto wrong = refusal(p, R"((module (import "host" "t" (table 2 funcref)) (import "host" "m" (memory 1))
    (func $f (result i32) (i32.const 42))
    (elem (i32.const 0) $f) (data (i32.const 65535) "a") (data (i32.const 65535) "bc")))");
  EXPECT_EQ(wrong.kind, InstantiationError::Kind::trapped);
  EXPECT_EQ(wrong.trap, Trap::memory_bounds);
  EXPECT_EQ(p.call("call"), one(42));
  EXPECT_EQ(p.call("load"), one('a'));
}

TEST(Store, TablesBeginAsTheirInitialiserSays) {
  Program p(R"((module (func $f (result i32) (i32.const 9)) (elem declare func $f)
    (table 3 funcref (ref.func $f))
    (func (export "call") (param i32) (result i32) (call_indirect (result i32) (local.get 0)))))");
  EXPECT_EQ(p.call("call", one(2)), one(9));
  EXPECT_EQ(p.trap("call", one(3)), Trap::undefined_element);
}

}  // namespace
}  // namespace doppel::wasm::bench
