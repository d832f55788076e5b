#include "guest/riscv64/interpret.h"

#include <array>

#include "guest/riscv64/decode.h"
#include "guest/riscv64/interpret_system.h"

namespace doppel::riscv64 {
namespace {

/// How control goes on behind an instruction.
enum class Flow : std::uint8_t {
  next,   // with the next in the block
  after,  // with the next instruction, but in a new block: this one may have changed how instructions execute
  jump,   // where the instruction said
};

constexpr Flow flow(Opcode op) {
  switch (op) {
    case Opcode::illegal:
    case Opcode::jal:
    case Opcode::jalr:
    case Opcode::beq:
    case Opcode::bne:
    case Opcode::blt:
    case Opcode::bge:
    case Opcode::bltu:
    case Opcode::bgeu:
    case Opcode::ecall:
    case Opcode::ebreak:
    case Opcode::sret:
    case Opcode::mret:
      return Flow::jump;
    case Opcode::fence_i:
    case Opcode::csrrw:
    case Opcode::csrrs:
    case Opcode::csrrc:
    case Opcode::csrrwi:
    case Opcode::csrrsi:
    case Opcode::csrrci:
    case Opcode::wfi:
    case Opcode::sfence_vma:
    case Opcode::sinval_vma:
    case Opcode::sfence_w_inval:
    case Opcode::sfence_inval_ir:
    case Opcode::pause:
    case Opcode::wrs_nto:
    case Opcode::wrs_sto:
      return Flow::after;
    default:
      return Flow::next;
  }
}

template <auto semantic, Flow flow>
void handle(Hart& hart, const Op* op) {
  if constexpr (flow == Flow::after) hart.state().pc = hart.pc_of(*op) + op->length;
  if constexpr (std::is_void_v<decltype(semantic(hart, *op))>)
    semantic(hart, *op);
  else if (!semantic(hart, *op)) [[unlikely]]
    return;
  if constexpr (flow == Flow::next) [[clang::musttail]]
    return op[1].handler(hart, op + 1);
  else [[clang::musttail]]
    return Hart::go(hart, op);
}

void fall_through(Hart& hart, const Op* op) {
  hart.state().pc = hart.pc_of(*op);
  [[clang::musttail]] return Hart::go(hart, op);
}

constexpr std::array<Handler, std::size_t(Opcode::count)> handlers = {
    &handle<semantics::illegal, Flow::jump>,
#define INSN(name, pattern, format, extension) &handle<semantics::name, flow(Opcode::name)>,
#include "guest/riscv64/isa.inc"
};

constexpr bool writes_integer(Format format) {
  switch (format) {
    case Format::R:
    case Format::Unary:
    case Format::I:
    case Format::Shift:
    case Format::ShiftW:
    case Format::Load:
    case Format::Jalr:
    case Format::U:
    case Format::J:
    case Format::Csr:
    case Format::CsrI:
    case Format::Amo:
    case Format::Lr:
    case Format::MopR:
    case Format::MopRR:
    case Format::FpCompare:
    case Format::FpToX:
    case Format::FpToInt:
    case Format::FpToIntRtz:
      return true;
    default:
      return false;
  }
}

constexpr bool computes_in_registers(Format format) {
  switch (format) {
    case Format::R:
    case Format::Unary:
    case Format::I:
    case Format::Shift:
    case Format::ShiftW:
    case Format::U:
    case Format::B:
    case Format::Fence:
      return true;
    default:
      return false;
  }
}

struct Traits {
  bool writes_integer, register_only;
};
constexpr std::array<Traits, std::size_t(Opcode::count)> traits = {
    Traits{},
#define INSN(name, pattern, format, extension) \
  Traits{writes_integer(Format::format), computes_in_registers(Format::format)},
#include "guest/riscv64/isa.inc"
};

}  // namespace

Handler handler_of(Opcode op) { return handlers[std::size_t(op)]; }
Handler fall_through_handler() { return &fall_through; }
bool ends_block(Opcode op) { return flow(op) != Flow::next; }
bool writes_integer_register(Opcode op) { return traits[std::size_t(op)].writes_integer; }
bool register_only(Opcode op) { return traits[std::size_t(op)].register_only; }

}  // namespace doppel::riscv64
