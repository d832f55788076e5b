// Items that jump.
#include <array>

#include "composer.h"

namespace doppel::differential::engines {
namespace {

constexpr std::array<std::string_view, 8> branches = {"beq", "bne", "blt", "bge", "bltu", "bgeu", "c_beqz", "c_bnez"};
constexpr unsigned most_ahead = 5;  // items

/// The registers that count loops, by the piece's level and how deep the loop is; none there is 0.
constexpr unsigned counters[3][2] = {{30, 29}, {28, 0}, {27, 0}};

}  // namespace

void Composer::branch_ahead() {
  const Row& row = row_named(random_.pick(branches));
  const auto fix = next();
  add_random(row, [&](Fields& f) {
    if (random_.one_in(4)) f.t = f.s;
  });
  item_.fixes.push_back({.at = fix, .target = ahead(most_ahead), .anchor = int(fix)});
}

void Composer::jump_ahead() {
  item_.fixes.push_back({.at = 0, .target = ahead(most_ahead), .anchor = 0});
  if (random_.one_in(3))
    add("c_j", {});
  else
    add("jal", {.d = result()});
}

void Composer::jump_register_ahead() {
  const auto base = temporary();
  const auto offset = I64(random_.below(2048)) - 1024;
  const bool compressed = random_.one_in(4);
  // Bit 0 of the target is ignored.
  set_address(base, ahead(most_ahead), I64(random_.below(2)) - (compressed ? 0 : offset));
  if (!compressed)
    add("jalr", {.d = result(), .s = base, .i = offset});
  else
    add(is_segment() && random_.one_in(2) ? "c_jalr" : "c_jr", {.s = base});
}

/// One of four ways, by a register.
void Composer::jump_table() {
  const auto base = temporary(), index = temporary(base);
  add("andi", {.d = index, .s = any_register(), .i = 12});
  const auto fix = item_.fixes.size();
  set_address(base, {});
  add("add", {.d = base, .s = base, .t = index});
  add("jalr", {.d = result(), .s = base});
  for (auto n = fix; n < item_.fixes.size(); n++) item_.fixes[n].target = here(next());
  for (unsigned way = 0; way < 4; way++) {
    item_.fixes.push_back({.at = next(), .target = ahead(most_ahead), .anchor = int(next())});
    add("jal", {.d = 0});
  }
}

/// A jump into the middle of an instruction, where another one is.
void Composer::overlapping() {
  static const auto inner_rows = [] {
    std::vector<const Row*> list;
    for (const auto& row : rows())
      if (row.compressed() && row.kind == Kind::plain) list.push_back(&row);
    return list;
  }();
  item_.fixes.push_back({.at = 0, .target = here(1), .anchor = 0, .addend = 2});
  if (random_.one_in(2))
    add("beq", {.s = any_register(), .t = any_register()});
  else
    add("jal", {.d = 0});
  std::optional<std::uint32_t> inner;
  while (!inner) {
    const auto& row = *random_.pick(inner_rows);
    inner = encode(row, any_fields(row));
  }
  constexpr std::uint32_t lui = 0x37;
  add_bits(*inner << 16 | std::uint32_t(random_.below(16)) << 12 | temporary() << 7 | lui, "lui");
}

void Composer::call() {
  std::vector<const Piece*> callable;
  for (const auto& other : program_.pieces)
    if (other.level > piece_.level && other.setting.world == world() && other.setting.hart == piece_.setting.hart)
      callable.push_back(&other);
  if (callable.empty()) return;
  const auto& callee = *random_.pick(callable);
  const auto link = link_of_level[callee.level];
  const Target entry{callee.id, 0, 0};
  if (random_.one_in(2)) {
    item_.fixes.push_back({.at = 0, .target = entry, .anchor = 0});
    return add("jal", {.d = link});
  }
  const auto base = temporary();
  set_address(base, entry);
  add("jalr", {.d = link, .s = base});
}

void Composer::loop_begin() {
  if (loops_.size() == 2) return;
  const auto counter = counters[piece_.level][loops_.size()];
  if (counter == 0) return;
  loops_.push_back({id_, counter});
  const auto often = program_.way == Way::hot || random_.one_in(40);
  const auto times = I64(often ? 20 + random_.below(150) : 2 + random_.below(4));
  add("addi", {.d = counter, .s = 0, .i = times});
}

/// Counts down; a counter that was never set ends the loop too.
void Composer::loop_end() {
  if (loops_.empty()) return;
  const auto loop = loops_.back();
  loops_.pop_back();
  item_.needs.push_back({piece_.id, loop.begin, 0});
  add("addi", {.d = loop.counter, .s = loop.counter, .i = -1});
  item_.fixes.push_back({.at = 1, .target = {piece_.id, loop.begin + 1, 0}, .anchor = 1});
  add("blt", {.s = 0, .t = loop.counter});
}

/// A function returns. A segment calls firmware, or jumps where nothing is, so that the fault does.
void Composer::end_piece() {
  if (!is_segment()) {
    const auto link = link_of_level[piece_.level];
    return random_.one_in(2) ? add("jalr", {.d = 0, .s = link}) : add("c_jr", {.s = link});
  }
  if (!random_.one_in(5)) {
    add("addi", {.d = 17, .s = 0});
    return add("ecall", {});
  }
  const auto base = temporary();
  const std::array<U64, 4> nowhere = {program_.windows + place::unmapped, program_.windows + place::unmapped_table,
                                      place::device, 0x6000'0000};
  set(base, random_.pick(nowhere));
  if (random_.one_in(4)) add("bseti", {.d = base, .s = base, .i = 45});
  add("jalr", {.d = temporary(), .s = base});
}

}  // namespace doppel::differential::engines
