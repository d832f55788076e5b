#include "snapshot/parked_machine.h"

#include <malloc.h>

#include <algorithm>
#include <vector>

#include "memory/difference.h"

namespace doppel {

ParkedMachine::ParkedMachine(const MachineImage& image, std::shared_ptr<const MachineImage> base)
    : base_(std::move(base)) {
  const auto memory = pack_difference(image.memory, base_->memory);
  const auto state = pack_bytes(image.state, base_->state);
  memory_bytes_ = memory.size(), state_bytes_ = state.size();
  packed_ = std::make_unique_for_overwrite<std::byte[]>(memory.size() + state.size());
  std::ranges::copy(memory, packed_.get());
  std::ranges::copy(state, packed_.get() + memory.size());
}

Result<MachineImage> ParkedMachine::image() const {
  const auto memory = GuestMemory::create(base_->memory);
  if (auto applied = apply_difference(this->memory(), *memory); !applied) return applied.failure();
  // What differs from a page that is lost would be a difference from zeros.
  if (const auto lost = base_->memory.failure(); !lost.empty()) return Error{lost};
  auto state = unpack_bytes(this->state(), base_->state);
  if (!state) return state.failure();
  MachineImage image = *base_;
  image.memory = memory->freeze();
  image.state = *std::move(state);
  return image;
}

std::size_t ParkedMachine::bytes() const { return sizeof *this + (packed_ ? malloc_usable_size(packed_.get()) : 0); }

}  // namespace doppel
