#include "memory/layer.h"

#include <sys/mman.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <new>

namespace doppel {
namespace {

constexpr std::uint64_t huge_page_size = 2 << 20;
alignas(page_size) constexpr std::byte zeros[page_size] = {}, no_page[page_size] = {};

}  // namespace

const std::byte* const lost_page = no_page;
const std::byte* const zero_page = zeros;

Result<std::shared_ptr<Segment>> Segment::create(std::uint64_t bytes) {
  void* data = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (data == MAP_FAILED) return error("cannot reserve {} bytes of host memory: {}", bytes, std::strerror(errno));
  if (bytes >= huge_page_size) madvise(data, bytes, MADV_HUGEPAGE);
  madvise(data, bytes, MADV_DONTDUMP);
  return std::shared_ptr<Segment>(new Segment(static_cast<std::byte*>(data), bytes));
}

Segment::~Segment() { munmap(data_, size_); }

void discard_host_pages(std::byte* first, std::uint64_t count) {
  // Locked memory, the only reason to fail, stays as it is: then the zeros are ours to make.
  if (madvise(first, count << page_shift, MADV_DONTNEED) != 0) std::memset(first, 0, count << page_shift);
}

Layer::Layer(std::uint64_t pages, std::byte* flat) : pages_(pages), flat_(flat) {
  if (flat) return;
  const auto chunks = (pages + chunk_pages - 1) / chunk_pages;
  chunks_.reset(static_cast<std::atomic<Chunk*>*>(std::calloc(chunks, sizeof(std::atomic<Chunk*>))));
  if (!chunks_) throw std::bad_alloc();
}

Layer::Layer(std::shared_ptr<PageSource> source) : Layer(source->pages()) { source_ = std::move(source); }

/// Any thread may, several at once: the bytes are the same whoever does it.
const std::byte* Layer::bring(std::uint64_t page) const {
  const auto* bytes = source_->bring(page);
  if (!bytes) return lost_page;
  auto& slot = chunks_[page / chunk_pages];
  auto* chunk = slot.load(std::memory_order_acquire);
  if (!chunk) {
    auto made = std::make_unique<Chunk>();
    if (slot.compare_exchange_strong(chunk, made.get())) chunk = made.release();
  }
  chunk->page[page % chunk_pages].store(reinterpret_cast<std::uintptr_t>(bytes), std::memory_order_release);
  return bytes;
}

void Layer::add_touched(const std::vector<std::uint64_t>& touched) {
  if (!flat_) return;
  touched_.resize(touched.size());
  for (std::size_t n = 0; n < touched.size(); n++) touched_[n] |= touched[n];
}

void Layer::mark_held(std::vector<std::uint64_t>& bits) const {
  const auto mark = [&](std::uint64_t page) { bits[page / 64] |= 1ULL << page % 64; };
  for (std::size_t n = 0; n < touched_.size(); n++) bits[n] |= touched_[n];
  // A flat layer is the lowest: what is zero in one that lies on it is so whatever is below.
  if (!flat_)
    for_each([&](std::uint64_t page) {
      const auto entry = find_entry(page);
      if (entry == (reinterpret_cast<std::uintptr_t>(zeros) | lent))
        bits[page / 64] &= ~(1ULL << page % 64);
      else
        mark(page);
    });
}

Layer::~Layer() {
  for (const auto number : present_) delete chunks_[number].load(std::memory_order_relaxed);
  for (std::uint64_t n = 0; source_ && n < (pages_ + chunk_pages - 1) / chunk_pages; n++)
    delete chunks_[n].load(std::memory_order_relaxed);
}

void Layer::put_entry(std::uint64_t page, std::uintptr_t entry) {
  auto& slot = chunks_[page / chunk_pages];
  auto* chunk = slot.load(std::memory_order_relaxed);
  if (!chunk) {
    present_.push_back(std::uint32_t(page / chunk_pages));
    slot.store(chunk = new Chunk, std::memory_order_release);
  }
  count_ += !chunk->page[page % chunk_pages].exchange(entry, std::memory_order_release);
}

void Layer::remove(std::uint64_t page) {
  auto* chunk = chunks_[page / chunk_pages].load(std::memory_order_relaxed);
  count_ -= chunk && chunk->page[page % chunk_pages].exchange(0, std::memory_order_release);
}

void Layer::give_back(std::vector<std::byte*> frames) {
  std::ranges::sort(frames);
  for (std::size_t first = 0, next; first < frames.size(); first = next) {
    for (next = first + 1; next < frames.size() && frames[next] == frames[next - 1] + page_size;) next++;
    discard_host_pages(frames[first], next - first);
  }
  free_frames.insert(free_frames.end(), frames.begin(), frames.end());
}

const std::byte* find_page(const Layer* layer, std::uint64_t page) {
  for (; layer; layer = layer->parent.get())
    if (const auto* bytes = layer->find(page)) return bytes;
  return zero_page;
}

std::vector<std::uint32_t> MemoryImage::held() const {
  std::vector<std::uint64_t> bits(((size >> page_shift) + 63) / 64);
  std::vector<const Layer*> layers;
  for (const auto* layer = top.get(); layer; layer = layer->parent.get()) layers.push_back(layer);
  for (auto layer = layers.rbegin(); layer != layers.rend(); ++layer) (*layer)->mark_held(bits);
  std::vector<std::uint32_t> pages;
  for (std::size_t n = 0; n < bits.size(); n++)
    for (auto word = bits[n]; word; word &= word - 1)
      pages.push_back(std::uint32_t(64 * n + std::size_t(__builtin_ctzll(word))));
  return pages;
}

std::string MemoryImage::failure() const {
  for (const auto* layer = top.get(); layer; layer = layer->parent.get())
    if (auto sentence = layer->failure(); !sentence.empty()) return sentence;
  return {};
}

MemoryImage MemoryImage::of(std::uint64_t base, std::uint64_t size, std::shared_ptr<PageSource> source) {
  return {base, size, std::make_shared<Layer>(std::move(source))};
}

std::vector<const Layer*> layers_apart(const Layer* one, const Layer* other) {
  const auto below = [](const Layer* layer) {
    std::vector<const Layer*> all;
    for (; layer; layer = layer->parent.get()) all.push_back(layer);
    return all;
  };
  auto ours = below(one), theirs = below(other);
  while (!ours.empty() && !theirs.empty() && ours.back() == theirs.back()) ours.pop_back(), theirs.pop_back();
  ours.insert(ours.end(), theirs.begin(), theirs.end());
  return ours;
}

}  // namespace doppel
