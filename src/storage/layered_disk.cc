#include "storage/layered_disk.h"

#include <algorithm>
#include <array>
#include <utility>

#include "memory/racing_copy.h"
#include "storage/overlay.h"
#include "storage/sparse.h"

namespace doppel {

/// Memory in pieces, from which the front is taken part by part.
class LayeredDisk::Pieces {
 public:
  explicit Pieces(std::span<const iovec> pieces) : left_(pieces) {}
  /// The next `length` bytes, valid until the next call.
  std::span<const iovec> take(std::uint64_t length) {
    taken_.clear();
    while (length > 0) {
      const auto& piece = left_.front();
      const auto part = std::min<std::uint64_t>(length, piece.iov_len - used_);
      if (part > 0) taken_.push_back({static_cast<std::byte*>(piece.iov_base) + used_, part});
      length -= part;
      used_ += part;
      if (used_ < piece.iov_len) break;
      used_ = 0;
      left_ = left_.subspan(1);
    }
    return taken_;
  }

 private:
  std::span<const iovec> left_;
  std::uint64_t used_ = 0;  // of the first
  std::vector<iovec> taken_;
};

namespace {

constexpr std::uint64_t block_bytes = disk_block_bytes;

/// Writes blocks that come in ascending order, as many at once as follow one another.
class RunWriter {
 public:
  explicit RunWriter(Disk& to) : to_(to) {}
  /// No bytes: zeros.
  Result<void> put(std::uint64_t block, std::span<const std::byte> bytes) {
    const bool zeros = bytes.empty();
    if (end_ != block || zeros != zeros_ || buffer_.size() >= most_bytes)
      if (auto done = finish(); !done) return done;
    if (first_ == end_) first_ = end_ = block, zeros_ = zeros;
    end_++;
    buffer_.insert(buffer_.end(), bytes.begin(), bytes.end());
    return {};
  }
  Result<void> finish() {
    const auto at = std::exchange(first_, end_) * block_bytes, end = std::min(end_ * block_bytes, to_.size());
    if (at >= end) return {};
    auto put = zeros_ ? to_.write_zeroes(at, end - at, true) : to_.write(at, std::span(buffer_).first(end - at));
    buffer_.clear();
    return put;
  }

