#include "engine/translations.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstdlib>
#include <new>

namespace doppel {

TranslationLink* Translation::link_returning_to(const void* address) const {
  const auto offset = static_cast<const std::byte*>(address) - code;
  const auto found = std::ranges::find_if(links, [&](const auto& link) { return link.site.stub_return == offset; });
  return found == links.end() ? nullptr : &*found;
}

Arena::~Arena() {
  for (const auto& chunk : chunks_) std::free(chunk.begin);
}

std::byte* Arena::allocate(std::size_t bytes, std::size_t alignment) {
  used_ = (used_ + alignment - 1) & ~(alignment - 1);
  while (chunk_ < chunks_.size() && used_ + bytes > chunks_[chunk_].bytes) chunk_++, used_ = 0;
  if (chunk_ == chunks_.size()) add_chunk(bytes);
  auto* out = chunks_[chunk_].begin + used_;
  used_ += bytes;
  return out;
}

void Arena::add_chunk(std::size_t least) {
  const auto bytes = chunks_.empty() && least <= first_bytes ? first_bytes : huge_page;
  auto* begin = static_cast<std::byte*>(std::aligned_alloc(bytes, bytes));
  if (!begin || least > bytes) throw std::bad_alloc();
  if (bytes == huge_page) madvise(begin, bytes, MADV_HUGEPAGE);
  chunks_.push_back({begin, bytes});
}

template <typename T>
std::span<T> Arena::copy(std::span<const T> values) {
  auto* to = reinterpret_cast<T*>(allocate(values.size_bytes(), alignof(T)));
  std::uninitialized_copy(values.begin(), values.end(), to);
  return {to, values.size()};
}

Translations::Translations(std::span<const std::byte> code_memory) : base_(code_memory.data()) {
  // Whoever reads without the lock must not find these moved.
  chunks_.reserve(code_memory.size() / CodeMemory::alignment / chunk_translations + 1);
  first_in_.reserve(code_memory.size() / granule_bytes + 1);
}

Translation& Translations::add(const TranslationKey& key, std::span<const std::byte> code,
                               std::span<const fast::LinkSite> links, std::span<const std::byte> source) {
  if (count_ == chunks_.size() * chunk_translations)
    chunks_.push_back(reinterpret_cast<Translation*>(
        chunk_memory_.allocate(chunk_translations * sizeof(Translation), alignof(Translation))));
  auto& t = *std::construct_at(&get(count_));
  t.code = code.data();
  t.key = key;
  t.source = arena_.copy(source);
  t.links = {reinterpret_cast<TranslationLink*>(
                 arena_.allocate(links.size() * sizeof(TranslationLink), alignof(TranslationLink))),
             links.size()};
  for (std::size_t n = 0; n < links.size(); n++) std::construct_at(&t.links[n], links[n], &t);
  first_in_.resize(granule(&code.back()) + 1, std::uint32_t(count_));
  add_to_page(t, key.first_page());
  if (key.behind != 0 && key.second_page() != key.first_page()) add_to_page(t, key.second_page());
  count_++;
  return t;
}

Translation* Translations::at(const std::byte* address) const {
  const auto place = granule(address);
  if (address < base_ || place >= first_in_.size()) return nullptr;
  std::size_t n = first_in_[place];
  while (n + 1 < count_ && get(n + 1).code <= address) n++;
  return n < count_ && get(n).code <= address ? &get(n) : nullptr;
}

Translation* Translations::first_of(std::uint64_t page) const {
  const auto found = pages_.find(page);
  return found == pages_.end() ? nullptr : found->second;
}

void Translations::add_to_page(Translation& translation, std::uint64_t page) {
  auto& first = pages_[page];
  translation.next_of_page[translation.key.first_page() != page] = first;
  first = &translation;
}

void Translations::remove_from_page(const Translation& translation, std::uint64_t page) {
  const auto found = pages_.find(page);
  if (found == pages_.end()) return;
  auto** at = &found->second;
  while (*at && *at != &translation) at = &(*at)->next_of_page[(*at)->key.first_page() != page];
  if (*at) *at = next(translation, page);
  if (!found->second) pages_.erase(found);
}

void Translations::remove_from_pages(const Translation& translation) {
  remove_from_page(translation, translation.key.first_page());
  if (translation.key.behind != 0) remove_from_page(translation, translation.key.second_page());
}

void Translations::clear() {
  count_ = 0;
  first_in_.clear();
  pages_.clear();
  arena_.clear();
}

}  // namespace doppel
