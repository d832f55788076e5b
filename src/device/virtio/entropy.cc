#include "device/virtio/entropy.h"

#include <algorithm>
#include <utility>

namespace doppel {
namespace {

constexpr std::uint16_t queue_sizes[] = {64};

}  // namespace

VirtioEntropy::VirtioEntropy(VirtioHost host, Source source)
    : VirtioDevice(std::move(host), 4, "virtio-entropy", queue_sizes), source_(std::move(source)) {}

void VirtioEntropy::process(unsigned queue) {
  Chain chain;
  std::byte bytes[max_bytes];
  drain(queue, chain, [&](const Chain& taken) {
    const auto out = std::span(bytes).first(std::min<std::uint64_t>(taken.writable_bytes, max_bytes));
    if (!out.empty()) source_(out);
    // 5.4.6.1: a buffer has nothing for the device to read, so it has something to write.
    if (out.empty() || !write_spans(memory(), taken.writable, 0, out)) {
      fail();
      return false;
    }
    complete(queue, taken, static_cast<std::uint32_t>(out.size()));
    return running();
  });
  signal(queue);
}

}  // namespace doppel
