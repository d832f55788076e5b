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
#include <unordered_set>
#include <vector>

#include "base/result.h"

namespace doppel {

inline constexpr std::uint64_t page_shift = 12;
inline constexpr std::uint64_t page_size = 1 << page_shift;
inline constexpr std::uint64_t page_mask = page_size - 1;

/// A run of host memory that pages live in: anonymous, in large host pages where the kernel gives them. Shared by every
/// layer that refers to one of its pages; once a layer with pages in it is frozen, those pages are never written again.
class Segment {
 public:
  /// Reserves `bytes` (a multiple of page_size) of zeros; nothing is resident until touched.
  static Result<std::shared_ptr<Segment>> create(std::uint64_t bytes);
  ~Segment();
  Segment(const Segment&) = delete;
  std::byte* data() const { return data_; }
  std::uint64_t size() const { return size_; }

 private:
  Segment(std::byte* data, std::uint64_t size) : data_(data), size_(size) {}
  std::byte* data_;
  std::uint64_t size_;
};

/// One layer: for each page that it holds, where its bytes are. Sparse, by chunks of 64 pages (256 KiB of guest
/// memory), or flat: all pages in address order in one segment, which is how the bottom layer of every machine begins.
class Layer {
 public:
  static constexpr std::uint64_t chunk_pages = 64;
  explicit Layer(std::uint64_t pages, std::byte* flat = nullptr);
  ~Layer();
  Layer(const Layer&) = delete;
  /// The page's bytes, or null when this layer does not hold it. Safe while another thread puts.
  std::byte* find(std::uint64_t page) const {
    if (flat_) return flat_ + (page << page_shift);
    const auto* chunk = chunks_[page / chunk_pages].load(std::memory_order_acquire);
    return chunk ? chunk->page[page % chunk_pages].load(std::memory_order_acquire) : nullptr;
  }
  /// One thread at a time.
  void put(std::uint64_t page, std::byte* bytes);
  std::uint64_t pages() const { return pages_; }
  std::uint64_t count() const { return flat_ ? pages_ : count_; }
  /// Calls `f(page, bytes)` for each page that the layer holds, in any order. While nobody puts.
  template <typename F>
  void for_each(F&& f) const {
    for (std::uint64_t page = 0; flat_ && page < pages_; page++) f(page, flat_ + (page << page_shift));
    for (const auto number : present_) {
      const auto* chunk = chunks_[number].load(std::memory_order_relaxed);
      for (std::uint64_t n = 0; n < chunk_pages; n++)
        if (auto* bytes = chunk->page[n].load(std::memory_order_relaxed)) f(number * chunk_pages + n, bytes);
    }
  }

  std::shared_ptr<const Layer> parent;             // what this layer lies on; null for the bottom
  std::vector<std::shared_ptr<Segment>> segments;  // what keeps the pages alive
  mutable std::atomic<bool> shares_pages = false;  // with another layer that may still be in use

 private:
  struct Chunk {
    std::atomic<std::byte*> page[chunk_pages] = {};
  };
  std::uint64_t pages_;
  std::byte* flat_;
  struct Freed {
    void operator()(std::atomic<Chunk*>* chunks) const { std::free(chunks); }
  };
  // Zeros of the allocator, which of a large memory's table only what is used becomes resident.
  std::unique_ptr<std::atomic<Chunk*>[], Freed> chunks_;
  std::vector<std::uint32_t> present_;  // numbers of chunks
  std::uint64_t count_ = 0;
};

/// The bytes of a page in the uppermost layer that holds it, or zeros.
const std::byte* find_page(const Layer* layer, std::uint64_t page);
/// The layers that only one of the two lies on, or is: where memories that have them may differ.
std::vector<const Layer*> layers_apart(const Layer* one, const Layer* other);

/// A machine's memory as it was at one moment. Never changes, and costs no more to copy than a pointer.
struct MemoryImage {
  std::uint64_t base = 0, size = 0;  // as GuestMemory has them
  std::shared_ptr<const Layer> top;
  /// The bytes of a page, by its number from the base.
  const std::byte* page(std::uint64_t number) const { return find_page(top.get(), number); }
};

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

  /// Copies out of or into guest memory; false, with nothing done, when the range is not all RAM.
  [[nodiscard]] bool read(std::uint64_t address, void* out, std::uint64_t length);
  [[nodiscard]] bool write(std::uint64_t address, const void* data, std::uint64_t length);
  [[nodiscard]] bool fill(std::uint64_t address, std::uint8_t value, std::uint64_t length);

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
  std::uint64_t index(std::uint64_t address) const { return (address - base_) >> page_shift; }
  const std::byte* find(std::uint64_t page) const { return find_page(private_.get(), page); }
  void mark_dirty(std::uint64_t page);
  void code_written(std::uint64_t page);

  std::uint64_t base_, size_;
  std::mutex lock_;  // guards the private layer's growth
  std::shared_ptr<Layer> private_;
  std::shared_ptr<Segment> open_;  // that frames are taken from, and how many bytes of it are
  std::uint64_t open_used_ = 0;
  std::vector<std::shared_ptr<Segment>> spare_;  // nobody has frames in them any more
  std::vector<std::atomic<std::uint64_t>> dirty_, code_;
  std::vector<std::uint64_t> written_code_;
  std::atomic<bool> any_written_code_ = false;
  std::unordered_set<const PinnedSpans*> pinned_;  // guarded by lock_
  WriteObserver observer_;
  std::function<void(std::uint64_t)> replaced_;
};

}  // namespace doppel
