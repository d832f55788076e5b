// The entropy device with a hostile driver: the plainest way to the virtqueue and the register window.
#include "device/virtio/entropy.h"
#include "fuzz/virtio_fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace doppel;
  fuzz::HostileDriver driver(data, size);
  driver.plug(std::make_unique<VirtioEntropy>(driver.host(), [](std::span<std::byte> out) {
    if (out.empty() || out.size() > VirtioEntropy::max_bytes) __builtin_trap();
    std::fill(out.begin(), out.end(), std::byte{0x55});
  }));
  driver.run([](fuzz::HostileDriver&) {});
  return 0;
}
