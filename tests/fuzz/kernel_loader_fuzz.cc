// Whatever a user gives as kernel or firmware ends as segments inside the file and inside memory, or as a sentence.
#include <cstdint>
#include <cstdlib>
#include <vector>

#include "machine/boot.h"
#include "machine/memory_map.h"

namespace {

using namespace doppel;

constexpr std::uint64_t memory_size = 8 << 20;

void check(const Result<LoadedKernel>& kernel) {
  if (!kernel) {
    if (kernel.message().empty()) std::abort();
    return;
  }
  std::uint64_t end = 0;
  for (const auto& segment : kernel->segments) {
    if (segment.address < end || segment.file_size > segment.memory_size) std::abort();
    if (kernel->bytes(segment).size() != segment.file_size) std::abort();
    end = segment.address + segment.memory_size;
  }
  if (kernel->segments.empty() || kernel->high() - kernel->low() > memory_size) std::abort();
  static const auto memory = std::move(GuestMemory::create(dram_base, memory_size)).value();
  const auto tree = [](std::optional<AddressRange>) -> Result<std::vector<std::byte>> {
    return std::vector<std::byte>(64);
  };
  const auto as_kernel = place({.kernel = &*kernel, .make_device_tree = tree}, *memory);
  const auto as_firmware = place({.firmware = &*kernel, .make_device_tree = tree}, *memory);
  for (const auto* plan : {&as_kernel, &as_firmware})
    if (*plan && !memory->contains((*plan)->entry, 1)) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto* bytes = reinterpret_cast<const std::byte*>(data);
  const std::vector<std::byte> file(bytes, bytes + size);
  check(parse_kernel(file, "fuzz", {.memory_size = memory_size}));
  check(parse_kernel(file, "fuzz", {.memory_size = memory_size, .allow_raw = true}));
  check(parse_firmware(file, "fuzz", memory_size));
  return 0;
}