 private:
  static constexpr std::size_t most_bytes = 1 << 20;
  Disk& to_;
  std::uint64_t first_ = 0, end_ = 0;
  bool zeros_ = false;
  std::vector<std::byte> buffer_;
};

iovec piece_of(std::span<const std::byte> data) { return {const_cast<std::byte*>(data.data()), data.size()}; }

/// What a layer costs to merge.
std::size_t weight(const BlockLayer& layer) { return layer.extents().size(); }

/// What is in either layer, of which `upper` lies on `lower`, as one in the place of both.
std::shared_ptr<const BlockLayer> merge(const BlockLayer& upper, const BlockLayer& lower) {
  auto both = merge(upper.extents(), lower.extents());
  upper.scratch()->share(slots_of(both));
  return std::make_shared<BlockLayer>(upper.scratch(), std::move(both), lower.parent());
}

}  // namespace

LayeredDisk::LayeredDisk(std::shared_ptr<Disk> disk, std::shared_ptr<ScratchFile> scratch)
    : base_(std::move(disk)), scratch_(std::move(scratch)), read_only_(base_->read_only()), layered_(false) {}

LayeredDisk::LayeredDisk(DiskImage image, bool read_only, std::shared_ptr<ScratchFile> scratch)
    : base_(std::move(image.base)),
      top_(std::move(image.top)),
      scratch_(std::move(scratch)),
      read_only_(read_only),
      layered_(!read_only || top_) {}

// An orderly end keeps what the guest never flushed, as a raw file would. Nobody is left to tell of a failure.
LayeredDisk::~LayeredDisk() {
  if (overlay_) [[maybe_unused]]
    auto result = flush();
  give_up_private();
}

void LayeredDisk::give_up_private() {
  const auto extents = private_.take();
  if (!extents.empty()) scratch_->release(slots_of(extents));
}

Result<DiskImage> LayeredDisk::freeze() {
  std::scoped_lock guard(first_writes_, lock_);
  if (read_only_) return DiskImage{base_, top_};
  if (!scratch_) return error("there is no temporary file for what is written to a disk after a fork");
  layered_ = true;
  return freeze_layers();
}

/// first_writes_ and lock_ are held. Requests may be under way.
Result<DiskImage> LayeredDisk::freeze_layers() {
  if (private_.empty()) return DiskImage{base_, top_};
  std::shared_ptr<const BlockLayer> frozen = std::make_shared<BlockLayer>(scratch_, private_.take(), top_);
  if (overlay_) unkept_ = merge(frozen->extents(), unkept_);
  // So that few layers lie on one another, however often this is done: each holds more than twice what lies on it.
  for (auto* below = frozen->parent().get(); below && !below->source() && weight(*below) <= 2 * weight(*frozen);
       below = frozen->parent().get())
    frozen = merge(*frozen, *below);
  top_ = std::move(frozen);
  return DiskImage{base_, top_};
}

Result<void> LayeredDisk::adopt(const DiskImage& image) {
  if (image.size() != size())
    return error("the saved machine has a disk of {} bytes in the place of one of {} bytes", image.size(), size());
  if (!scratch_ && !read_only_) return error("there is no temporary file for what is written to a saved disk");
  std::scoped_lock guard(first_writes_, lock_);
  if (overlay_) {
    if (image.base != base_)
      return error("the saved machine's disk lies over another image than what this one keeps in {}", overlay_->path());
    unkept_ = merge(image.blocks_apart({base_, top_}), unkept_);  // what is private now was never in the overlay
  }
  give_up_private();
  base_ = image.base;
  top_ = image.top;
  layered_ = !read_only_ || top_;
  return {};
}

Result<void> LayeredDisk::check_change(std::uint64_t offset, std::uint64_t length) const {
  if (read_only_) return error("the disk is open for reading only");
  return check_range(*this, offset, length);
}

Result<void> LayeredDisk::read(std::uint64_t offset, std::span<std::byte> out) {
  if (!layered_) return base_->read(offset, out);
  const iovec piece{out.data(), out.size()};
  return readv(offset, {&piece, 1});
}

Result<void> LayeredDisk::write(std::uint64_t offset, std::span<const std::byte> data) {
  if (!layered_) return base_->write(offset, data);
  const auto piece = piece_of(data);
  return writev(offset, {&piece, 1});
}

Result<void> LayeredDisk::readv(std::uint64_t offset, std::span<const iovec> pieces) {
  if (!layered_) return base_->readv(offset, pieces);
  const auto bytes = size_of(pieces);
  if (auto inside = check_range(*this, offset, bytes); !inside) return inside;
  Pieces out(pieces);
  std::shared_lock guard(lock_);
  const auto read_it = [&](const DiskPart& part) {
    const auto from = std::max(offset, part.first * block_bytes);
    const auto to = std::min(offset + bytes, part.last * block_bytes);
    return read_part(part, from - part.first * block_bytes, out.take(to - from), *base_);
  };
  return private_.visit(
      offset / block_bytes, disk_blocks(offset + bytes),
      [&](const BlockExtent& extent) {
        const auto place = extent.slot == BlockExtent::zeros ? DiskPart::Place::zeros : DiskPart::Place::slots;
        return read_it({extent.block, extent.end(), place, extent.slot, scratch_.get()});
      },
      [&](std::uint64_t first, std::uint64_t last) { return for_each_part(top_.get(), first, last, read_it); });
}

Result<void> LayeredDisk::writev(std::uint64_t offset, std::span<const iovec> pieces) {
  if (!layered_) return base_->writev(offset, pieces);
  const auto bytes = size_of(pieces);
  if (auto allowed = check_change(offset, bytes); !allowed) return allowed;
  if (bytes == 0) return {};
  Pieces in(pieces);
  {
    std::shared_lock guard(lock_);
    if (private_.all_in_slots(offset / block_bytes, disk_blocks(offset + bytes)))
      return rewrite(offset, offset + bytes, in);
  }
  std::lock_guard first(first_writes_);
  return write_first(offset, offset + bytes, in);
}

/// Writes blocks that are in private slots already.
Result<void> LayeredDisk::rewrite(std::uint64_t offset, std::uint64_t end, Pieces& in) {
  return private_.visit(
      offset / block_bytes, disk_blocks(end),
      [&](const BlockExtent& extent) {
        const auto from = std::max(offset, extent.block * block_bytes);
        const auto to = std::min(end, extent.end() * block_bytes);
        return scratch_->write(extent.slot, from - extent.block * block_bytes, in.take(to - from));
      },
      [](std::uint64_t, std::uint64_t) -> Result<void> { return error("a block of a disk is not where it was"); });
}

/// first_writes_ is held: nobody else changes which blocks are private. Two that write different sectors of one block
/// would each complete it with the other's old sectors.
Result<void> LayeredDisk::write_first(std::uint64_t offset, std::uint64_t end, Pieces& in) {
  while (offset < end) {
    const auto block = offset / block_bytes, in_block = offset % block_bytes;
    const auto rest = std::min(end - offset, block_bytes - in_block);
    Result<std::uint64_t> done = rest;
    if (private_.all_in_slots(block, block + 1)) {
      if (auto put = rewrite(offset, offset + rest, in); !put) return put;
    } else if (rest < block_bytes) {
      if (auto put = complete_block(offset, rest, in); !put) return put;
    } else {
      done = write_blocks(block, end / block_bytes, in);
      if (!done) return done.failure();
    }
    offset += *done;
  }
  return {};
}

/// Writes a part of a block that is not private yet, with what is around it.
Result<void> LayeredDisk::complete_block(std::uint64_t offset, std::uint64_t length, Pieces& in) {
  const auto start = offset / block_bytes * block_bytes;
  std::array<std::byte, block_bytes> bytes{};
  if (auto got = read(start, std::span(bytes).first(std::min(block_bytes, size() - start))); !got) return got;
  auto* to = bytes.data() + (offset - start);
  for (const auto& piece : in.take(length)) {
    racing_copy(to, static_cast<const std::byte*>(piece.iov_base), piece.iov_len);
    to += piece.iov_len;
  }
  const auto whole = piece_of(bytes);
  Pieces block({&whole, 1});
  const auto put = write_blocks(start / block_bytes, start / block_bytes + 1, block);
  return put ? Result<void>() : put.failure();
}

/// Writes whole blocks from `first` on that are not in private slots, as many as follow one another in free slots; how
/// many bytes.
Result<std::uint64_t> LayeredDisk::write_blocks(std::uint64_t first, std::uint64_t last, Pieces& in) {
  constexpr std::uint64_t most = 1 << 20;
  std::uint64_t wanted = 1;
  while (wanted < std::min(most, last - first) && !private_.all_in_slots(first + wanted, first + wanted + 1)) wanted++;
  const auto run = scratch_->allocate(std::uint32_t(wanted));
  if (!run) return run.failure();
  if (auto put = scratch_->write(run->first, 0, in.take(run->count * block_bytes)); !put) {
    scratch_->release({&*run, 1});
    return put.failure();
  }
  this->put({first, run->count, run->first});
  return run->count * block_bytes;
}

/// first_writes_ is held. After the bytes are in the slots, so that a reader never sees a slot of somebody else's.
void LayeredDisk::put(const BlockExtent& extent) {
  std::vector<ScratchFile::Run> replaced;
  {
    std::lock_guard guard(lock_);
    private_.set(extent, replaced);
  }
  scratch_->release(replaced);
}

Result<void> LayeredDisk::flush() {
  if (!layered_) return base_->flush();
  if (!overlay_) return {};
  std::lock_guard flushing(flushing_);
  Result<DiskImage> now = DiskImage();
  BlockExtents blocks;
  {
    std::scoped_lock guard(first_writes_, lock_);
    now = freeze_layers();
    if (!now) return now.failure();
    blocks = std::exchange(unkept_, {});
  }
  auto kept = keep(*now, blocks);
  if (!kept) {
    std::lock_guard guard(first_writes_);
    unkept_ = merge(unkept_, blocks);
  }
  return kept;
}

/// Brings blocks into the overlay and makes that durable.
Result<void> LayeredDisk::keep(const DiskImage& image, const BlockExtents& blocks) {
  RunWriter out(*overlay_);
  auto put = image.for_each_of(
      blocks, [&](std::uint64_t block, std::span<const std::byte> bytes) { return out.put(block, bytes); });
  if (put) put = out.finish();
  return put ? overlay_->flush() : put;
}

Result<void> LayeredDisk::keep_in(FileDescriptor file, const std::string& path) {
  if (read_only_ || overlay_) return error("a disk that is {} keeps nothing more", read_only_ ? "read only" : "kept");
  if (!scratch_) return error("there is no temporary file for what is written to a disk after a fork");
  if (auto sealed = base_->seal(); !sealed) return sealed;
  auto overlay = make_overlay(std::move(file), path);
  if (!overlay) {
    if (!layered_) base_->unseal();  // it goes on as if nobody had asked
    return overlay.failure();
  }
  std::scoped_lock guard(first_writes_, lock_);
  overlay_ = std::move(*overlay);
  unkept_ = DiskImage{base_, top_}.blocks_apart({base_, nullptr});
  layered_ = true;
  return {};
}

/// An empty one over the base.
Result<std::unique_ptr<Disk>> LayeredDisk::make_overlay(FileDescriptor file, const std::string& path) const {
  auto image = ImageFile::adopt(std::move(file), path, true);
  if (!image) return image.failure();
  const auto base = base_->path();
  const auto slash = path.rfind('/') + 1;
  const bool beside = base.rfind('/') + 1 == slash && base.starts_with(path.substr(0, slash));
  const OverlayBacking backing{beside ? base.substr(slash) : base, std::string(base_->format()), base_->stamps()};
  if (auto made = OverlayDisk::create_in(**image, backing, size()); !made) return made.failure();
  auto overlay = OverlayDisk::open(std::move(*image), base_, backing.chain);
  if (!overlay) return overlay.failure();
  return std::unique_ptr<Disk>(std::move(*overlay));
}

void LayeredDisk::clear_blocks(std::uint64_t first, std::uint64_t last) {
  constexpr std::uint64_t most = 1u << 31;
  for (; first < last; first += std::min(most, last - first))
    put({first, std::uint32_t(std::min(most, last - first)), BlockExtent::zeros});
}

Result<void> LayeredDisk::discard(std::uint64_t offset, std::uint64_t length) {
  if (!layered_) return base_->discard(offset, length);
  if (auto allowed = check_change(offset, length); !allowed) return allowed;
  // Only blocks that are in the range as a whole; the last block of the disk may be a short one.
  const auto end = offset + length;
  std::lock_guard first(first_writes_);
  clear_blocks(disk_blocks(offset), end == size() ? disk_blocks(end) : end / block_bytes);
  return {};
}

Result<void> LayeredDisk::write_zeroes(std::uint64_t offset, std::uint64_t length, bool may_unmap) {
  if (!layered_) return base_->write_zeroes(offset, length, may_unmap);
  if (auto allowed = check_change(offset, length); !allowed) return allowed;
  static constexpr std::array<std::byte, block_bytes> zeros{};
  const auto end = offset + length;
  const auto last = end == size() ? disk_blocks(end) : end / block_bytes;
  const auto head = std::min(end, disk_blocks(offset) * block_bytes) - offset;
  if (auto put = write(offset, std::span(zeros).first(head)); !put) return put;
  if (disk_blocks(offset) > last || head == length) return {};
  {
    std::lock_guard first(first_writes_);
    clear_blocks(disk_blocks(offset), last);
  }
  const auto tail = std::min(end, last * block_bytes);
  return write(tail, std::span(zeros).first(end - tail));
}

}  // namespace doppel
