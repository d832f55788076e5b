#include "storage/overlay.h"

#include <sys/uio.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace doppel {
namespace {

using overlay::block_size;

std::uint64_t blocks_of(std::uint64_t size) { return (size + block_size - 1) / block_size; }

}  // namespace

OverlayDisk::OverlayDisk(std::unique_ptr<ImageFile> file, std::shared_ptr<Disk> backing, Layout layout)
    : file_(std::move(file)),
      backing_(std::move(backing)),
      size_(backing_->size()),
      layout_(layout),
      map_(blocks_of(size_)) {}

// An orderly end keeps what the guest never flushed, as a raw file would. Nobody is left to tell of a failure.
OverlayDisk::~OverlayDisk() {
  if (!read_only()) [[maybe_unused]]
    auto result = flush();
}

Result<void> OverlayDisk::read(std::uint64_t offset, std::span<std::byte> out) {
  if (auto inside = check_range(*this, offset, out.size()); !inside) return inside;
  while (!out.empty()) {
    const std::uint64_t in_block = offset % block_size;
    const auto run = map_.run_at(offset / block_size, blocks_of(in_block + out.size()));
    const auto part = out.first(std::min<std::uint64_t>(out.size(), run.blocks * block_size - in_block));
    auto got = run.present ? file_->read(layout_.data_offset + offset, part) : backing_->read(offset, part);
    if (!got) return got;
    offset += part.size();
    out = out.subspan(part.size());
  }
  return {};
}

Result<void> OverlayDisk::readv(std::uint64_t offset, std::span<const iovec> pieces) {
  const auto bytes = size_of(pieces);
  if (auto inside = check_range(*this, offset, bytes); !inside) return inside;
  const auto run = map_.run_at(offset / block_size, blocks_of(offset % block_size + bytes));
  if (run.blocks * block_size < offset % block_size + bytes)
    return Disk::readv(offset, pieces);  // some here, some there
  return run.present ? file_->readv(layout_.data_offset + offset, pieces) : backing_->readv(offset, pieces);
}

Result<void> OverlayDisk::writev(std::uint64_t offset, std::span<const iovec> pieces) {
  const auto bytes = size_of(pieces);
  if (auto allowed = check_change(offset, bytes); !allowed) return allowed;
  if (bytes == 0 || !present(offset, bytes)) return Disk::writev(offset, pieces);
  return file_->writev(layout_.data_offset + offset, pieces);
}

Result<void> OverlayDisk::check_change(std::uint64_t offset, std::uint64_t length) const {
  if (read_only()) return error("{} is open for reading only", file_->path());
  return check_range(*this, offset, length);
}

bool OverlayDisk::present(std::uint64_t offset, std::uint64_t length) const {
  const std::uint64_t first = offset / block_size;
  return map_.all_present(first, blocks_of(offset + length) - first);
}

Result<void> OverlayDisk::write(std::uint64_t offset, std::span<const std::byte> data) {
  if (auto allowed = check_change(offset, data.size()); !allowed) return allowed;
  if (data.empty()) return {};
  if (present(offset, data.size())) return file_->write(layout_.data_offset + offset, data);
  // One at a time: two that write different sectors of one block would each complete it with the other's old sectors.
  std::lock_guard guard(first_writes_);
  return write_first(offset, data);
}

// Bytes of a block that is still in the backing image; none where it is in the overlay already.
Result<std::vector<std::byte>> OverlayDisk::old_bytes(std::uint64_t from, std::uint64_t to) {
  std::vector<std::byte> bytes;
  to = std::min(to, size_);
  if (from >= to || present(from, to - from)) return bytes;
  bytes.resize(to - from);
  if (auto got = backing_->read(from, bytes); !got) return got.failure();
  return bytes;
}

// first_writes_ is held. The bits are set after the data, so that a reader on another thread never sees a hole.
Result<void> OverlayDisk::write_first(std::uint64_t offset, std::span<const std::byte> data) {
  const std::uint64_t end = offset + data.size(), start = offset / block_size * block_size;
  const auto before = old_bytes(start, offset);
  if (!before) return before.failure();
  const auto after = old_bytes(end, blocks_of(end) * block_size);
  if (!after) return after.failure();
  const std::uint64_t at = layout_.data_offset + offset;
  if (auto put = file_->write(at - before->size(), *before); !put) return put;
  if (auto put = file_->write(at, data); !put) return put;
  if (auto put = file_->write(at + data.size(), *after); !put) return put;
  map_.set_present(start / block_size, blocks_of(end) - start / block_size);
  return {};
}

Result<void> OverlayDisk::flush() {
  if (read_only()) return {};
  std::lock_guard flushing(flushing_);
  // Copied before the sync: the data of every bit in the copy was written before.
  std::vector<overlay::MapPage> pages;
  {
    std::lock_guard guard(first_writes_);
    pages = map_.take_dirty();
  }
  Result<void> result = file_->sync();
  if (result && !pages.empty()) {
    result = map_.store(*file_, layout_.map_offset, pages);
    if (result) result = file_->sync();
  }
  if (!result) {
    std::lock_guard guard(first_writes_);
    map_.mark_dirty(pages);
  }
  return result;
}

