#pragma once
// From a program to what is in memory and registers when it begins.
#include <vector>

#include "guest/riscv64/hart_state.h"
#include "program.h"

namespace doppel::differential::engines {

/// An instruction in its place.
struct Placed {
  unsigned piece, item;
  U64 offset;  // in the code
  std::uint32_t bits;
  unsigned length;
  bool patchable;
};
std::vector<Placed> link(const Program& program);

/// What is in memory, and the harts, to begin with.
struct Image {
  struct Chunk {
    U64 address;
    std::vector<std::byte> bytes;
  };
  std::vector<Chunk> chunks;
  std::array<riscv64::HartState, place::harts> harts;
};
Image make_image(const Program& program);

}  // namespace doppel::differential::engines
