// Items that compute in registers.
#include <algorithm>
#include <array>

#include "composer.h"

namespace doppel::differential::engines {
namespace {

std::vector<const Row*> rows_of(Kind kind) {
  std::vector<const Row*> list;
  for (const auto& row : rows())
    if (row.kind == kind) list.push_back(&row);
  return list;
}

constexpr unsigned fflags = 1, frm = 2, fcsr = 3;

}  // namespace

std::uint32_t patchable_bits(Random& random, unsigned d, unsigned s) {
  constexpr std::array<std::string_view, 6> names = {"addi", "xori", "andi", "slti", "sltiu", "addiw"};
  return make(random.pick(names), {.d = d, .s = s, .i = I64(random.below(4096)) - 2048}).bits;
}

void Composer::computation() {
  static const auto integer = rows_of(Kind::plain), floating = rows_of(Kind::floating);
  for (unsigned count = 1 + unsigned(random_.below(3)); count > 0; count--)
    add_random(*random_.pick(random_.one_in(4) ? floating : integer));
}

void Composer::patchable_instruction() {
  const auto d = temporary(), s = any_register();
  const auto bits = patchable_bits(random_, d, s);
  item_.code.push_back({row_of(bits), {}, bits});
  item_.patchable = true;
  patchable_.push_back(here(0));
}

void Composer::constant() {
  const auto r = temporary();
  set(r, U64(I64(std::int32_t(random_.next() >> random_.below(32)))));
  if (random_.one_in(4)) add("slli", {.d = r, .s = r, .i = I64(random_.below(64))});
}

/// A loop that is longer than what a hart executes at a time.
void Composer::spin() {
  const auto counter = temporary();
  set(counter, 1000 + random_.below(20'000));
  const auto top = next();
  static const auto integer = rows_of(Kind::plain);
  for (auto count = 1 + random_.below(4); count > 0; count--)
    add_random(*random_.pick(integer), [&](Fields& f) { f.d = f.d == counter ? 0 : f.d; });
  add("addi", {.d = counter, .s = counter, .i = -1});
  item_.fixes.push_back({.at = next(), .target = here(top), .anchor = int(next())});
  add("blt", {.s = 0, .t = counter});
}

void Composer::float_flags() {
  constexpr std::array<unsigned, 3> registers = {fflags, frm, fcsr};
  switch (random_.below(4)) {
    case 0:
      return csr("csrrs", result(), random_.pick(registers), 0);
    case 1:
      return csr("csrrwi", result(), fflags, unsigned(random_.below(32)));
    case 2:  // a mode that does not exist makes dynamic rounding illegal
      return csr("csrrwi", result(), frm, unsigned(random_.below(random_.one_in(4) ? 8 : 5)));
    default:
      return csr("csrrw", result(), fcsr, any_register());
  }
}

}  // namespace doppel::differential::engines
