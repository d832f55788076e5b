#include "device/virtio/console.h"

#include <algorithm>
#include <cstring>
#include <utility>

namespace doppel {
namespace {

enum : std::uint64_t {  // 5.3.3
  VIRTIO_CONSOLE_F_SIZE = 1 << 0,
  VIRTIO_CONSOLE_F_MULTIPORT = 1 << 1,
  VIRTIO_CONSOLE_F_EMERG_WRITE = 1 << 2,
};

enum : std::uint16_t {  // 5.3.6.2
  VIRTIO_CONSOLE_DEVICE_READY = 0,
  VIRTIO_CONSOLE_DEVICE_ADD = 1,
  VIRTIO_CONSOLE_PORT_READY = 3,
  VIRTIO_CONSOLE_CONSOLE_PORT = 4,
  VIRTIO_CONSOLE_RESIZE = 5,
  VIRTIO_CONSOLE_PORT_OPEN = 6,
  VIRTIO_CONSOLE_PORT_NAME = 7,
};

enum : unsigned { control_receive_queue = 2, control_transmit_queue = 3 };
constexpr std::uint64_t emerg_wr = 8;  // its offset in the configuration space
constexpr std::uint16_t data_queue_size = 128, control_queue_size = 64;
constexpr std::size_t output_step = 16 << 10;
constexpr std::size_t max_name = 64;

std::vector<std::uint16_t> queue_sizes(std::size_t ports) {
  std::vector<std::uint16_t> sizes(2 + 2 * std::clamp<std::size_t>(ports, 1, VirtioConsole::max_ports),
                                   data_queue_size);
  sizes[control_receive_queue] = sizes[control_transmit_queue] = control_queue_size;
  return sizes;
}

}  // namespace

VirtioConsole::VirtioConsole(VirtioHost host, std::vector<ConsolePortSpec> ports)
    : VirtioDevice(std::move(host), 3, "virtio-console", queue_sizes(ports.size())) {
  ports.resize(std::clamp<std::size_t>(ports.size(), 1, max_ports));
  ports[0].console = true;
  for (auto& spec : ports) {
    spec.name.resize(std::min(spec.name.size(), max_name));
    ports_.emplace_back().spec = std::move(spec);
  }
  const auto count = static_cast<std::uint32_t>(ports_.size());
  std::memcpy(config_.data() + 4, &count, 4);  // max_nr_ports
}

std::uint64_t VirtioConsole::features() const {
  return VIRTIO_CONSOLE_F_SIZE | VIRTIO_CONSOLE_F_MULTIPORT | VIRTIO_CONSOLE_F_EMERG_WRITE;
}

bool VirtioConsole::multiport() const { return has(VIRTIO_CONSOLE_F_MULTIPORT); }

void VirtioConsole::write_config(std::uint64_t offset, std::span<const std::byte> data) {
  if (offset == emerg_wr && !data.empty() && ports_[0].spec.port) ports_[0].spec.port->output(data.first(1));
}

std::size_t VirtioConsole::room(unsigned port) const {
  return port < ports_.size() ? input_bytes - ports_[port].input.size() : 0;
}

std::size_t VirtioConsole::input(unsigned port, std::span<const std::byte> data) {
  data = data.first(std::min(data.size(), room(port)));
  if (data.empty()) return 0;
  ports_[port].input.insert(ports_[port].input.end(), data.begin(), data.end());
  deliver(port);
  return data.size();
}

void VirtioConsole::output_ready(unsigned port) {
  if (port >= ports_.size() || !std::exchange(ports_[port].blocked, false)) return;
  notify(receive_queue(port) + 1);
}

void VirtioConsole::resize(std::uint16_t columns, std::uint16_t rows) {
  if (columns == columns_ && rows == rows_) return;
  columns_ = columns;
  rows_ = rows;
  std::memcpy(config_.data(), &columns, 2);
  std::memcpy(config_.data() + 2, &rows, 2);
  config_changed();
  queue_size_message();
  send_control();
}

/// With several ports the size goes by message (5.3.6.2): not before the driver knows the port, and never an unknown
/// size.
void VirtioConsole::queue_size_message() {
  if (ports_[0].ready && has(VIRTIO_CONSOLE_F_SIZE) && (columns_ != 0 || rows_ != 0)) ports_[0].pending |= port_size;
}

void VirtioConsole::started() {
  if (!multiport()) set_guest_open(0, true);
}

void VirtioConsole::cleared() {
  for (unsigned i = 0; i < ports_.size(); i++) {
    ports_[i].output_done = 0;
    ports_[i].pending = 0;
    ports_[i].blocked = false;
    ports_[i].ready = false;
    set_guest_open(i, false);
  }
}

void VirtioConsole::queue_stopped(unsigned queue) {
  for (unsigned i = 0; i < ports_.size(); i++)
    if (queue == receive_queue(i) + 1) ports_[i].output_done = 0;
}

void VirtioConsole::process(unsigned queue) {
  if (queue == control_receive_queue) return send_control();
  if (queue == control_transmit_queue) return receive_control();
  const unsigned port = queue < 2 ? 0 : queue / 2 - 1;
  queue % 2 == 0 ? deliver(port) : transmit(port);
}

/// Moves waiting input into the driver's buffers.
void VirtioConsole::deliver(unsigned index) {
  auto& port = ports_[index];
  const unsigned queue = receive_queue(index);
  if (!usable(queue) || (!port.guest_open && !port.spec.console)) return;
  Chain chain;
  std::size_t done = 0;
  while (done < port.input.size() && usable(queue) && take(queue, chain)) {
    const auto length = std::min<std::uint64_t>(port.input.size() - done, chain.writable_bytes);
    // 5.3.6.1: receive buffers are for the device to write.
    if (length == 0 || !write_spans(memory(), chain.writable, 0, std::span(port.input).subspan(done, length))) {
      fail();
      break;
    }
    complete(queue, chain, static_cast<std::uint32_t>(length));
    done += length;
  }
  port.input.erase(port.input.begin(), port.input.begin() + static_cast<std::ptrdiff_t>(done));
  signal(queue);
  // Later, because the port answers with more input, and a driver that gives buffers fast would keep both here.
  if (done != 0 && port.spec.port) later([p = port.spec.port] { p->input_room(); });
}

void VirtioConsole::transmit(unsigned index) {
  if (ports_[index].blocked) return;
  const unsigned queue = receive_queue(index) + 1;
  Chain chain;
  std::size_t budget = 1 << 20;
  drain(queue, chain, [&](const Chain& taken) {
    if (!output_chain(index, taken)) {
      queues()[queue].unpop(1);
      return false;
    }
    complete(queue, taken, 0);
    if (taken.readable_bytes < budget) {
      budget -= taken.readable_bytes;
      return running();
    }
    process_later(queue);
    return false;
  });
  signal(queue);
}

/// Gives the port what it has not yet had of a chain, a bounded part at a time; true when that is all.
bool VirtioConsole::output_chain(unsigned index, const Chain& chain) {
  auto& port = ports_[index];
  for (unsigned steps = 0; port.output_done < chain.readable_bytes; steps++) {
    if (steps == 64) {
      process_later(receive_queue(index) + 1);
      return false;
    }
    scratch_.resize(std::min<std::uint64_t>(output_step, chain.readable_bytes - port.output_done));
    if (!read_spans(memory(), chain.readable, port.output_done, scratch_)) {
      fail();
      return false;
    }
    const auto taken = port.spec.port ? port.spec.port->output(scratch_) : scratch_.size();
    port.output_done += std::min(taken, scratch_.size());
    if (taken < scratch_.size()) {
      port.blocked = true;
      return false;
    }
  }
  port.output_done = 0;
  return true;
}

void VirtioConsole::receive_control() {
  Chain chain;
  drain(control_transmit_queue, chain, [this](const Chain& taken) {
    Control message;
    if (read_spans(memory(), taken.readable, 0, std::as_writable_bytes(std::span(&message, 1)))) handle(message);
    complete(control_transmit_queue, taken, 0);
    return running();
  });
  signal(control_transmit_queue);
  send_control();
}

void VirtioConsole::handle(const Control& message) {
  if (!multiport()) return;
  if (message.event == VIRTIO_CONSOLE_DEVICE_READY && message.value == 1) {
    for (auto& port : ports_) port.pending |= add_port;
    return;
  }
  if (message.id >= ports_.size()) return;
  auto& port = ports_[message.id];
  if (message.event == VIRTIO_CONSOLE_PORT_READY && message.value == 1) {
    port.ready = true;
    port.pending |= port_open;
    if (port.spec.console) port.pending |= console_port;
    if (!port.spec.name.empty()) port.pending |= port_name;
    if (message.id == 0) queue_size_message();
  } else if (message.event == VIRTIO_CONSOLE_PORT_OPEN) {
    set_guest_open(message.id, message.value != 0);
    deliver(message.id);
  }
}

void VirtioConsole::set_guest_open(unsigned index, bool is_open) {
  auto& port = ports_[index];
  if (std::exchange(port.guest_open, is_open) != is_open && port.spec.port) port.spec.port->guest_open(is_open);
}

/// Sends what waits of control messages, as far as there are buffers.
void VirtioConsole::send_control() {
  if (!usable(control_receive_queue) || !multiport()) return;
  Chain chain;
  for (unsigned i = 0; i < ports_.size(); i++)
    while (ports_[i].pending != 0 && usable(control_receive_queue))
      if (!send_pending(i, chain)) return signal(control_receive_queue);
  signal(control_receive_queue);
}

bool VirtioConsole::send_pending(unsigned index, Chain& chain) {
  if (!take(control_receive_queue, chain)) return false;
  auto& pending = ports_[index].pending;
  const std::uint8_t bit = pending & -pending;
  const auto bytes = message(index, bit);
  // A buffer that is too small for the message loses it, as it would with any device: it is the driver's choice.
  const bool fits = bytes.size() <= chain.writable_bytes;
  if (fits && !write_spans(memory(), chain.writable, 0, bytes)) {
    fail();
    return false;
  }
  pending &= ~bit;
  complete(control_receive_queue, chain, fits ? static_cast<std::uint32_t>(bytes.size()) : 0);
  return true;
}

std::vector<std::byte> VirtioConsole::message(unsigned index, std::uint8_t bit) const {
  struct Row {
    std::uint8_t bit;
    std::uint16_t event, value;
  };
  static constexpr Row rows[] = {{add_port, VIRTIO_CONSOLE_DEVICE_ADD, 1},
                                 {console_port, VIRTIO_CONSOLE_CONSOLE_PORT, 1},
                                 {port_name, VIRTIO_CONSOLE_PORT_NAME, 1},
                                 {port_size, VIRTIO_CONSOLE_RESIZE, 0},
                                 {port_open, VIRTIO_CONSOLE_PORT_OPEN, 1}};
  const auto& row = *std::find_if(std::begin(rows), std::end(rows), [&](const Row& r) { return r.bit == bit; });
  const Control control{index, row.event, row.value};
  const auto head = std::as_bytes(std::span(&control, 1));
  std::vector<std::byte> out(head.begin(), head.end());
  if (bit == port_size) {
    // Columns first, as 5.3.6.2 and Debian 13's kernel have it; Linux before 6.15 took the two the other way round.
    const std::uint16_t size[] = {columns_, rows_};
    const auto bytes = std::as_bytes(std::span(size));
    out.insert(out.end(), bytes.begin(), bytes.end());
  } else if (bit == port_name) {
    const auto bytes = std::as_bytes(std::span(ports_[index].spec.name));
    out.insert(out.end(), bytes.begin(), bytes.end());
  }
  return out;
}

void VirtioConsole::save_state(Writer& out) const {
  out.put(columns_);
  out.put(rows_);
  out.put<std::uint32_t>(ports_.size());
  for (const auto& port : ports_) {
    out.blob(port.input);
    out.put(port.output_done);
    out.put<std::uint8_t>(port.ready);
    out.put<std::uint8_t>(port.guest_open);
    out.put<std::uint8_t>(port.blocked);
    out.put(port.pending);
  }
}

Result<void> VirtioConsole::restore_state(Reader& in) {
  columns_ = in.get<std::uint16_t>();
  rows_ = in.get<std::uint16_t>();
  std::memcpy(config_.data(), &columns_, 2);
  std::memcpy(config_.data() + 2, &rows_, 2);
  if (in.get<std::uint32_t>() != ports_.size())
    return error("the snapshot's console has another number of ports than this machine's {}", ports_.size());
  for (unsigned i = 0; i < ports_.size(); i++) {
    ports_[i].input = in.blob(input_bytes);
    ports_[i].output_done = in.get<std::uint64_t>();
    ports_[i].ready = in.get<std::uint8_t>() != 0;
    ports_[i].guest_open = in.get<std::uint8_t>() != 0;
    ports_[i].blocked = in.get<std::uint8_t>() != 0;
    ports_[i].pending = in.get<std::uint8_t>() & all;
  }
  return {};
}

/// The ports of a copy take what those of the original did not.
void VirtioConsole::resumed() {
  for (unsigned i = 0; i < ports_.size(); i++) output_ready(i);
}

}  // namespace doppel
