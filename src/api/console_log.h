#pragma once
// What a machine in the background printed, kept in two files of limited size: when both are full, the older one goes.
#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>

#include "base/file_descriptor.h"
#include "base/result.h"

namespace doppel {

/// The two files in a machine's folder. At most one of them is full, and that is the older one.
inline constexpr const char* console_log_names[] = {"console.a.log", "console.b.log"};
inline constexpr std::uint64_t console_log_half = 8 << 20;  // bytes

/// Writes it, from inside the sandbox as well: what cannot be written (a full disk) is lost.
class ConsoleLog {
 public:
  ConsoleLog(FileDescriptor first, FileDescriptor second, std::uint64_t half = console_log_half)
      : files_{std::move(first), std::move(second)}, half_(half) {}
  void write(std::span<const std::byte> data);
  /// Both files become empty.
  void clear();

 private:
  FileDescriptor files_[2];
  const std::uint64_t half_;
  unsigned current_ = 0;
  std::uint64_t written_ = 0;  // bytes of the current file
};

/// Reads it while it is written. What the writer removed before it was read is left out.
class ConsoleLogReader {
 public:
  static Result<ConsoleLogReader> open(int folder, std::uint64_t half = console_log_half);
  /// What has come since the last call, oldest first, in pieces.
  void read(const std::function<void(std::span<const std::byte>)>& piece);

 private:
  ConsoleLogReader(FileDescriptor first, FileDescriptor second, std::uint64_t half)
      : files_{std::move(first), std::move(second)}, half_(half) {}
  std::uint64_t size(unsigned which) const;

  FileDescriptor files_[2];
  std::uint64_t half_;
  unsigned current_ = 0;
  std::uint64_t done_ = 0;
};

/// The end of `text` that begins with its last `lines` lines; a last one without an end counts too.
std::string_view last_lines(std::string_view text, std::uint64_t lines);

}  // namespace doppel
