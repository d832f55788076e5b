#pragma once
// A snapshot that was loaded: its state is there at once, its pages when they are touched.
#include <cstdint>
#include <memory>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "memory/page_source.h"
#include "snapshot/manifest.h"
#include "snapshot/resident_packs.h"

namespace doppel {

/// Immutable; its functions may be called by any thread. Any number of machines may share it, and the memory of the
/// pages that were brought in. The files that it needs stay open: removing the snapshot does not harm it. Bringing a
/// page makes no system calls but pread, mmap, munmap and madvise, so that it works in the sandbox.
class Snapshot {
 public:
  /// Fails with a sentence where the packs, which are those of the manifest, have not the pages that it refers to.
  static Result<std::unique_ptr<Snapshot>> create(Manifest manifest, std::vector<Pack> packs);

  const std::string& description() const { return description_; }
  const std::vector<std::byte>& state() const { return state_; }
  std::int64_t made_s() const { return made_s_; }

  struct Space {
    std::string name;
    std::uint64_t base = 0, bytes = 0;
    std::uint64_t held = 0;  // pages
    std::vector<std::uint32_t> hot;
    std::shared_ptr<PageSource> source;  // lives on without the snapshot
  };
  const std::vector<Space>& spaces() const { return spaces_; }
  /// Null if there is none of this name.
  const Space* find(std::string_view name) const;
  std::shared_ptr<PageSource> space(std::string_view name) const;

  /// Brings in the pages that were hot, of all spaces; how many there are now. Ends early when asked to, or when one
  /// cannot be had, which is an error when it is wanted and not before.
  std::uint64_t prefetch(std::stop_token stop = {}) const;
  /// Bytes of memory that pages are in.
  std::uint64_t resident_bytes() const { return packs_->resident_bytes(); }

 private:
  Snapshot() = default;
  std::int64_t made_s_ = 0;
  std::string description_;
  std::vector<std::byte> state_;
  std::vector<Space> spaces_;
  std::shared_ptr<ResidentPacks> packs_;
};

}  // namespace doppel
