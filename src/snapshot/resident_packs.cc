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
    auto frames = std::make_unique<Frame[]>(pack.frames());
    packs_.push_back({std::move(pack), std::move(frames)});
  }
}

const std::byte* ResidentPacks::bring_first(Opened& opened, std::uint32_t frame, std::uint32_t page) {
  const auto bytes = check(opened, frame, page);
  if (bytes) return *bytes;
  std::lock_guard guard(failure_lock_);
  if (failure_.empty()) failure_ = bytes.message();
  return nullptr;
}

Result<void> ResidentPacks::unpack(const Pack& pack, std::uint32_t number, Frame& frame) {
  const auto hashes = pack.hashes(number);
  if (!hashes) return hashes.failure();
  auto* room = memory_.take();
  if (!room) return error("the host has no memory left for what a snapshot holds: end something else");
  if (auto unpacked = pack.unpack(number, room); !unpacked) {
    memory_.give_back(room);
    return unpacked;
  }
  frame.bytes = room;
  frame.hashes = std::make_unique<const PageHashes>(*hashes);
  return {};
}

Result<const std::byte*> ResidentPacks::check(Opened& opened, std::uint32_t number, std::uint32_t page) {
  if (!opened.pack.holds(number * frame_pages + page)) return opened.pack.damaged();
  auto& frame = opened.frames[number];
  std::lock_guard guard(locks_[number % locks_.size()]);
  if (!frame.bytes)
    if (auto unpacked = unpack(opened.pack, number, frame); !unpacked) return unpacked.failure();
  const auto* bytes = frame.bytes + page * page_size;
  if (sha256({{bytes, page_size}}) != (*frame.hashes)[page]) return opened.pack.damaged();
  frame.checked.fetch_or(1U << page, std::memory_order_release);
  return bytes;
}

std::string ResidentPacks::failure() const {
  std::lock_guard guard(failure_lock_);
  return failure_;
}

}  // namespace doppel
