#include "memory/guest_memory.h"

#include <xxhash.h>

#include <algorithm>
#include <cstring>
#include <new>

#include "memory/racing_copy.h"

namespace doppel {
namespace {

constexpr std::uint64_t small_segment_bytes = 64 * page_size;

/// Adds host memory, as one piece with the last where it lies behind it.
void add_piece(std::vector<iovec>& pieces, std::byte* data, std::uint64_t length) {
  if (!pieces.empty() && static_cast<std::byte*>(pieces.back().iov_base) + pieces.back().iov_len == data)
    pieces.back().iov_len += length;
  else
    pieces.push_back({data, length});
}

/// What is in either layer, of which `upper` lies on `lower`, as one layer in the place of both, which nobody else has
/// if `only_here`.
std::shared_ptr<Layer> merge(const Layer& upper, const Layer& lower, bool only_here) {
  auto both = std::make_shared<Layer>(upper.pages());
  both->shares_pages = !only_here || upper.shares_pages || lower.shares_pages;
  if (!only_here) lower.shares_pages = true;
  both->parent = lower.parent;
  for (const auto* layer : {&lower, &upper}) layer->for_each([&](std::uint64_t page) { both->take(page, *layer); });
  for (const auto* layer : {&lower, &upper})
    for (const auto& segment : layer->segments)
      if (std::ranges::find(both->segments, segment) == both->segments.end()) both->segments.push_back(segment);
  return both;
}

}  // namespace

GuestMemory::GuestMemory(std::uint64_t base, std::uint64_t size, std::shared_ptr<Layer> layer)
    : base_(base),
      size_(size),
      private_(std::move(layer)),
      dirty_(((size >> page_shift) + 63) / 64),
      code_(dirty_.size()),
      readers_(static_cast<std::atomic<std::uint64_t>*>(std::calloc(size >> page_shift, sizeof(std::uint64_t)))) {
  if (!readers_) throw std::bad_alloc();
}

Result<std::unique_ptr<GuestMemory>> GuestMemory::create(std::uint64_t base, std::uint64_t size) {
  if (size == 0 || size % page_size != 0) return error("a memory of {} bytes is not a positive multiple of 4096", size);
  auto segment = Segment::create(size);
  if (!segment) return segment.failure();
  auto layer = std::make_shared<Layer>(size >> page_shift, (*segment)->data());
  layer->segments.push_back(*segment);
  return std::unique_ptr<GuestMemory>(new GuestMemory(base, size, std::move(layer)));
}

std::unique_ptr<GuestMemory> GuestMemory::create(const MemoryImage& image) {
  auto layer = std::make_shared<Layer>(image.size >> page_shift);
  layer->parent = image.top;
  return std::unique_ptr<GuestMemory>(new GuestMemory(image.base, image.size, std::move(layer)));
}

const std::byte* GuestMemory::page_for_read(std::uint64_t address) { return find(index(address)); }

void GuestMemory::tell_loss() {
  if (told_loss_.load(std::memory_order_acquire)) return;
  std::lock_guard guard(loss_lock_);  // nobody goes on with zeros before the first one's loss was told
  if (told_loss_.load(std::memory_order_relaxed)) return;
  auto sentence = MemoryImage{base_, size_, private_}.failure();
  if (sentence.empty()) sentence = "a page of the machine's memory cannot be had from where it is kept";
  if (lost_) lost_(sentence);
  told_loss_.store(true, std::memory_order_release);
}

void GuestMemory::mark_dirty(std::uint64_t page) {
  auto& word = dirty_[page / 64];
  const auto bit = 1ULL << (page % 64);
  if (!(word.load(std::memory_order_relaxed) & bit)) word.fetch_or(bit, std::memory_order_relaxed);
}

std::byte* GuestMemory::allocate_frame() {
  if (auto& free = private_->free_frames; !free.empty()) {
    auto* frame = free.back();
    free.pop_back();
    return frame;
  }
  if (!open_ || open_used_ == open_->size()) {
    if (spare_.empty()) {
      auto segment = Segment::create(small_segment_bytes);
      if (!segment) throw std::bad_alloc();  // the host has no address space left: no state of ours can go on
      spare_.push_back(*segment);
    }
    open_ = std::move(spare_.back());
    spare_.pop_back();
    open_used_ = 0;
    private_->segments.push_back(open_);
  }
  return open_->data() + std::exchange(open_used_, open_used_ + page_size);
}

std::byte* GuestMemory::page_for_write(std::uint64_t address, bool& replaced) {
  const auto page = index(address);
  auto* bytes = private_->own(page);
  if (!bytes) {
    std::lock_guard guard(lock_);
    bytes = private_->own(page);
    if (!bytes) {
      bytes = allocate_frame();
      std::memcpy(bytes, find(page), page_size);
      private_->put(page, bytes);
      replaced = true;
    }
  }
  mark_dirty(page);
  if (code_[page / 64].load(std::memory_order_acquire) & (1ULL << page % 64)) code_written(page);
  return bytes;
}

void GuestMemory::note_reader(std::uint64_t address, unsigned reader) {
  auto& word = readers_[index(address)];
  const std::uint64_t period = std::uint64_t(period_) << 32, bit = 1ULL << reader;
  auto old = word.load(std::memory_order_relaxed);
  while (!word.compare_exchange_weak(old, (old >> 32 == period_ ? old : period) | bit));
}

std::uint32_t GuestMemory::readers(std::uint64_t address) const {
  std::atomic_thread_fence(std::memory_order_seq_cst);  // between the new place and this look
  const auto word = readers_[index(address)].load();
  return word >> 32 == period_ ? std::uint32_t(word) : 0;
}

/// A page for a device to write to.
std::byte* GuestMemory::own(std::uint64_t address) {
  bool replaced = false;
  auto* bytes = page_for_write(address, replaced);
  if (replaced && replaced_) replaced_(address & ~page_mask);
  return bytes;
}

void GuestMemory::mark_code(std::uint64_t address) {
  const auto page = index(address);
  code_[page / 64].fetch_or(1ULL << page % 64, std::memory_order_acq_rel);
}

bool GuestMemory::holds_code(std::uint64_t address) const {
  const auto page = index(address);
  return code_[page / 64].load(std::memory_order_acquire) >> page % 64 & 1;
}

void GuestMemory::code_written(std::uint64_t page) {
  const auto bit = 1ULL << page % 64;
  if (!(code_[page / 64].fetch_and(~bit, std::memory_order_acq_rel) & bit)) return;
  add_written_code(base_ + (page << page_shift));
}

void GuestMemory::add_written_code(std::uint64_t address) {
  std::lock_guard guard(lock_);
  written_code_.push_back(address & ~page_mask);
  any_written_code_.store(true, std::memory_order_release);
}

std::vector<std::uint64_t> GuestMemory::take_written_code() {
  std::lock_guard guard(lock_);
  any_written_code_.store(false, std::memory_order_release);
  return std::exchange(written_code_, {});
}

/// Calls `part(address, offset in the page, length)` for what lies in each page.
template <typename F>
void GuestMemory::for_each_part(std::uint64_t address, std::uint64_t length, F&& part) {
  while (length > 0) {
    const auto offset = (address - base_) & page_mask;
    const auto bytes = std::min(length, page_size - offset);
    part(address, offset, bytes);
    address += bytes, length -= bytes;
  }
}

/// Whoever is told of replaced pages may wait for harts, and these for the observer's lock: so before that is taken.
void GuestMemory::own_all(std::uint64_t address, std::uint64_t length) {
  if (!private_->parent) return;
  for_each_part(address, length, [&](std::uint64_t at, std::uint64_t, std::uint64_t) { own(at); });
}

bool GuestMemory::read(std::uint64_t address, void* out, std::uint64_t length) {
  if (!contains(address, length)) return false;
  auto* to = static_cast<std::byte*>(out);
  for_each_part(address, length, [&](std::uint64_t at, std::uint64_t offset, std::uint64_t bytes) {
    racing_copy(to, page_for_read(at) + offset, bytes);
    to += bytes;
  });
  return true;
}

bool GuestMemory::write(std::uint64_t address, const void* data, std::uint64_t length) {
  if (!contains(address, length)) return false;
  own_all(address, length);
  const auto guard = tell_observer(address, length);
  const auto* from = static_cast<const std::byte*>(data);
  for_each_part(address, length, [&](std::uint64_t at, std::uint64_t offset, std::uint64_t bytes) {
    racing_copy(own(at) + offset, from, bytes);
    from += bytes;
  });
  return true;
}

bool GuestMemory::fill(std::uint64_t address, std::uint8_t value, std::uint64_t length) {
  if (!contains(address, length)) return false;
  own_all(address, length);
  const auto guard = tell_observer(address, length);
  for_each_part(address, length, [&](std::uint64_t at, std::uint64_t offset, std::uint64_t bytes) {
    racing_fill(own(at) + offset, value, bytes);
  });
  return true;
}

bool GuestMemory::discard(std::span<const GuestSpan> spans) {
  if (!contains(spans)) return false;
  const auto drop_all = [&] {
    std::vector<std::byte*> freed;
    for (const auto& span : spans) {
      const auto guard = tell_observer(span.address, span.length);
      const auto first = index(span.address + page_mask), last = index(span.address + span.length);
      if (private_->flat() && first < last) {
        for (auto page = first; page < last; page++) mark_discarded(page);
        discard_host_pages(private_->own(first), last - first);
      }
      for (auto page = first; !private_->flat() && page < last; page++)
        if (auto* frame = drop(page)) freed.push_back(frame);
    }
    std::lock_guard guard(lock_);
    private_->give_back(freed);
  };
  // In a flat layer no page changes its place.
  if (private_->flat() || !standstill_)
    drop_all();
  else
    standstill_(drop_all);
  return true;
}

void GuestMemory::mark_discarded(std::uint64_t page) {
  mark_dirty(page);
  if (code_[page / 64].load(std::memory_order_acquire) & (1ULL << page % 64)) code_written(page);
}

/// Makes a page zeros; its frame, if it had one of its own.
std::byte* GuestMemory::drop(std::uint64_t page) {
  const auto* layer = private_.get();
  while (layer && !layer->holds(page)) layer = layer->parent.get();
  if (!layer) return nullptr;
  mark_discarded(page);
  std::lock_guard guard(lock_);
  auto* frame = private_->own(page);
  private_->lend(page, zero_page);
  return frame;
}

std::unique_lock<std::mutex> GuestMemory::tell_observer(std::uint64_t address, std::uint64_t length) const {
  return observer_ ? observer_(address, length) : std::unique_lock<std::mutex>();
}

bool GuestMemory::contains(std::span<const GuestSpan> spans) const {
  return std::ranges::all_of(spans, [&](const GuestSpan& span) { return contains(span.address, span.length); });
}

bool GuestMemory::pin(std::span<const GuestSpan> spans, PinnedSpans& pinned, std::vector<iovec>& pieces) {
  pinned.release();
  if (!contains(spans)) return false;
  pinned.memory_ = this;
  pinned.spans_.assign(spans.begin(), spans.end());
  {
    std::lock_guard guard(lock_);
    pinned_.insert(&pinned);
  }
  for (const auto& span : spans)
    for_each_part(span.address, span.length, [&](std::uint64_t at, std::uint64_t offset, std::uint64_t bytes) {
      add_piece(pieces, own(at) + offset, bytes);
    });
  return true;
}

void PinnedSpans::release() {
  if (memory_) std::exchange(memory_, nullptr)->unpin(*this);
}

void GuestMemory::unpin(const PinnedSpans& pinned) {
  for (const auto& span : pinned.spans_) {
    own_all(span.address, span.length);
    const auto guard = tell_observer(span.address, span.length);
    // Again, for the page may have been cleaned, or translated from, while it was written.
    for_each_part(span.address, span.length, [&](std::uint64_t at, std::uint64_t, std::uint64_t) { own(at); });
  }
  std::lock_guard guard(lock_);
  pinned_.erase(&pinned);
}

bool GuestMemory::find_bytes(std::span<const GuestSpan> spans, std::vector<iovec>& pieces) {
  if (!contains(spans)) return false;
  for (const auto& span : spans)
    for_each_part(span.address, span.length, [&](std::uint64_t at, std::uint64_t offset, std::uint64_t bytes) {
      add_piece(pieces, const_cast<std::byte*>(page_for_read(at)) + offset, bytes);
    });
  return true;
}

/// A layer over `frozen` in which each pinned page is a copy; the page itself, which goes on being written, is `ours`.
std::shared_ptr<Layer> GuestMemory::keep_pinned(const std::shared_ptr<const Layer>& frozen, Layer& ours) {
  auto copies = std::make_shared<Layer>(size_ >> page_shift);
  copies->parent = frozen;
  copies->shares_pages = true;
  private_ = copies;  // where allocate_frame() keeps what it makes
  if (open_) copies->segments.push_back(open_);
  for (const auto* pinned : pinned_)
    for (const auto& span : pinned->spans_)
      for_each_part(span.address, span.length, [&](std::uint64_t at, std::uint64_t, std::uint64_t) {
        const auto page = index(at);
        auto* bytes = frozen->own(page);
        if (!bytes || ours.find(page)) return;  // discarded meanwhile, or in two transfers
        auto* copy = allocate_frame();
        racing_copy(copy, bytes, page_size);
        copies->put(page, copy);
        ours.put(page, bytes);
      });
  return copies;
}

MemoryImage GuestMemory::freeze() {
  std::lock_guard guard(lock_);
  if (private_->count() == 0 && private_->parent) return {base_, size_, private_->parent};
  private_->add_touched(dirty_bits());
  std::shared_ptr<const Layer> frozen = std::exchange(private_, nullptr);
  auto ours = std::make_shared<Layer>(size_ >> page_shift);
  if (!pinned_.empty()) frozen = keep_pinned(frozen, *ours);
  // So that few layers lie on one another, however often this is done: each holds more than twice what lies on it.
  while (frozen->parent && frozen->parent->parent && frozen->parent->count() <= 2 * frozen->count())
    frozen = merge(*frozen, *frozen->parent, frozen->parent.use_count() == 1);
  period_++;
  ours->parent = frozen;
  if (open_) ours->segments.push_back(open_);
  private_ = std::move(ours);
  return {base_, size_, frozen};
}

void GuestMemory::adopt(MemoryImage image) {
  std::lock_guard guard(lock_);
  const auto old = std::exchange(private_, nullptr);
  // Frames of what was never frozen are free again.
  const bool unshared = old.use_count() == 1;
  for (const auto* layer : layers_apart(old.get(), image.top.get()))
    layer->for_each([&](std::uint64_t page) {
      auto& word = code_[page / 64];
      const auto bit = 1ULL << page % 64;
      if (!(word.load(std::memory_order_relaxed) & bit)) return;
      word.fetch_and(~bit, std::memory_order_relaxed);
      written_code_.push_back(base_ + (page << page_shift));
    });
  any_written_code_.store(!written_code_.empty(), std::memory_order_release);
  for (auto& segment : old->segments) {
    const bool open = segment == open_;
    if (!unshared || segment.use_count() != 1 + open || segment->size() != small_segment_bytes) continue;
    if (open) open_ = nullptr;
    spare_.push_back(std::move(segment));
  }
  const bool alone = image.top.use_count() == 1;
  std::atomic_thread_fence(std::memory_order_acquire);           // behind those who had it
  if (alone && image.top->parent && !image.top->shares_pages) {  // as it was before it was frozen
    private_ = std::const_pointer_cast<Layer>(std::move(image.top));
  } else {
    private_ = std::make_shared<Layer>(size_ >> page_shift);
    private_->parent = std::move(image.top);
  }
  if (open_ && std::ranges::find(private_->segments, open_) == private_->segments.end())
    private_->segments.push_back(open_);
  period_++;
  told_loss_ = false;
  for (auto& word : dirty_) word.store(0, std::memory_order_relaxed);
}

std::uint64_t GuestMemory::hash() {
  auto* state = XXH3_createState();
  XXH3_64bits_reset(state);
  for (std::uint64_t page = 0; page < size_ >> page_shift; page++) XXH3_64bits_update(state, find(page), page_size);
  const auto hash = XXH3_64bits_digest(state);
  XXH3_freeState(state);
  return hash;
}

std::vector<std::uint64_t> GuestMemory::dirty_pages() const {
  std::vector<std::uint64_t> pages;
  for (std::size_t word = 0; word < dirty_.size(); word++)
    for (auto bits = dirty_[word].load(std::memory_order_relaxed); bits; bits &= bits - 1)
      pages.push_back(base_ + ((word * 64 + __builtin_ctzll(bits)) << page_shift));
  return pages;
}

void GuestMemory::clear_dirty() {
  private_->add_touched(dirty_bits());
  for (auto& word : dirty_) word.store(0, std::memory_order_relaxed);
}

std::vector<std::uint64_t> GuestMemory::dirty_bits() const {
  std::vector<std::uint64_t> bits(dirty_.size());
  for (std::size_t n = 0; n < bits.size(); n++) bits[n] = dirty_[n].load(std::memory_order_relaxed);
  return bits;
}

std::uint64_t GuestMemory::private_pages() const { return private_->count(); }

}  // namespace doppel
