// Random functions, of every instruction that only computes, with joins, loops, calls and memory between: compiled code
// gives what the interpreter gives, bit by bit, and traps where it does.
#include <cstring>
#include <random>

#include "engine/program_engine.h"
#include "guest/wasm/opcode.h"
#include "unit/guest/wasm/wat_program.h"

namespace doppel {
namespace {

using wasm::Cell;
using wasm::Stop;

constexpr std::string_view letters = "ilfdv";
constexpr std::array names = {"i32", "i64", "f32", "f64", "v128"};
constexpr int types = 5, locals_of_type = 2;

class Writer {
 public:
  explicit Writer(unsigned seed) : random_(seed) {
    for (std::size_t n = 0; n < wasm::opcode_count; n++) {
      const auto& row = wasm::row(wasm::Opcode(n));
      const auto colon = row.signature.find(':');
      if (row.feature != wasm::Feature::mvp || !row.immediates.empty() || colon == row.signature.npos) continue;
      if (colon + 1 < row.signature.size()) by_result_[letters.find(row.signature[colon + 1])].push_back(row);
    }
  }

  /// A function $f of each type's locals, and one that calls it with what is passed.
  std::string module() {
    std::string parameters, passed;
    for (int n = 0; n < types * locals_of_type; n++) parameters += std::string(" ") + names[unsigned(n % types)];
    const std::string header = "(param" + parameters + ") (result i32 i64 f32 f64 v128) (local i32)";
    std::string text = "(memory 1)";
    for (const auto* name : {"$g", "$f"}) {
      text += std::string("(func ") + name + (name[1] == 'f' ? " (export \"f\") " : " ") + header;
      calls_ = name[1] == 'f';
      for (int n = 0; n < 3; n++) text += statement();
      for (int type = 0; type < types; type++) text += expression(type, 5);
      text += ")";
    }
    return text;
  }
  std::uint32_t below(std::uint32_t n) { return std::uint32_t(random_() % n); }
  std::uint64_t bits() {
    constexpr std::uint64_t special[] = {
        0,          1,     0x7fffffff, 0x80000000,         0xffffffff,         0x7fc00001,
        0x3f800000, ~0ULL, 1ULL << 63, 0x7ff8000000000001, 0x3ff0000000000000, 0xfff0000000000000};
    return below(2) ? special[below(std::size(special))] : random_();
  }

 private:
  std::string local(int type) { return std::to_string(int(below(locals_of_type)) * types + type); }
  std::string constant(int type) {
    if (type == 4) return "(v128.const i64x2 " + std::to_string(bits()) + " " + std::to_string(bits()) + ")";
    if (type == 0) return "(i32.const " + std::to_string(std::uint32_t(bits())) + ")";
    if (type == 1) return "(i64.const " + std::to_string(bits()) + ")";
    return type == 2 ? "(f32.reinterpret_i32 (i32.const " + std::to_string(std::uint32_t(bits())) + "))"
                     : "(f64.reinterpret_i64 (i64.const " + std::to_string(bits()) + "))";
  }
  std::string address() { return "(i32.and " + expression(0, 1) + " (i32.const 65520))"; }
  std::string statement() {
    const int type = int(below(types));
    if (below(2)) return "(local.set " + local(type) + " " + expression(type, 3) + ")";
    return std::string("(") + names[unsigned(type)] + ".store " + address() + " " + expression(type, 2) + ")";
  }
  std::string operation(int type, int depth) {
    for (;;) {
      const auto& row = by_result_[unsigned(type)][below(std::uint32_t(by_result_[unsigned(type)].size()))];
      const bool may_trap = row.text.find(".div_") != row.text.npos || row.text.find(".rem_") != row.text.npos ||
                            row.text.find(".trunc_f") != row.text.npos;
      if (may_trap && below(40) != 0) continue;
      std::string text = "(" + std::string(row.text);
      for (const char letter : row.signature.substr(0, row.signature.find(':')))
        text += " " + expression(int(letters.find(letter)), depth - 1);
      return text + ")";
    }
  }
  std::string call(int type) {
    std::string text = "(call $g";
    for (int n = 0; n < types * locals_of_type; n++) text += " " + expression(n % types, 0);
    text += ")";  // the wanted result is kept in a local, the others are dropped
    for (int n = types - 1; n >= 0; n--) text += n == type ? "(local.set " + std::to_string(n) + ")" : "(drop)";
    return text + "(local.get " + std::to_string(type) + ")";
  }
  std::string expression(int type, int depth) {
    const std::string name = names[unsigned(type)];
    if (depth <= 0) return below(3) ? "(local.get " + local(type) + ")" : constant(type);
    switch (below(16)) {
      case 0:
        return "(local.tee " + local(type) + " " + expression(type, depth - 1) + ")";
      case 1:
        return "(block (result " + name + ") (drop (br_if 0 " + expression(type, depth - 1) + " " +
               expression(0, depth - 1) + ")) " + expression(type, depth - 1) + ")";
      case 2:
        return "(if (result " + name + ") " + expression(0, depth - 1) + " (then " + expression(type, depth - 1) +
               ") (else " + statement() + expression(type, depth - 1) + "))";
      case 3:
        return "(loop (result " + name + ") (local.set 10 (i32.add (local.get 10) (i32.const 1)))" + statement() +
               "(br_if 0 (i32.lt_u (local.get 10) (i32.const 20)))" + expression(type, depth - 1) + ")";
      case 4:
        return "(select (result " + name + ") " + expression(type, depth - 1) + " " + expression(type, depth - 1) +
               " " + expression(0, depth - 1) + ")";
      case 5:
        return "(" + name + ".load " + address() + ")";
      case 6:
        return "(block (result " + name + ") (block (result " + name + ") " + expression(type, depth - 1) + " " +
               expression(0, depth - 1) + " (br_table 0 1 0)) (drop) " + expression(type, depth - 1) + ")";
      case 7:
        if (calls_ && below(3) == 0) return "(block (result " + name + ") " + call(type) + ")";
        [[fallthrough]];
      default:
        return operation(type, depth);
    }
  }

