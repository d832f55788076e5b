#pragma once
// The device's side of a split virtqueue (Virtio 1.2, 2.7).
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "base/archive.h"
#include "base/result.h"
#include "memory/guest_memory.h"

namespace doppel {

/// Feature bits that belong to queues and transports (Virtio 1.2, 6).
inline constexpr std::uint64_t VIRTIO_F_INDIRECT_DESC = 1ull << 28;
inline constexpr std::uint64_t VIRTIO_F_EVENT_IDX = 1ull << 29;
inline constexpr std::uint64_t VIRTIO_F_VERSION_1 = 1ull << 32;

/// One buffer of the driver's: what the device may read, then what it may write.
struct Chain {
  std::uint16_t head = 0;
  std::vector<GuestSpan> readable, writable;
  std::uint64_t readable_bytes = 0, writable_bytes = 0;

  void clear();
  void add(GuestSpan span, bool is_writable);
  void save(Writer& out) const;
  /// Reads what save() wrote; false when it is no chain that Queue::pop() could have made from `memory`.
  bool restore(Reader& in, const GuestMemory& memory);
};

/// Copies out of or into the bytes of `spans` from `offset` on; false when they are fewer, or no longer RAM.
[[nodiscard]] bool read_spans(GuestMemory& memory, std::span<const GuestSpan> spans, std::uint64_t offset,
                              std::span<std::byte> out);
[[nodiscard]] bool write_spans(GuestMemory& memory, std::span<const GuestSpan> spans, std::uint64_t offset,
                               std::span<const std::byte> data);
/// The `length` bytes of `spans` from `offset` on; false when they are fewer.
[[nodiscard]] bool slice_spans(std::span<const GuestSpan> spans, std::uint64_t offset, std::uint64_t length,
                               std::vector<GuestSpan>& out);

/// One queue. The driver may change all that it reads at any time, from other threads: each value is read once and
/// checked. Called under the device lock.
class Queue {
 public:
  enum class Pop { none, chain, broken };

  /// More descriptors in one chain than this, direct and indirect together, are the driver's fault.
  static constexpr unsigned max_chain = 1024;

  /// `size_max`: a power of two up to 32768.
  explicit Queue(std::uint16_t size_max) : size_max(size_max) {}

  const std::uint16_t size_max;
  // What the driver sets through the transport.
  std::uint16_t size = 0;
  bool ready = false;
  std::uint64_t desc = 0, avail = 0, used = 0;

  /// To the state after a reset.
  void reset();
  /// Starts at index 0 with the features that were negotiated; false, and not ready, where 2.7 does not allow size or
  /// addresses.
  [[nodiscard]] bool enable(const GuestMemory& memory, std::uint64_t features);
  void negotiate(std::uint64_t features);

  /// Takes the next available chain. `none` asks the driver to notify about the next one; `broken` means that the
  /// driver wrote nonsense, after which the queue must not be used before a reset.
  Pop pop(GuestMemory& memory, Chain& chain);
  /// Gives the last `count` chains back, to be popped again.
  void unpop(std::uint16_t count) { last_avail_ -= count; }

  /// Puts a chain in the used ring, `written` bytes of it written; the driver sees it only after publish(). False:
  /// broken.
  [[nodiscard]] bool push(GuestMemory& memory, std::uint16_t head, std::uint32_t written);
  [[nodiscard]] bool publish(GuestMemory& memory);
  /// Whether the driver wants an interrupt for what was published since the last call.
  bool wants_interrupt(GuestMemory& memory);

  /// Chains popped and not pushed.
  std::uint16_t outstanding() const { return last_avail_ - used_idx_; }

  void save(Writer& out) const;
  Result<void> restore(Reader& in, const GuestMemory& memory, std::uint64_t features);

 private:
  bool layout_ok(const GuestMemory& memory) const;
  bool rearm(GuestMemory& memory);
  bool walk(GuestMemory& memory, std::uint16_t head, Chain& chain) const;
  bool walk_indirect(GuestMemory& memory, std::uint64_t table, std::uint32_t bytes, Chain& chain) const;

  std::uint16_t last_avail_ = 0;  // the next entry of the available ring to read
  std::uint16_t used_idx_ = 0;    // the next entry of the used ring to write
  std::uint16_t signalled_ = 0;   // used_idx_ when wants_interrupt() was last asked
  bool event_idx_ = false, indirect_ = false;
};

}  // namespace doppel
