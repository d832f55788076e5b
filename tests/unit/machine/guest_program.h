#pragma once
// Small RISC-V programs put together instruction by instruction, for tests that run harts or whole machines.
#include <cstdint>
#include <vector>

#include "unit/machine/boot_files.h"

namespace doppel::test {

/// Registers by their ABI names.
enum Reg : std::uint32_t {
  zero,
  ra,
  sp,
  gp,
  tp,
  t0,
  t1,
  t2,
  s0,
  s1,
  a0,
  a1,
  a2,
  a3,
  a4,
  a5,  // clang-format off
  a6, a7, s2, s3, s4, s5, s6, s7, s8, s9, s10, s11, t3, t4, t5, t6,  // clang-format on
};

/// CSR numbers (Privileged ISA 2.2).
namespace csr {
inline constexpr std::uint32_t sstatus = 0x100, sie = 0x104, stvec = 0x105, sip = 0x144, stimecmp = 0x14d, satp = 0x180;
inline constexpr std::uint32_t mie = 0x304, mtvec = 0x305, mip = 0x344, menvcfg = 0x30a, time = 0xc01, mhartid = 0xf14;
}  // namespace csr

/// Code for one place in memory. Branches go to addresses that are known, or forward: what a *_forward() function
/// returns is given to land() where the branch is to go.
class Program {
 public:
  using Address = std::uint64_t;
  explicit Program(Address base = 0x80000000) : base_(base) {}
  Address base() const { return base_; }
  Address here() const { return base_ + 4 * words_.size(); }

  void addi(Reg rd, Reg rs1, std::int32_t imm) { i(0x13, 0, rd, rs1, imm); }
  void slli(Reg rd, Reg rs1, std::int32_t shift) { i(0x13, 1, rd, rs1, shift); }
  void andi(Reg rd, Reg rs1, std::int32_t imm) { i(0x13, 7, rd, rs1, imm); }
  void add(Reg rd, Reg rs1, Reg rs2) { emit(0x33 | rd << 7 | rs1 << 15 | rs2 << 20); }
  void ld(Reg rd, Reg rs1, std::int32_t imm = 0) { i(0x03, 3, rd, rs1, imm); }
  void lw(Reg rd, Reg rs1, std::int32_t imm = 0) { i(0x03, 2, rd, rs1, imm); }
  void lhu(Reg rd, Reg rs1, std::int32_t imm = 0) { i(0x03, 5, rd, rs1, imm); }
  void lbu(Reg rd, Reg rs1, std::int32_t imm = 0) { i(0x03, 4, rd, rs1, imm); }
  void sb(Reg rs2, Reg rs1, std::int32_t imm = 0) { s(0, rs1, rs2, imm); }
  void sh(Reg rs2, Reg rs1, std::int32_t imm = 0) { s(1, rs1, rs2, imm); }
  void sw(Reg rs2, Reg rs1, std::int32_t imm = 0) { s(2, rs1, rs2, imm); }
  void sd(Reg rs2, Reg rs1, std::int32_t imm = 0) { s(3, rs1, rs2, imm); }
  void amoadd_d(Reg rd, Reg rs1, Reg rs2) { emit(0x0600302f | rd << 7 | rs1 << 15 | rs2 << 20); }
  void csrw(std::uint32_t number, Reg rs1) { emit(0x1073 | rs1 << 15 | number << 20); }
  void csrs(std::uint32_t number, Reg rs1) { emit(0x2073 | rs1 << 15 | number << 20); }
  void csrr(Reg rd, std::uint32_t number) { emit(0x2073 | rd << 7 | number << 20); }
  void jalr(Reg rd, Reg rs1, std::int32_t imm = 0) { i(0x67, 0, rd, rs1, imm); }
  void ret() { jalr(zero, ra); }
  void ecall() { emit(0x73); }
  void wfi() { emit(0x10500073); }
  void fence_i() { emit(0x0000100f); }
  void sfence_vma() { emit(0x12000073); }

