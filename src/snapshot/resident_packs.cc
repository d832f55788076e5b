#include "snapshot/resident_packs.h"

namespace doppel {

using namespace pack_format;

namespace {

constexpr std::uint64_t huge_page = 2 << 20, segment_bytes = 16 << 20;

std::byte* aligned(std::byte* address) {
  return address + (huge_page - reinterpret_cast<std::uintptr_t>(address) % huge_page) % huge_page;
}

}  // namespace

std::byte* FrameMemory::take() {
  std::lock_guard guard(lock_);
  taken_++;
  if (!free_.empty()) {
    auto* frame = free_.back();
    free_.pop_back();
    return frame;
  }
  if (next_ == end_) {
    const auto segment = Segment::create(segment_bytes + huge_page);
    if (!segment) return taken_--, nullptr;
    segments_.push_back(*segment);
    next_ = aligned((*segment)->data());
    end_ = next_ + segment_bytes;
  }
  return std::exchange(next_, next_ + frame_bytes);
}

void FrameMemory::give_back(std::byte* frame) {
  std::lock_guard guard(lock_);
  taken_--;
  free_.push_back(frame);
}

std::uint64_t FrameMemory::used() const {
  std::lock_guard guard(lock_);
  return taken_ * frame_bytes;
}

ResidentPacks::ResidentPacks(std::vector<Pack> packs) {
  packs_.reserve(packs.size());
  for (auto& pack : packs) {
    auto frames = std::make_unique<std::atomic<const std::byte*>[]>(pack.frames());
    packs_.push_back({std::move(pack), std::move(frames)});
  }
}

const std::byte* ResidentPacks::bring_first(Opened& opened, std::uint32_t frame) {
  std::lock_guard guard(locks_[frame % locks_.size()]);
  if (const auto* there = opened.frames[frame].load(std::memory_order_relaxed)) return there;
  auto* room = memory_.take();
  if (!room) return refuse(error("the host has no memory left for what a snapshot holds: end something else"));
  if (const auto unpacked = opened.pack.unpack(frame, room); !unpacked) {
    memory_.give_back(room);
    return refuse(unpacked.failure());
  }
  opened.frames[frame].store(room, std::memory_order_release);
  return room;
}

const std::byte* ResidentPacks::refuse(const Error& why) {
  std::lock_guard guard(failure_lock_);
  if (failure_.empty()) failure_ = why.message;
  return nullptr;
}

std::string ResidentPacks::failure() const {
  std::lock_guard guard(failure_lock_);
  return failure_;
}

}  // namespace doppel
