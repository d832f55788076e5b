#include "codegen/fast/routines.h"

#include <vector>

#include "codegen/fast/host.h"

namespace doppel::fast {
namespace {

const std::array<x86::Gp, 8> caller_saved = {x86::rcx, x86::rdx, x86::rsi, x86::rdi,
                                             x86::r8,  x86::r9,  x86::r10, x86::r11};
const std::array<x86::Gp, 6> callee_saved = {x86::rbx, x86::rbp, x86::r12, x86::r13, x86::r14, x86::r15};
// Six registers and the return address are seven words: the frame makes the stack pointer a multiple of 16 again, so
// that a call from generated code leaves it 8 off, as at the begin of any function.
constexpr unsigned frame = frame_bytes + 8;

class Writer {
 public:
  explicit Writer(const GuestLayout& layout) : layout_(layout) {
    holder_.init(asmjit::Environment::host());
    holder_.attach(&a_);
    leave_ = a_.newLabel(), left_ = a_.newLabel(), find_ = a_.newLabel();
  }

  std::size_t enter() {
    const auto at = begin();
    for (const auto& reg : callee_saved) a_.push(reg);
    a_.sub(x86::rsp, frame);
    a_.lea(state, x86::ptr(x86::rdi, layout_.begin));
    a_.mov(x86::rax, x86::rsi);
    a_.mov(budget, DOPPEL_FIELD(layout_, budget, 8));
    move_pinned(true);
    a_.jmp(x86::rax);
    return at;
  }

  /// Called by the stub of a jump that is not linked, and by code that was forgotten.
  std::size_t to_caller(ir::Exit exit) {
    const auto at = begin();
    a_.pop(x86::rax);
    a_.mov(DOPPEL_FIELD(layout_, link, 8), x86::rax);
    a_.mov(DOPPEL_FIELD(layout_, exit, 4), std::uint32_t(exit));
    a_.jmp(leave_);
    return at;
  }

  std::size_t to_dispatch() {
    const auto at = begin();
    a_.mov(DOPPEL_FIELD(layout_, exit, 4), std::uint32_t(ir::Exit::dispatch));
    a_.bind(leave_);
    move_pinned(false);
    a_.mov(DOPPEL_FIELD(layout_, budget, 8), budget);
    a_.bind(left_);
    a_.add(x86::rsp, frame);
    for (auto reg = callee_saved.rbegin(); reg != callee_saved.rend(); ++reg) a_.pop(*reg);
    a_.ret();
    return at;
  }

  /// Jumped to where the jump cache does not know the way to the guest address in rax: goes on there if the engine
  /// does.
  std::size_t to_find() {
    const auto at = begin();
    const auto out = a_.newLabel();
    a_.mov(x86::ptr(state, layout_.pc, 8), x86::rax);
    move_pinned(false);
    a_.bind(find_);
    a_.mov(x86::rdi, DOPPEL_FIELD(layout_, owner, 8));
    a_.call(DOPPEL_FIELD(layout_, find_function, 8));
    a_.test(x86::rax, x86::rax);
    a_.jz(out);
    a_.mov(x86::rbx, x86::ptr(state, layout_.pc, 8));
    a_.and_(x86::rbx, -4096);
    a_.mov(DOPPEL_FIELD(layout_, page, 8), x86::rbx);
    move_pinned(true);
    a_.jmp(x86::rax);
    a_.bind(out);
    a_.mov(DOPPEL_FIELD(layout_, exit, 4), std::uint32_t(ir::Exit::dispatch));
    a_.mov(DOPPEL_FIELD(layout_, budget, 8), budget);
    a_.jmp(left_);
    return at;
  }

  /// Called by code: everything but the guest's registers and the budget, which the function may change, is kept. The
  /// site may lie on the stack in front of the return address.
  std::size_t call(const x86::Mem& function, bool pushed_site) {
    const auto at = begin();
    const auto out = a_.newLabel();
    const unsigned above = pushed_site ? 16 : 8, padding = 16 - above;
    move_pinned(false);
    a_.mov(DOPPEL_FIELD(layout_, budget, 8), budget);
    move_scratch(false);
    if (pushed_site) {
      a_.mov(x86::eax, x86::dword_ptr(x86::rsp, 8));
      a_.mov(DOPPEL_FIELD(layout_, site, 4), x86::eax);
    }
    if (padding) a_.sub(x86::rsp, padding);
    a_.mov(x86::rdi, DOPPEL_FIELD(layout_, owner, 8));
    a_.call(function);
    if (padding) a_.add(x86::rsp, padding);
    a_.test(x86::eax, x86::eax);
    a_.jz(out);
    a_.mov(budget, DOPPEL_FIELD(layout_, budget, 8));
    move_pinned(true);
    move_scratch(true);
    a_.ret(above - 8);
    a_.bind(out);
    a_.add(x86::rsp, above);
    a_.mov(DOPPEL_FIELD(layout_, exit, 4), std::uint32_t(ir::Exit::dispatch));
    a_.jmp(left_);
    return at;
  }

  /// Jumped to by code whose last instruction the interpreter executes: goes on at the guest's pc.
  std::size_t interpret_last() {
    const auto at = begin();
    const auto out = a_.newLabel();
    move_pinned(false);
    a_.mov(DOPPEL_FIELD(layout_, budget, 8), budget);
    a_.mov(x86::rdi, DOPPEL_FIELD(layout_, owner, 8));
    a_.call(DOPPEL_FIELD(layout_, interpret_function, 8));
    a_.test(x86::eax, x86::eax);
    a_.jz(out);
    a_.mov(budget, DOPPEL_FIELD(layout_, budget, 8));
    move_pinned(true);
    a_.mov(x86::rax, x86::ptr(state, layout_.pc, 8));
    jump_through_cache(a_, layout_, x86::rax, find_);
    a_.bind(out);
    a_.mov(DOPPEL_FIELD(layout_, exit, 4), std::uint32_t(ir::Exit::dispatch));
    a_.jmp(left_);
    return at;
  }

