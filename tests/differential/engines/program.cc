#include "program.h"

#include <algorithm>

namespace doppel::differential::engines {

const Piece* Program::piece(unsigned id) const {
  const auto found = std::ranges::find(pieces, id, &Piece::id);
  return found == pieces.end() ? nullptr : &*found;
}

U64 Program::satp_of(unsigned space, unsigned alias) const {
  const U64 mode = 8 + (levels - 3);
  const U64 asid = 1 + space + place::spaces * (alias % asids);
  const U64 top = levels == 3 ? place::root : levels == 4 ? place::root48 : place::root57;
  return mode << 60 | asid << 44 | (place::tables + space * place::tables_of_space + top) >> page_shift;
}

unsigned Program::any_space(Random& random, unsigned hart) const {
  const auto harts = harts_of(way);
  return unsigned(random.below(place::spaces / harts)) * harts + hart;
}

U64 Program::code_base(const Setting& setting) const {
  switch (setting.world) {
    case World::user:
      return windows + (setting.alias ? place::user_alias : place::user_code);
    case World::supervisor:
      return windows + (setting.alias ? place::supervisor_alias : place::supervisor_code);
    default:
      return place::code;
  }
}

U64 Program::physical(U64 offset, bool of_twin) const {
  return (of_twin ? place::twin : place::code) + frame[offset >> page_shift] * page_size + (offset & page_mask);
}

std::size_t count_instructions(const Program& program) {
  std::size_t count = 0;
  for (const auto& piece : program.pieces)
    for (const auto& item : piece.items) count += item.code.size();
  return count;
}

}  // namespace doppel::differential::engines
