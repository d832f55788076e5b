#include "device/virtio/mmio.h"

#include <algorithm>
#include <cstring>
#include <utility>

namespace doppel {
namespace {

constexpr std::uint64_t config_offset = 0x100;
constexpr std::uint32_t vendor = 0x4c504f44;  // "DOPL"

}  // namespace

/// A row of 4.2.2's table. A null function: reads as zero, or ignores writes. All but the first three need a device.
struct VirtioMmio::Register {
  std::uint16_t offset;
  std::uint32_t (*read)(VirtioMmio&);
  void (*write)(VirtioMmio&, std::uint32_t);
};

template <std::uint64_t Queue::* address, unsigned shift>
void VirtioMmio::set_address(VirtioMmio& m, std::uint32_t value) {
  auto* queue = m.selected();
  if (!queue || queue->ready) return;  // 4.2.2.2: not while QueueReady is 1
  auto& whole = queue->*address;
  whole = (whole & ~(0xffff'ffffull << shift)) | static_cast<std::uint64_t>(value) << shift;
}

const VirtioMmio::Register* VirtioMmio::find(std::uint64_t offset, unsigned size) {
  using M = VirtioMmio&;
  using V = std::uint32_t;
  constexpr auto ones = [](M) { return ~V{0}; };
  static constexpr Register registers[] = {
      {0x000, [](M) { return V{0x74726976}; }, nullptr},                      // MagicValue
      {0x004, [](M) { return V{2}; }, nullptr},                               // Version
      {0x008, [](M m) { return m.device_ ? m.device_->id() : 0; }, nullptr},  // DeviceID
      {0x00c, [](M) { return vendor; }, nullptr},                             // VendorID
      {0x010,                                                                 // DeviceFeatures
       [](M m) { return m.device_features_sel_ < 2 ? V(m.device_->offered() >> 32 * m.device_features_sel_) : 0; },
       nullptr},
      {0x014, nullptr, [](M m, V v) { m.device_features_sel_ = v; }},                      // DeviceFeaturesSel
      {0x020, nullptr, [](M m, V v) { m.set_driver_features(v); }},                        // DriverFeatures
      {0x024, nullptr, [](M m, V v) { m.driver_features_sel_ = v; }},                      // DriverFeaturesSel
      {0x030, nullptr, [](M m, V v) { m.queue_sel_ = v; }},                                // QueueSel
      {0x034, [](M m) { return m.selected() ? V{m.selected()->size_max} : 0; }, nullptr},  // QueueNumMax
      {0x038, nullptr,                                                                     // QueueNum
       [](M m, V v) {
         if (auto* q = m.selected(); q && !q->ready) q->size = std::min<V>(v, 0xffff);
       }},
      {0x044, [](M m) { return V{m.selected() && m.selected()->ready}; },  // QueueReady
       [](M m, V v) { m.set_queue_ready(v); }},
      {0x050, nullptr, [](M m, V v) { m.device_->notify(v); }},   // QueueNotify
      {0x060, [](M m) { return m.interrupt_status_; }, nullptr},  // InterruptStatus
      {0x064, nullptr,                                            // InterruptACK
       [](M m, V v) {
         m.interrupt_status_ &= ~v;
         m.irq_.set(m.interrupt_status_ != 0);
       }},
      {0x070, [](M m) { return m.status_; }, [](M m, V v) { m.set_status(v); }},  // Status
      {0x080, nullptr, set_address<&Queue::desc, 0>},                             // QueueDescLow
      {0x084, nullptr, set_address<&Queue::desc, 32>},                            // QueueDescHigh
      {0x090, nullptr, set_address<&Queue::avail, 0>},                            // QueueDriverLow
      {0x094, nullptr, set_address<&Queue::avail, 32>},                           // QueueDriverHigh
      {0x0a0, nullptr, set_address<&Queue::used, 0>},                             // QueueDeviceLow
      {0x0a4, nullptr, set_address<&Queue::used, 32>},                            // QueueDeviceHigh
      {0x0b0, ones, nullptr},                                                     // SHMLenLow: no region
      {0x0b4, ones, nullptr},                                                     // SHMLenHigh
      {0x0b8, ones, nullptr},                                                     // SHMBaseLow
      {0x0bc, ones, nullptr},                                                     // SHMBaseHigh
      {0x0fc, [](M m) { return m.config_generation_; }, nullptr},                 // ConfigGeneration
  };
  if (size != 4) return nullptr;
  for (const auto& row : registers)
    if (row.offset == offset) return &row;
  return nullptr;
}

VirtioMmio::VirtioMmio(std::unique_ptr<VirtioDevice> device, InterruptLine irq)
    : device_(std::move(device)), irq_(irq) {
  if (device_) device_->attach(this);
}

void VirtioMmio::reset() {
  if (device_) device_->reset();
  device_features_sel_ = driver_features_sel_ = queue_sel_ = 0;
  driver_features_ = 0;
  interrupt_status_ = status_ = 0;  // ConfigGeneration goes on: a driver may be in the middle of reading
  irq_.set(false);
}

bool VirtioMmio::read(std::uint64_t offset, unsigned size, std::uint64_t& value) {
  value = 0;
  if (offset >= config_offset) {
    const auto config = device_ ? device_->config() : std::span<const std::byte>{};
    const auto at = offset - config_offset;
    if (at < config.size()) std::memcpy(&value, config.data() + at, std::min<std::uint64_t>(size, config.size() - at));
    return true;
  }
  const auto* row = find(offset, size);
  if (row && row->read && (device_ || offset <= 0x00c)) value = row->read(*this);
  return true;
}

bool VirtioMmio::write(std::uint64_t offset, unsigned size, std::uint64_t value) {
  if (!device_) return true;
  if (offset >= config_offset) {
    device_->write_config(offset - config_offset, std::as_bytes(std::span(&value, 1)).first(size));
    return true;
  }
  const auto* row = find(offset, size);
  if (row && row->write) row->write(*this, static_cast<std::uint32_t>(value));
  return true;
}

Queue* VirtioMmio::selected() {
  auto& queues = device_->queues();
  return queue_sel_ < queues.size() ? &queues[queue_sel_] : nullptr;
}

void VirtioMmio::set_driver_features(std::uint32_t value) {
  if (driver_features_sel_ > 1 || (status_ & FEATURES_OK)) return;
  const unsigned shift = 32 * driver_features_sel_;
  driver_features_ = (driver_features_ & ~(0xffff'ffffull << shift)) | static_cast<std::uint64_t>(value) << shift;
}

void VirtioMmio::set_queue_ready(std::uint32_t value) {
  auto* queue = selected();
  if (!queue || (value & 1) == queue->ready) return;
  if (value & 1)
    device_->enable_queue(queue_sel_, driver_features_);
  else
    device_->disable_queue(queue_sel_);
}

bool VirtioMmio::features_acceptable() const {
  return (driver_features_ & ~device_->offered()) == 0 && (driver_features_ & VIRTIO_F_VERSION_1);
}

void VirtioMmio::set_status(std::uint32_t value) {
  if (value == 0) return reset();
  // 2.1.1: the driver sets bits one after the other and clears none; 3.1.1: DRIVER_OK is for who has FEATURES_OK.
  std::uint32_t added = value & ~status_ & (ACKNOWLEDGE | DRIVER | DRIVER_OK | FEATURES_OK | FAILED);
  if ((added & FEATURES_OK) && !features_acceptable()) added &= ~FEATURES_OK;
  if (!((status_ | added) & FEATURES_OK)) added &= ~DRIVER_OK;
  status_ |= added;
  if ((added & DRIVER_OK) && running()) device_->start(driver_features_);
}

void VirtioMmio::raise(std::uint32_t cause) {
  interrupt_status_ |= cause;
  irq_.set(true);
}

void VirtioMmio::config_interrupt() {
  config_generation_++;
  if (status_ & DRIVER_OK) raise(2);
}

void VirtioMmio::needs_reset() {
  status_ |= DEVICE_NEEDS_RESET;
  if (status_ & DRIVER_OK) raise(2);  // 2.1.2
}

void VirtioMmio::save(Writer& out) const {
  out.put<std::uint32_t>(device_ ? device_->id() : 0);
  if (!device_) return;
  for (auto value : {device_features_sel_, driver_features_sel_, queue_sel_}) out.put(value);
  out.put(driver_features_);
  for (auto value : {interrupt_status_, status_, config_generation_}) out.put(value);
  out.put<std::uint32_t>(device_->queues().size());
  for (const auto& queue : device_->queues()) queue.save(out);
  device_->save(out);
}

Result<void> VirtioMmio::restore(Reader& in) {
  reset();
  const auto id = in.get<std::uint32_t>();
  if (!in.ok() || id != (device_ ? device_->id() : 0))
    return error("the snapshot has virtio device type {} where this machine has {}", id, device_ ? device_->id() : 0);
  if (!device_) return {};
  for (auto* value : {&device_features_sel_, &driver_features_sel_, &queue_sel_}) *value = in.get<std::uint32_t>();
  driver_features_ = in.get<std::uint64_t>();
  for (auto* value : {&interrupt_status_, &status_, &config_generation_}) *value = in.get<std::uint32_t>();
  const auto count = in.get<std::uint32_t>();
  const bool sound = in.ok() && count == device_->queues().size() &&
                     (!(status_ & FEATURES_OK) || features_acceptable()) &&
                     (!(status_ & DRIVER_OK) || (status_ & FEATURES_OK));
  Result<void> result;
  if (!sound) result = error("the snapshot's record of {} does not fit this machine's", device_->name());
  for (auto& queue : device_->queues())
    if (result) result = queue.restore(in, device_->memory(), driver_features_);
  if (result) result = device_->restore(in, driver_features_, running());
  if (!result) reset();
  irq_.set(interrupt_status_ != 0);
  return result;
}

}  // namespace doppel
