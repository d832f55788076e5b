#pragma once
// Address space of a program's own.
#include <cstddef>
#include <cstdint>

namespace doppel {

/// A mapping that becomes resident as it is used; empty where there is no room.
class AddressRange {
 public:
  AddressRange() = default;
  explicit AddressRange(std::size_t bytes);
  AddressRange(AddressRange&& other) noexcept;
  AddressRange& operator=(AddressRange&& other) noexcept;
  ~AddressRange();
  std::byte* data() const { return base_; }
  std::size_t size() const { return size_; }

 private:
  std::byte* base_ = nullptr;
  std::size_t size_ = 0;
};

/// What generated code runs on. Below its limit is room for a signal's frame and for functions of the host that call
/// nothing, below that nothing is mapped.
class ProgramStack {
 public:
  static constexpr std::size_t margin = 64 << 10;
  explicit ProgramStack(std::size_t bytes);
  bool ok() const { return range_.data() != nullptr; }
  std::uint64_t top() const;
  std::uint64_t limit() const;

 private:
  AddressRange range_;
};

}  // namespace doppel