  void jump(Address target) { emit(0x6f | jump_bits(offset(target))); }
  void call(Address target) { emit(0x6f | std::uint32_t{ra} << 7 | jump_bits(offset(target))); }
  void beq(Reg a, Reg b, Address target) { branch(0, a, b, offset(target)); }
  void bne(Reg a, Reg b, Address target) { branch(1, a, b, offset(target)); }
  void bltu(Reg a, Reg b, Address target) { branch(6, a, b, offset(target)); }
  [[nodiscard]] std::size_t beq_forward(Reg a, Reg b) {
    return forward([&] { branch(0, a, b, 0); });
  }
  [[nodiscard]] std::size_t bne_forward(Reg a, Reg b) {
    return forward([&] { branch(1, a, b, 0); });
  }
  [[nodiscard]] std::size_t bgeu_forward(Reg a, Reg b) {
    return forward([&] { branch(7, a, b, 0); });
  }
  void land(std::size_t from) { words_[from] |= branch_bits(std::int64_t(4 * (words_.size() - from))); }
  void loop_forever() { jump(here()); }

  /// Any 64-bit constant; rd may be any register.
  void li(Reg rd, std::uint64_t value) {
    const auto number = std::int64_t(value);
    if (number >= -2048 && number < 2048) return addi(rd, zero, std::int32_t(number));
    const auto low = std::int64_t(value << 52) >> 52;
    if (number == std::int32_t(number)) {
      emit(0x37 | rd << 7 | (std::uint32_t(number - low) & 0xfffff000));
      return i(0x1b, 0, rd, rd, std::int32_t(low));  // ADDIW
    }
    li(rd, std::uint64_t((number - low) >> 12));
    slli(rd, rd, 12);
    if (low != 0) addi(rd, rd, std::int32_t(low));
  }
  /// Stores a constant of 64 bits; clobbers t5 and t6.
  void store(Address where, std::uint64_t value) { li(t5, value), store(where, t5); }
  void store(Address where, Reg value) { li(t6, where), sd(value, t6); }
  void load(Reg rd, Address where) { li(t6, where), ld(rd, t6); }
  void wait_for(Address where, std::uint64_t value) {
    li(t6, where), li(t5, value);
    const auto again = here();
    ld(t4, t6);
    bne(t4, t5, again);
  }
  void emit(std::uint32_t word) { words_.push_back(word); }

  Bytes bytes() const {
    const auto* begin = reinterpret_cast<const std::byte*>(words_.data());
    return {begin, begin + 4 * words_.size()};
  }
  /// As a file for --kernel: with `tohost` it runs in M-mode, else in S-mode with the machine's own SBI.
  ElfFile elf() const {
    ElfFile file(base_);
    file.code = bytes();
    file.segments.clear();
    file.add_segment(base_, base_, file.code.size());
    return file;
  }

 private:
  std::int64_t offset(Address target) const { return std::int64_t(target - here()); }
  template <typename F>
  std::size_t forward(F&& emit_branch) {
    const auto at = words_.size();
    emit_branch();
    return at;
  }
  void i(std::uint32_t opcode, std::uint32_t f3, Reg rd, Reg rs1, std::int32_t imm) {
    emit(opcode | rd << 7 | f3 << 12 | rs1 << 15 | std::uint32_t(imm) << 20);
  }
  void s(std::uint32_t f3, Reg rs1, Reg rs2, std::int32_t imm) {
    const auto bits = std::uint32_t(imm);
    emit(0x23 | (bits & 31) << 7 | f3 << 12 | rs1 << 15 | rs2 << 20 | (bits >> 5 & 127) << 25);
  }
  void branch(std::uint32_t f3, Reg rs1, Reg rs2, std::int64_t offset) {
    emit(0x63 | f3 << 12 | rs1 << 15 | rs2 << 20 | branch_bits(offset));
  }
  static std::uint32_t branch_bits(std::int64_t offset) {
    const auto o = std::uint32_t(offset);
    return (o >> 12 & 1) << 31 | (o >> 5 & 63) << 25 | (o >> 1 & 15) << 8 | (o >> 11 & 1) << 7;
  }
  static std::uint32_t jump_bits(std::int64_t offset) {
    const auto o = std::uint32_t(offset);
    return (o >> 20 & 1) << 31 | (o >> 1 & 1023) << 21 | (o >> 11 & 1) << 20 | (o >> 12 & 255) << 12;
  }
  Address base_;
  std::vector<std::uint32_t> words_;
};

}  // namespace doppel::test
