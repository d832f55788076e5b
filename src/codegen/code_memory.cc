#include "codegen/code_memory.h"

#include <sys/mman.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace doppel {

namespace {

constexpr std::size_t huge_page = 2 << 20, page_bytes = 4096;

/// Address space at a multiple of a huge page's size; MAP_FAILED where there is none.
void* reserve(std::size_t bytes) {
  void* all = mmap(nullptr, bytes + huge_page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (all == MAP_FAILED) return all;
  auto* begin = static_cast<std::byte*>(all);
  auto* aligned = begin + (huge_page - reinterpret_cast<std::uintptr_t>(begin) % huge_page) % huge_page;
  if (aligned != begin) munmap(begin, std::size_t(aligned - begin));
  munmap(aligned + bytes, std::size_t(begin + huge_page - aligned));
  return aligned;
}

}  // namespace

Result<std::unique_ptr<CodeMemory>> CodeMemory::create(std::size_t bytes) {
  const auto size = (bytes + page_bytes - 1) / page_bytes * page_bytes;
  void *writable = reserve(size), *executable = reserve(size);
  const auto failed = [&](const char* what) {
    const auto problem = errno;
    for (auto* mapping : {writable, executable})
      if (mapping != MAP_FAILED) munmap(mapping, size);
    return error("cannot {} {} MiB of memory for translated code: {}", what, bytes >> 20, std::strerror(problem));
  };
  if (writable == MAP_FAILED || executable == MAP_FAILED) return failed("find room for");
  // Without a file: of memory that has a name perf takes no symbols from /tmp/perf-PID.map.
  constexpr int shared = MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED;
  if (mmap(writable, size, PROT_READ | PROT_WRITE, shared, -1, 0) == MAP_FAILED) return failed("make");
  // The same pages once more.
  if (mremap(writable, 0, size, MREMAP_MAYMOVE | MREMAP_FIXED, executable) == MAP_FAILED ||
      mprotect(executable, size, PROT_READ | PROT_EXEC) != 0)
    return failed("map");
  return std::unique_ptr<CodeMemory>(
      new CodeMemory(static_cast<std::byte*>(writable), static_cast<std::byte*>(executable), size));
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

/// Brings in the next pages together: as a huge page, for processors have room for few translations of code's
/// addresses, or as many small ones. What the kernel does not do now it does at the first touch.
void CodeMemory::prepare() {
  constexpr int populate_read = 22, populate_write = 23, collapse = 25;  // MADV_*, of Linux 5.14 and 6.1
  while (prepared_ < used_) {
    const auto step = std::min(huge_page, size_ - prepared_);
    writable_[prepared_] = {};  // of nothing no huge page is made
    if (step < huge_page || madvise(writable_ + prepared_, step, collapse) != 0)
      madvise(writable_ + prepared_, step, populate_write);
    madvise(executable_ + prepared_, step, populate_read);
    prepared_ += step;
  }
}

void CodeMemory::patch(const std::byte* at, std::int32_t displacement) {
  __atomic_store_n(reinterpret_cast<std::int32_t*>(writable_ + (at - executable_)), displacement, __ATOMIC_RELEASE);
}

void CodeMemory::replace(const std::byte* at, std::uint64_t bytes) {
  __atomic_store_n(reinterpret_cast<std::uint64_t*>(writable_ + (at - executable_)), bytes, __ATOMIC_RELEASE);
}

}  // namespace doppel
