#pragma once
#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "device/virtio/device.h"

namespace doppel {

/// The host's end of one port. Called under the device lock.
class ConsolePort {
 public:
  virtual ~ConsolePort() = default;
  /// Bytes from the guest. Returns how many were taken; after fewer than all, the rest comes again when the owner calls
  /// VirtioConsole::output_ready().
  virtual std::size_t output(std::span<const std::byte> data) = 0;
  /// The guest took input: VirtioConsole::room() grew.
  virtual void input_room() {}
  /// A program in the guest opened or closed the port. Not told of what restore() brings.
  virtual void guest_open(bool) {}
};

/// A port as given at construction: its name is /dev/virtio-ports/NAME in a Linux guest.
struct ConsolePortSpec {
  std::string name;             // at most 64 bytes; may be empty
  bool console = false;         // a terminal (hvcN), not a byte channel
  ConsolePort* port = nullptr;  // outlives the device
};

/// The console device (Virtio 1.2, 5.3) with several ports. Port 0 is a console whatever its spec says.
class VirtioConsole : public VirtioDevice {
 public:
  static constexpr std::size_t input_bytes = 4096;  // what waits for the guest, a port
  static constexpr unsigned max_ports = 15;

  /// `ports` has 1 to max_ports entries; more are left out.
  VirtioConsole(VirtioHost host, std::vector<ConsolePortSpec> ports);

  std::span<const std::byte> config() const override { return config_; }
  void write_config(std::uint64_t offset, std::span<const std::byte> data) override;

  /// Whether a program in the guest has the port open.
  bool guest_open(unsigned port) const { return ports_[port].guest_open; }
  /// How many bytes input() would take now.
  std::size_t room(unsigned port) const;
  /// Bytes for the guest; returns how many were taken. They wait until the guest has the port open and gives buffers.
  std::size_t input(unsigned port, std::span<const std::byte> data);
  /// The port can take output again.
  void output_ready(unsigned port);
  /// The size of port 0's terminal in characters; an unknown size is 0 by 0.
  void resize(std::uint16_t columns, std::uint16_t rows);

 protected:
  std::uint64_t features() const override;
  void started() override;
  void cleared() override;
  void process(unsigned queue) override;
  void queue_stopped(unsigned queue) override;
  void save_state(Writer& out) const override;
  Result<void> restore_state(Reader& in) override;
  void resumed() override;

 private:
  /// Control messages that wait for a buffer, in the order in which they go: bits of Port::pending.
  enum Pending : std::uint8_t {
    add_port = 1,
    console_port = 2,
    port_name = 4,
    port_size = 8,
    port_open = 16,
    all = 31
  };
  struct Port {
    ConsolePortSpec spec;
    // The state.
    std::vector<std::byte> input;
    std::uint64_t output_done = 0;  // bytes of the next chain of the transmit queue that the port has taken
    bool ready = false;             // the driver said PORT_READY
    bool guest_open = false;
    std::uint8_t pending = 0;
    bool blocked = false;  // the port has yet to say output_ready(); not saved: trying again finds out
  };
  struct Control {  // 5.3.6.2: struct virtio_console_control
    std::uint32_t id;
    std::uint16_t event, value;
  };

  void queue_size_message();
  static unsigned receive_queue(unsigned port) { return port == 0 ? 0 : 2 + 2 * port; }
  bool multiport() const;
  void deliver(unsigned port);
  void transmit(unsigned port);
  bool output_chain(unsigned port, const Chain& chain);
  void receive_control();
  void handle(const Control& message);
  void set_guest_open(unsigned port, bool open);
  void send_control();
  bool send_pending(unsigned port, Chain& chain);
  std::vector<std::byte> message(unsigned port, std::uint8_t bit) const;

  std::vector<Port> ports_;
  std::array<std::byte, 12> config_{};
  std::uint16_t columns_ = 0, rows_ = 0;
  std::vector<std::byte> scratch_;
};

}  // namespace doppel
