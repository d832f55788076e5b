#pragma once
// A machine's memory as a value (ARCHITECTURE, law 2): immutable shared layers of 4 KiB pages under one private layer.
#include <sys/uio.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <functional>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <unordered_set>
#include <vector>

#include "base/result.h"
#include "memory/layer.h"

namespace doppel {

/// A run of guest-physical memory, all RAM at the time it was made; `length` in bytes, never 0.
struct GuestSpan {
  std::uint64_t address = 0;
  std::uint32_t length = 0;
};

class GuestMemory;

/// What a transfer writes to while the machine runs: GuestMemory::pin(). It stays where it is until the transfer ends.
class PinnedSpans {
 public:
  PinnedSpans() = default;
  PinnedSpans(const PinnedSpans&) = delete;
  ~PinnedSpans() { release(); }
  /// The transfer has ended; what it wrote is seen as a device's stores from now on. The memory must still be there.
  void release();

 private:
  friend class GuestMemory;
  GuestMemory* memory_ = nullptr;
  std::vector<GuestSpan> spans_;
};

/// Guest-physical RAM of one machine: `size` bytes at guest-physical address `base`.
///
/// All functions take guest-physical addresses and are safe from any thread; concurrent plain accesses to the same
/// bytes race as they do on hardware. Devices use read, write, fill, pin and find_bytes only; page pointers are for the
/// CPU.
class GuestMemory {
 public:
  /// `size` in bytes, a multiple of page_size. Fails with a sentence when the host cannot hold it.
  static Result<std::unique_ptr<GuestMemory>> create(std::uint64_t base, std::uint64_t size);
  /// One whose content is the image's, until it writes.
  static std::unique_ptr<GuestMemory> create(const MemoryImage& image);

  std::uint64_t base() const { return base_; }
  std::uint64_t size() const { return size_; }
  bool contains(std::uint64_t address, std::uint64_t length) const {
    return address >= base_ && address - base_ <= size_ && length <= size_ - (address - base_);
  }

  /// The bytes of the page that holds `address` (contains() must hold). Valid until the page is next copied on write,
  /// which the generation tells; never to be written through.
  const std::byte* page_for_read(std::uint64_t address);
  /// The same for writing: the page becomes private and is marked dirty. `replaced` is set to true where that made a
  /// copy: what page_for_read() gave out for it before is stale, in every hart.
  std::byte* page_for_write(std::uint64_t address, bool& replaced);

  /// Whether the page is not private: page_for_write() would replace it.
  bool shared(std::uint64_t address) const { return !private_->own(index(address)); }
  /// A reader (a number below 32) says so before it looks up a page that is shared and keeps where that is. readers()
  /// gives those of the page's present place, a bit for each, also to one who has just replaced it: who is not among
  /// them will find the new place.
  void note_reader(std::uint64_t address, unsigned reader);
  std::uint32_t readers(std::uint64_t address) const;

  /// Copies out of or into guest memory; false, with nothing done, when the range is not all RAM.
  [[nodiscard]] bool read(std::uint64_t address, void* out, std::uint64_t length);
  [[nodiscard]] bool write(std::uint64_t address, const void* data, std::uint64_t length);
  [[nodiscard]] bool fill(std::uint64_t address, std::uint8_t value, std::uint64_t length);

  /// The pages that lie in a span as a whole are zeros from now on, and the host has their memory back until they are
  /// written to. False, with nothing done, when the spans are not all RAM.
  [[nodiscard]] bool discard(std::span<const GuestSpan> spans);

  /// For the host's kernel to write to behind the machine's back (a read of a disk): adds the host memory behind the
  /// spans to `pieces`, valid until `pinned` is released. A fork leaves what is pinned to this machine; the copy gets
  /// the bytes as they are then. False, with nothing done, when the spans are not all RAM.
  [[nodiscard]] bool pin(std::span<const GuestSpan> spans, PinnedSpans& pinned, std::vector<iovec>& pieces);
  /// For the kernel to read from: the bytes of the spans as they are now, never to be written through. They stay those
  /// of this machine as long as it does not write to them.
  [[nodiscard]] bool find_bytes(std::span<const GuestSpan> spans, std::vector<iovec>& pieces);

  /// Told of each range that write() and fill() are about to change, or that a transfer has changed (to break
  /// reservations), it gives a lock, or none, that is held until the bytes have changed.
  using WriteObserver = std::function<std::unique_lock<std::mutex>(std::uint64_t address, std::uint64_t length)>;
  void set_write_observer(WriteObserver before) { observer_ = std::move(before); }

  /// Told of each page (its address) that one of these functions replaced by a copy of its own, before the bytes in it
  /// change.
  void set_replacement_observer(std::function<void(std::uint64_t address)> after) { replaced_ = std::move(after); }

