// A user's device tree, however broken, is refused with a sentence or comes back as one that libfdt accepts.
#include <libfdt.h>

#include <cstdint>
#include <cstdlib>
#include <vector>

#include "machine/device_tree.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto* bytes = reinterpret_cast<const std::byte*>(data);
  for (const bool initrd : {false, true}) {
    const auto tree = doppel::patch_device_tree({bytes, size}, "fuzz", initrd ? "console=ttyS0 quiet" : "",
                                                initrd ? std::optional(doppel::AddressRange{1, 2}) : std::nullopt);
    if (!tree && tree.message().empty()) std::abort();
    if (tree && fdt_check_full(tree->data(), tree->size()) != 0) std::abort();
  }
  return 0;
}
