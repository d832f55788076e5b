#pragma once
// What the engine knows of the code that it has: found by the code's address and by the guest's pages. All of it is
// made one by one and goes at once, so that it is kept in runs of memory that no destructor has to visit.
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <unordered_map>
#include <vector>

#include "codegen/code_memory.h"
#include "codegen/fast/generator.h"
#include "guest/riscv64/translate.h"

namespace doppel {

/// What a translation is found by.
struct TranslationKey {
  std::uint64_t physical = 0;  // of its first byte
  std::uint64_t behind = 0;    // of the second half of an instruction that lies on two pages, else 0
  riscv64::TranslationMode mode;
  bool operator==(const TranslationKey& other) const {
    return physical == other.physical && behind == other.behind && mode.key() == other.mode.key();
  }
  /// The page of its second part, where it has one and that is another.
  std::uint64_t second_page() const { return behind == 0 ? 0 : behind & ~page_mask; }
  std::uint64_t first_page() const { return physical & ~page_mask; }
};

struct Path;
struct Translation;

/// A jump of a translation that can be made direct.
struct TranslationLink {
  fast::LinkSite site;
  Translation* from = nullptr;
  Translation* to = nullptr;        // where it goes directly; null: to its stub
  TranslationLink* next = nullptr;  // of those that go there
};

struct Translation {
  const std::byte* code = nullptr;
  TranslationKey key;
  std::uint32_t guest_count = 0;
  std::uint32_t samples = 0;              // how often a hart was found at its begin; atomic
  std::uint64_t entry_before = 0;         // of a path: what stood where its entry's code now jumps here,
  const std::byte* entry_code = nullptr;  // and where that is
  std::uint16_t source_offset = 0;        // of `source` in the page
  Path* path = nullptr;                   // of a path
  bool has_path = false;                  // begins with a jump to a path
  bool forgotten = false;
  std::span<const std::byte> source;  // the guest's bytes that it was made from
  std::span<TranslationLink> links;
  TranslationLink* incoming = nullptr;                // the jumps that are linked to it
  Translation* next_of_page[2] = {nullptr, nullptr};  // by its first page and by its second

  /// The jump whose stub leaves this in ExecutionState::link; null where there is none.
  TranslationLink* link_returning_to(const void* address) const;
};

/// Bytes that live until all of them are given up, in huge pages as far as the host makes them.
class Arena {
 public:
  Arena() = default;
  ~Arena();
  Arena(const Arena&) = delete;
  /// Copies values of a type that needs no destructor.
  template <typename T>
  std::span<T> copy(std::span<const T> values);
  std::byte* allocate(std::size_t bytes, std::size_t alignment);
  void clear() { chunk_ = 0, used_ = 0; }

 private:
  void add_chunk(std::size_t least);
  static constexpr std::size_t first_bytes = 128 << 10, huge_page = 2 << 20;
  struct Chunk {
    std::byte* begin;
    std::size_t bytes;
  };
  std::vector<Chunk> chunks_;
  std::size_t chunk_ = 0, used_ = 0;  // the one that is being filled
};

class Translations {
 public:
  /// Of code between these addresses.
  explicit Translations(std::span<const std::byte> code_memory);
  /// The first translation whose code is behind that of all others.
  Translation& add(const TranslationKey& key, std::span<const std::byte> code, std::span<const fast::LinkSite> links,
                   std::span<const std::byte> source);
  /// The one whose code begins there, which must be one that add() gave. Needs no lock.
  Translation& of(const std::byte* code) const {
    std::size_t n = first_in_.data()[granule(code)];
    while (get(n).code != code) n++;
    return get(n);
  }
  /// The one whose code has the byte at an address, forgotten or not; null where there is none.
  Translation* at(const std::byte* address) const;
  /// Of a page, the first translation that was not taken out; the others by next().
  Translation* first_of(std::uint64_t page) const;
  static Translation* next(const Translation& translation, std::uint64_t page) {
    return translation.next_of_page[translation.key.first_page() != page];
  }
  /// Takes it out of its pages' lists. It remains at its code's address.
  void remove_from_pages(const Translation& translation);
  void clear();

 private:
  static constexpr std::size_t granule_bytes = 256, chunk_translations = 512;
  std::size_t granule(const std::byte* address) const { return std::size_t(address - base_) / granule_bytes; }
  Translation& get(std::size_t number) const {
    return chunks_.data()[number / chunk_translations][number % chunk_translations];
  }
  void add_to_page(Translation& translation, std::uint64_t page);
  void remove_from_page(const Translation& translation, std::uint64_t page);

  const std::byte* base_;
  std::size_t count_ = 0;
  Arena chunk_memory_;
  std::vector<Translation*> chunks_;     // in the order of their code; room for all is reserved
  std::vector<std::uint32_t> first_in_;  // of each granule, the first with bytes in it; the same
  std::unordered_map<std::uint64_t, Translation*> pages_;
  Arena arena_;
};

}  // namespace doppel
