// Items that access memory.
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

}  // namespace

unsigned Composer::size_of(const Row& row) const {
  const auto name = row.name;
  if (name.ends_with("_d")) return 8;
  if (name.ends_with("_w")) return 4;
  for (const auto [text, size] : {std::pair{"lb", 1U}, {"sb", 1U}, {"lh", 2U}, {"sh", 2U}, {"lw", 4U}, {"sw", 4U}})
    if (name.find(text) != name.npos) return size;
  return name.find("flw") != name.npos || name.find("fsw") != name.npos ? 4 : 8;
}

/// Often at the border to the next page, and mostly aligned.
U64 Composer::offset_in_page(unsigned size, bool aligned) {
  U64 offset = random_.below(page_size);
  if (random_.one_in(4)) offset = (page_size - size + 1 + random_.below(2 * size - 1)) & page_mask;
  if (aligned || !random_.one_in(5)) offset &= ~U64(size - 1);
  return offset;
}

U64 Composer::data_address(unsigned size, bool aligned) {
  if (!is_paged()) return place::data + random_.below(place::data_pages) * page_size + offset_in_page(size, aligned);
  U64 base = place::data_window;
  U64 pages = place::data_window_pages;
  if (random_.one_in(8)) base = random_.one_in(2) ? place::napot : place::superpage, pages = place::data_pages;
  return program_.windows + base + random_.below(pages) * page_size + offset_in_page(size, aligned);
}

U64 Composer::address(unsigned size, bool aligned, bool& room_around) {
  room_around = false;
  switch (random_.below(24)) {
    case 0: {  // data on a page of code
      const auto offset = random_.below(place::code_data_end - place::code_data - place::code_data_slack - size);
      const auto page = random_.below(place::code_pages);
      return write_base() + page * page_size + place::code_data + (aligned ? offset & ~U64(size - 1) : offset);
    }
    case 1:
      return device_base() + place::device_plain + (random_.below(0x800) & ~U64(random_.one_in(6) ? 0 : size - 1));
    case 2:
      if (!random_.one_in(3)) break;
      return (is_paged()          ? program_.windows + (random_.one_in(2) ? place::unmapped : place::unmapped_table)
              : random_.one_in(2) ? 0x6000'0000
                                  : place::ram + place::ram_size) -
             random_.below(9);
    default:
      break;
  }
  room_around = true;
  return data_address(size, aligned);
}

/// A register for an instruction's address: written by the item, nameable by the row.
unsigned Composer::base_of(const Row& row) {
  if (!row.field('s')) return 2;  // c.lwsp and its like
  return row.short_field('s') ? short_register() : temporary();
}

void Composer::access(const Row& row, unsigned base, I64 offset) {
  const bool keeps_base = row.field('d') && row.kind != Kind::floating;
  for (unsigned tries = 0; tries < 50; tries++) {
    Fields fields = any_fields(row);
    fields.s = base, fields.i = offset;
    if (keeps_base && fields.d == base) continue;
    if (const auto bits = encode(row, fields)) return add(row, fields, *bits);
  }
}

void Composer::access_once(const Row& row) {
  const auto base = base_of(row);
  const bool aligned = row.kind == Kind::atomic && !random_.one_in(12);
  bool room;
  Fields fields;
  do fields = any_fields(row), fields.s = base;
  while (!encode(row, fields));
  set(base, address(size_of(row), aligned, room) - U64(row.immediate.empty() ? 0 : fields.i));
  if (random_.one_in(150)) add("bseti", {.d = base, .s = base, .i = 45});  // no address at all
  add(row, fields, *encode(row, fields));
}

