// The balloon with a hostile driver, which may put the queues themselves in it.
#include "device/virtio/balloon.h"
#include "fuzz/virtio_fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace doppel;
  fuzz::HostileDriver driver(data, size);
  auto made = std::make_unique<VirtioBalloon>(driver.host());
  auto* balloon = made.get();
  driver.plug(std::move(made));
  driver.run([&](fuzz::HostileDriver& d) { balloon->set_target(d.take<std::uint32_t>()); });
  return 0;
}
