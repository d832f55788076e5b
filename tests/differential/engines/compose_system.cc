// Items that read and change how the machine is set up, trap, wait, and use its device.
#include <array>

#include "composer.h"
#include "guest/riscv64/decode.h"
#include "handlers.h"

namespace doppel::differential::engines {
namespace {

constexpr unsigned sstatus = 0x100, sie = 0x104, stvec = 0x105, sepc = 0x141, sip = 0x144, stimecmp = 0x14d,
                   mstatus = 0x300, mie = 0x304, mepc = 0x341, mip = 0x344, pmpcfg0 = 0x3a0, pmpaddr0 = 0x3b0,
                   time_csr = 0xc01;

// What may be read, and what may be written with anything. Not in the second list: where traps go, what is
// delegated, and what has an item of its own.
constexpr std::array<unsigned, 8> user_readable = {1, 2, 3, 0xc00, 0xc01, 0xc02, 0xc03, 0xc1f};
constexpr std::array<unsigned, 14> supervisor_readable = {0x100, 0x104, 0x105, 0x106, 0x10a, 0x140, 0x141,
                                                          0x142, 0x143, 0x144, 0x14d, 0x180, 0xc00, 0xc02};
constexpr std::array<unsigned, 12> supervisor_writable = {0x104, 0x106, 0x10a, 0x140, 0x140, 0x141,
                                                          0x141, 0x142, 0x143, 0x143, 0x144, 0x14d};
constexpr std::array<unsigned, 24> machine_readable = {0xf11, 0xf12, 0xf13, 0xf14, 0xf15, 0x300, 0x301, 0x302,
                                                       0x303, 0x304, 0x305, 0x306, 0x30a, 0x340, 0x341, 0x342,
                                                       0x343, 0x344, 0x3a0, 0x3b0, 0x3b3, 0xb00, 0xb02, 0x323};
constexpr std::array<unsigned, 12> machine_writable = {0x303, 0x304, 0x306, 0x30a, 0x320, 0x340,
                                                       0x341, 0x342, 0x343, 0x344, 0xb00, 0xb02};
constexpr std::array<std::string_view, 3> by_register = {"csrrw", "csrrs", "csrrc"};
constexpr std::array<std::string_view, 3> by_immediate = {"csrrwi", "csrrsi", "csrrci"};

constexpr U64 sum = 1 << 18, mxr = 1 << 19, fs = 3 << 13, mpp = 3 << 11, mprv = 1 << 17;

}  // namespace

void Composer::csr_access() {
  const auto pick = [&](const auto& user, const auto& supervisor, const auto& machine) -> unsigned {
    // Now and then what this mode must not touch.
    const auto which = random_.one_in(12) ? random_.below(3) : user_mode() ? 0 : machine_mode() ? random_.below(3) : 1;
    return which == 0 ? random_.pick(user) : which == 1 ? random_.pick(supervisor) : random_.pick(machine);
  };
  if (random_.one_in(2)) return csr("csrrs", result(), pick(user_readable, supervisor_readable, machine_readable), 0);
  constexpr std::array<unsigned, 3> floating = {1, 2, 3};
  const auto number = pick(floating, supervisor_writable, machine_writable);
  if (random_.one_in(4))
    csr(random_.pick(by_immediate), result(), number, unsigned(random_.below(32)));
  else
    csr(random_.pick(by_register), result(), number, any_register());
}

/// Permission to use the user's pages, floating point, interrupts: sets or clears bits, and often the other way again
/// after an access.
void Composer::status_bits() {
  const auto bits = random_.below(8);
  if (bits < 3) {
    const auto all = random_.one_in(4) ? unsigned(random_.below(32)) & ~8U : 2U;
    return csr(random_.one_in(2) ? "csrrsi" : "csrrci", random_.one_in(2) ? 0 : result(), sstatus, all);
  }
  const auto r = temporary();
  set(r, bits < 6 ? sum : bits < 7 ? fs : random_.one_in(8) ? mxr : sum | 2);
  const bool first_sets = random_.one_in(2);
  const auto number = machine_mode() && random_.one_in(2) ? mstatus : sstatus;
  csr(first_sets ? "csrrs" : "csrrc", random_.one_in(2) ? 0 : temporary(r), number, r);
  if (random_.one_in(3)) return;
  const auto base = temporary(r);
  set(base, data_address(8, true));
  for (auto count = 1 + random_.below(3); count > 0; count--)
    access(row_named(random_.one_in(2) ? "ld" : "sd"), base, I64(random_.below(16)) * 8);
  const auto again = temporary();
  set(again, bits < 7 && bits >= 6 ? fs : sum);
  csr(first_sets ? "csrrc" : "csrrs", random_.one_in(2) ? 0 : temporary(), sstatus, again);
}

/// Calls that firmware, or the supervisor that they are delegated to, returns from.
void Composer::system_call() {
  switch (random_.below(3)) {
    case 0:
      add("addi", {.d = call_number_register, .s = 0, .i = 1 + I64(random_.below(100))});
      return add("ecall", {});
    case 1:
      return add("ebreak", {});
    default:
      add("c_ebreak", {});
      return add("c_nop", {});
  }
}

void Composer::illegal() {
  if (random_.one_in(3)) {  // not all zeros: there firmware takes the code to be at its end
    constexpr std::array<std::uint32_t, 4> reserved = {0x0004, 0x2001, 0x6101, 0x8002};
    add_bits(random_.pick(reserved), "c_nop");
    return add("c_nop", {});
  }
  constexpr std::array<std::string_view, 5> privileged_rows = {"mret", "sret", "sfence_vma", "sinval_vma", "wfi"};
  if (!machine_mode() && random_.one_in(2)) return add(user_mode() ? random_.pick(privileged_rows) : "mret", {});
  std::uint32_t bits;
  do bits = std::uint32_t(random_.next()) | 3;
  while (riscv64::decode(bits).op != riscv64::Opcode::illegal);
  add_bits(bits, "addi");
}

void Composer::wait() {
  constexpr std::array<std::string_view, 4> rows = {"wfi", "pause", "wrs_nto", "wrs_sto"};
  add(random_.pick(rows), {});
}

void Composer::interrupt_enables() {
  const auto r = temporary();
  set(r, random_.next() & (machine_mode() ? 0xaaa : 0x222));
  csr(random_.one_in(3) ? "csrrc" : "csrrs", result(), machine_mode() ? mie : sie, r);
  if (machine_mode() && random_.one_in(2)) return csr("csrrsi", 0, mstatus, 8);
  csr(random_.one_in(3) ? "csrrci" : "csrrsi", result(), sstatus, 2);
}

void Composer::software_interrupt() {
  if (random_.one_in(2)) return csr(random_.one_in(3) ? "csrrci" : "csrrsi", result(), sip, 2);
  const auto r = temporary();
  if (!machine_mode()) {
    set(r, 0x222);
    return csr("csrrs", result(), sip, r);
  }
  set(r, random_.next() & 0x222);
  csr(random_.one_in(3) ? "csrrc" : "csrrs", result(), mip, r);
}

void Composer::timer() {
  const auto r = temporary(), other = temporary(r);
  csr("csrrs", r, time_csr, 0);
  add("addi", {.d = r, .s = r, .i = I64(random_.below(200)) - 10});
  if (machine_mode()) {
    set(other, place::device + place::device_timer);
    add("sd", {.s = other, .t = r});
    add("addi", {.d = other, .s = 0, .i = 1 << 7});
    return csr("csrrs", 0, mie, other);
  }
  csr("csrrw", result(), stimecmp, r);
  add("addi", {.d = other, .s = 0, .i = 1 << 5});
  csr("csrrs", 0, sie, other);
}

void Composer::device_access() {
  const auto base = temporary();
  set(base, device_base());
  if (random_.one_in(3)) return add("sw", {.s = base, .t = any_register(), .i = I64(place::device_software)});
  constexpr std::array<std::string_view, 8> names = {"lb", "lhu", "lw", "ld", "sb", "sh", "sw", "sd"};
  for (auto count = 1 + random_.below(3); count > 0; count--)
    access(row_named(random_.pick(names)), base, I64(place::device_plain + random_.below(32) * 8));
}

/// SRET or MRET to one of the next items, in this mode or a lesser one.
void Composer::return_from_trap() {
  const auto r = temporary();
  const auto to = ahead(3);
  const auto paged_base = [&](bool user) {
    return program_.windows + (user ? place::user_code : place::supervisor_code);
  };
  if (machine_mode()) {
    const auto mode = unsigned(random_.below(3));
    const bool here_too = mode == 2 || program_.mappings.empty();
    set_place(r, to, here_too ? place::code : paged_base(mode == 0));
    csr("csrrw", 0, mepc, r);
    set(r, mpp | 1 << 7);
    csr("csrrc", 0, mstatus, r);
    set(r, U64(mode == 2 ? 3 : mode) << 11 | U64(random_.below(2)) << 7);
    csr("csrrs", 0, mstatus, r);
    return add("mret", {});
  }
  if (!random_.one_in(4)) csr("csrrci", 0, sstatus, 2);
  const bool user = random_.one_in(3);
  set_place(r, to, user && is_paged() ? paged_base(true) : program_.code_base(piece_.setting));
  csr("csrrw", 0, sepc, r);
  set(r, 1 << 8 | U64(random_.below(2)) << 5);
  csr(user ? "csrrc" : "csrrs", result(), sstatus, r);
  add("sret", {});
}

void Composer::trap_vector() {
  const auto r = temporary();
  const auto handler = handlers_of(piece_.setting.hart).supervisor;
  set(r, random_.one_in(4) ? program_.windows + place::unmapped : handler | random_.below(2));
  csr(random_.one_in(3) ? "csrrs" : "csrrw", result(), stvec, r);
}

/// Physical memory protection for a part of the data, or of the code.
void Composer::restrict_memory() {
  const auto r = temporary();
  const auto index = unsigned(random_.below(3));
  const auto frame = random_.one_in(4) ? place::code + random_.below(place::code_pages) * page_size
                                       : place::data + random_.below(place::data_pages) * page_size;
  const auto mode = random_.below(4);  // off, top of range, four bytes, a power of two
  const U64 ones = mode == 3 ? (1ULL << (random_.one_in(2) ? 9 : random_.below(10))) - 1 : 0;
  set(r, ((frame | (random_.one_in(2) ? 0 : random_.below(page_size))) >> 2 & ~ones) | ones >> 1);
  csr("csrrw", result(), pmpaddr0 + index, r);
  set(r, 0xffULL << 8 * index);
  csr("csrrc", 0, pmpcfg0, r);
  set(r, (random_.below(8) | mode << 3 | (random_.one_in(8) ? 0x80 : 0)) << 8 * index);
  csr("csrrs", 0, pmpcfg0, r);
}

/// Accesses with the rights of another mode.
void Composer::modify_privilege() {
  const auto r = temporary(), base = temporary(r);
  set(r, mpp);
  csr("csrrc", 0, mstatus, r);
  set(r, mprv | U64(random_.below(2)) << 11 | (random_.one_in(2) ? sum : 0));
  csr("csrrs", 0, mstatus, r);
  const auto page = random_.below(place::data_window_pages);
  set(base, program_.windows + place::data_window + page * page_size + offset_in_page(8, true));
  for (auto count = 1 + random_.below(3); count > 0; count--)
    access(row_named(random_.one_in(2) ? "ld" : "sd"), base, I64(random_.below(16)) * 8);
  set(r, mprv);
  csr("csrrc", 0, mstatus, r);
}

}  // namespace doppel::differential::engines
