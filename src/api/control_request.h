#pragma once
// What a client asks a machine's process: one line of JSON, {"do": VERB, …}, and perhaps some descriptors.
#include <cstddef>
#include <nlohmann/json.hpp>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/file_descriptor.h"
#include "base/result.h"

namespace doppel {

struct ControlRequest {
  static constexpr std::size_t most_descriptors = 8;
  std::string verb;
  nlohmann::json arguments;                 // the whole object
  std::vector<FileDescriptor> descriptors;  // closed with the request unless they are taken

  /// A whole number of `arguments`, or a sentence that says what it must be.
  Result<std::uint64_t> number(const char* name, std::uint64_t least, std::uint64_t most) const;
};

/// Puts a request together from what comes, however it is cut.
class RequestReader {
 public:
  static constexpr std::size_t longest_line = 64 << 10;
  /// Nothing, as long as the line has no end. After a request, or an error, nothing may be added. Bytes behind the line
  /// are left in rest().
  Result<std::optional<ControlRequest>> add(std::span<const std::byte> bytes, std::vector<FileDescriptor> descriptors);
  std::span<const std::byte> rest() const { return std::as_bytes(std::span(line_)); }

 private:
  std::string line_;
  std::vector<FileDescriptor> descriptors_;
};

/// {"ok": true, …} or {"ok": false, "error": …}, with its line's end.
std::string answer_line(const Result<nlohmann::json>& answer);
/// The same read by the client; hostile bytes are an error.
Result<nlohmann::json> parse_answer(std::string_view line);

}  // namespace doppel
