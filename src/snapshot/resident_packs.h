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
  /// unpacked when the first of its pages is wanted, a page compared with its hash when it is.
  const std::byte* bring(std::uint32_t pack, std::uint32_t at) {
    const auto frame = at / pack_format::frame_pages, page = at % pack_format::frame_pages;
    auto& opened = packs_[pack];
    if (frame < opened.pack.frames() && opened.frames[frame].checked.load(std::memory_order_acquire) >> page & 1)
      return opened.frames[frame].bytes + page * page_size;
    return bring_first(opened, frame, page);
  }
  std::string failure() const;
  std::uint64_t resident_bytes() const { return memory_.used(); }

 private:
  struct Frame {
    std::byte* bytes = nullptr;  // written under the frame's lock, before the first bit is set
    std::unique_ptr<const pack_format::PageHashes> hashes;  // from then on too
    std::atomic<std::uint32_t> checked = 0;                 // a bit for each page that was compared
  };
  struct Opened {
    Pack pack;
    std::unique_ptr<Frame[]> frames;
  };
  const std::byte* bring_first(Opened& opened, std::uint32_t frame, std::uint32_t page);
  Result<void> unpack(const Pack& pack, std::uint32_t number, Frame& frame);
  Result<const std::byte*> check(Opened& opened, std::uint32_t number, std::uint32_t page);

  std::vector<Opened> packs_;
  FrameMemory memory_;
  std::array<std::mutex, 64> locks_;  // of frames, by their number
  mutable std::mutex failure_lock_;
  std::string failure_;
};

}  // namespace doppel
