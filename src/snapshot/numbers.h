#pragma once
// Numbers in as few bytes as they need (LEB128): in tables of pages most are small.
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace doppel {

class NumberWriter {
 public:
  void number(std::uint64_t value) {
    for (; value >= 0x80; value >>= 7) out_.push_back(std::byte(value | 0x80));
    out_.push_back(std::byte(value));
  }
  /// One that may be negative, small where it is near 0.
  void signed_number(std::int64_t value) { number(std::uint64_t(value) << 1 ^ std::uint64_t(value >> 63)); }
  void bytes(std::span<const std::byte> data) { out_.insert(out_.end(), data.begin(), data.end()); }
  /// A length, and the bytes.
  void blob(std::span<const std::byte> data) { number(data.size()), bytes(data); }
  const std::vector<std::byte>& data() const { return out_; }

 private:
  std::vector<std::byte> out_;
};

/// Reads what NumberWriter wrote. Past the end are zeros, and ok() is false; the input may be hostile.
class NumberReader {
 public:
  explicit NumberReader(std::span<const std::byte> data) : data_(data) {}
  std::uint64_t number() {
    std::uint64_t value = 0;
    for (unsigned shift = 0; shift < 64 && !data_.empty(); shift += 7) {
      const auto byte = std::uint64_t(data_.front());
      data_ = data_.subspan(1);
      value |= (byte & 0x7f) << shift;
      if (byte < 0x80) return value;
    }
    ok_ = false;
    return 0;
  }
  std::int64_t signed_number() {
    const auto value = number();
    return std::int64_t(value >> 1 ^ -(value & 1));
  }
  /// A number of things that take at least `each` bytes of what is left.
  std::uint64_t count(std::uint64_t each) {
    const auto value = number();
    if (value <= data_.size() / each) return value;
    ok_ = false;
    return 0;
  }
  /// A part of the input.
  std::span<const std::byte> bytes(std::uint64_t length) {
    if (length > data_.size()) return ok_ = false, data_.first(0);
    const auto out = data_.first(length);
    data_ = data_.subspan(length);
    return out;
  }
  std::span<const std::byte> blob() { return bytes(number()); }
  bool ok() const { return ok_; }
  bool at_end() const { return data_.empty(); }

 private:
  std::span<const std::byte> data_;
  bool ok_ = true;
};

}  // namespace doppel
