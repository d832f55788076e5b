#pragma once
// The packs of one snapshot, and those of their pages that were wanted, in memory.
#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "memory/guest_memory.h"
#include "snapshot/pack.h"

namespace doppel {

/// Room for unpacked frames, in large host pages where there are some. Any thread.
class FrameMemory {
 public:
  /// frame_bytes; null where the host has no memory left.
  std::byte* take();
  /// What take() gave is not needed after all.
  void give_back(std::byte* frame);
  /// Bytes that frames are in.
  std::uint64_t used() const;

 private:
  mutable std::mutex lock_;
  std::vector<std::shared_ptr<Segment>> segments_;
  std::vector<std::byte*> free_;
  std::byte *next_ = nullptr, *end_ = nullptr;  // what was not given out yet, of the last segment
  std::uint64_t taken_ = 0;                     // frames
};

class ResidentPacks {
 public:
  explicit ResidentPacks(std::vector<Pack> packs);
  /// Page `at` of a pack, which stays where it is; null if it is not what was stored, and failure() says so. A frame is
  /// unpacked, and checked, when the first of its pages is wanted.
  const std::byte* bring(std::uint32_t pack, std::uint32_t at) {
    const auto frame = at / pack_format::frame_pages, page = at % pack_format::frame_pages;
    auto& opened = packs_[pack];
    if (frame >= opened.pack.frames() || page >= opened.pack.pages(frame)) return refuse(opened.pack.damaged());
    if (const auto* bytes = opened.frames[frame].load(std::memory_order_acquire)) return bytes + page * page_size;
    const auto* bytes = bring_first(opened, frame);
    return bytes ? bytes + page * page_size : nullptr;
  }
  std::string failure() const;
  std::uint64_t resident_bytes() const { return memory_.used(); }

 private:
  struct Opened {
    Pack pack;
    std::unique_ptr<std::atomic<const std::byte*>[]> frames;  // null until they are there; written under their locks
  };
  const std::byte* bring_first(Opened& opened, std::uint32_t frame);
  const std::byte* refuse(const Error& why);

  std::vector<Opened> packs_;
  FrameMemory memory_;
  std::array<std::mutex, 64> locks_;  // of frames, by their number
  mutable std::mutex failure_lock_;
  std::string failure_;
};

}  // namespace doppel
