#include "composer.h"

#include <algorithm>
#include <cstdlib>

namespace doppel::differential::engines {

Composer::Composer(Random& random, const Program& program, Piece& piece, std::vector<Target>& patchable)
    : random_(random), program_(program), piece_(piece), patchable_(patchable) {
  // Few registers make long chains of dependent instructions.
  const bool few = random_.one_in(2);
  for (unsigned r = 0; r < 32; r++) {
    if (few && r != 2 && !random_.one_in(r >= 8 && r < 16 ? 2 : 8)) continue;
    sources_.push_back(r);
    if (r != 0 && !reserved(r)) results_.push_back(r);
  }
  constexpr std::size_t fewest = 6;  // some items need several
  for (unsigned r = 8; results_.size() < fewest; r++)
    if (std::ranges::find(results_, r) == results_.end()) results_.push_back(r);
}

const std::vector<Composer::Choice>& Composer::choices() {
  using C = Composer;
  static const std::vector<Choice> list = {
      {260, &C::computation, nullptr},
      {40, &C::patchable_instruction, nullptr},
      {15, &C::constant, nullptr},
      {8, &C::float_flags, nullptr},
      {1, &C::spin, nullptr},
      {100, &C::accesses, nullptr},
      {14, &C::walk, nullptr},
      {10, &C::copy_loop, nullptr},
      {5, &C::cache_block, nullptr},
      {18, &C::atomic, nullptr},
      {18, &C::reservation, nullptr},
      {80, &C::branch_ahead, nullptr},
      {20, &C::jump_ahead, nullptr},
      {25, &C::jump_register_ahead, nullptr},
      {14, &C::jump_table, nullptr},
      {5, &C::overlapping, nullptr},
      {30, &C::call, nullptr},
      {24, &C::loop_begin, nullptr},
      {40, &C::loop_end, nullptr},
      {30, &C::csr_access, nullptr},
      {24, &C::status_bits, &C::privileged},
      {6, &C::system_call, nullptr},
      {3, &C::illegal, nullptr},
      {3, &C::wait, nullptr},
      {8, &C::interrupt_enables, &C::privileged},
      {5, &C::software_interrupt, &C::privileged},
      {5, &C::timer, &C::privileged},
      {6, &C::device_access, nullptr},
      {5, &C::return_from_trap, &C::privileged},
      {3, &C::trap_vector, &C::supervisor_mode},
      {1, &C::restrict_memory, &C::machine_mode},
      {3, &C::modify_privilege, &C::machine_mode},
      {6, &C::fence_translations, &C::privileged},
      {8, &C::change_space, &C::paged_supervisor},
      {2, &C::toggle_paging, &C::identity},
      {14, &C::remap, &C::paged_privileged},
      {8, &C::patch, &C::alone},
      {6, &C::write_code, &C::alone},
  };
  return list;
}

void Composer::make_item() {
  static const unsigned total = [] {
    unsigned sum = 0;
    for (const auto& c : choices()) sum += c.weight;
    return sum;
  }();
  for (;;) {
    auto ticket = random_.below(total);
    const auto chosen = std::ranges::find_if(
        choices(), [&](const Choice& c) { return ticket < c.weight || (ticket -= c.weight, false); });
    if (chosen->possible && !(this->*chosen->possible)()) continue;
    begin_item();
    (this->*chosen->make)();
    if (item_.code.empty()) continue;
    return end_item();
  }
}

void Composer::begin_item() {
  item_ = {};
  item_.id = id_;
}

void Composer::end_item() {
  piece_.items.push_back(std::move(item_));
  id_++;
}

void Composer::fill(unsigned instructions) {
  for (unsigned count = 0; count < instructions; count += unsigned(piece_.items.back().code.size())) make_item();
  while (!loops_.empty()) begin_item(), loop_end(), end_item();
  begin_item(), end_piece(), end_item();
}

unsigned Composer::temporary(unsigned but, unsigned and_not) {
  for (;;)
    if (const auto r = random_.pick(results_); r != but && r != and_not) return r;
}

unsigned Composer::rounding() {
  if (random_.one_in(40)) return 5 + unsigned(random_.below(2));  // reserved: illegal
  return random_.one_in(3) ? unsigned(random_.below(5)) : 7;
}

I64 Composer::immediate(const Row& row) {
  switch (random_.below(8)) {
    case 0:
      return immediate_from(row, 0);
    case 1:
      return immediate_from(row, ~0ULL);
    case 2:
      return immediate_from(row, random_.below(16));
    default:
      return immediate_from(row, random_.next());
  }
}

Fields Composer::any_fields(const Row& row) {
  const auto source = [&](char letter) { return row.short_field(letter) ? short_register() : any_register(); };
  return {.d = row.short_field('d') ? short_register() : result(),
          .s = source('s'),
          .t = source('t'),
          .u = any_register(),
          .m = rounding(),
          .a = unsigned(random_.below(2)),
          .l = unsigned(random_.below(2)),
          .i = immediate(row),
          .ignored = std::uint32_t(random_.next())};
}

/// Where an instruction trapped the handlers go on four bytes behind its begin: a 16-bit one that may trap has a
/// second one behind it.
void Composer::add(const Row& row, const Fields& fields, std::uint32_t bits) {
  item_.code.push_back({&row, fields, bits});
  if (row.compressed() && row.kind == Kind::memory) add("c_nop", {});
}

void Composer::add(std::string_view name, const Fields& fields) {
  const auto made = make(name, fields);
  add(*made.row, made.fields, made.bits);
}

void Composer::add_bits(std::uint32_t bits, std::string_view row_of_length) {
  item_.code.push_back({&row_named(row_of_length), {}, bits});
}

void Composer::set(unsigned r, U64 value) {
  const auto low = I64((value & 0xfff) ^ 0x800) - 0x800;
  const auto high = I64((value + 0x800) & ~0xfffULL);
  if (high != 0) add("lui", {.d = r, .i = high});
  if (low != 0 || high == 0) add("addi", {.d = r, .s = high != 0 ? r : 0, .i = low});
}

void Composer::set_satp(unsigned r, U64 value) {
  const auto other = temporary(r);
  set(r, value >> 44);  // mode and ASID
  add("slli", {.d = r, .s = r, .i = 44});
  set(other, value & ((1ULL << 44) - 1));
  add("add", {.d = r, .s = r, .t = other});
}

void Composer::set_place(unsigned r, Target to, U64 base) {
  item_.fixes.push_back({.at = next(), .form = Fix::Form::high, .target = to, .addend = I64(base)});
  add("lui", {.d = r});
  item_.fixes.push_back({.at = next(), .form = Fix::Form::low, .target = to, .addend = I64(base)});
  add("addi", {.d = r, .s = r});
}

void Composer::set_address(unsigned r, Target to, I64 addend) {
  const auto anchor = int(next());
  item_.fixes.push_back({.at = next(), .form = Fix::Form::high, .target = to, .anchor = anchor, .addend = addend});
  add("auipc", {.d = r});
  item_.fixes.push_back({.at = next(), .form = Fix::Form::low, .target = to, .anchor = anchor, .addend = addend});
  add("addi", {.d = r, .s = r});
}

void Composer::csr(std::string_view name, unsigned rd, unsigned number, unsigned rs) {
  add(name, {.d = rd, .s = rs, .i = I64(number)});
}

}  // namespace doppel::differential::engines
