#pragma once
// A memory like another one's, of which a page is lost.
#include <atomic>
#include <cstdint>
#include <memory>
#include <string>

#include "machine/image.h"

namespace doppel::test {

class LossySource final : public PageSource {
 public:
  LossySource(MemoryImage image, std::uint64_t lost) : image_(std::move(image)), lost_(lost) {}
  std::uint64_t pages() const override { return image_.size >> page_shift; }
  bool holds(std::uint64_t) const override { return true; }
  const std::byte* bring(std::uint64_t page) override {
    if (page != lost_) return image_.page(page);
    failed_ = true;
    return nullptr;
  }
  std::string failure() const override { return failed_ ? "the disk with the snapshot was pulled out" : ""; }

  /// The image with that page lost.
  static MachineImage of(MachineImage image, std::uint64_t lost) {
    auto source = std::make_shared<LossySource>(image.memory, lost);
    image.memory = MemoryImage::of(image.memory.base, image.memory.size, std::move(source));
    return image;
  }

 private:
  MemoryImage image_;
  std::uint64_t lost_;
  std::atomic<bool> failed_ = false;
};

}  // namespace doppel::test