// Whole blocks become holes, which read as zeros. The hole comes first: there may be data below a bit that is not set,
// of a write that a crash forgot.
Result<bool> OverlayDisk::punch(std::uint64_t first_block, std::uint64_t blocks) {
  if (blocks == 0) return true;
  const auto punched = file_->punch_hole(layout_.data_offset + first_block * block_size, blocks * block_size);
  if (!punched || !*punched) return punched;
  map_.set_present(first_block, blocks);
  return true;
}

Result<void> OverlayDisk::seal() {
  if (auto flushed = flush(); !flushed) return flushed;
  return file_->become_reader();
}

Result<void> OverlayDisk::discard(std::uint64_t offset, std::uint64_t length) {
  if (auto allowed = check_change(offset, length); !allowed) return allowed;
  // Only blocks that are in the range as a whole; the last block of the disk may be a short one.
  const std::uint64_t first = blocks_of(offset), end = offset + length;
  const std::uint64_t last = end == size_ ? blocks_of(end) : end / block_size;
  if (first >= last) return {};
  std::lock_guard guard(first_writes_);
  const auto punched = punch(first, last - first);
  if (!punched) return punched.failure();
  return {};
}

Result<void> OverlayDisk::write_zeros(std::uint64_t offset, std::uint64_t length) {
  static constexpr std::array<std::byte, 256 << 10> zeros{};
  while (length > 0) {
    const auto part = std::min<std::uint64_t>(length, zeros.size());
    if (auto put = write_first(offset, std::span(zeros).first(part)); !put) return put;
    offset += part;
    length -= part;
  }
  return {};
}

Result<void> OverlayDisk::write_zeroes(std::uint64_t offset, std::uint64_t length, bool) {
  if (auto allowed = check_change(offset, length); !allowed) return allowed;
  if (length == 0) return {};
  const std::uint64_t end = offset + length;
  const std::uint64_t first = std::min(blocks_of(offset), end / block_size);
  const std::uint64_t last = std::max(first, end / block_size);
  std::lock_guard guard(first_writes_);
  const auto punched = punch(first, last - first);
  if (!punched) return punched.failure();
  if (!*punched || first == last) return write_zeros(offset, length);
  if (auto put = write_zeros(offset, first * block_size - offset); !put) return put;
  return write_zeros(last * block_size, end - last * block_size);
}

std::uint64_t OverlayDisk::bytes_present() const {
  std::uint64_t bytes = 0;
  for (std::uint64_t block = 0, all = blocks_of(size_); block < all;) {
    const auto run = map_.run_at(block, all - block);
    const auto end = std::min(size_, (block + run.blocks) * block_size);
    if (run.present) bytes += end - block * block_size;
    block += run.blocks;
  }
  return bytes;
}

/// Copies a part that is in the overlay; how many bytes.
Result<std::uint64_t> OverlayDisk::merge_part(std::uint64_t offset, std::uint64_t length, std::span<std::byte> buffer) {
  if (const auto hole = file_->hole_at(layout_.data_offset + offset, length); hole > 0) {
    if (auto put = backing_->write_zeroes(offset, hole, true); !put) return put.failure();
    return hole;
  }
  const auto part = buffer.first(std::min<std::uint64_t>(buffer.size(), length));
  if (auto got = file_->read(layout_.data_offset + offset, part); !got) return got.failure();
  if (auto put = backing_->write(offset, part); !put) return put.failure();
  return part.size();
}

Result<void> OverlayDisk::merge_into_backing(const std::function<void(std::uint64_t)>& progress) {
  std::vector<std::byte> buffer(256 << 10);
  for (std::uint64_t offset = 0; offset < size_;) {
    const auto run = map_.run_at(offset / block_size, blocks_of(size_) - offset / block_size);
    const auto end = std::min(size_, offset / block_size * block_size + run.blocks * block_size);
    while (run.present && offset < end) {
      const auto merged = merge_part(offset, end - offset, buffer);
      if (!merged) return merged.failure();
      offset += *merged;
      if (progress) progress(offset);
    }
    offset = end;
  }
  return backing_->flush();
}

std::uint64_t OverlayDisk::zeros_at(std::uint64_t offset, std::uint64_t limit) {
  limit = std::min(limit, size_ - offset);
  const std::uint64_t in_block = offset % block_size;
  const auto run = map_.run_at(offset / block_size, blocks_of(in_block + limit));
  limit = std::min(limit, run.blocks * block_size - in_block);
  return run.present ? file_->hole_at(layout_.data_offset + offset, limit) : doppel::zeros_at(*backing_, offset, limit);
}

}  // namespace doppel
