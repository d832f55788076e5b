#pragma once
#include <memory>
#include <string>
#include <vector>

#include "storage/disk.h"
#include "storage/image_file.h"

namespace doppel {

/// What the first bytes of an image say that it is; an error where Doppel cannot read that and no format is `wanted`.
Result<std::string> decide_format(const std::string& path, const std::string& wanted);

/// Opens one image and the images behind it, for reading except where the first is a raw one, or an overlay, to be
/// written.
class ChainOpener {
 public:
  /// `merging`: the first image may be one that an overlay was partly merged into.
  explicit ChainOpener(bool merging = false) : merging_(merging) {}
  /// `format` may be empty: then the first bytes decide.
  Result<std::unique_ptr<Disk>> open(const std::string& path, std::string format, bool writable);
  /// An image named by another one.
  Result<std::unique_ptr<Disk>> open_backing(const std::string& of, const std::string& name, const std::string& format,
                                             bool writable = false);
  const std::vector<FileStamp>& chain() const { return chain_; }
  /// What the last open() of the first image found.
  const std::string& format() const { return format_; }
  unsigned mode() const { return mode_; }

 private:
  Result<void> remember(const ImageFile& file);
  Result<std::unique_ptr<Disk>> open_qcow2(std::unique_ptr<ImageFile> file);
  Result<std::unique_ptr<Disk>> open_overlay(std::unique_ptr<ImageFile> file);

  bool merging_;
  std::vector<FileStamp> chain_;
  std::string format_;
  unsigned mode_ = 0;
};

}  // namespace doppel
