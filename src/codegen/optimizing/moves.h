#pragma once
// Values that change places all at once, as where a path is left or goes round.
#include <cstdint>
#include <vector>

namespace doppel::optimizing {

struct Location {
  enum class Kind : std::uint8_t {
    gp,         // register `number`
    vector,     // likewise
    home,       // the place of guest register `number`
    slot,       // of the frame
    spare,      // a word of the execution state, for cycles
    target,     // the guest's pc
    immediate,  // `value`; only as a source
    page,       // the running page's address plus `value`; only as a source
  } kind = Kind::gp;
  std::uint16_t number = 0;
  std::int64_t value = 0;
  bool operator==(const Location&) const = default;
};

/// What becomes of a value on the way: nothing, its low bits are extended, or it is boxed.
enum class Change : std::uint8_t { none, sext8, sext16, sext32, zext8, zext16, zext32, box };

struct Move {
  Location to, from;
  Change change = Change::none;
};

/// Brings moves that happen at once into an order in which none overwrites what a later one reads. Where they go round
/// in a circle, `spare` words take what is in the way: there are `spares`, and false says that they are too few.
bool put_in_order(std::vector<Move>& moves, std::size_t begin, unsigned spares);

}  // namespace doppel::optimizing
