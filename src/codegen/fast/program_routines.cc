#include "codegen/fast/program_routines.h"

#include <asmjit/x86.h>

#include <cstring>

#include "codegen/fast/function_host.h"

namespace doppel::fast {
namespace {

namespace x86 = asmjit::x86;

const std::array<x86::Gp, 6> callee_saved = {x86::rbx, x86::rbp, x86::r12, x86::r13, x86::r14, x86::r15};

x86::Mem at(const x86::Gp& base, std::size_t offset) { return x86::qword_ptr(base, std::int32_t(offset)); }
#define STATE(member) offsetof(ir::ProgramState, member)

class Writer {
 public:
  explicit Writer(const ProgramCallbacks& callbacks) : callbacks_(callbacks) {
    holder_.init(asmjit::Environment::host());
    holder_.attach(&a_);
    leave_ = a_.newLabel();
  }

  ProgramRoutines write() {
    ProgramRoutines routines;
    routines.enter = enter();
    routines.trap = trap();
    routines.fault = fault();
    routines.runtime = runtime();
    routines.subtype = subtype();
    routines.host = host();
    routines.compile = compile();
    holder_.flatten();
    holder_.resolveUnresolvedLinks();
    routines.bytes.resize(holder_.codeSize());
    holder_.copyFlattenedData(routines.bytes.data(), routines.bytes.size());
    return routines;
  }

 private:
  std::size_t begin() {
    a_.align(asmjit::AlignMode::kCode, 16);
    return a_.offset();
  }
  void call_host(const void* function) {
    a_.mov(x86::rax, std::uint64_t(reinterpret_cast<std::uintptr_t>(function)));
    a_.call(x86::rax);
  }
  void move_registers(const x86::Gp& base, std::size_t offset, bool load) {
    for (std::size_t n = 0; n < argument_registers.size(); n++) {
      const auto from = at(base, offset + offsetof(ir::ProgramRegisters, general) + n * 8);
      const auto reg = x86::gpq(argument_registers[n]);
      if (argument_registers[n] == base.id() && load) continue;
      load ? a_.mov(reg, from) : a_.mov(from, reg);
    }
    for (unsigned n = 0; n < vector_arguments; n++) {
      const auto from = x86::Mem(base, std::int32_t(offset + offsetof(ir::ProgramRegisters, vector) + n * 16), 16);
      load ? a_.vmovups(x86::xmm(n), from) : a_.vmovups(from, x86::xmm(n));
    }
  }
  /// To the host's stack; rbx keeps this one's pointer, rax has the state.
  void to_host_stack() {
    a_.mov(x86::rax, at(x86::r12, DOPPEL_CONTEXT(state)));
    a_.mov(x86::rbx, x86::rsp);
    a_.mov(at(x86::rax, STATE(stack)), x86::rsp);
    a_.mov(x86::rsp, at(x86::rax, STATE(host_stack)));
  }

  /// rdi: the entry, rsi: the state. The words on the host's stack are an odd number with the return address.
  std::size_t enter() {
    const auto here = begin();
    for (const auto& reg : callee_saved) a_.push(reg);
    a_.push(x86::rdi);
    a_.mov(at(x86::rsi, STATE(host_stack)), x86::rsp);
    a_.mov(x86::rbp, x86::rsp);
    a_.mov(x86::rax, x86::rdi);
    a_.mov(x86::r12, at(x86::rax, offsetof(ProgramEntry, context)));
    a_.mov(x86::rsp, at(x86::rax, offsetof(ProgramEntry, stack)));
    move_registers(x86::rax, offsetof(ProgramEntry, registers), true);
    a_.xor_(x86::r10d, x86::r10d);
    a_.call(at(x86::rax, offsetof(ProgramEntry, code)));
    a_.mov(x86::rsp, x86::rbp);
    a_.pop(x86::rdi);
    const auto registers = offsetof(ProgramEntry, registers);
    a_.mov(at(x86::rdi, registers + offsetof(ir::ProgramRegisters, result)), x86::rax);
    a_.vmovups(x86::Mem(x86::rdi, std::int32_t(registers + offsetof(ir::ProgramRegisters, vector)), 16), x86::xmm0);
    a_.xor_(x86::eax, x86::eax);
    return_to_host();
    return here;
  }
  void return_to_host() {
    a_.vzeroupper();
    for (auto reg = callee_saved.rbegin(); reg != callee_saved.rend(); ++reg) a_.pop(*reg);
    a_.ret();
  }

  std::size_t trap() {
    const auto here = begin();
    a_.pop(x86::rax);
    a_.bind(leave_);
    a_.mov(x86::rcx, at(x86::r12, DOPPEL_CONTEXT(state)));
    a_.mov(at(x86::rcx, STATE(trap_pc)), x86::rax);
    a_.mov(x86::rsp, at(x86::rcx, STATE(host_stack)));
    a_.pop(x86::rdi);
    a_.mov(x86::eax, 1);
    return_to_host();
    return here;
  }

  std::size_t fault() {
    const auto here = begin();
    a_.jmp(leave_);
    return here;
  }

