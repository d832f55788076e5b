#pragma once
// Bytes on their way to the guest.
#include <algorithm>
#include <cstddef>
#include <span>
#include <vector>

#include "machine/console.h"

namespace doppel {

/// Keeps what the guest does not take yet.
class ConsoleInput {
 public:
  void set_take(Console::Take take) { take_ = std::move(take); }
  void add(std::span<const std::byte> data) { waiting_.insert(waiting_.end(), data.begin(), data.end()); }
  std::size_t waiting() const { return waiting_.size(); }

  /// Offers what waits. The taker may call this again from inside.
  void offer() {
    again_ = true;
    if (offering_ || !take_) return;
    offering_ = true;
    while (again_ && !waiting_.empty()) {
      again_ = false;
      const auto data = std::move(waiting_);
      waiting_.clear();
      const auto taken = std::min(take_(data), data.size());
      waiting_.insert(waiting_.begin(), data.begin() + static_cast<std::ptrdiff_t>(taken), data.end());
    }
    offering_ = false;
  }

 private:
  Console::Take take_;
  std::vector<std::byte> waiting_;
  bool offering_ = false, again_ = false;
};

}  // namespace doppel
