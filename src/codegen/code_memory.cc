#include "codegen/code_memory.h"

#include <sys/mman.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace doppel {

Result<std::unique_ptr<CodeMemory>> CodeMemory::create(std::size_t bytes) {
  const auto failed = [&](const char* what) {
    return error("cannot {} {} MiB of memory for translated code: {}", what, bytes >> 20, std::strerror(errno));
  };
  // Without a file: of memory that has a name perf takes no symbols from /tmp/perf-PID.map.
  void* writable = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (writable == MAP_FAILED) return failed("make");
  void* executable = mremap(writable, 0, bytes, MREMAP_MAYMOVE);  // the same pages once more
  if (executable == MAP_FAILED || mprotect(executable, bytes, PROT_READ | PROT_EXEC) != 0) {
    const auto problem = errno;
    munmap(writable, bytes);
    if (executable != MAP_FAILED) munmap(executable, bytes);
    errno = problem;
    return failed("map");
  }
  return std::unique_ptr<CodeMemory>(
      new CodeMemory(static_cast<std::byte*>(writable), static_cast<std::byte*>(executable), bytes));
}

CodeMemory::~CodeMemory() {
  munmap(writable_, size_);
  munmap(executable_, size_);
}

const std::byte* CodeMemory::add(std::span<const std::byte> code) {
  const auto at = (used_ + alignment - 1) & ~(alignment - 1);
  if (at + code.size() > size_) return nullptr;
  used_ = at + code.size();
  if (used_ > prepared_) prepare();
  std::memcpy(writable_ + at, code.data(), code.size());
  return executable_ + at;
}

/// Brings in the next pages together, which costs a fraction of as many page faults. What the kernel does not do now it
/// does at the first touch.
void CodeMemory::prepare() {
  constexpr std::size_t step = 256 << 10;
  constexpr int populate_read = 22, populate_write = 23;  // MADV_POPULATE_*, of Linux 5.14
  const auto end = std::min((used_ + step - 1) / step * step, size_);
  madvise(writable_ + prepared_, end - prepared_, populate_write);
  madvise(executable_ + prepared_, end - prepared_, populate_read);
  prepared_ = end;
}

void CodeMemory::patch(const std::byte* at, std::int32_t displacement) {
  __atomic_store_n(reinterpret_cast<std::int32_t*>(writable_ + (at - executable_)), displacement, __ATOMIC_RELEASE);
}

void CodeMemory::replace(const std::byte* at, std::uint64_t bytes) {
  __atomic_store_n(reinterpret_cast<std::uint64_t*>(writable_ + (at - executable_)), bytes, __ATOMIC_RELEASE);
}

}  // namespace doppel
