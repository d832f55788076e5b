#include "device/virtio/balloon.h"

#include <algorithm>
#include <cstring>
#include <utility>

namespace doppel {
namespace {

enum : std::uint64_t {  // 5.5.3
  VIRTIO_BALLOON_F_DEFLATE_ON_OOM = 1 << 2,
  VIRTIO_BALLOON_F_PAGE_REPORTING = 1 << 5,
};

// 5.5.2 numbers the queue of reported pages 4, and Linux those queues that are there: without statistics and hints it
// is the third. So all behind the first two are that one.
enum : unsigned { inflateq, deflateq };
constexpr std::uint16_t queue_sizes[] = {128, 128, 64, 64, 64};

constexpr std::uint64_t pages_at_once = 1 << 18;  // what one notification gives back before others have their turn
constexpr std::size_t actual_at = 4;              // in the configuration, 5.5.4

}  // namespace

VirtioBalloon::VirtioBalloon(VirtioHost host) : VirtioDevice(std::move(host), 5, "virtio-balloon", queue_sizes) {}

std::uint64_t VirtioBalloon::features() const {
  return VIRTIO_BALLOON_F_DEFLATE_ON_OOM | VIRTIO_BALLOON_F_PAGE_REPORTING;
}

void VirtioBalloon::show() {
  const std::uint32_t fields[] = {counters_.target, counters_.inflated};
  std::memcpy(config_.data(), fields, sizeof fields);
}

void VirtioBalloon::set_target(std::uint32_t pages) {
  counters_.target = pages;
  show();
  config_changed();
}

void VirtioBalloon::write_config(std::uint64_t offset, std::span<const std::byte> data) {
  if (offset != actual_at || data.size() != sizeof counters_.inflated) return;
  std::memcpy(&counters_.inflated, data.data(), data.size());
  show();
}

void VirtioBalloon::cleared() {
  counters_.inflated = 0;
  show();
}

void VirtioBalloon::process(unsigned queue) {
  Chain chain;
  const auto before = counters_.discarded;
  drain(queue, chain, [&](const Chain& taken) {
    const bool sound = queue == inflateq ? inflate(taken) : queue == deflateq || discard(taken.writable);
    if (!sound) {
      fail();
      return false;
    }
    complete(queue, taken, 0);
    if (counters_.discarded - before < pages_at_once) return running();
    process_later(queue);
    return false;
  });
  signal(queue);
}

/// 5.5.6: an array of page numbers. Those that are no RAM of ours cannot be in the balloon.
bool VirtioBalloon::inflate(const Chain& chain) {
  const auto count = chain.readable_bytes / sizeof(std::uint32_t);
  if (count > memory().size() >> page_shift) return false;
  std::vector<std::uint32_t> numbers(count);
  if (!read_spans(memory(), chain.readable, 0, std::as_writable_bytes(std::span(numbers)))) return false;
  std::ranges::sort(numbers);
  spans_.clear();
  for (const auto number : numbers) {
    const auto address = std::uint64_t(number) << page_shift;
    if (!memory().contains(address, page_size)) continue;
    constexpr std::uint32_t longest = 1 << 30;
    if (!spans_.empty() && spans_.back().address + spans_.back().length == address && spans_.back().length < longest)
      spans_.back().length += page_size;
    else
      spans_.push_back({address, page_size});
  }
  return discard(spans_);
}

bool VirtioBalloon::discard(std::span<const GuestSpan> spans) {
  std::uint64_t bytes = 0;
  for (const auto& span : spans) bytes += span.length;
  if (bytes > memory().size() || !memory().discard(spans)) return false;
  counters_.discarded += bytes >> page_shift;
  return true;
}

void VirtioBalloon::save_state(Writer& out) const {
  out.put(counters_.target);
  out.put(counters_.inflated);
}

Result<void> VirtioBalloon::restore_state(Reader& in) {
  counters_.target = in.get<std::uint32_t>();
  counters_.inflated = in.get<std::uint32_t>();
  show();
  return {};
}

}  // namespace doppel
