#include "device/virtio/queue.h"

#include <algorithm>
#include <atomic>
#include <bit>

namespace doppel {
namespace {

struct Descriptor {  // 2.7.5
  std::uint64_t address;
  std::uint32_t length;
  std::uint16_t flags, next;
};
static_assert(sizeof(Descriptor) == 16 && std::endian::native == std::endian::little);

struct UsedElement {  // 2.7.8
  std::uint32_t id, length;
};

enum : std::uint16_t { VIRTQ_DESC_F_NEXT = 1, VIRTQ_DESC_F_WRITE = 2, VIRTQ_DESC_F_INDIRECT = 4 };
constexpr std::uint16_t VIRTQ_AVAIL_F_NO_INTERRUPT = 1;
constexpr std::uint64_t ring_header = 4;  // flags and idx, in both rings

/// Adds what a plain descriptor points to; false where 2.7.4.2 or 2.7.5 forbid it.
bool add_buffer(const GuestMemory& memory, const Descriptor& d, Chain& chain) {
  const bool writable = d.flags & VIRTQ_DESC_F_WRITE;
  if (d.length == 0 || !memory.contains(d.address, d.length)) return false;
  if (!writable && !chain.writable.empty()) return false;
  if (chain.readable.size() + chain.writable.size() >= Queue::max_chain) return false;
  chain.add({d.address, d.length}, writable);
  return true;
}

/// Calls `copy(address, done, length)` for each piece of `size` bytes that lie `offset` into `spans`.
template <typename F>
bool for_each_piece(std::span<const GuestSpan> spans, std::uint64_t offset, std::uint64_t size, F&& copy) {
  std::uint64_t done = 0;
  for (const auto& span : spans) {
    if (done == size) break;
    if (offset >= span.length) {
      offset -= span.length;
      continue;
    }
    const auto length = std::min<std::uint64_t>(span.length - offset, size - done);
    if (!copy(span.address + offset, done, length)) return false;
    done += length;
    offset = 0;
  }
  return done == size;
}

void save_spans(Writer& out, const std::vector<GuestSpan>& spans) {
  out.put<std::uint32_t>(spans.size());
  for (const auto& span : spans) {
    out.put(span.address);
    out.put(span.length);
  }
}

bool restore_spans(Reader& in, const GuestMemory& memory, bool writable, Chain& chain) {
  const auto count = in.get<std::uint32_t>();
  if (count > Queue::max_chain) return false;
  for (std::uint32_t i = 0; i < count; i++) {
    GuestSpan span;
    span.address = in.get<std::uint64_t>();
    span.length = in.get<std::uint32_t>();
    if (span.length == 0 || !memory.contains(span.address, span.length)) return false;
    chain.add(span, writable);
  }
  return in.ok();
}

}  // namespace

void Chain::clear() {
  readable.clear();
  writable.clear();
  readable_bytes = writable_bytes = 0;
}

void Chain::add(GuestSpan span, bool is_writable) {
  (is_writable ? writable : readable).push_back(span);
  (is_writable ? writable_bytes : readable_bytes) += span.length;
}

void Chain::save(Writer& out) const {
  out.put(head);
  save_spans(out, readable);
  save_spans(out, writable);
}

bool Chain::restore(Reader& in, const GuestMemory& memory) {
  clear();
  head = in.get<std::uint16_t>();
  return restore_spans(in, memory, false, *this) && restore_spans(in, memory, true, *this) &&
         readable.size() + writable.size() <= Queue::max_chain;
}

bool read_spans(GuestMemory& memory, std::span<const GuestSpan> spans, std::uint64_t offset, std::span<std::byte> out) {
  return for_each_piece(spans, offset, out.size(),
                        [&](std::uint64_t address, std::uint64_t done, std::uint64_t length) {
                          return memory.read(address, out.data() + done, length);
                        });
}

bool write_spans(GuestMemory& memory, std::span<const GuestSpan> spans, std::uint64_t offset,
                 std::span<const std::byte> data) {
  return for_each_piece(spans, offset, data.size(),
                        [&](std::uint64_t address, std::uint64_t done, std::uint64_t length) {
                          return memory.write(address, data.data() + done, length);
                        });
}

bool slice_spans(std::span<const GuestSpan> spans, std::uint64_t offset, std::uint64_t length,
                 std::vector<GuestSpan>& out) {
  out.clear();
  return for_each_piece(spans, offset, length, [&](std::uint64_t address, std::uint64_t, std::uint64_t bytes) {
    out.push_back({address, static_cast<std::uint32_t>(bytes)});
    return true;
  });
}

void Queue::reset() {
  size = 0;
  ready = false;
  desc = avail = used = 0;
  last_avail_ = used_idx_ = signalled_ = 0;
  event_idx_ = indirect_ = false;
}

bool Queue::layout_ok(const GuestMemory& memory) const {
  const std::uint64_t n = size;
  return std::has_single_bit(size) && size <= size_max && desc % 16 == 0 && avail % 2 == 0 && used % 4 == 0 &&
         memory.contains(desc, 16 * n) && memory.contains(avail, ring_header + 2 * n + 2) &&
         memory.contains(used, ring_header + 8 * n + 2);
}

bool Queue::enable(const GuestMemory& memory, std::uint64_t features) {
  last_avail_ = used_idx_ = signalled_ = 0;
  negotiate(features);
  return ready = layout_ok(memory);
}

void Queue::negotiate(std::uint64_t features) {
  event_idx_ = features & VIRTIO_F_EVENT_IDX;
  indirect_ = features & VIRTIO_F_INDIRECT_DESC;
}

/// Asks for a notification about the entry after those already read, and looks again for one that came just before.
bool Queue::rearm(GuestMemory& memory) {
  if (!event_idx_) return true;
  const bool ok = memory.write(used + ring_header + 8 * size, &last_avail_, 2);
  // avail_event must be visible before idx is read again (2.7.7.2): the driver does the two in the opposite order.
  std::atomic_thread_fence(std::memory_order_seq_cst);
  return ok;
}

Queue::Pop Queue::pop(GuestMemory& memory, Chain& chain) {
  std::uint16_t idx, head;
  if (!ready || !memory.read(avail + 2, &idx, 2)) return Pop::broken;
  if (idx == last_avail_) {
    if (!rearm(memory) || !memory.read(avail + 2, &idx, 2)) return Pop::broken;
    if (idx == last_avail_) return Pop::none;
  }
  // The ring's entries are read after the index that covers them.
  std::atomic_thread_fence(std::memory_order_acquire);
  if (static_cast<std::uint16_t>(idx - last_avail_) > size) return Pop::broken;
  // A driver that offers a descriptor again before it got it back could otherwise have requests in flight without end.
  if (outstanding() >= size) return Pop::broken;
  if (!memory.read(avail + ring_header + 2 * (last_avail_ % size), &head, 2)) return Pop::broken;
  chain.clear();
  chain.head = head;
  if (!walk(memory, head, chain)) return Pop::broken;
  last_avail_++;
  return Pop::chain;
}

bool Queue::walk(GuestMemory& memory, std::uint16_t head, Chain& chain) const {
  std::uint16_t index = head;
  for (unsigned steps = 0; steps < size; steps++) {  // a longer chain has a loop
    Descriptor d;
    if (index >= size || !memory.read(desc + 16ull * index, &d, sizeof d)) return false;
    if (d.flags & VIRTQ_DESC_F_INDIRECT) {
      // 2.7.5.3.1: only where negotiated, and always the last of a chain.
      return indirect_ && !(d.flags & VIRTQ_DESC_F_NEXT) && walk_indirect(memory, d.address, d.length, chain);
    }
    if (!add_buffer(memory, d, chain)) return false;
    if (!(d.flags & VIRTQ_DESC_F_NEXT)) return true;
    index = d.next;
  }
  return false;
}

bool Queue::walk_indirect(GuestMemory& memory, std::uint64_t table, std::uint32_t bytes, Chain& chain) const {
  const std::uint32_t count = bytes / sizeof(Descriptor);
  if (count == 0 || count > max_chain || bytes % sizeof(Descriptor) != 0) return false;
  Descriptor descriptors[max_chain];
  if (!memory.read(table, descriptors, bytes)) return false;
  std::uint32_t index = 0;
  for (std::uint32_t steps = 0; steps < count; steps++) {
    if (index >= count) return false;
    const Descriptor& d = descriptors[index];
    if ((d.flags & VIRTQ_DESC_F_INDIRECT) || !add_buffer(memory, d, chain)) return false;
    if (!(d.flags & VIRTQ_DESC_F_NEXT)) return true;
    index = d.next;
  }
  return false;
}

bool Queue::push(GuestMemory& memory, std::uint16_t head, std::uint32_t written) {
  const UsedElement element{head, written};
  return ready && memory.write(used + ring_header + 8ull * (used_idx_++ % size), &element, sizeof element);
}

bool Queue::publish(GuestMemory& memory) {
  // The driver may read an element, and the buffer behind it, as soon as it sees the index.
  std::atomic_thread_fence(std::memory_order_release);
  return ready && memory.write(used + 2, &used_idx_, 2);
}

bool Queue::wants_interrupt(GuestMemory& memory) {
  const std::uint16_t old = signalled_;
  signalled_ = used_idx_;
  if (old == used_idx_) return false;
  // The driver writes used_event or flags and then reads idx again (2.7.7.1): here it must be the other way round.
  std::atomic_thread_fence(std::memory_order_seq_cst);
  std::uint16_t value = 0;
  if (event_idx_) {
    if (!memory.read(avail + ring_header + 2 * size, &value, 2)) return true;
    return static_cast<std::uint16_t>(used_idx_ - value - 1) < static_cast<std::uint16_t>(used_idx_ - old);
  }
  return !memory.read(avail, &value, 2) || !(value & VIRTQ_AVAIL_F_NO_INTERRUPT);
}

void Queue::save(Writer& out) const {
  out.put(size);
  out.put<std::uint8_t>(ready);
  for (auto address : {desc, avail, used}) out.put(address);
  for (auto index : {last_avail_, used_idx_, signalled_}) out.put(index);
}

Result<void> Queue::restore(Reader& in, const GuestMemory& memory, std::uint64_t features) {
  size = in.get<std::uint16_t>();
  ready = in.get<std::uint8_t>();
  for (auto* address : {&desc, &avail, &used}) *address = in.get<std::uint64_t>();
  for (auto* index : {&last_avail_, &used_idx_, &signalled_}) *index = in.get<std::uint16_t>();
  negotiate(features);
  const bool bad = !in.ok() || (ready && (!layout_ok(memory) || outstanding() > size));
  if (!bad) return {};
  reset();
  return error("the snapshot's virtqueue has a size, address or index that no queue can have");
}

}  // namespace doppel
