#include "guest/wasm/interpreter.h"

#include <algorithm>

namespace doppel::wasm {
namespace {

/// What is refused when it is validated never runs.
bool refused(Interpreter& in) { return in.trap(Trap::invalid_function); }

template <Opcode opcode>
constexpr Handler handler() {
  if constexpr (row(opcode).feature == Feature::mvp)
    return execute<opcode>;
  else
    return refused;
}

constexpr Handler handlers[] = {
#define OP(name, text, prefix, code, immediates, signature, feature) handler<Opcode::name>(),
#include "guest/wasm/opcodes.inc"
    refused,  // Opcode::count
};

template <std::uint8_t prefix>
bool prefixed(Interpreter& in) {
  return handlers[std::size_t(decode(prefix, in.u32()))](in);
}

constexpr auto by_first_byte = [] {
  std::array<Handler, 256> table{};
  for (std::uint32_t byte = 0; byte < 256; byte++) table[byte] = handlers[std::size_t(decode(0, byte))];
  table[0xfc] = prefixed<0xfc>;
  table[0xfd] = prefixed<0xfd>;
  return table;
}();

}  // namespace

Stop Interpreter::run(std::int64_t& budget) {
  stop_ = {};
  if (execution_.frames_.empty() || !begin()) return stop_;
  do {
    if (budget <= 0) {
      save();
      return {.kind = Stop::Kind::exhausted};
    }
    budget--;
    at = pc;
    operands_ = sp;
  } while (by_first_byte[*pc++](*this));
  if (stop_.kind == Stop::Kind::finished) return stop_;
  // The instruction is as if it had not begun, so that it can be looked at, or executed again.
  if (stop_.kind == Stop::Kind::waits) budget++;
  pc = at;
  sp = operands_;
  save();
  return stop_;
}

std::uint64_t Interpreter::longer(std::uint64_t value) {
  for (unsigned shift = 0;; shift += 7) {
    const std::uint64_t byte = *pc++;
    value |= (byte & 0x7f) << shift;
    if (byte < 0x80) return value;
  }
}

std::int64_t Interpreter::s64() {
  std::uint64_t value = 0;
  for (unsigned shift = 0;;) {
    const std::uint64_t byte = *pc++;
    value |= (byte & 0x7f) << shift;
    shift += 7;
    if (byte >= 0x80) continue;
    return shift < 64 ? std::int64_t(value << (64 - shift)) >> (64 - shift) : std::int64_t(value);
  }
}

bool Interpreter::is_wide() const {
  return !info->wide.empty() && std::ranges::binary_search(info->wide, std::uint32_t(at - bytes));
}

void Interpreter::branch() {
  const BranchEntry& to = *entry;
  std::uint64_t* const operands = locals + info->local_words + to.drop_to;
  std::copy_n(sp - to.keep, to.keep, operands);  // downwards
  sp = operands + to.keep;
  pc = bytes + to.pc;
  entry = info->branches.data() + to.next;
}

}  // namespace doppel::wasm
