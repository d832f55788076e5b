#pragma once
// Writing a pack. Frames are compressed by two threads: the caller's and one of the builder's own.
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "base/result.h"
#include "snapshot/pack_format.h"

namespace doppel {

class PackBuilder {
 public:
  /// Writes to a file that is empty from `begin` on; whoever asks keeps it open. `path` is for sentences.
  PackBuilder(int file, std::uint64_t begin, std::string path);
  ~PackBuilder();
  PackBuilder(const PackBuilder&) = delete;

  /// Copies a page, and gives the number that it has in the pack. Those that were hot share frames with one another.
  /// Fails, as finish() does, when the disk is full.
  Result<std::uint32_t> add(std::span<const std::byte, page_size> page, const Sha256& hash, bool hot);
  /// Writes what is left; the pack's id. Nothing is synced. Called once, last.
  Result<Sha256> finish();
  /// How many were added, and what the pack takes in the file (after finish()).
  std::uint64_t pages() const { return pages_; }
  std::uint64_t bytes() const { return at_; }

 private:
  struct Frame {
    std::uint32_t number = 0, pages = 0;
    pack_format::PageHashes hashes{};
    std::vector<std::byte> bytes = std::vector<std::byte>(pack_format::frame_bytes);
  };
  std::unique_ptr<Frame> begin_frame();
  void pass_on(std::unique_ptr<Frame> frame);
  void compress(const Frame& frame);
  void work();
  void end_thread();
  bool write(std::span<const std::byte> bytes);
  Error failure() const;

  const int file_;
  const std::uint64_t begin_;
  const std::string path_;
  std::unique_ptr<Frame> open_[2];  // being filled: what was not hot, and what was
  std::uint64_t pages_ = 0;

  mutable std::mutex lock_;  // guards what follows
  std::condition_variable wake_;
  std::deque<std::unique_ptr<Frame>> waiting_;
  std::vector<std::unique_ptr<Frame>> spare_;
  std::vector<pack_format::FrameEntry> table_;
  std::vector<pack_format::PageHashes> hashes_;
  std::uint64_t at_ = 0;  // where the next frame goes, from begin_
  int problem_ = 0;       // the first errno
  bool ending_ = false;
  std::thread thread_;
};

}  // namespace doppel
