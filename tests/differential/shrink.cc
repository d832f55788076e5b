#include "shrink.h"

#include <algorithm>

namespace doppel::differential {

Stream shrink(Stream stream, const std::function<bool(const Stream&)>& still_fails) {
  for (std::size_t piece = std::max<std::size_t>(stream.items.size() / 2, 1);; piece /= 2) {
    for (std::size_t begin = 0; begin < stream.items.size();) {
      Stream smaller = stream;
      const auto first = smaller.items.begin() + std::ptrdiff_t(begin);
      smaller.items.erase(first, first + std::ptrdiff_t(std::min(piece, stream.items.size() - begin)));
      if (still_fails(smaller))
        stream = std::move(smaller);
      else
        begin += piece;
    }
    if (piece <= 1) return stream;
  }
}

}  // namespace doppel::differential