  std::mt19937_64 random_;
  std::array<std::vector<wasm::OpcodeRow>, types> by_result_;
  bool calls_ = false;
};

/// Of an instruction by itself: with the lane that it names, if it does.
std::string alone(const wasm::OpcodeRow& row) {
  const auto taken = row.signature.substr(0, row.signature.find(':'));
  std::string types_taken, gets;
  for (std::size_t n = 0; n < taken.size(); n++) {
    types_taken += std::string(" ") + names[letters.find(taken[n])];
    gets += " (local.get " + std::to_string(n) + ")";
  }
  std::string immediates;
  if (row.immediates == "n") immediates = " 1";
  if (row.immediates == "S") immediates = " 0 31 2 29 4 27 6 25 8 23 10 21 12 19 14 17";
  return "(func (export \"f\") (param" + types_taken + ") (result " + names[letters.find(row.signature.back())] +
         ") (" + std::string(row.text) + immediates + gets + "))";
}

TEST(ProgramAgreement, EachInstructionDoesWhatTheInterpreterDoes) {
  constexpr int tries = 60;
  Writer random(1);
  for (std::size_t n = 0; n < wasm::opcode_count; n++) {
    const auto& row = wasm::row(wasm::Opcode(n));
    const bool computes = row.immediates.empty() || row.immediates == "n" || row.immediates == "S";
    if (row.feature != wasm::Feature::mvp || !computes || row.signature == "*" || row.signature == ":") continue;
    wasm::bench::Program program(alone(row));
    auto engine = ProgramEngine::create(program.store);
    ASSERT_TRUE(engine.ok());
    for (int t = 0; t < tries; t++) {
      std::vector<Cell> arguments, results;
      for (const char letter : row.signature.substr(0, row.signature.find(':'))) {
        const auto low = random.bits(), high = random.bits();
        arguments.push_back({letter == 'i' || letter == 'f' ? std::uint32_t(low) : low, letter == 'v' ? high : 0});
      }
      wasm::Execution execution(program.store);
      execution.call(program.function("f"), arguments);
      const Stop expected = execution.run();
      const Stop stop = (*engine)->call(program.function("f"), arguments, results);
      ASSERT_EQ(stop.kind, expected.kind) << row.text;
      ASSERT_EQ(stop.trap, expected.trap) << row.text;
      if (stop.kind != Stop::Kind::finished) continue;
      if (results[0] == execution.results()[0]) continue;
      std::string shown;
      for (const auto& argument : arguments) shown += fmt::format(" {:016x}{:016x}", argument.high, argument.low);
      ADD_FAILURE() << row.text << shown << fmt::format(" gives {:016x}{:016x}", results[0].high, results[0].low)
                    << fmt::format(" and not {:016x}{:016x}", execution.results()[0].high, execution.results()[0].low);
      break;
    }
  }
}

TEST(ProgramAgreement, CompiledCodeDoesWhatTheInterpreterDoes) {
  constexpr unsigned modules = 150, calls = 4;
  for (unsigned seed = 0; seed < modules; seed++) {
    Writer writer(seed);
    const auto text = writer.module();
    wasm::bench::Program interpreted(text), compiled(text);
    ASSERT_FALSE(testing::Test::HasFailure()) << text;
    auto engine = ProgramEngine::create(compiled.store);
    ASSERT_TRUE(engine.ok());
    for (unsigned n = 0; n < calls; n++) {
      std::vector<Cell> arguments;
      for (int a = 0; a < types * locals_of_type; a++) {
        const auto low = writer.bits(), high = writer.bits();
        const int type = a % types;
        arguments.push_back({type == 0 || type == 2 ? std::uint32_t(low) : low, type == 4 ? high : 0});
      }
      wasm::Execution execution(interpreted.store);
      execution.call(interpreted.function("f"), arguments);
      const Stop expected = execution.run();
      std::vector<Cell> results;
      const Stop stop = (*engine)->call(compiled.function("f"), arguments, results);
      ASSERT_EQ(stop.kind, expected.kind) << "seed " << seed << "\n" << text;
      ASSERT_EQ(stop.trap, expected.trap) << "seed " << seed << "\n" << text;
      if (stop.kind == Stop::Kind::finished)
        for (std::size_t r = 0; r < results.size(); r++)
          ASSERT_EQ(results[r], execution.results()[r]) << "seed " << seed << " result " << r << "\n" << text;
      ASSERT_EQ(std::memcmp(interpreted.store.memories[0].data(), compiled.store.memories[0].data(), 65536), 0)
          << "seed " << seed << "\n"
          << text;
    }
    EXPECT_EQ((*engine)->compiled_functions() > 0, true);
  }
}

}  // namespace
}  // namespace doppel
