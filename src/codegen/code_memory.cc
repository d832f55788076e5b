#include "codegen/code_memory.h"

#include <sys/mman.h>

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
  std::memcpy(writable_ + at, code.data(), code.size());
  used_ = at + code.size();
  return executable_ + at;
}

void CodeMemory::patch(const std::byte* at, std::int32_t displacement) {
  __atomic_store_n(reinterpret_cast<std::int32_t*>(writable_ + (at - executable_)), displacement, __ATOMIC_RELEASE);
}

void CodeMemory::replace(const std::byte* at, std::uint64_t bytes) {
  __atomic_store_n(reinterpret_cast<std::uint64_t*>(writable_ + (at - executable_)), bytes, __ATOMIC_RELEASE);
}

}  // namespace doppel
