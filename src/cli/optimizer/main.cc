// doppel-optimizer: compiles hot regions of translated code for machines. Requests come on standard input and objects
// go to standard output, each behind its length in 32 bits. It is a process of its own so that LLVM is loaded, and its
// memory taken, only where something is hot, and so that what guests make LLVM do happens outside their machine.
#include <sys/resource.h>
#include <unistd.h>

#include <cstring>
#include <memory>
#include <vector>

#include "codegen/optimizing/compiler.h"

namespace {

constexpr std::uint32_t longest_request = 64 << 20;
constexpr int background_priority = 5;

bool read_all(void* to, std::size_t size) {
  auto* bytes = static_cast<char*>(to);
  while (size > 0) {
    const auto got = read(STDIN_FILENO, bytes, size);
    if (got <= 0) return false;
    bytes += got, size -= std::size_t(got);
  }
  return true;
}

bool write_all(const void* from, std::size_t size) {
  const auto* bytes = static_cast<const char*>(from);
  while (size > 0) {
    const auto put = write(STDOUT_FILENO, bytes, size);
    if (put <= 0) return false;
    bytes += put, size -= std::size_t(put);
  }
  return true;
}

}  // namespace

int main() {
  setpriority(PRIO_PROCESS, 0, background_priority);
  std::unique_ptr<doppel::optimizing::Compiler> compiler;
  std::uint32_t size;
  while (read_all(&size, sizeof size) && size <= longest_request) {
    std::vector<std::byte> bytes(size);
    if (!read_all(bytes.data(), size)) break;
    const auto request = doppel::request_from(bytes);
    if (!request) return 2;
    if (!compiler) compiler = std::make_unique<doppel::optimizing::Compiler>();
    const auto answer = to_bytes(compiler->compile(*request));
    const auto length = std::uint32_t(answer.size());
    if (!write_all(&length, sizeof length) || !write_all(answer.data(), answer.size())) break;
  }
}
