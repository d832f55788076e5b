// The block device with a hostile driver and a disk that completes in any order and sometimes fails.
#include "device/virtio/block.h"
#include "fuzz/virtio_fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace doppel;
  fuzz::HostileDriver driver(data, size);
  auto disk = std::make_shared<testing::MemoryDisk>(64 << 10, driver.take<std::uint8_t>() == 0xff);
  auto held = std::make_unique<testing::HeldDisk>(disk);
  auto* io = held.get();
  auto device =
      std::make_unique<VirtioBlock>(driver.host(), std::move(held), "fuzz", 1 + driver.take<std::uint8_t>() % 4);
  auto* block = device.get();
  driver.plug(std::move(device));
  driver.run([&](fuzz::HostileDriver& d) {
    for (unsigned n = d.take<std::uint8_t>() % 8; n != 0 && !io->held.empty(); n--)
      io->complete(d.take<std::uint8_t>() % io->held.size(), d.take<std::uint8_t>() != 0xff);
  });
  io->complete_all();
  if (disk->strayed || block->bytes_in_flight() != 0) __builtin_trap();
  return 0;
}
