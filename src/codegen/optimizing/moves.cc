#include "codegen/optimizing/moves.h"

#include <algorithm>

namespace doppel::optimizing {

bool put_in_order(std::vector<Move>& moves, std::size_t begin, unsigned spares) {
  std::vector<Move> pending(moves.begin() + std::ptrdiff_t(begin), moves.end());
  moves.resize(begin);
  unsigned used = 0;
  while (!pending.empty()) {
    const auto reads = [&](const Location& place, const Move* except) {
      return std::ranges::any_of(pending, [&](const Move& m) { return &m != except && m.from == place; });
    };
    const auto free = std::ranges::find_if(pending, [&](const Move& m) { return !reads(m.to, &m); });
    if (free != pending.end()) {
      moves.push_back(*free);
      *free = pending.back();
      pending.pop_back();
      continue;
    }
    if (used == spares) return false;
    // All go in circles: what the first would overwrite is kept elsewhere.
    const Location kept = pending.front().to, spare{.kind = Location::Kind::spare, .number = std::uint16_t(used++)};
    moves.push_back({.to = spare, .from = kept});
    for (auto& m : pending)
      if (m.from == kept) m.from = spare;
  }
  return true;
}

}  // namespace doppel::optimizing
