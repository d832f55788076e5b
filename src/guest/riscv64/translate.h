#pragma once
// From guest instructions to the IR, a stretch inside one page at a time. What a chapter of translate_*.h does not know
// is left to the interpreter, instruction by instruction.
#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <utility>
#include <vector>

#include "guest/riscv64/instruction.h"
#include "ir/builder.h"
#include "ir/code.h"
#include "memory/guest_memory.h"

namespace doppel::riscv64 {

/// The IR's numbers of the hart's registers: x0 to x31 and behind them f0 to f31.
inline constexpr unsigned float_register = 32;

inline constexpr unsigned host_rounding_modes = 4;  // RNE, RTZ, RDN, RUP; the host has no RMM

/// What of the hart's state a translation depends on besides the bytes.
struct TranslationMode {
  /// mstatus.FS is not Off and frm is a mode that the host has, so that floating-point instructions may be inline.
  bool floating_point = false;
  bool zero_blocks = false;  // CBO.ZERO is enabled
  /// Blocks end where the interpreter's do, so that interrupts are taken at the same instructions.
  bool exact_blocks = false;
  std::uint8_t privilege = 0;
  bool separate_checks = false;  // each access looks into the TLB for itself
  constexpr unsigned key() const {
    return floating_point | zero_blocks << 1 | exact_blocks << 2 | privilege << 3 | separate_checks << 5;
  }
  /// The part that a hart's view of memory does not imply, and that changes without fences.
  constexpr unsigned jump_key() const { return floating_point; }
};

inline constexpr unsigned longest_translation = 64;  // guest instructions
inline constexpr unsigned longest_path = 1000;

/// Translates from byte `offset` of `page` on; false when not even the first instruction lies in the page as a whole.
/// Ends where another translation begins, as `begins` says of offsets, unless blocks are exact.
/// With two bytes more than a page, those that follow it where it is mapped, also an instruction that ends in them,
/// alone.
using Begins = std::function<bool(unsigned offset)>;
bool translate(std::span<const std::byte> page, unsigned offset, TranslationMode mode, const Begins& begins,
               ir::Code& out);

/// An instruction that was executed, and where control went from it: bytes from the begin of the first one's page.
struct PathStep {
  std::int64_t offset = 0, next = 0;
  std::uint64_t address = 0;  // that it accesses, if it does
  Instruction instruction;
};
/// Whether a place can be reached by a path's own jumps.
constexpr bool is_near(std::int64_t offset) { return offset >= -(1LL << 30) && offset <= 1LL << 30; }
/// Translates a path of at most longest_path instructions: it is left wherever control goes another way.
void translate_path(std::span<const PathStep> path, TranslationMode mode, ir::Code& out);

/// What the chapters share.
class Translator {
 public:
  Translator(std::span<const std::byte> page, ir::Code& code, TranslationMode mode)
      : page(page), code(code), builder(code), mode(mode) {}

  ir::Value x(unsigned index) { return index == 0 ? builder.constant(0) : builder.get(index); }
  void set_x(unsigned index, ir::Value value) {
    if (index != 0) builder.set(index, value);
  }
  ir::Value f(unsigned index) { return builder.get(float_register + index, ir::Type::f64); }
  void set_f(unsigned index, ir::Value value) {
    dirty_float();
    builder.set(float_register + index, value);
  }
  /// mstatus.FS is Dirty from here on.
  void dirty_float() {
    if (!std::exchange(is_dirty, true)) builder.dirty_float();
  }
  ir::Value constant(std::int64_t value) { return builder.constant(value); }
  /// Calls the interpreter for this instruction.
  void interpret(const Instruction& i, bool ends) {
    builder.interpret(i.bits, ends);
    is_dirty = false;
    ended |= ends;
  }

  /// Control goes on at an offset, at an address, or there if the condition holds. On a path it goes where it went.
  void go_to(std::int64_t target);
  void go_to(ir::Value target);
  void branch(ir::Condition condition, ir::Value a, ir::Value b, std::int64_t target, unsigned length);

  /// Whether the SC that belongs to this LR is in the block and nothing between them accesses memory or jumps over it.
  bool reaches_store_conditional(const Instruction& lr) const;

  std::span<const std::byte> page;
  ir::Code& code;
  ir::Builder builder;
  TranslationMode mode;
  std::int64_t offset = 0;          // of the instruction in its page
  bool ended = false;               // nothing follows
  bool is_dirty = false;            // dirty_float() was said, and nothing since then that could end it
  ir::Value linked = ir::no_value;  // what the LR of an SC to come gave
  const PathStep* step = nullptr;   // on a path, the running instruction's
};

using Translate = void (*)(Translator& t, const Instruction& i);

}  // namespace doppel::riscv64