/// One, or some that share a base register.
void Composer::accesses() {
  static const auto list = rows_of(Kind::memory);
  const auto& first = *random_.pick(list);
  if (random_.one_in(2)) return access_once(first);
  const auto base = base_of(first);
  const auto at = data_address(8, random_.one_in(2));
  set(base, at);
  for (unsigned count = 2 + unsigned(random_.below(4)); count > 0; count--) {
    const auto& row = *random_.pick(list);
    if (!row.field('s') && base != 2) continue;
    if (row.short_field('s') && (base < 8 || base > 15)) continue;
    const auto step = I64(random_.below(32)) * 8 - (random_.one_in(3) ? 128 : 0);
    access(row, base, immediate_from(row, U64(random_.one_in(6) ? I64(random_.next()) : step)));
  }
}

/// A loop over memory that a pointer walks along.
void Composer::walk() {
  static const auto list = rows_of(Kind::memory);
  const auto pointer = temporary(), counter = temporary(pointer);
  const I64 stride = random_.one_in(3) ? I64(1 + random_.below(1500)) : I64(8 << random_.below(3));
  const bool backwards = random_.one_in(4);
  const U64 base = is_paged() ? program_.windows + place::data_window : place::data;
  set(pointer, base + random_.below(4) * page_size + offset_in_page(8, true) + (backwards ? 4 * page_size : 0));
  set(counter, 2 + random_.below(12));
  const auto top = next();
  for (unsigned count = 1 + unsigned(random_.below(2)); count > 0;) {
    const auto& row = *random_.pick(list);
    if (row.compressed()) continue;
    const auto size = next();
    for (;;) {
      Fields fields = any_fields(row);
      fields.s = pointer, fields.i = immediate_from(row, random_.below(64));
      if (row.field('d') && (fields.d == pointer || fields.d == counter)) continue;
      if (const auto bits = encode(row, fields)) add(row, fields, *bits);
      break;
    }
    if (next() > size) count--;
  }
  add("addi", {.d = pointer, .s = pointer, .i = backwards ? -stride : stride});
  add("addi", {.d = counter, .s = counter, .i = -1});
  item_.fixes.push_back({.at = next(), .target = here(top), .anchor = int(next())});
  add("blt", {.s = 0, .t = counter});
}

/// A loop that copies memory forwards, element by element, often to close by.
void Composer::copy_loop() {
  constexpr std::array<std::array<std::string_view, 2>, 7> pairs = {
      {{"lb", "sb"}, {"lbu", "sb"}, {"lh", "sh"}, {"lhu", "sh"}, {"lw", "sw"}, {"lwu", "sw"}, {"ld", "sd"}}};
  const auto kind = random_.below(pairs.size());
  const I64 size = I64(1) << (kind < 6 ? kind / 2 : 3);
  const auto from = temporary(), to = temporary(from);
  auto value = temporary(from, to), end = temporary(from, to);
  while (end == value) end = temporary(from, to);
  const auto source = data_address(8, !random_.one_in(4));
  set(from, source);
  set(to, random_.one_in(3) ? data_address(8, !random_.one_in(4)) : source + random_.below(64) - 32);
  const auto rounds = I64(random_.one_in(4) ? 1 + random_.below(400) : 4 + random_.below(40));
  const bool counted = random_.one_in(3);
  if (counted)
    add("addi", {.d = end, .s = 0, .i = rounds});
  else
    add("addi", {.d = end, .s = from, .i = std::min<I64>(rounds * size, 2040)});
  const auto top = next();
  add(pairs[kind][0], {.d = value, .s = from});
  add(pairs[kind][1], {.s = to, .t = value});
  add("addi", {.d = from, .s = from, .i = size});
  add("addi", {.d = to, .s = to, .i = size});
  if (counted) add("addi", {.d = end, .s = end, .i = -1});
  item_.fixes.push_back({.at = next(), .target = here(top), .anchor = int(next())});
  if (counted)
    add("bne", {.s = end, .t = 0});
  else
    add("bltu", {.s = from, .t = end});
}

