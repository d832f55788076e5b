#pragma once
// How state records become bytes and come back: little-endian, unversioned here (the caller names and versions
// records).
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <type_traits>
#include <vector>

#include "base/result.h"

namespace doppel {

/// Appends values to a byte string.
class Writer {
 public:
  /// Writes any trivially copyable record without padding-dependent content (the caller zero-initialises it).
  template <typename T>
    requires std::is_trivially_copyable_v<T>
  void put(const T& value) {
    bytes({reinterpret_cast<const std::byte*>(&value), sizeof value});
  }
  void bytes(std::span<const std::byte> data) { out_.insert(out_.end(), data.begin(), data.end()); }
  /// A length (u64) and then the bytes.
  void blob(std::span<const std::byte> data) {
    put<std::uint64_t>(data.size());
    bytes(data);
  }
  const std::vector<std::byte>& data() const { return out_; }
  std::vector<std::byte> take() { return std::move(out_); }

 private:
  std::vector<std::byte> out_;
};

/// Reads what Writer wrote. Reading past the end gives zeros and makes ok() false; the input may be hostile.
class Reader {
 public:
  explicit Reader(std::span<const std::byte> data) : data_(data) {}
  template <typename T>
    requires std::is_trivially_copyable_v<T>
  T get() {
    T value{};
    bytes({reinterpret_cast<std::byte*>(&value), sizeof value});
    return value;
  }
  void bytes(std::span<std::byte> out) {
    if (out.size() > data_.size()) {
      ok_ = false;
      data_ = {};
      return;
    }
    if (!out.empty()) std::memcpy(out.data(), data_.data(), out.size());
    data_ = data_.subspan(out.size());
  }
  /// A blob of at most `limit` bytes.
  std::vector<std::byte> blob(std::size_t limit) {
    const auto length = get<std::uint64_t>();
    if (length > limit || length > data_.size()) {
      ok_ = false;
      return {};
    }
    std::vector<std::byte> out(length);
    bytes(out);
    return out;
  }
  bool ok() const { return ok_; }
  std::size_t left() const { return data_.size(); }

 private:
  std::span<const std::byte> data_;
  bool ok_ = true;
};

}  // namespace doppel