  /// Runs an action while no hart does, after which all have forgotten what they looked up.
  using Standstill = std::function<void(const std::function<void()>& action)>;
  void set_standstill(Standstill standstill) { standstill_ = std::move(standstill); }

  /// Told in one sentence when a page could not be brought from where the memory came from, once until the next
  /// adopt(); by whoever looked it up, who goes on with zeros, as others do that find one missing, when it has been
  /// told. It must not look at the memory.
  void set_loss_observer(std::function<void(const std::string& sentence)> lost) { lost_ = std::move(lost); }

  /// Says that the page holds code that somebody keeps a translation of. The first write to it takes the mark away and
  /// puts the page among the written ones; whoever marks makes sure that no page pointer for writing is in use.
  void mark_code(std::uint64_t address);
  bool holds_code(std::uint64_t address) const;
  bool any_written_code() const { return any_written_code_.load(std::memory_order_acquire); }
  void add_written_code(std::uint64_t address);
  /// The pages that lost their mark since the last call.
  std::vector<std::uint64_t> take_written_code();

  /// The memory as of now: what it wrote is shared from now on, and copied when it writes again. Costs what was written
  /// since the last time, divided by some hundred, whatever the size. The machine must not be running.
  MemoryImage freeze();
  /// Takes over the content of an image of the same size; what was not frozen is gone. Pages that hold code and may
  /// have other bytes now count as written. What nobody else has of the image is written to without being copied. The
  /// machine must not be running, and nothing pinned.
  void adopt(MemoryImage image);

  /// XXH3 of all bytes in address order: equal contents give equal hashes, however they are layered.
  std::uint64_t hash();
  /// Pages written since the last clear_dirty(), in ascending order, as guest-physical addresses.
  std::vector<std::uint64_t> dirty_pages() const;
  void clear_dirty();
  std::uint64_t private_pages() const;

 private:
  friend class PinnedSpans;
  GuestMemory(std::uint64_t base, std::uint64_t size, std::shared_ptr<Layer> layer);
  std::byte* own(std::uint64_t address);
  void own_all(std::uint64_t address, std::uint64_t length);
  template <typename F>
  void for_each_part(std::uint64_t address, std::uint64_t length, F&& part);
  bool contains(std::span<const GuestSpan> spans) const;
  std::unique_lock<std::mutex> tell_observer(std::uint64_t address, std::uint64_t length) const;
  void unpin(const PinnedSpans& pinned);
  std::shared_ptr<Layer> keep_pinned(const std::shared_ptr<const Layer>& frozen, Layer& ours);
  std::byte* allocate_frame();
  void mark_discarded(std::uint64_t page);
  std::byte* drop(std::uint64_t page);
  std::uint64_t index(std::uint64_t address) const { return (address - base_) >> page_shift; }
  const std::byte* find(std::uint64_t page) {
    const auto* bytes = find_page(private_.get(), page);
    if (bytes == lost_page) [[unlikely]]
      tell_loss();
    return bytes;
  }
  void tell_loss();
  void mark_dirty(std::uint64_t page);
  std::vector<std::uint64_t> dirty_bits() const;
  void code_written(std::uint64_t page);

  std::uint64_t base_, size_;
  std::mutex lock_;  // guards the private layer's growth
  std::shared_ptr<Layer> private_;
  std::shared_ptr<Segment> open_;  // that frames are taken from, and how many bytes of it are
  std::uint64_t open_used_ = 0;
  std::vector<std::shared_ptr<Segment>> spare_;  // nobody has frames in them any more
  std::vector<std::atomic<std::uint64_t>> dirty_, code_;
  /// Of each page its readers, and in the upper half in which period that was: one ends with every freeze() and
  /// adopt(). Zeros of the allocator, of which only what is used becomes resident.
  struct Freed {
    void operator()(std::atomic<std::uint64_t>* readers) const { std::free(readers); }
  };
  std::unique_ptr<std::atomic<std::uint64_t>[], Freed> readers_;
  std::uint32_t period_ = 1;  // after the last comes the first: who is then taken for a reader is asked in vain
  std::vector<std::uint64_t> written_code_;
  std::atomic<bool> any_written_code_ = false;
  std::unordered_set<const PinnedSpans*> pinned_;  // guarded by lock_
  WriteObserver observer_;
  std::function<void(std::uint64_t)> replaced_;
  Standstill standstill_;
  std::function<void(const std::string&)> lost_;
  std::mutex loss_lock_;                 // held while a loss is told; after lock_
  std::atomic<bool> told_loss_ = false;  // of this content
};

}  // namespace doppel