void Composer::cache_block() {
  static const auto list = rows_of(Kind::cache_block);
  const auto base = temporary();
  bool room;
  set(base, address(64, random_.one_in(2), room));
  add_random(*random_.pick(list), [&](Fields& f) { f.s = base; });
}

void Composer::atomic() {
  static const auto list = rows_of(Kind::atomic);
  access_once(*random_.pick(list));
}

/// LR and SC with nothing, computation or accesses between, in the wrong order, twice, elsewhere.
void Composer::reservation() {
  const bool wide = random_.one_in(2);
  const auto &lr = row_named(wide ? "lr_d" : "lr_w"), &sc = row_named(wide ? "sc_d" : "sc_w");
  const auto base = temporary();
  bool room;
  set(base, address(8, !random_.one_in(30), room));
  static const auto between = rows_of(Kind::plain);
  const auto at_base = [&](Fields& f) { f.s = base; };
  const auto keeping_base = [&](Fields& f) { f.s = base, f.d = f.d == base ? 0 : f.d; };
  switch (random_.below(8)) {
    case 0:
    case 1:
      return reserve_with_access(lr, sc, base);
    case 2:
    case 3:
      return reserve_in_loop(lr, sc, base);
    case 4:  // the second has no reservation
      add_random(lr, keeping_base);
      add_random(sc, keeping_base);
      break;
    case 5:
      add_random(lr, keeping_base);
      for (auto count = random_.below(3); count > 0; count--)
        add_random(*random_.pick(between), [&](Fields& f) { f.d = f.d == base ? 0 : f.d; });
      break;
    default:
      add_random(lr, keeping_base);
  }
  add_random(sc, at_base);
}

void Composer::reserve_with_access(const Row& lr, const Row& sc, unsigned base) {
  const auto keeping_base = [&](Fields& f) { f.s = base, f.d = f.d == base ? 0 : f.d; };
  add_random(lr, keeping_base);
  const auto offset = I64(random_.below(4)) * 8;
  switch (random_.below(4)) {
    case 0:
      access(row_named("ld"), base, offset);
      break;
    case 1:
      access(row_named("sd"), base, offset);
      break;
    case 2:  // a pair of its own: the reservation is gone
      access(row_named("lw"), base, offset);
      add_random(row_named("lr_w"), keeping_base);
      add_random(row_named("sc_w"), keeping_base);
      break;
    default:
      add_random(row_named("amoadd_w"), keeping_base);
  }
  add_random(sc, [&](Fields& f) { f.s = base; });
}

/// Compare-and-swap as the manual's examples have it, but for a bounded number of times: where accesses fault it would
/// never end. With a way round the SC only where all engines keep a reservation in the same way.
void Composer::reserve_in_loop(const Row& lr, const Row& sc, unsigned base) {
  const auto old = temporary(base), changed = temporary(base, old);
  auto counter = temporary(base, old);
  while (counter == changed) counter = temporary(base, old);
  set(counter, 3);
  const auto top = next();
  const Fields reserved{.d = old, .s = base};
  add(lr, reserved, *encode(lr, reserved));
  unsigned way_round = 0;
  if (program_.way != Way::plain && random_.one_in(2)) {
    way_round = next();
    add("bne", {.s = old, .t = random_.one_in(2) ? old : any_register()});
  } else {
    add("addi", {.d = changed, .s = old, .i = I64(random_.below(100))});
  }
  const Fields fields{.d = changed, .s = base, .t = changed};
  add(sc, fields, *encode(sc, fields));
  add("addi", {.d = counter, .s = counter, .i = -1});
  const auto out = next();
  add("beq", {.s = changed, .t = 0});
  item_.fixes.push_back({.at = next(), .target = here(top), .anchor = int(next())});
  add("blt", {.s = 0, .t = counter});
  for (const auto at : {out, way_round})
    if (at != 0) item_.fixes.push_back({.at = at, .target = here(next()), .anchor = int(at)});
}

}  // namespace doppel::differential::engines
