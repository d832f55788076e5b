#include "guest/wasm/linear_memory.h"

#include <sys/mman.h>

#include <algorithm>
#include <utility>

namespace doppel::wasm {
namespace {

constexpr std::uint64_t host_page = 4096;
/// Reserved at once for a memory with 64-bit addresses; one that outgrows it moves.
constexpr std::uint64_t first_reservation = 1ULL << 34;
/// Larger is no address space of a host's.
constexpr std::uint64_t most_bytes = 1ULL << 47;

constexpr std::uint64_t host_pages(std::uint64_t bytes) { return (bytes + host_page - 1) & ~(host_page - 1); }

/// The pages that the type allows at most, declared or by the width of its addresses (3.2.16, and the proposal on custom page sizes).
std::uint64_t most_pages(const MemoryType& type) {
  const std::uint64_t addressable =
      type.limits.is64 ? ~0ULL >> type.page_shift : (type.page_shift == 0 ? 0xffff'ffffULL : 1ULL << (32 - type.page_shift));
  return std::min(type.limits.maximum.value_or(addressable), addressable);
}

/// Nothing where it is more than any host has.
std::optional<std::uint64_t> bytes_of(std::uint64_t pages, unsigned page_shift) {
  if (pages > most_bytes >> page_shift) return {};
  return pages << page_shift;
}

/// What a memory of the type takes of the address space when it begins.
std::uint64_t reservation(const MemoryType& type, std::uint64_t minimum) {
  if (!type.limits.is64 && type.page_shift == 16) return LinearMemory::guarded_bytes;
  const auto most = bytes_of(most_pages(type), type.page_shift).value_or(most_bytes);
  return host_pages(std::max(minimum, std::min(most, first_reservation))) + host_page;
}

std::uint8_t* map_nothing(std::uint64_t bytes) {
  void* at = mmap(nullptr, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  return at == MAP_FAILED ? nullptr : static_cast<std::uint8_t*>(at);
}

}  // namespace

Result<LinearMemory> LinearMemory::create(const MemoryType& type) {
  LinearMemory memory(type);
  const auto bytes = bytes_of(type.limits.minimum, type.page_shift);
  if (!bytes || !memory.reserve(reservation(type, *bytes)) || !memory.open(*bytes))
    return error("there is no room for a memory of {} pages of {} bytes", type.limits.minimum, 1U << type.page_shift);
  return memory;
}

LinearMemory::LinearMemory(LinearMemory&& other) noexcept
    : type_(other.type_),
      base_(std::exchange(other.base_, nullptr)),
      bytes_(std::exchange(other.bytes_, 0)),
      reserved_(std::exchange(other.reserved_, 0)) {}

LinearMemory& LinearMemory::operator=(LinearMemory&& other) noexcept {
  if (this == &other) return *this;
  release();
  type_ = other.type_;
  base_ = std::exchange(other.base_, nullptr);
  bytes_ = std::exchange(other.bytes_, 0);
  reserved_ = std::exchange(other.reserved_, 0);
  return *this;
}

LinearMemory::~LinearMemory() { release(); }

void LinearMemory::release() {
  if (base_) munmap(base_, reserved_);
  base_ = nullptr;
}

bool LinearMemory::reserve(std::uint64_t bytes) {
  base_ = map_nothing(bytes);
  reserved_ = base_ ? bytes : 0;
  return base_ != nullptr;
}

/// Makes the first `bytes` accessible; those that were not before are zeros.
bool LinearMemory::open(std::uint64_t bytes) {
  const auto before = host_pages(bytes_), after = host_pages(bytes);
  if (after > before && mprotect(base_ + before, after - before, PROT_READ | PROT_WRITE) != 0) return false;
  bytes_ = bytes;
  return true;
}

/// Moves what outgrows its reservation, pages and all, to one that is twice as large.
bool LinearMemory::make_room(std::uint64_t bytes) {
  if (host_pages(bytes) + host_page <= reserved_) return true;
  const auto most = bytes_of(most_pages(type_), type_.page_shift).value_or(most_bytes);
  const auto size = host_pages(std::max(bytes, std::min(2 * reserved_, most))) + host_page;
  std::uint8_t* const moved = map_nothing(size);
  if (!moved) return false;
  const auto used = host_pages(bytes_);
  if (used != 0 && mremap(base_, used, used, MREMAP_MAYMOVE | MREMAP_FIXED, moved) == MAP_FAILED) {
    munmap(moved + used, size - used);  // the kernel has unmapped the rest already, and another thread may be there now
    return false;
  }
  munmap(base_ + used, reserved_ - used);
  base_ = moved;
  reserved_ = size;
  return true;
}

std::optional<std::uint64_t> LinearMemory::grow(std::uint64_t pages) {
  const auto old = this->pages();
  if (pages == 0) return old;
  const auto most = most_pages(type_);
  if (old > most || pages > most - old) return {};
  const auto bytes = bytes_of(old + pages, type_.page_shift);
  if (!bytes || !make_room(*bytes) || !open(*bytes)) return {};
  return old;
}

}  // namespace doppel::wasm