  /// What waits on the host's stack when code is entered is a multiple of 16, so that calls find it as they should.
  std::size_t runtime() {
    const auto here = begin();
    to_host_stack();
    a_.mov(x86::rdi, x86::r12);
    call_host(reinterpret_cast<const void*>(callbacks_.runtime));
    a_.mov(x86::rsp, x86::rbx);
    const auto trapped = a_.newLabel();
    a_.test(x86::eax, x86::eax);
    a_.jnz(trapped);
    a_.mov(x86::rax, at(x86::r12, DOPPEL_CONTEXT(area)));
    a_.mov(x86::rax, x86::ptr(x86::rax));
    a_.ret();
    a_.bind(trapped);
    a_.pop(x86::rax);
    a_.jmp(leave_);
    return here;
  }

  /// rax: the row, ecx: the type; all but rcx is kept.
  std::size_t subtype() {
    const auto here = begin();
    const std::array<x86::Gp, 10> kept = {x86::rax, x86::rdx, x86::rbx, x86::rsi, x86::rdi,
                                          x86::r8,  x86::r9,  x86::r10, x86::r11, x86::r14};
    constexpr int vectors = 13;
    for (const auto& reg : kept) a_.push(reg);
    a_.sub(x86::rsp, vectors * 16 + 8);
    for (int n = 0; n < vectors; n++) a_.vmovups(x86::Mem(x86::rsp, n * 16, 16), x86::xmm(unsigned(n)));
    a_.mov(x86::rdi, x86::rax);
    a_.mov(x86::esi, x86::ecx);
    to_host_stack();
    call_host(reinterpret_cast<const void*>(callbacks_.subtype));
    a_.mov(x86::rsp, x86::rbx);
    a_.mov(x86::ecx, x86::eax);
    for (int n = 0; n < vectors; n++) a_.vmovups(x86::xmm(unsigned(n)), x86::Mem(x86::rsp, n * 16, 16));
    a_.add(x86::rsp, vectors * 16 + 8);
    for (auto reg = kept.rbegin(); reg != kept.rend(); ++reg) a_.pop(*reg);
    a_.ret();
    return here;
  }

  /// ebx: the function's number; r10: the caller's context; r12: any context of the program.
  std::size_t host() {
    const auto here = begin();
    a_.mov(x86::rax, at(x86::r12, DOPPEL_CONTEXT(state)));
    move_registers(x86::rax, STATE(registers), false);
    a_.mov(x86::esi, x86::ebx);
    a_.mov(x86::rdx, x86::r10);
    to_host_stack();
    a_.mov(x86::rdi, x86::rax);
    call_host(reinterpret_cast<const void*>(callbacks_.host));
    a_.mov(x86::rsp, x86::rbx);
    const auto trapped = a_.newLabel();
    a_.test(x86::eax, x86::eax);
    a_.jnz(trapped);
    a_.mov(x86::rcx, at(x86::r12, DOPPEL_CONTEXT(state)));
    a_.mov(x86::rax, at(x86::rcx, STATE(registers) + offsetof(ir::ProgramRegisters, result)));
    a_.vmovups(x86::xmm0,
               x86::Mem(x86::rcx, std::int32_t(STATE(registers) + offsetof(ir::ProgramRegisters, vector)), 16));
    a_.ret();
    a_.bind(trapped);
    a_.pop(x86::rax);
    a_.jmp(leave_);
    return here;
  }

  /// ebx: the function's index. Arguments and r10 are as they were when its code begins.
  std::size_t compile() {
    const auto here = begin();
    a_.mov(x86::rax, at(x86::r12, DOPPEL_CONTEXT(state)));
    move_registers(x86::rax, STATE(registers), false);
    a_.push(x86::r10);
    a_.mov(x86::esi, x86::ebx);
    to_host_stack();
    a_.mov(x86::rdi, x86::r12);
    call_host(reinterpret_cast<const void*>(callbacks_.compile));
    a_.mov(x86::rsp, x86::rbx);
    a_.pop(x86::r10);
    a_.mov(x86::rbx, at(x86::r12, DOPPEL_CONTEXT(state)));
    move_registers(x86::rbx, STATE(registers), true);
    a_.jmp(x86::rax);
    return here;
  }

  ProgramCallbacks callbacks_;
  asmjit::CodeHolder holder_;
  x86::Assembler a_;
  asmjit::Label leave_;
};

}  // namespace

ProgramRoutines make_program_routines(const ProgramCallbacks& callbacks) { return Writer(callbacks).write(); }

std::vector<std::byte> make_stubs(std::uint32_t first, std::uint32_t count, std::ptrdiff_t target) {
  constexpr std::size_t move_bytes = 5, jump_bytes = 5;
  std::vector<std::byte> bytes(count * stub_bytes, std::byte{0xcc});
  for (std::uint32_t n = 0; n < count; n++) {
    std::byte* const at = bytes.data() + n * stub_bytes;
    const std::uint32_t number = first + n;
    const auto behind = std::ptrdiff_t(n * stub_bytes + move_bytes + jump_bytes);
    const auto distance = std::int32_t(target - behind);
    at[0] = std::byte{0xbb};  // mov ebx, number
    std::memcpy(at + 1, &number, sizeof number);
    at[move_bytes] = std::byte{0xe9};  // jmp
    std::memcpy(at + move_bytes + 1, &distance, sizeof distance);
  }
  return bytes;
}

}  // namespace doppel::fast
