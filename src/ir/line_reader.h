#pragma once
// Reads the words, numbers and marks of one line. What fails says why, once: the first reason stays.
#include <fmt/format.h>

#include <charconv>
#include <cstdint>
#include <limits>
#include <string>
#include <string_view>
#include <type_traits>

namespace doppel::ir {

class LineReader {
 public:
  explicit LineReader(std::string_view line) : rest_(line) { skip_spaces(); }

  bool at_end() const { return rest_.empty(); }
  const std::string& problem() const { return problem_; }
  template <typename... Args>
  bool fail(fmt::format_string<Args...> format, Args&&... args) {
    if (problem_.empty()) problem_ = fmt::format(format, std::forward<Args>(args)...);
    return false;
  }

  bool accept(char mark) {
    if (!rest_.starts_with(mark)) return false;
    advance(1);
    return true;
  }
  bool expect(char mark) { return accept(mark) || fail("'{}' is missing before '{}'", mark, rest_); }
  /// The letters, digits and underscores that come next; they may be none.
  std::string_view word() {
    const auto taken = rest_.substr(0, word_length());
    advance(taken.size());
    return taken;
  }
  bool accept_word(std::string_view wanted) {
    if (rest_.substr(0, word_length()) != wanted) return false;
    advance(wanted.size());
    return true;
  }
  bool expect_word(std::string_view wanted) {
    return accept_word(wanted) || fail("'{}' is missing before '{}'", wanted, rest_);
  }
  bool expect_end() { return at_end() || fail("'{}' is too much", rest_); }

  /// A number in decimal or, with 0x, hexadecimal, that `out` can hold.
  template <typename T>
  bool number(T& out) {
    const auto whole = rest_;
    const bool negative = accept('-');
    const bool hexadecimal = rest_.starts_with("0x");
    if (hexadecimal) rest_.remove_prefix(2);
    std::uint64_t size = 0;
    const auto result = std::from_chars(rest_.data(), rest_.data() + rest_.size(), size, hexadecimal ? 16 : 10);
    if (result.ec == std::errc::invalid_argument) return fail("a number is missing before '{}'", whole);
    if (result.ec != std::errc() || !fits<T>(negative, size))
      return fail("the number that '{}' begins with is out of range", whole);
    out = T(negative ? -size : size);
    advance(std::size_t(result.ptr - rest_.data()));
    return true;
  }

 private:
  template <typename T>
  static bool fits(bool negative, std::uint64_t size) {
    const auto largest = std::uint64_t(std::numeric_limits<T>::max());
    return negative ? size == 0 || (std::is_signed_v<T> && size <= largest + 1) : size <= largest;
  }
  std::size_t word_length() const {
    std::size_t length = 0;
    while (length < rest_.size() && is_letter(rest_[length])) length++;
    return length;
  }
  static bool is_letter(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
  }
  void advance(std::size_t count) {
    rest_.remove_prefix(count);
    skip_spaces();
  }
  void skip_spaces() {
    while (rest_.starts_with(' ') || rest_.starts_with('\t') || rest_.starts_with('\r')) rest_.remove_prefix(1);
  }

  std::string_view rest_;
  std::string problem_;
};

}  // namespace doppel::ir
