#pragma once
// Bytes of a module being made (core specification, 5.2).
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

namespace doppel::wasm::text {

class Encoder {
 public:
  std::vector<std::uint8_t> bytes;

  std::uint32_t size() const { return std::uint32_t(bytes.size()); }
  void byte(unsigned value) { bytes.push_back(std::uint8_t(value)); }
  /// LEB128, in as few bytes as there may be.
  void unsigned_leb(std::uint64_t value);
  void signed_leb(std::int64_t value);
  /// `count` bytes of it, the lowest first.
  void little_endian(std::uint64_t value, unsigned count);
  void raw(std::span<const std::uint8_t> more) { bytes.insert(bytes.end(), more.begin(), more.end()); }
  void raw(std::string_view more) { bytes.insert(bytes.end(), more.begin(), more.end()); }
  /// With its length in front.
  void sized(std::string_view more);
  void sized(std::span<const std::uint8_t> more);
};

/// How many bytes unsigned_leb() takes.
std::uint32_t leb_size(std::uint64_t value);

}  // namespace doppel::wasm::text
