#include "storage/raw.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "storage/probe.h"

namespace doppel {

Result<std::unique_ptr<RawDisk>> RawDisk::open(std::unique_ptr<ImageFile> file, bool guessed) {
  if (file->size() == 0) return error("{} holds no bytes: a disk needs at least one sector", file->path());
  const std::uint64_t size = (file->size() + 511) & ~511ULL;
  return std::unique_ptr<RawDisk>(new RawDisk(std::move(file), size, guessed));
}

Result<void> RawDisk::read(std::uint64_t offset, std::span<std::byte> out) {
  if (auto inside = check_range(*this, offset, out.size()); !inside) return inside;
  const auto got = file_->read_some(offset, out);
  if (!got) return got.failure();
  if (*got == out.size()) return {};
  if (offset + *got < file_->size()) return error("{} became shorter while it was in use", file_->path());
  std::memset(out.data() + *got, 0, out.size() - *got);
  return {};
}

Result<void> RawDisk::check_change(std::uint64_t offset, std::uint64_t length) const {
  if (read_only()) return error("{} is open for reading only", file_->path());
  return check_range(*this, offset, length);
}

Result<void> RawDisk::write(std::uint64_t offset, std::span<const std::byte> data) {
  if (auto allowed = check_change(offset, data.size()); !allowed) return allowed;
  if (guessed_ && offset < probe_length) return write_first_sector(offset, data);
  return file_->write(offset, data);
}

Result<void> RawDisk::readv(std::uint64_t offset, std::span<const iovec> pieces) {
  const auto bytes = size_of(pieces);
  if (auto inside = check_range(*this, offset, bytes); !inside) return inside;
  return offset + bytes > file_->size() ? Disk::readv(offset, pieces) : file_->readv(offset, pieces);
}

// What is looked at before it is written must be a copy.
Result<void> RawDisk::writev(std::uint64_t offset, std::span<const iovec> pieces) {
  if (auto allowed = check_change(offset, size_of(pieces)); !allowed) return allowed;
  return guessed_ && offset < probe_length ? Disk::writev(offset, pieces) : file_->writev(offset, pieces);
}

Result<void> RawDisk::write_first_sector(std::uint64_t offset, std::span<const std::byte> data) {
  std::lock_guard guard(first_sector_);
  std::array<std::byte, probe_length> start{};
  if (auto got = read(0, std::span(start).first(std::min<std::uint64_t>(size_, probe_length))); !got) return got;
  std::memcpy(start.data() + offset, data.data(), std::min<std::size_t>(data.size(), probe_length - offset));
  if (probe_format(start) != "raw") {
    return error("refused to let the guest turn {} into a {} image (add format=raw to allow it)", file_->path(),
                 probe_format(start));
  }
  return file_->write(offset, data);
}

Result<void> RawDisk::flush() {
  if (read_only()) return {};
  return file_->sync();
}

Result<void> RawDisk::discard(std::uint64_t offset, std::uint64_t length) {
  if (auto allowed = check_change(offset, length); !allowed) return allowed;
  const auto punched = file_->punch_hole(offset, length);
  if (!punched) return punched.failure();
  return {};  // where the file system cannot, nothing happens: a discard is a hint
}

Result<void> RawDisk::write_zeroes(std::uint64_t offset, std::uint64_t length, bool may_unmap) {
  if (auto allowed = check_change(offset, length); !allowed) return allowed;
  const auto cleared = may_unmap ? file_->punch_hole(offset, length) : file_->zero_range(offset, length);
  if (!cleared) return cleared.failure();
  return *cleared ? Result<void>{} : file_->write_zeros(offset, length);
}

}  // namespace doppel