  /// Called by code in front of a path: the flags say whether it may be used.
  std::size_t check_path() {
    const auto at = begin();
    move_pinned(false);
    a_.mov(DOPPEL_FIELD(layout_, budget, 8), budget);
    a_.mov(x86::rdi, DOPPEL_FIELD(layout_, owner, 8));
    a_.sub(x86::rsp, 8);
    a_.call(DOPPEL_FIELD(layout_, check_function, 8));
    a_.add(x86::rsp, 8);
    move_pinned(true);
    a_.test(x86::eax, x86::eax);
    a_.ret();
    return at;
  }

  /// Called by a path whose window missed the TLB, with anything in any register: the flags say whether to look again.
  std::size_t refill() {
    constexpr std::int32_t vectors_at = 8 * std::int32_t(std::size(caller_saved)),
                           saved = vectors_at + 8 * vector_count;
    constexpr std::int32_t bytes = (saved + 15) / 16 * 16 + 8;
    const auto at = begin();
    a_.sub(x86::rsp, bytes);
    const auto move_all = [&](bool load) {
      std::int32_t place = 0;
      for (const auto& reg : caller_saved) {
        load ? a_.mov(reg, x86::ptr(x86::rsp, place, 8)) : a_.mov(x86::ptr(x86::rsp, place, 8), reg);
        place += 8;
      }
      for (unsigned n = 0; n < vector_count; n++, place += 8)
        load ? a_.vmovsd(x86::xmm(n), x86::ptr(x86::rsp, place, 8))
             : a_.vmovsd(x86::ptr(x86::rsp, place, 8), x86::xmm(n));
    };
    move_all(false);
    a_.mov(x86::rdi, DOPPEL_FIELD(layout_, owner, 8));
    a_.call(DOPPEL_FIELD(layout_, refill_function, 8));
    a_.test(x86::eax, x86::eax);
    move_all(true);
    a_.lea(x86::rsp, x86::ptr(x86::rsp, bytes));
    a_.ret();
    return at;
  }

  std::vector<std::byte> finish() {
    holder_.flatten();
    holder_.resolveUnresolvedLinks();
    std::vector<std::byte> bytes(holder_.codeSize());
    holder_.copyFlattenedData(bytes.data(), bytes.size());
    return bytes;
  }

 private:
  std::size_t begin() {
    a_.align(asmjit::AlignMode::kCode, 16);
    return a_.offset();
  }
  void move_pinned(bool load) {
    for (unsigned reg = 0; reg < layout_.registers; reg++) {
      if (layout_.host[reg] == GuestLayout::in_memory) continue;
      const auto place = x86::ptr(state, layout_.offset[reg], 8);
      load ? a_.mov(pinned[layout_.host[reg]], place) : a_.mov(place, pinned[layout_.host[reg]]);
    }
  }
  void move_scratch(bool load) {
    for (unsigned n = 0; n < scratch_count; n++) {
      const auto place =
          x86::ptr(state, layout_.execution + std::int32_t(offsetof(ir::ExecutionState, scratch) + 8 * n), 8);
      load ? a_.mov(scratch[n], place) : a_.mov(place, scratch[n]);
    }
    for (unsigned n = 0; n < vector_count; n++) {
      const auto place =
          x86::ptr(state, layout_.execution + std::int32_t(offsetof(ir::ExecutionState, vectors) + 8 * n), 8);
      load ? a_.vmovsd(x86::xmm(n), place) : a_.vmovsd(place, x86::xmm(n));
    }
  }

  const GuestLayout& layout_;
  asmjit::CodeHolder holder_;
  x86::Assembler a_;
  asmjit::Label leave_, left_, find_;  // out by saving the registers, out with them saved, to_find with them saved
};

}  // namespace

Result<Routines> generate_routines(const GuestLayout& layout, CodeMemory& memory) {
  Writer writer(layout);
  const auto enter = writer.enter();
  const auto to_link = writer.to_caller(ir::Exit::link);
  const auto forgotten = writer.to_caller(ir::Exit::forgotten);
  const auto to_dispatch = writer.to_dispatch();
  const auto to_find = writer.to_find();
  const auto refuse = writer.to_caller(ir::Exit::refused);
  const auto slow_access = writer.call(DOPPEL_FIELD(layout, access_function, 8), true);
  const auto interpret = writer.call(DOPPEL_FIELD(layout, interpret_function, 8), false);
  const auto interpret_last = writer.interpret_last();
  const auto check_path = writer.check_path();
  const auto refill = writer.refill();
  const auto bytes = writer.finish();
  const auto* base = memory.add(bytes);
  if (!base) return error("the memory for translated code is too small");
  Routines out;
  out.enter = reinterpret_cast<void (*)(void*, const void*)>(reinterpret_cast<std::uintptr_t>(base + enter));
  out.forgotten = base + forgotten;
  out.to_link = base + to_link;
  out.slow_access = base + slow_access;
  out.of_code = {.to_dispatch = base + to_dispatch,
                 .to_find = base + to_find,
                 .refuse = base + refuse,
                 .interpret = base + interpret,
                 .interpret_last = base + interpret_last,
                 .check_path = base + check_path,
                 .refill = base + refill};
  return out;
}

}  // namespace doppel::fast
