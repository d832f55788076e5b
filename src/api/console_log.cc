#include "api/console_log.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <vector>

namespace doppel {

void ConsoleLog::write(std::span<const std::byte> data) {
  while (!data.empty()) {
    const auto part = data.first(std::min<std::uint64_t>(data.size(), half_ - written_));
    const bool fills = part.size() == half_ - written_;
    // The other one first: readers know the older file by its being full.
    if (fills && ::ftruncate(files_[1 - current_].get(), 0) != 0) return;
    if (::pwrite(files_[current_].get(), part.data(), part.size(), off_t(written_)) != ssize_t(part.size())) return;
    written_ += part.size();
    data = data.subspan(part.size());
    if (fills) current_ = 1 - current_, written_ = 0;
  }
}

void ConsoleLog::clear() {
  for (const auto& file : files_) [[maybe_unused]]
    const auto cut = ::ftruncate(file.get(), 0);
  current_ = 0;
  written_ = 0;
}

Result<ConsoleLogReader> ConsoleLogReader::open(int folder, std::uint64_t half) {
  FileDescriptor files[2];
  for (unsigned n = 0; n < 2; n++) {
    files[n] = FileDescriptor(
        ::openat(folder, console_log_names[n], O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC));
    struct stat status{};
    if (!files[n] || ::fstat(files[n].get(), &status) != 0 || !S_ISREG(status.st_mode))
      return error("the machine's log cannot be read: {}", files[n] ? "it is no file" : std::strerror(errno));
  }
  ConsoleLogReader reader(std::move(files[0]), std::move(files[1]), half);
  if (reader.size(1) == half) reader.current_ = 1;
  return reader;
}

std::uint64_t ConsoleLogReader::size(unsigned which) const {
  struct stat status{};
  return ::fstat(files_[which].get(), &status) == 0 ? std::uint64_t(status.st_size) : 0;
}

void ConsoleLogReader::read(const std::function<void(std::span<const std::byte>)>& piece) {
  std::vector<std::byte> buffer(64 << 10);
  for (unsigned full_files = 0; full_files < 3;) {
    if (size(current_) < done_) done_ = 0;  // it was written anew since
    const auto wanted = std::min<std::uint64_t>(buffer.size(), half_ - done_);
    const auto count = ::pread(files_[current_].get(), buffer.data(), wanted, off_t(done_));
    if (count <= 0) return;
    piece(std::span(buffer).first(std::size_t(count)));
    done_ += std::uint64_t(count);
    if (done_ == half_) current_ = 1 - current_, done_ = 0, full_files++;
  }
}

std::string_view last_lines(std::string_view text, std::uint64_t lines) {
  if (lines == 0) return {};
  for (auto at = text.size(); at > 0;) {
    at--;
    if (text[at] == '\n' && at + 1 != text.size() && --lines == 0) return text.substr(at + 1);
  }
  return text;
}

}  // namespace doppel
