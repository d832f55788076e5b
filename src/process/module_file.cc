#include "process/module_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include "base/file_descriptor.h"
#include "guest/wasm/text/assemble.h"

namespace doppel {

Result<std::vector<std::uint8_t>> read_whole_file(const std::string& path) {
  const FileDescriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY));
  struct stat status;
  if (!file || ::fstat(file.get(), &status) != 0) return error("cannot open {}: {}", path, std::strerror(errno));
  if (S_ISDIR(status.st_mode)) return error("{} is a folder: name a WebAssembly module", path);
  const auto too_large = [&] { return error("{} is larger than a module may be (1 GiB)", path); };
  if (status.st_size > off_t(wasm::limits::module_bytes)) return too_large();
  std::vector<std::uint8_t> bytes;
  // Not by its size only: pipes have none.
  constexpr std::size_t least_room = 1 << 16;
  std::size_t length = 0;
  while (true) {
    if (length > wasm::limits::module_bytes) return too_large();
    bytes.resize(std::max(length + least_room, length == 0 ? std::size_t(status.st_size) + 1 : length));
    const auto count = ::read(file.get(), bytes.data() + length, bytes.size() - length);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return error("cannot read {}: {}", path, std::strerror(errno));
    if (count == 0) break;
    length += std::size_t(count);
  }
  bytes.resize(length);
  return bytes;
}

namespace {

constexpr std::array<std::uint8_t, 4> binary_magic = {0, 'a', 's', 'm'};

Error wrong_text(const std::string& path, std::uint32_t line, std::uint32_t column, const std::string& message) {
  return error("{}:{}:{}: {}", path, line, column, message);
}

/// What is wrong with a module, by the place in the text that its byte came from.
Error wrong_module(const std::string& path, const wasm::ModuleError& wrong,
                   const std::vector<wasm::text::SourcePlace>& places) {
  const auto behind = std::ranges::upper_bound(places, wrong.offset, {}, &wasm::text::SourcePlace::offset);
  if (behind == places.begin()) return error("{}: {}", path, wrong.error().message);
  return wrong_text(path, std::prev(behind)->line, std::prev(behind)->column, wrong.message);
}

Result<std::shared_ptr<const wasm::Module>> load(const std::string& path, bool every_body) {
  auto bytes = read_whole_file(path);
  if (!bytes) return bytes.failure();
  std::vector<wasm::text::SourcePlace> places;
  const bool binary =
      bytes->size() >= binary_magic.size() && std::equal(binary_magic.begin(), binary_magic.end(), bytes->begin());
  if (!binary) {
    const std::string_view text(reinterpret_cast<const char*>(bytes->data()), bytes->size());
    if (text.find('(') == text.npos)
      return error("{} is no WebAssembly module, neither in the binary nor in the text format", path);
    auto assembled = wasm::text::assemble(text);
    if (const auto* wrong = std::get_if<wasm::text::TextError>(&assembled))
      return wrong_text(path, wrong->line, wrong->column, wrong->message);
    auto& module = std::get<wasm::text::AssembledModule>(assembled);
    *bytes = std::move(module.bytes);
    places = std::move(module.places);
  }
  auto parsed = wasm::parse_module(std::make_shared<const std::vector<std::uint8_t>>(*std::move(bytes)));
  if (const auto* wrong = std::get_if<wasm::ModuleError>(&parsed)) return wrong_module(path, *wrong, places);
  auto module = std::make_shared<const wasm::Module>(std::get<wasm::Module>(std::move(parsed)));
  every_body |= module->code.size() <= eagerly_validated_bytes;
  const auto wrong = every_body ? wasm::validate(*module) : wasm::validate_module(*module);
  if (wrong) return wrong_module(path, *wrong, places);
  return std::shared_ptr<const wasm::Module>(std::move(module));
}

}  // namespace

Result<std::shared_ptr<const wasm::Module>> load_module(const std::string& path) { return load(path, false); }
Result<std::shared_ptr<const wasm::Module>> load_valid_module(const std::string& path) { return load(path, true); }

bool names_module(const std::string& path) {
  if (path.ends_with(".wasm") || path.ends_with(".wat")) return true;
  const FileDescriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK));
  std::array<std::uint8_t, binary_magic.size()> first{};
  struct stat status;
  return file && ::fstat(file.get(), &status) == 0 && S_ISREG(status.st_mode) &&
         ::pread(file.get(), first.data(), first.size(), 0) == ssize_t(first.size()) && first == binary_magic;
}

}  // namespace doppel
