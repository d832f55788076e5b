#pragma once
// Overlays and the image that they lie over, as a user handles them: merging one back, and what lies over what.
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"

namespace doppel {

/// Writes what an overlay has into the raw image or overlay that it lies over, and removes it. Nobody may use either,
/// nor may another overlay lie over the image. Killed at any instant, it is to be called again, and until then the
/// image cannot be opened. `progress` gets bytes done and all bytes.
Result<void> merge_overlay(const std::string& path, const std::function<void(std::uint64_t, std::uint64_t)>& progress);

/// An error where a merge into the image `path` was cut off.
Result<void> check_not_merging(const std::string& path);

/// An error where one lies over the image `path`, which is to be written to: it would not fit any more.
Result<void> check_nothing_over(const std::string& path);

/// Overlays in the folder of the image `path` that lie over it: PATH.….overlay.
std::vector<std::string> overlays_over(const std::string& path);

/// What there is to know of a disk's file.
struct DiskDescription {
  std::string format;
  std::uint64_t size = 0, occupied = 0;  // bytes: of the disk, and of the file on the host's disk
  std::optional<std::string> base;       // of an overlay
  std::string base_format;
  std::uint64_t own = 0;  // bytes of the disk that are in the overlay
  std::vector<std::string> overlays;
};
/// `format` may be empty: then the first bytes decide.
Result<DiskDescription> describe_disk(const std::string& path, const std::string& format);

}  // namespace doppel
