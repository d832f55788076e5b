#pragma once
// Reading a pack: pages in compressed frames, each of which can be told from any other by the pack's id.
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/file_descriptor.h"
#include "base/result.h"
#include "snapshot/pack_format.h"

namespace doppel {

/// Where in a file a pack is, in bytes.
struct PackPlace {
  std::uint64_t at = 0, bytes = 0;
};

/// One open pack. The file may be anything, and may change meanwhile: a failure is one sentence. Any thread, several at
/// once.
class Pack {
 public:
  /// Reads the table and checks that it is the one of this id; `damaged` is what every failure says.
  static Result<Pack> open(FileDescriptor file, PackPlace place, const Sha256& id, Error damaged);

  std::uint32_t frames() const { return std::uint32_t(table_.size()); }
  /// How many pages the frame has.
  std::uint32_t pages(std::uint32_t frame) const { return table_[frame].pages; }
  /// Whether there is a page of this number.
  bool holds(std::uint32_t at) const {
    const auto frame = at / pack_format::frame_pages;
    return frame < table_.size() && at % pack_format::frame_pages < table_[frame].pages;
  }
  /// The hashes of a frame's pages, which are those that the id stands for.
  Result<pack_format::PageHashes> hashes(std::uint32_t frame) const;
  /// The hashes of `count` frames from `first` on, in one read.
  Result<std::vector<pack_format::PageHashes>> hashes(std::uint32_t first, std::uint32_t count) const;
  /// Unpacks a frame's pages to `out`, of frame_bytes: those that were stored, or the failure says that it is damaged.
  Result<void> unpack(std::uint32_t frame, std::byte* out) const;
  const Error& damaged() const { return damaged_; }

 private:
  Pack(FileDescriptor file, PackPlace place, const Sha256& id, Error damaged)
      : file_(std::move(file)), place_(place), id_(id), damaged_(std::move(damaged)) {}
  bool read_table();
  template <typename Entry>
  bool read_entries(const pack_format::Header& header, const pack_format::Footer& footer);
  bool have_their_hashes(std::uint32_t frame, const std::byte* bytes) const;
  bool sound(const pack_format::FrameEntry& entry) const;

  FileDescriptor file_;
  PackPlace place_;
  Sha256 id_;
  Error damaged_;
  std::uint64_t hashes_at_ = 0;
  bool has_checks_ = true;
  std::vector<pack_format::FrameEntry> table_;
};

/// Reads the pages of some packs one after the other, keeping only a few frames. One thread.
class PackReader {
 public:
  explicit PackReader(const std::vector<Pack>& packs) : packs_(packs) {}
  /// Page `at` of the pack of this number; valid until the next call.
  Result<const std::byte*> read(std::uint32_t pack, std::uint32_t at);

 private:
  struct Frame {
    std::uint32_t pack = ~0U, number = 0;
    std::uint64_t used = 0;
    std::vector<std::byte> bytes;
  };
  Result<const Frame*> frame(std::uint32_t pack, std::uint32_t number);

  static constexpr std::size_t kept = 64;
  const std::vector<Pack>& packs_;
  std::vector<Frame> frames_ = std::vector<Frame>(kept);
  std::uint64_t uses_ = 0;
};

}  // namespace doppel
