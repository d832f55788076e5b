// The console device with a hostile driver, ports that are full or empty at any time, and resizes.
#include <string>

#include "device/virtio/console.h"
#include "fuzz/virtio_fuzz.h"

namespace {

/// Takes as much output as it is told to, and keeps none.
class Port : public doppel::ConsolePort {
 public:
  std::size_t output(std::span<const std::byte> data) override {
    const auto taken = std::min(data.size(), limit);
    limit -= taken;
    return taken;
  }
  std::size_t limit = 1 << 20;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace doppel;
  fuzz::HostileDriver driver(data, size);
  Port ports[3];
  std::vector<ConsolePortSpec> specs;
  for (unsigned i = 0; i < 3; i++) specs.push_back({i ? "port" + std::to_string(i) : "", i == 0, &ports[i]});
  auto owned = std::make_unique<VirtioConsole>(driver.host(), std::move(specs));
  auto* console = owned.get();
  driver.plug(std::move(owned));
  driver.run([&](fuzz::HostileDriver& d) {
    const unsigned port = d.take<std::uint8_t>() % 4;
    switch (d.take<std::uint8_t>() % 4) {
      case 0:
        console->input(port, d.take_bytes(d.take<std::uint8_t>()));
        break;
      case 1:
        console->resize(d.take<std::uint8_t>(), d.take<std::uint8_t>());
        break;
      case 2:
        if (port < 3) ports[port].limit = d.take<std::uint16_t>();
        break;
      default:
        console->output_ready(port);
    }
    if (console->room(port) > VirtioConsole::input_bytes) __builtin_trap();
  });
  return 0;
}
