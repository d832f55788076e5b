#include "device/virtio/device.h"

#include <algorithm>
#include <utility>

namespace doppel {

VirtioDevice::VirtioDevice(VirtioHost host, std::uint32_t id, std::string_view name,
                           std::span<const std::uint16_t> queue_sizes)
    : host_(std::move(host)), id_(id), name_(name) {
  queues_.reserve(queue_sizes.size());
  for (auto size : queue_sizes) queues_.emplace_back(size);
}

std::uint64_t VirtioDevice::offered() const {
  return features() | VIRTIO_F_VERSION_1 | VIRTIO_F_INDIRECT_DESC | VIRTIO_F_EVENT_IDX;
}

void VirtioDevice::write_config(std::uint64_t, std::span<const std::byte>) {}

void VirtioDevice::start(std::uint64_t features) {
  features_ = features;
  running_ = true;
  for (auto& queue : queues_) queue.negotiate(features);
  started();
  for (unsigned i = 0; i < queues_.size(); i++) notify(i);
}

void VirtioDevice::reset() {
  running_ = false;
  features_ = 0;
  deferred_.clear();
  for (auto& queue : queues_) queue.reset();
  cleared();
}

void VirtioDevice::enable_queue(unsigned index, std::uint64_t features) {
  if (!queues_[index].enable(memory(), features)) fail();
}

void VirtioDevice::disable_queue(unsigned index) {
  queues_[index].ready = false;
  queue_stopped(index);
}

void VirtioDevice::notify(unsigned index) {
  if (index < queues_.size() && usable(index)) process(index);
}

void VirtioDevice::save(Writer& out) const {
  out.blob(std::as_bytes(std::span(deferred_)));
  save_state(out);
}

bool VirtioDevice::restore_deferred(Reader& in) {
  deferred_.clear();
  for (const auto queue : in.blob(queues_.size())) {
    const auto number = std::to_integer<std::uint8_t>(queue);
    if (number >= queues_.size() || std::ranges::find(deferred_, number) != deferred_.end()) return false;
    deferred_.push_back(number);
  }
  return in.ok();
}

Result<void> VirtioDevice::restore(Reader& in, std::uint64_t features, bool running) {
  cleared();
  alive_ = std::make_shared<int>();  // what the device was about to do before is not for this one
  features_ = features;
  running_ = running;
  if (!restore_deferred(in)) {
    reset();
    return error("the snapshot's record of {} is damaged", name_);
  }
  later([this] {
    if (running_) resumed();
  });
  for (const auto queue : deferred_) visit_deferred(queue);
  if (auto result = restore_state(in); !result || !in.ok()) {
    reset();
    return result ? error("the snapshot's record of {} is cut short", name_) : result;
  }
  return {};
}

void VirtioDevice::fail() {
  running_ = false;
  if (transport_) transport_->needs_reset();
}

bool VirtioDevice::take(unsigned queue, Chain& chain) {
  const auto popped = queues_[queue].pop(memory(), chain);
  if (popped == Queue::Pop::broken) fail();
  return popped == Queue::Pop::chain;
}

void VirtioDevice::complete(unsigned queue, const Chain& chain, std::uint32_t written) {
  if (!queues_[queue].push(memory(), chain.head, written) || !queues_[queue].publish(memory())) fail();
}

void VirtioDevice::signal(unsigned queue) {
  if (usable(queue) && queues_[queue].wants_interrupt(memory()) && transport_) transport_->queue_interrupt();
}

void VirtioDevice::process_later(unsigned queue) {
  if (std::ranges::find(deferred_, queue) != deferred_.end()) return;
  deferred_.push_back(std::uint8_t(queue));
  visit_deferred(queue);
}

void VirtioDevice::visit_deferred(unsigned queue) {
  later([this, queue] {
    std::erase(deferred_, queue);
    notify(queue);
  });
}

void VirtioDevice::later(std::function<void()> function) {
  host_.later([alive = std::weak_ptr(alive_), function = std::move(function)] {
    if (!alive.expired()) function();
  });
}

void VirtioDevice::config_changed() {
  if (transport_) transport_->config_interrupt();
}

}  // namespace doppel
