#pragma once
// Sections of the code store's files: made from objects, read back with everything checked. Whatever bytes a file has,
// reading it gives sound objects or nothing.
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "engine/code_object.h"
#include "engine/code_segment_format.h"
#include "engine/record_memory.h"

namespace doppel {

/// How many of an object's first bytes a look-up begins with: it tries all of these that are in the page.
inline constexpr std::uint16_t prefix_lengths[] = {16, 8, 4, 2, 1};
/// The one of these that an object with a first range of `length` bytes is found by.
std::uint16_t prefix_length(std::uint32_t length);
/// IndexEntry::first and IndexEntry::whole.
std::uint32_t prefix_hash(const CodeKey& key, std::span<const std::byte> prefix);
std::uint32_t range_hash(std::span<const std::byte> bytes);

/// What a section's records must have.
struct RecordsCheck {
  std::uint64_t seed = 0;
  code_segment::Check value{};
};

/// A section as it is written: all its bytes, and what read_records() wants to know.
struct SealedSection {
  std::vector<std::byte> bytes;
  std::uint32_t data_at = 0;  // from the section's begin
  RecordsCheck check;
};

/// The objects of a section that is being filled, as they will be in a file.
class SectionBuilder {
 public:
  /// What the index would say about the object; `at` is where it would be. Nothing for one that no file can hold: too
  /// large, or with ranges that are not as CodeObject wants them.
  std::optional<code_segment::IndexEntry> entry_of(const CodeObject& object) const;
  void add(const CodeObject& object, const code_segment::IndexEntry& entry);

  const std::vector<code_segment::IndexEntry>& index() const { return index_; }
  const std::vector<std::byte>& data() const { return data_; }
  /// `seed` is a number of chance.
  static SealedSection seal(const Sha256& identity, std::uint64_t seed, std::span<const code_segment::IndexEntry> index,
                            std::span<const std::byte> data);

 private:
  std::vector<code_segment::IndexEntry> index_;
  std::vector<std::byte> data_;
};

/// A section as a file has it; the records are not read yet.
struct StoredSection {
  std::uint64_t data_at = 0;  // the first record, in bytes from the file's begin
  std::uint32_t data_bytes = 0;
  RecordsCheck check;
  std::uint64_t end = 0;  // where the next section begins
  std::vector<code_segment::IndexEntry> index;
};

/// Reads header and index of the section at `at`; nothing where there is no sound one that ends within `file_bytes`.
std::optional<StoredSection> read_section(int file, std::uint64_t at, std::uint64_t file_bytes, const Sha256& identity);

/// Reads the records into `memory` and compares their check; empty when they are not those that were written.
RecordBytes read_records(RecordMemory& memory, int file, std::uint64_t data_at, std::uint32_t data_bytes,
                         const RecordsCheck& check);

/// An object among a section's records, which must outlive it.
struct StoredObject {
  CodeKey key;
  std::uint32_t guest_count = 0;
  std::span<const SourceRange> ranges;
  std::span<const CodeLink> links;
  std::span<const std::byte> source, code, extra;

  /// Whether it was made from just what the guest has there: every byte is compared.
  bool matches(const CodeKey& wanted, SourcePages& pages) const;
  void copy_to(CodeObject& out) const;
};

/// The object at a record of checked records; nothing when it is none.
std::optional<StoredObject> object_at(std::span<const std::byte> records, std::uint32_t at);

}  // namespace doppel
