// Any bytes as a packed difference of memory: they are refused, or change the memory that they are for and nothing
// else.
#include <cstddef>
#include <cstdint>
#include <cstdlib>

#include "memory/difference.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace doppel;
  constexpr std::uint64_t base = 0x8000'0000, pages = 16;
  static const auto image = std::move(GuestMemory::create(base, pages * page_size)).value()->freeze();
  const auto bytes = std::as_bytes(std::span(data, size));
  const auto memory = GuestMemory::create(image);
  if (!apply_difference(bytes, *memory)) return 0;
  // What was taken comes out again.
  const auto again = GuestMemory::create(image);
  if (!apply_difference(pack_difference(memory->freeze(), image), *again) || again->hash() != memory->hash())
    std::abort();
  return 0;
}
