#pragma once
// Machines that stand still, a million of them: what each has that the one it was forked from had not.
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "base/result.h"
#include "machine/image.h"

namespace doppel {

/// A machine that nobody runs, as the difference to an image that many share. It has no thread, no mapping, no
/// descriptor and no code of its own. Moving one costs nothing, and it can go to any thread.
class ParkedMachine {
 public:
  ParkedMachine() = default;
  /// Parks what was captured of a fork of `base`, or of anything else with a memory of the same size.
  ParkedMachine(const MachineImage& image, std::shared_ptr<const MachineImage> base);

  /// The machine as it was, to be taken over. A failure is damage to our own memory, or a page of the base that cannot
  /// be had from where it is kept.
  Result<MachineImage> image() const;
  /// Host memory that it holds beside what it shares, in bytes.
  std::size_t bytes() const;
  bool empty() const { return !base_; }

 private:
  std::span<const std::byte> memory() const { return {packed_.get(), memory_bytes_}; }
  std::span<const std::byte> state() const { return {packed_.get() + memory_bytes_, state_bytes_}; }

  std::shared_ptr<const MachineImage> base_;
  std::unique_ptr<std::byte[]> packed_;  // the memory's difference, and behind it the state's
  std::uint64_t memory_bytes_ = 0, state_bytes_ = 0;
};

}  // namespace doppel
