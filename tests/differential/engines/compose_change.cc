// Items that change what is at an address, data and code, and fence as the manual wants it.
#include <array>

#include "composer.h"
#include "guest/riscv64/privileged.h"
#include "handlers.h"

namespace doppel::differential::engines {
namespace {

namespace pte = riscv64::pte;
constexpr unsigned sstatus = 0x100, satp = 0x180;

U64 leaf(U64 physical, U64 bits) { return physical >> page_shift << pte::ppn_shift | bits; }

}  // namespace

U64 data_entry(Random& random, bool user) {
  U64 bits = pte::v | pte::r | pte::w | pte::a | pte::d | (user ? pte::u : 0);
  if (random.one_in(5)) bits &= ~pte::w;
  if (random.one_in(16)) bits &= ~(pte::r | pte::w), bits |= pte::x;  // to be read with MXR only
  if (random.one_in(6)) bits &= ~pte::d;
  if (random.one_in(10)) bits &= ~(pte::a | pte::d);
  if (random.one_in(10)) bits &= ~pte::v;
  if (random.one_in(30)) bits &= ~pte::r;  // W without R is reserved
  U64 physical = place::data + random.below(place::data_pages) * page_size;
  if (random.one_in(30)) physical = place::device;
  if (random.one_in(60)) physical = 0x6000'0000;  // nothing is there
  return leaf(physical, bits);
}

U64 code_entry(const Program& program, unsigned page, bool of_twin, bool user, bool writable) {
  const U64 bits = pte::v | pte::r | (writable ? pte::w | pte::d : pte::x) | pte::a | (user ? pte::u : 0);
  return leaf(program.physical(page * page_size, of_twin), bits);
}

void Composer::fence_translations() {
  const auto r = temporary();
  switch (random_.below(8)) {
    case 0:
      return add("sfence_vma", {.t = any_register()});
    case 1:
      return add(random_.one_in(2) ? "sfence_w_inval" : "sfence_inval_ir", {});
    case 2:
      set(r, data_address(8, true));
      return add("sinval_vma", {.s = r, .t = any_register()});
    default:
      set(r, random_.one_in(2) ? data_address(8, true)
                               : program_.code_base(piece_.setting) + random_.below(8) * page_size);
      add("sfence_vma", {.s = r});
  }
}

/// Between writing an entry and the fence behind it nothing else may execute: firmware fences for a segment that it
/// takes away, and interrupts that come back are disabled.
void Composer::begin_change(unsigned r) {
  csr("csrrci", 0, sstatus, 2);
  set(r, records_of(piece_.setting.hart) + place::changing);
  add("sw", {.s = r, .t = r});
}

void Composer::end_change() {
  const auto r = temporary();
  set(r, records_of(piece_.setting.hart) + place::changing);
  add("sw", {.s = r, .t = 0});
}

void Composer::change_space() {
  const auto r = temporary();
  const auto space = program_.any_space(random_, piece_.setting.hart);
  set_satp(r, program_.satp_of(space, unsigned(random_.below(program_.asids))));
  csr("csrrw", random_.one_in(2) ? 0 : temporary(r), satp, r);
}

/// Physical addresses for a while, where code is at the same address either way.
void Composer::toggle_paging() {
  const auto r = temporary(), base = temporary(r);
  csr("csrrw", r, satp, 0);
  set(base, place::data + random_.below(place::data_pages) * page_size);
  for (auto count = 1 + random_.below(3); count > 0; count--) {
    const auto value = temporary(r, base);
    add("ld", {.d = value, .s = base, .i = I64(random_.below(64)) * 8});
    add("sd", {.s = base, .t = value, .i = I64(random_.below(64)) * 8});
  }
  csr("csrrw", 0, satp, r);
}

/// Writes an entry and fences for the address that it is for: that address alone, its space, or all.
void Composer::write_entry(unsigned space, U64 table, U64 index, U64 entry, U64 covered) {
  const auto base = temporary(), value = temporary(base);
  item_.whole = true;
  begin_change(base);
  const auto offset = space * place::tables_of_space + table + index * 8;
  set(base, machine_mode() ? place::tables + offset : program_.windows + place::tables_window + offset);
  set(value, entry);
  add("sd", {.s = base, .t = value});
  const auto form = random_.below(program_.asids == 1 ? 4 : 2);
  if (form != 0 && form != 3) set(base, covered);
  if (form >= 2) set(value, 1 + space);
  add(random_.one_in(6) ? "sinval_vma" : "sfence_vma",
      {.s = form == 1 || form == 2 ? base : 0, .t = form >= 2 ? value : 0});
  end_change();
}

void Composer::remap() {
  const auto space = program_.any_space(random_, piece_.setting.hart);
  if (random_.one_in(12)) {  // the large page, with other rights
    constexpr U64 sometimes = pte::w | pte::u | pte::r;
    const auto bits = pte::v | pte::a | pte::d | ((random_.next() | (random_.one_in(2) ? pte::r : 0)) & sometimes);
    const U64 index = (program_.windows + place::superpage) >> 21 & 511;
    return write_entry(space, place::middle, index, leaf(place::ram, bits | pte::x),
                       program_.windows + place::superpage + random_.below(16) * page_size);
  }
  if (random_.one_in(2)) {
    const auto page = 2 + random_.below(place::data_window_pages - 2);  // the first two are in every space
    const auto at = place::data_window + page * page_size;
    return write_entry(space, place::windows_table, at >> page_shift, data_entry(random_, random_.one_in(2)),
                       program_.windows + at);
  }
  constexpr std::array<U64, 4> windows = {place::user_code, place::user_alias, place::supervisor_code,
                                          place::supervisor_alias};
  const auto window = random_.pick(windows);
  const auto page = unsigned(random_.below(place::code_pages));
  auto entry = code_entry(program_, page, random_.one_in(2), window < place::supervisor_code, false);
  // Not where the fence itself may lie: whether it is still fetched from there is left open (Privileged ISA 12.2.1).
  const bool own = paged_supervisor() && window >= place::supervisor_code;
  if (!own && random_.one_in(8)) entry &= ~(random_.one_in(2) ? pte::x : pte::v);
  const auto at = window + page * page_size;
  write_entry(space, place::windows_table, at >> page_shift, entry, program_.windows + at);
}

/// Gives an instruction of the program another operation or immediate.
void Composer::patch() {
  if (patchable_.empty()) return;
  const auto to = random_.pick(patchable_);
  const auto base = temporary(), value = temporary(base);
  const auto bits = patchable_bits(random_, temporary(), any_register());
  item_.needs.push_back(to);
  item_.whole = true;
  set_place(base, to, write_base());
  set(value, U64(I64(std::int32_t(bits))));
  if (random_.one_in(2)) {
    add("sw", {.s = base, .t = value});
  } else {
    add("sh", {.s = base, .t = value});
    add("srli", {.d = value, .s = value, .i = 16});
    add("sh", {.s = base, .t = value, .i = 2});
  }
  add("fence_i", {});
}

/// Writes a function into the page for that, and calls it.
void Composer::write_code() {
  const auto base = temporary(), value = temporary(base);
  item_.whole = true;
  set(base, written_base() + random_.below(32) * 64);
  std::vector<std::uint32_t> words;
  for (auto count = 1 + random_.below(6); count > 0; count--)
    words.push_back(patchable_bits(random_, temporary(), any_register()));
  words.push_back(make("jalr", {.d = 0, .s = written_link}).bits);
  I64 at = 0;
  for (const auto word : words) {
    set(value, U64(I64(std::int32_t(word))));
    add("sw", {.s = base, .t = value, .i = at});
    at += 4;
  }
  add("fence_i", {});
  add("jalr", {.d = written_link, .s = base});
}

}  // namespace doppel::differential::engines
