#include "engine/record_memory.h"

#include <sys/mman.h>

#include <cstdint>

namespace doppel {
namespace {

constexpr std::size_t chunk_bytes = 2 << 20, alignment = 64;

/// Anonymous memory that begins at a multiple of chunk_bytes.
std::shared_ptr<std::byte> map(std::size_t size) {
  const auto length = (size + chunk_bytes - 1) / chunk_bytes * chunk_bytes;
  auto* const all = ::mmap(nullptr, length + chunk_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (all == MAP_FAILED) return nullptr;
  auto* const begin = static_cast<std::byte*>(all);
  const auto before = (chunk_bytes - reinterpret_cast<std::uintptr_t>(begin) % chunk_bytes) % chunk_bytes;
  if (before > 0) ::munmap(begin, before);
  if (before < chunk_bytes) ::munmap(begin + before + length, chunk_bytes - before);
  ::madvise(begin + before, length, MADV_HUGEPAGE);
  return {begin + before, [length](std::byte* bytes) { ::munmap(bytes, length); }};
}

}  // namespace

RecordBytes RecordMemory::take(std::size_t size) {
  const auto room = (size + alignment - 1) / alignment * alignment;
  if (room > chunk_bytes / 2) return {.bytes = map(room), .size = size};
  std::lock_guard guard(lock_);
  if (!chunk_ || used_ + room > chunk_bytes) chunk_ = map(chunk_bytes), used_ = 0;
  if (!chunk_) return {};
  const std::shared_ptr<std::byte> bytes(chunk_, chunk_.get() + used_);
  used_ += room;
  return {.bytes = bytes, .size = size};
}

void RecordMemory::rest() {
  std::lock_guard guard(lock_);
  chunk_ = nullptr;
}

}  // namespace doppel
