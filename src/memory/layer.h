#pragma once
// What memories are made of: layers of 4 KiB pages, of which all but a machine's own never change. In a machine's own
// there may be pages that are lent to it: it has them replaced before it writes.
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "memory/page_source.h"

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

/// Gives the memory of host pages back; they are zeros when they are next touched.
void discard_host_pages(std::byte* first, std::uint64_t count);

/// One layer: for each page that it holds, where its bytes are. Sparse, by chunks of 64 pages (256 KiB of guest
/// memory); flat: all pages in address order in one segment, which is how the bottom layer of every machine begins that
/// boots; or of what a source has, which is how it begins in one that goes on from a snapshot.
class Layer {
 public:
  static constexpr std::uint64_t chunk_pages = 64;
  explicit Layer(std::uint64_t pages, std::byte* flat = nullptr);
  explicit Layer(std::shared_ptr<PageSource> source);
  ~Layer();
  Layer(const Layer&) = delete;
  /// The page's bytes, or null when this layer does not hold it. Safe while another thread puts.
  std::byte* find(std::uint64_t page) const {
    if (flat_) return flat_ + (page << page_shift);
    if (const auto entry = find_entry(page)) return reinterpret_cast<std::byte*>(entry & ~lent);
    return source_ && source_->holds(page) ? const_cast<std::byte*>(bring(page)) : nullptr;
  }
  /// The same for a page that is this layer's own: not lent to it, nor a source's.
  std::byte* own(std::uint64_t page) const {
    if (flat_) return flat_ + (page << page_shift);
    const auto entry = find_entry(page);
    return entry & lent ? nullptr : reinterpret_cast<std::byte*>(entry);
  }
  bool holds(std::uint64_t page) const { return flat_ || find_entry(page) != 0 || (source_ && source_->holds(page)); }
  bool flat() const { return flat_; }
  /// One thread at a time, as what follows.
  void put(std::uint64_t page, std::byte* bytes) { put_entry(page, reinterpret_cast<std::uintptr_t>(bytes)); }
  /// Bytes that never change and stay: they are in one of the segments, or are zero_page.
  void lend(std::uint64_t page, const std::byte* bytes) {
    put_entry(page, reinterpret_cast<std::uintptr_t>(bytes) | lent);
  }
  /// The page as it is in another layer, neither flat nor of a source.
  void take(std::uint64_t page, const Layer& from) { put_entry(page, from.find_entry(page)); }
  /// No page of this number is in the layer any more.
  void remove(std::uint64_t page);
  /// Frames of its own that no page is in any more: their memory is the host's again until they are used.
  void give_back(std::vector<std::byte*> frames);
  std::uint64_t pages() const { return pages_; }
  std::uint64_t count() const { return flat_ || source_ ? pages_ : count_; }
  /// Of a flat layer pages that may be other than zeros, a bit for each.
  void add_touched(const std::vector<std::uint64_t>& touched);
  /// Marks the pages that the layer holds, where it is known that they may be other than zeros, and takes the mark of
  /// those below away that it hides with zeros.
  void mark_held(std::vector<std::uint64_t>& bits) const;
  /// Why a page could not be had, if one could not.
  std::string failure() const { return source_ ? source_->failure() : std::string(); }
  /// Calls `f(page)` for each page that the layer holds, in any order. While nobody puts.
  template <typename F>
  void for_each(F&& f) const {
    for (std::uint64_t page = 0; flat_ && page < pages_; page++) f(page);
    for (auto page = source_ ? source_->next(0) : pages_; page < pages_; page = source_->next(page + 1)) f(page);
    for (const auto number : present_) {
      const auto* chunk = chunks_[number].load(std::memory_order_relaxed);
      for (std::uint64_t n = 0; n < chunk_pages; n++)
        if (chunk->page[n].load(std::memory_order_relaxed)) f(number * chunk_pages + n);
    }
  }

  std::shared_ptr<const Layer> parent;             // what this layer lies on; null for the bottom
  std::vector<std::shared_ptr<Segment>> segments;  // what keeps the pages alive
  std::vector<std::byte*> free_frames;  // pages of the segments that are nobody's, for who writes to this layer
  mutable std::atomic<bool> shares_pages = false;  // with another layer that may still be in use

 private:
  struct Chunk {
    std::atomic<std::uintptr_t> page[chunk_pages] = {};  // addresses, with a mark
  };
  static constexpr std::uintptr_t lent = 1;
  std::uintptr_t find_entry(std::uint64_t page) const {
    const auto* chunk = chunks_[page / chunk_pages].load(std::memory_order_acquire);
    return chunk ? chunk->page[page % chunk_pages].load(std::memory_order_acquire) : 0;
  }
  void put_entry(std::uint64_t page, std::uintptr_t entry);
  const std::byte* bring(std::uint64_t page) const;
  std::uint64_t pages_;
  std::byte* flat_ = nullptr;
  std::vector<std::uint64_t> touched_;
  std::shared_ptr<PageSource> source_;
  struct Freed {
    void operator()(std::atomic<Chunk*>* chunks) const { std::free(chunks); }
  };
  // Zeros of the allocator, which of a large memory's table only what is used becomes resident.
  std::unique_ptr<std::atomic<Chunk*>[], Freed> chunks_;
  std::vector<std::uint32_t> present_;  // numbers of chunks
  std::uint64_t count_ = 0;
};

/// What find_page() gives for a page that its source could not bring; zeros, and not those of a page without bytes.
extern const std::byte* const lost_page;
/// What find_page() gives for a page that no layer holds; a layer may have it lent to hide what is below.
extern const std::byte* const zero_page;
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
  /// Those that may be other than zeros, in ascending order.
  std::vector<std::uint32_t> held() const;
  /// Why a page could not be had, if one could not: one sentence.
  std::string failure() const;
  /// One with what a source has.
  static MemoryImage of(std::uint64_t base, std::uint64_t size, std::shared_ptr<PageSource> source);
};

}  // namespace doppel
