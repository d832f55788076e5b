#pragma once
// Values as the interpreter's stack has them: words of 64 bits, of which a v128 takes two, the one with its first bytes
// below the other.
#include <cstdint>
#include <numeric>
#include <span>

#include "guest/wasm/value.h"

namespace doppel::wasm {

inline std::uint32_t words_of(std::span<const ValueType> types) {
  return std::accumulate(types.begin(), types.end(), 0U, [](std::uint32_t sum, ValueType t) { return sum + t.words(); });
}

/// `cells` are as many as `types`, `words` as words_of(types).
inline void to_cells(std::span<const ValueType> types, const std::uint64_t* words, Cell* cells) {
  for (const ValueType type : types) {
    *cells++ = {words[0], type.words() == 2 ? words[1] : 0};
    words += type.words();
  }
}
inline void to_words(std::span<const ValueType> types, const Cell* cells, std::uint64_t* words) {
  for (const ValueType type : types) {
    *words++ = cells->low;
    if (type.words() == 2) *words++ = cells->high;
    cells++;
  }
}

}  // namespace doppel::wasm
