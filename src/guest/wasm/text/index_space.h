#pragma once
// What identifiers name (core specification, 6.1.3): functions, types, locals and so on, each kind counted on its own.
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>

namespace doppel::wasm::text {

class IndexSpace {
 public:
  /// How a thing in it is called in a sentence, and its word in the text format.
  IndexSpace(std::string_view noun, std::string_view word) : noun_(noun), word_(word) {}

  std::string_view noun() const { return noun_; }
  std::string_view word() const { return word_; }
  std::uint32_t count() const { return count_; }
  /// Names by index, for the name section.
  const std::map<std::uint32_t, std::string>& names() const { return names_; }

  /// One thing more, which has no name yet.
  void add(std::uint32_t count = 1) { count_ += count; }
  /// The last one is found by this identifier; false if another has it.
  bool identify(std::string identifier);
  /// The last one is called so in the name section.
  void name(std::string name) { names_[count_ - 1] = std::move(name); }
  std::optional<std::uint32_t> find(std::string_view identifier) const;

 private:
  std::string_view noun_, word_;
  std::uint32_t count_ = 0;
  std::map<std::string, std::uint32_t, std::less<>> indices_;
  std::map<std::uint32_t, std::string> names_;
};

}  // namespace doppel::wasm::text
