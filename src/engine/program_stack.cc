#include "engine/program_stack.h"

#include <sys/mman.h>

#include <utility>

namespace doppel {
namespace {
constexpr std::size_t guard_bytes = 64 << 10;
}

AddressRange::AddressRange(std::size_t bytes) {
  void* const at = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (at == MAP_FAILED) return;
  base_ = static_cast<std::byte*>(at);
  size_ = bytes;
}

AddressRange::AddressRange(AddressRange&& other) noexcept
    : base_(std::exchange(other.base_, nullptr)), size_(std::exchange(other.size_, 0)) {}

AddressRange& AddressRange::operator=(AddressRange&& other) noexcept {
  std::swap(base_, other.base_);
  std::swap(size_, other.size_);
  return *this;
}

AddressRange::~AddressRange() {
  if (base_) munmap(base_, size_);
}

ProgramStack::ProgramStack(std::size_t bytes) : range_(bytes + margin + guard_bytes) {
  if (range_.data()) mprotect(range_.data(), guard_bytes, PROT_NONE);
}

std::uint64_t ProgramStack::top() const { return reinterpret_cast<std::uintptr_t>(range_.data()) + range_.size(); }
std::uint64_t ProgramStack::limit() const {
  return reinterpret_cast<std::uintptr_t>(range_.data()) + guard_bytes + margin;
}

}  // namespace doppel
