#pragma once
// The interpreter: executes instructions where they lie in the module (core specification, 4.6), one handler each, with
// what function_info() tells of branches and stack. It is what everything else is tested against. Code is valid here.
#include <cstdint>
#include <cstring>
#include <vector>

#include "guest/wasm/execution.h"
#include "guest/wasm/function_info.h"
#include "guest/wasm/opcode.h"
#include "guest/wasm/vector_numeric.h"

namespace doppel::wasm {

/// What runs an execution. Its public part is for handlers of instructions.
class Interpreter {
 public:
  explicit Interpreter(Execution& execution) : store(execution.store_), execution_(execution) {}
  Stop run(std::int64_t& budget);

  // The frame that runs. `pc` and `at` point into the module: at what is read next, and at the instruction's opcode.
  Store& store;
  const std::uint8_t *pc = nullptr, *at = nullptr, *bytes = nullptr, *body_end = nullptr;
  std::uint64_t *sp = nullptr, *locals = nullptr;  // `sp` is behind the topmost word
  const BranchEntry* entry = nullptr;              // of the next branch
  Instance* instance = nullptr;
  const FunctionInfo* info = nullptr;

  // Each gives false where the instruction is the last for now, as handlers do.
  bool trap(Trap trap) { return stop({.kind = Stop::Kind::trapped, .trap = trap}); }
  bool stop(Stop why) {
    stop_ = why;
    return false;
  }
  bool call(std::uint32_t function);
  bool tail_call(std::uint32_t function);
  /// Leaves the frame with the results that are on top of the stack.
  bool leave();
  /// Takes the next branch.
  void branch();

  // Immediates (5.2.2): of valid code, so that there is nothing to check.
  std::uint32_t u32() { return std::uint32_t(u64()); }
  std::uint64_t u64() {
    if (*pc < 0x80) return *pc++;
    return longer(0);
  }
  std::int64_t s64();
  void skip_leb() {
    while (*pc++ >= 0x80) continue;
  }
  void skip_block_type() {
    if (*pc == 0x63 || *pc == 0x64) pc++;  // (ref null ht) and (ref ht)
    skip_leb();
  }
  template <typename T>
  T fixed() {
    T value;
    std::memcpy(&value, pc, sizeof value);
    pc += sizeof value;
    return value;
  }

  // Operands: integers and floats of 32 bits have zeros above them, so that an address of either width is one word.
  std::uint64_t pop() { return *--sp; }
  void push(std::uint64_t word) { *sp++ = word; }
  template <typename T>
  static T from_words(const std::uint64_t* words) {
    T value;
    std::memcpy(&value, words, sizeof value);
    return value;
  }
  template <typename T>
  static void to_words(T value, std::uint64_t* words) {
    *words = 0;
    std::memcpy(words, &value, sizeof value);
  }
  template <typename T>
  static constexpr std::uint32_t words = sizeof(T) > 8 ? 2 : 1;
  template <typename T>
  T pop_as() {
    sp -= words<T>;
    return from_words<T>(sp);
  }
  template <typename T>
  void push_as(T value) {
    to_words(value, sp);
    sp += words<T>;
  }
  /// -1 where there is nothing, in as many bits as addresses have.
  void push_size(std::optional<std::uint64_t> size, bool is64) {
    push(is64 ? size.value_or(~0ULL) : std::uint32_t(size.value_or(0xffff'ffff)));
  }

  LinearMemory& memory(std::uint32_t index) const { return store.memories[instance->memories[index]]; }
  TableInstance& table(std::uint32_t index) const { return store.tables[instance->tables[index]]; }
  /// Whether the drop or select that runs takes a v128.
  bool is_wide() const;

 private:
  std::uint64_t longer(std::uint64_t value);
  bool begin();
  bool begin_host(std::uint32_t function);
  bool enter(std::uint32_t function);
  bool call_host(std::uint32_t function);
  HostOutcome call_host_function(std::uint32_t function, std::uint64_t* arguments, Instance* caller);
  bool stop_for(const HostOutcome& outcome);
  const FunctionInfo* prepare(std::uint32_t function);
  bool make_room(std::uint64_t begin, const FunctionInfo& info);
  void grow_stack(std::size_t words);
  void resume();
  void save();
  void finish(std::uint32_t function);

  Execution& execution_;
  Stop stop_;
  std::uint64_t* operands_ = nullptr;      // what `sp` was before the instruction
  std::vector<Cell> arguments_, results_;  // of the host's functions
};

/// Executes the instruction of the opcode, whose bytes `pc` is behind; false where run() is to come back.
using Handler = bool (*)(Interpreter&);
template <Opcode opcode>
bool execute(Interpreter& in);
#define OP(name, text, prefix, code, immediates, signature, feature) \
  template <>                                                        \
  bool execute<Opcode::name>(Interpreter & in);
#include "guest/wasm/opcodes.inc"

}  // namespace doppel::wasm
