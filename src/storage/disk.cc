#include "storage/disk.h"

#include <algorithm>
#include <iterator>

#include "memory/racing_copy.h"

namespace doppel {

std::uint64_t size_of(std::span<const iovec> pieces) {
  std::uint64_t bytes = 0;
  for (const auto& piece : pieces) bytes += piece.iov_len;
  return bytes;
}

std::vector<FileStamp> stamps_above(const FileStamp& file, const Disk* below) {
  std::vector<FileStamp> all{file};
  if (below) std::ranges::copy(below->stamps(), std::back_inserter(all));
  return all;
}

Result<void> Disk::readv(std::uint64_t offset, std::span<const iovec> pieces) {
  const auto bytes = size_of(pieces);
  const auto buffer = std::make_unique_for_overwrite<std::byte[]>(bytes);
  if (auto got = read(offset, {buffer.get(), bytes}); !got) return got;
  const auto* from = buffer.get();
  for (const auto& piece : pieces) {
    racing_copy(static_cast<std::byte*>(piece.iov_base), from, piece.iov_len);
    from += piece.iov_len;
  }
  return {};
}

Result<void> Disk::writev(std::uint64_t offset, std::span<const iovec> pieces) {
  const auto bytes = size_of(pieces);
  const auto buffer = std::make_unique_for_overwrite<std::byte[]>(bytes);
  auto* to = buffer.get();
  for (const auto& piece : pieces) {
    racing_copy(to, static_cast<const std::byte*>(piece.iov_base), piece.iov_len);
    to += piece.iov_len;
  }
  return write(offset, {buffer.get(), bytes});
}

}  // namespace doppel
