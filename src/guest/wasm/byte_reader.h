#pragma once
// A cursor over a module's bytes that reads what the binary format is made of (core specification, 5.2).
#include <bit>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <utility>

namespace doppel::wasm {

/// Reads between two offsets of a module. The first failure stays: its message and offset are kept, and whatever is
/// read later gives 0 and goes no further, so that callers look once, at the end of what they do. After a failure
/// at_end() is true, so that loops over what is left end.
class ByteReader {
 public:
  /// `base` is the module's first byte, of which `begin` to `end` may be read.
  ByteReader(const std::uint8_t* base, std::uint32_t begin, std::uint32_t end)
      : base_(base), at_(base + begin), end_(base + end) {}

  /// Of the next byte, in the module.
  std::uint32_t offset() const { return std::uint32_t(at_ - base_); }
  std::uint32_t left() const { return std::uint32_t(end_ - at_); }
  bool at_end() const { return at_ == end_; }
  bool failed() const { return failed_; }
  /// Why, beginning as the specification's tests say it; empty without a failure.
  const std::string& message() const { return message_; }
  /// The byte where it was noticed.
  std::uint32_t failure_offset() const { return failure_offset_; }
  /// Whether it is one of form (malformed), not of what the bytes mean (invalid).
  bool malformed() const { return failed_ && !refused_; }

  /// Notes a failure of form at the next byte, or at `offset`, if there is none yet.
  [[gnu::cold]] void fail(std::string message) { fail_at(offset(), std::move(message)); }
  [[gnu::cold]] void fail_at(std::uint32_t offset, std::string message);
  /// The same of something that is well formed and yet not valid, or not supported.
  [[gnu::cold]] void refuse(std::string message) { refuse_at(offset(), std::move(message)); }
  [[gnu::cold]] void refuse_at(std::uint32_t offset, std::string message);

  std::uint8_t byte() {
    if (at_ == end_) [[unlikely]]
      return end_of_bytes();
    return *at_++;
  }
  /// The next byte without going over it; 0 at the end, which is no failure.
  std::uint8_t peek() const { return at_ == end_ ? std::uint8_t{0} : *at_; }

  // LEB128 (5.2.2), most often one byte long.
  std::uint32_t u32() {
    if (at_ != end_ && *at_ < 0x80) [[likely]]
      return *at_++;
    return std::uint32_t(unsigned_leb(32));
  }
  std::uint64_t u64() {
    if (at_ != end_ && *at_ < 0x80) [[likely]]
      return *at_++;
    return unsigned_leb(64);
  }
  std::int32_t s32() { return std::int32_t(signed_number(32)); }
  std::int64_t s33() { return signed_number(33); }
  std::int64_t s64() { return signed_number(64); }

  // Little-endian, of fixed size: the bits of an f32 and an f64, the halves of a v128 (5.2.3).
  std::uint32_t fixed32() { return fixed<std::uint32_t>(); }
  std::uint64_t fixed64() { return fixed<std::uint64_t>(); }

  /// Goes over `size` bytes and gives the first, null where there are fewer.
  const std::uint8_t* skip(std::uint32_t size) {
    if (size > left()) [[unlikely]]
      return end_of_bytes(), nullptr;
    return std::exchange(at_, at_ + size);
  }
  /// A name (5.2.4): its size and as many bytes of UTF-8. Lives as long as the module's bytes.
  std::string_view name();

 private:
  template <typename T>
  T fixed() {
    const std::uint8_t* from = skip(sizeof(T));
    T value = 0;
    if (from != nullptr) std::memcpy(&value, from, sizeof value);
    return value;
  }
  std::int64_t signed_number(unsigned bits) {
    if (at_ != end_ && *at_ < 0x80) [[likely]]
      return std::int64_t(std::uint64_t{*at_++} << 57) >> 57;
    return signed_leb(bits);
  }
  [[gnu::cold]] std::uint8_t end_of_bytes();
  std::uint64_t unsigned_leb(unsigned bits);
  std::int64_t signed_leb(unsigned bits);

  const std::uint8_t* base_;
  const std::uint8_t* at_;
  const std::uint8_t* end_;  // `at_` after a failure, so that the fast paths see nothing left
  bool failed_ = false, refused_ = false;
  std::uint32_t failure_offset_ = 0;
  std::string message_;
};

/// Whether it is UTF-8 as Unicode defines it: no surrogates, nothing longer than need be.
bool is_utf8(std::string_view text);

static_assert(std::endian::native == std::endian::little);

}  // namespace doppel::wasm
