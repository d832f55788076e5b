#pragma once
// Load reservations (Unprivileged ISA 14.2) that hold under real concurrency. docs/interpreter.md tells the whole
// scheme.
//
// An LR whose SC follows with no memory access between is *plain*: its SC is one compare-and-swap, and an ABA in memory
// cannot be observed by such a sequence. Any other LR is *watched*: the page loses every hart's right to store without
// asking, so that each store to the granule, by whomever, ends the reservation.
#include <atomic>
#include <cstdint>
#include <mutex>
#include <vector>

namespace doppel::riscv64 {

/// The watched reservations of one machine's harts and the pages they made watched.
class ReservationTable {
 public:
  explicit ReservationTable(unsigned harts) : granule_(harts, none) {}

  /// Whether stores to the page at this guest-physical address must go through store() below.
  bool watched(std::uint64_t page) {
    if (!any_.load(std::memory_order_acquire)) return false;
    std::lock_guard guard(lock_);
    return find(page) != nullptr;
  }
  /// Makes a page watched, and if need be the one that has been for longest not, with any reservation there. The caller
  /// has stopped the other harts and takes their store rights to it away.
  void watch(std::uint64_t page);

  /// Runs `load` and reserves the granule at `address` for the hart, as one step; false, with nothing done, when the
  /// page is not watched.
  template <typename F>
  bool reserve(unsigned hart, std::uint64_t address, F&& load) {
    std::lock_guard guard(lock_);
    auto* page = find(address & ~page_mask);
    if (!page) return false;
    page->idle_stores = 0;
    granule_[hart] = granule(address);
    load();
    return true;
  }
  /// Runs `store` and ends the other harts' reservations that it touches, as one step.
  template <typename F>
  void store(unsigned hart, std::uint64_t address, std::uint64_t length, F&& store) {
    std::lock_guard guard(lock_);
    end_others(hart, address, length);
    if (auto* page = find(address & ~page_mask)) age(*page);
    store();
  }
  /// The SC of a watched reservation: runs `store` if it still holds. Ends it in any case.
  template <typename F>
  bool store_conditional(unsigned hart, std::uint64_t address, std::uint64_t length, F&& store) {
    std::lock_guard guard(lock_);
    const bool holds = granule_[hart] == granule(address);
    granule_[hart] = none;
    if (!holds) return false;
    end_others(hart, address, length);
    store();
    return true;
  }
  void cancel(unsigned hart) {
    if (!any_.load(std::memory_order_relaxed)) return;
    std::lock_guard guard(lock_);
    granule_[hart] = none;
  }
  /// A device is about to write: no LR or SC of a watched page happens until it has, when it lets go of the lock. It
  /// takes the lock whether a page is watched or not, because one may become so before it has written.
  [[nodiscard]] std::unique_lock<std::mutex> device_store(std::uint64_t address, std::uint64_t length) {
    if (granule_.size() == 1) return {};
    std::unique_lock guard(lock_);
    end_others(~0U, address, length);
    return guard;
  }

 private:
  static constexpr std::uint64_t none = ~0ULL, page_mask = 4095, granule_bytes = 64;
  static constexpr unsigned max_idle_stores = 10'000;
  /// Every store to a watched page and every new right to store looks through them all.
  static constexpr std::size_t most_pages = 64;
  struct Page {
    std::uint64_t address;
    unsigned idle_stores;  // stores since the last reservation in it; past the limit the page is released
  };
  static std::uint64_t granule(std::uint64_t address) { return address & ~(granule_bytes - 1); }
  Page* find(std::uint64_t page) {
    for (auto& p : pages_)
      if (p.address == page) return &p;
    return nullptr;
  }
  void end_others(unsigned hart, std::uint64_t address, std::uint64_t length) {
    for (unsigned other = 0; other < granule_.size(); other++)
      if (other != hart && granule_[other] != none && granule_[other] + granule_bytes > address &&
          granule_[other] < address + length)
        granule_[other] = none;
  }
  void age(Page& page);

  std::mutex lock_;
  std::atomic<bool> any_ = false;
  std::vector<std::uint64_t> granule_;  // per hart, what it has reserved
  std::vector<Page> pages_;
};

}  // namespace doppel::riscv64
