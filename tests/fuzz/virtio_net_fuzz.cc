// The network device with a hostile driver, and a network that sends at any time, also from inside send().
#include "device/virtio/net.h"
#include "fuzz/virtio_fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace doppel;
  fuzz::HostileDriver driver(data, size);
  auto owned = std::make_unique<testing::FakeNetwork>();
  auto* network = owned.get();
  const bool echo = driver.take<std::uint8_t>() & 1;
  network->on_send = [&](std::span<const std::byte> frame) {
    if (frame.size() < 14 || frame.size() > VirtioNet::max_frame) __builtin_trap();
    if (echo && network->waiting.size() < 4) network->deliver({frame.begin(), frame.end()});
    network->sent.clear();
  };
  driver.plug(std::make_unique<VirtioNet>(driver.host(), std::move(owned), MacAddress{2, 0, 0, 0, 0, 1}));
  driver.run([&](fuzz::HostileDriver& d) {
    if (network->waiting.size() >= 4) return;
    auto frame = d.take_bytes(d.take<std::uint8_t>());
    frame.resize(std::min<std::size_t>(frame.size() + d.take<std::uint16_t>(), VirtioNet::max_frame + 1));
    network->deliver(std::move(frame));
  });
  return 0;
}
