#pragma once
// What is behind a virtio transport (Virtio 1.2, 2): queues, features and a configuration space.
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "base/archive.h"
#include "base/result.h"
#include "device/virtio/queue.h"
#include "memory/guest_memory.h"

namespace doppel {

/// What a virtio device gets from its machine. Both outlive the device.
struct VirtioHost {
  GuestMemory& memory;
  /// Runs a function soon, under the device lock and not from inside the call (EventLoop::post). Devices continue there
  /// what would take too long on the thread of the hart that notified.
  std::function<void(std::function<void()>)> later;
};

/// The way back from a device to its driver.
class VirtioTransport {
 public:
  virtual ~VirtioTransport() = default;
  virtual void queue_interrupt() = 0;
  /// The configuration space changed: its generation goes up and, where the driver runs, it is interrupted.
  virtual void config_interrupt() = 0;
  /// The driver broke the rules; the device stands still until it is reset (2.1.2).
  virtual void needs_reset() = 0;
};

/// A virtio device. All functions are called under the device lock. The base does what all devices share; a device
/// implements the protected functions.
class VirtioDevice {
 public:
  /// `id` is the device type (Virtio 1.2, 5), `queue_sizes` the largest size of each queue.
  VirtioDevice(VirtioHost host, std::uint32_t id, std::string_view name, std::span<const std::uint16_t> queue_sizes);
  virtual ~VirtioDevice() = default;
  VirtioDevice(const VirtioDevice&) = delete;

  std::uint32_t id() const { return id_; }
  /// The record's name in snapshots, for instance "virtio-block".
  std::string_view name() const { return name_; }
  GuestMemory& memory() const { return host_.memory; }
  std::vector<Queue>& queues() { return queues_; }
  const std::vector<Queue>& queues() const { return queues_; }
  void attach(VirtioTransport* transport) { transport_ = transport; }

  /// All features offered, those of queues included.
  std::uint64_t offered() const;

  /// The configuration space, as the driver reads it; past its end there are zeros.
  virtual std::span<const std::byte> config() const = 0;
  virtual void write_config(std::uint64_t offset, std::span<const std::byte> data);

  /// DRIVER_OK: the device lives, with the features that were negotiated.
  void start(std::uint64_t features);
  bool running() const { return running_; }
  void reset();
  void enable_queue(unsigned index, std::uint64_t features);
  void disable_queue(unsigned index);
  /// The driver put something in a queue; a number that is none, or a queue that is not ready, is ignored.
  void notify(unsigned index);

  void save(Writer& out) const;
  /// Reads hostile bytes. Guest memory need not hold its restored content yet: what has to be done again is done
  /// through VirtioHost::later. `running` is whether DRIVER_OK is set and DEVICE_NEEDS_RESET is not.
  Result<void> restore(Reader& in, std::uint64_t features, bool running);

 protected:
  virtual std::uint64_t features() const = 0;
  virtual void started() {}
  /// All that the driver caused is forgotten; what the host gave stays.
  virtual void cleared() = 0;
  /// A ready queue of a running device was notified. Bounded work: see drain().
  virtual void process(unsigned queue) = 0;
  virtual void queue_stopped(unsigned) {}
  virtual void save_state(Writer& out) const = 0;
  virtual Result<void> restore_state(Reader& in) = 0;
  /// Runs when guest memory is restored too, before those queues are processed that were to be processed later. Others
  /// are not: a copy must not see what the driver puts in them sooner than it would have been seen.
  virtual void resumed() {}

  bool has(std::uint64_t feature) const { return features_ & feature; }
  bool usable(unsigned queue) const { return running_ && queues_[queue].ready; }
  /// Stops the device with DEVICE_NEEDS_RESET.
  void fail();
  /// Pops a chain, or gives false: there is none, or the driver broke the queue and the device now stands still.
  bool take(unsigned queue, Chain& chain);
  /// Puts a chain in the used ring and shows it to the driver.
  void complete(unsigned queue, const Chain& chain, std::uint32_t written);
  /// Interrupts, if the driver wants that, for what was completed.
  void signal(unsigned queue);
  /// Takes chains and calls `one(chain)` on each until there is no more or it returns false. After as many as the queue
  /// has entries the rest is left for later: a second hart that refills the queue must not hold the first one in here
  /// for ever.
  template <typename F>
  void drain(unsigned queue, Chain& chain, F&& one) {
    for (unsigned left = queues_[queue].size; left != 0; left--)
      if (!usable(queue) || !take(queue, chain) || !one(chain)) return;
    process_later(queue);
  }
  void process_later(unsigned queue);
  /// Runs `function` through VirtioHost::later if the device still exists by then.
  void later(std::function<void()> function);
  void config_changed();

 private:
  void visit_deferred(unsigned queue);
  bool restore_deferred(Reader& in);

  VirtioHost host_;
  std::uint32_t id_;
  std::string_view name_;
  std::vector<Queue> queues_;
  VirtioTransport* transport_ = nullptr;
  std::uint64_t features_ = 0;
  bool running_ = false;
  std::vector<std::uint8_t> deferred_;  // the queues that process_later() is to visit, in this order
  std::shared_ptr<int> alive_ = std::make_shared<int>();
};

}  // namespace doppel
