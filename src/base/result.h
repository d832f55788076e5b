#pragma once
// Errors are values with one sentence a user can act on.
#include <fmt/format.h>

#include <optional>
#include <string>
#include <utility>
#include <variant>

namespace doppel {

/// What went wrong, as one sentence without a final full stop: what, where, and what to do about it.
struct Error {
  std::string message;
};

/// Builds an Error from a format string and its arguments.
template <typename... Args>
Error error(fmt::format_string<Args...> format, Args&&... args) {
  return Error{fmt::format(format, std::forward<Args>(args)...)};
}

/// A T or an Error. Reading the value of a failed result is a bug of ours and ends the process.
template <typename T>
class [[nodiscard]] Result {
 public:
  Result(T value) : content_(std::in_place_index<0>, std::move(value)) {}
  Result(Error failure) : content_(std::in_place_index<1>, std::move(failure)) {}
  bool ok() const { return content_.index() == 0; }
  explicit operator bool() const { return ok(); }
  T& value() & { return std::get<0>(content_); }
  const T& value() const& { return std::get<0>(content_); }
  T&& value() && { return std::get<0>(std::move(content_)); }
  T& operator*() & { return value(); }
  T&& operator*() && { return std::move(*this).value(); }
  const T& operator*() const& { return value(); }
  T* operator->() { return &value(); }
  const T* operator->() const { return &value(); }
  const Error& failure() const { return std::get<1>(content_); }
  const std::string& message() const { return failure().message; }

 private:
  std::variant<T, Error> content_;
};

template <>
class [[nodiscard]] Result<void> {
 public:
  Result() = default;
  Result(Error failure) : failure_(std::move(failure)) {}
  bool ok() const { return !failure_; }
  explicit operator bool() const { return ok(); }
  const Error& failure() const { return *failure_; }
  const std::string& message() const { return failure_->message; }

 private:
  std::optional<Error> failure_;
};

}  // namespace doppel
