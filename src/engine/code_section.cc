#include "engine/code_section.h"

#define XXH_INLINE_ALL  // the inputs are a few bytes
#include <unistd.h>
#include <xxhash.h>

#include <algorithm>
#include <cstring>

#include "memory/guest_memory.h"

namespace doppel {
namespace {

using code_segment::Check;
using code_segment::IndexEntry;
using code_segment::Record;
using code_segment::SectionHeader;

template <typename T>
std::span<const std::byte> bytes_of(const T& value) {
  return std::as_bytes(std::span(&value, 1));
}

void append(std::vector<std::byte>& to, std::span<const std::byte> bytes) {
  to.insert(to.end(), bytes.begin(), bytes.end());
}

void align(std::vector<std::byte>& bytes, std::uint64_t to) { bytes.resize((bytes.size() + to - 1) / to * to); }

std::uint64_t aligned(std::uint64_t value, std::uint64_t to) { return (value + to - 1) / to * to; }

Check check_of(std::uint64_t seed, std::initializer_list<std::span<const std::byte>> parts) {
  XXH3_state_t state;
  XXH3_INITSTATE(&state);  // else what an earlier call left there may be taken for the seed's secret
  XXH3_128bits_reset_withSeed(&state, seed);
  for (const auto part : parts) XXH3_128bits_update(&state, part.data(), part.size());
  const auto hash = XXH3_128bits_digest(&state);
  return {hash.low64, hash.high64};
}

Check section_checksum(const Sha256& identity, const SectionHeader& header, std::span<const IndexEntry> index) {
  return check_of(header.seed,
                  {identity, bytes_of(header).first(offsetof(SectionHeader, checksum)), std::as_bytes(index)});
}

/// Whether the ranges are as CodeObject wants them; the sum of their lengths.
std::optional<std::uint64_t> source_length(std::span<const SourceRange> ranges) {
  if (ranges.empty() || ranges[0].page != 0) return std::nullopt;
  std::uint64_t sum = 0;
  for (const auto& range : ranges) {
    if (range.length == 0 || range.offset + range.length > page_size) return std::nullopt;
    sum += range.length;
  }
  return sum;
}

bool links_inside(std::span<const CodeLink> links, std::uint64_t code_bytes) {
  return std::ranges::all_of(links, [&](const CodeLink& link) {
    return code_bytes >= 4 && link.displacement <= code_bytes - 4 && link.stub < code_bytes &&
           link.stub_return <= code_bytes;
  });
}

std::uint64_t record_bytes(const Record& r) {
  return sizeof(Record) + r.ranges * sizeof(SourceRange) + std::uint64_t(r.links) * sizeof(CodeLink) + r.source_bytes +
         r.code_bytes + r.extra_bytes;
}

bool read_fully(int file, void* to, std::uint64_t length, std::uint64_t at) {
  auto* out = static_cast<std::byte*>(to);
  while (length > 0) {
    const auto count = ::pread(file, out, length, off_t(at));
    if (count <= 0) return false;
    out += count, at += std::uint64_t(count), length -= std::uint64_t(count);
  }
  return true;
}

}  // namespace

std::uint16_t prefix_length(std::uint32_t length) {
  return *std::ranges::find_if(prefix_lengths, [&](auto candidate) { return candidate <= length; });
}

std::uint32_t prefix_hash(const CodeKey& key, std::span<const std::byte> prefix) {
  struct {
    std::uint32_t mode, kind_entry;
    std::array<std::byte, prefix_lengths[0]> bytes;
  } input = {key.mode, std::uint32_t(key.kind) | std::uint32_t(key.entry) << 8, {}};
  std::memcpy(input.bytes.data(), prefix.data(), prefix.size());
  return std::uint32_t(XXH3_64bits_withSeed(&input, sizeof input, prefix.size()));
}

std::uint32_t range_hash(std::span<const std::byte> bytes) {
  return std::uint32_t(XXH3_64bits(bytes.data(), bytes.size()));
}

std::optional<IndexEntry> SectionBuilder::entry_of(const CodeObject& object) const {
  const auto length = source_length(object.ranges);
  if (!length || *length != object.source.size() || object.ranges[0].offset != object.key.entry) return std::nullopt;
  if (object.ranges.size() > UINT16_MAX || !links_inside(object.links, object.code.size())) return std::nullopt;
  const auto bytes = object.links.size() * sizeof(CodeLink) + object.code.size() + object.extra.size() + *length;
  if (bytes + object.ranges.size() * sizeof(SourceRange) + sizeof(Record) > code_segment::most_record_bytes)
    return std::nullopt;
  const std::span source = object.source;
  const auto ranges = std::as_bytes(std::span(object.ranges));
  const auto first = source.first(object.ranges[0].length);
  IndexEntry out{.first = prefix_hash(object.key, first.first(prefix_length(object.ranges[0].length))),
                 .whole = range_hash(first),
                 .length = object.ranges[0].length,
                 .at = std::uint32_t(aligned(data_.size(), code_segment::record_alignment))};
  if (object.ranges.size() > 1)
    out.rest = range_hash(source.subspan(first.size())) ^ range_hash(ranges.subspan(sizeof(SourceRange)));
  return out;
}

void SectionBuilder::add(const CodeObject& object, const IndexEntry& entry) {
  const Record record{.kind = std::uint8_t(object.key.kind),
                      .ranges = std::uint16_t(object.ranges.size()),
                      .mode = object.key.mode,
                      .guest_count = object.guest_count,
                      .links = std::uint32_t(object.links.size()),
                      .source_bytes = std::uint32_t(object.source.size()),
                      .code_bytes = std::uint32_t(object.code.size()),
                      .extra_bytes = std::uint32_t(object.extra.size())};
  align(data_, code_segment::record_alignment);
  append(data_, bytes_of(record));
  append(data_, std::as_bytes(std::span(object.ranges)));
  append(data_, std::as_bytes(std::span(object.links)));
  append(data_, object.source);
  append(data_, object.code);
  append(data_, object.extra);
  index_.push_back(entry);
}

SealedSection SectionBuilder::seal(const Sha256& identity, std::uint64_t seed, std::span<const IndexEntry> index,
                                   std::span<const std::byte> data) {
  SectionHeader header{.magic = code_segment::section_magic,
                       .objects = std::uint32_t(index.size()),
                       .data_bytes = std::uint32_t(data.size()),
                       .seed = seed,
                       .data = check_of(seed, {data})};
  header.checksum = section_checksum(identity, header, index);
  SealedSection out{.bytes = {}, .check = {.seed = seed, .value = header.data}};
  out.bytes.reserve(sizeof header + index.size_bytes() + data.size() + 2 * code_segment::section_alignment);
  append(out.bytes, bytes_of(header));
  append(out.bytes, std::as_bytes(index));
  align(out.bytes, code_segment::record_alignment);
  out.data_at = std::uint32_t(out.bytes.size());
  append(out.bytes, data);
  align(out.bytes, code_segment::section_alignment);
  return out;
}

std::optional<StoredSection> read_section(int file, std::uint64_t at, std::uint64_t file_bytes,
                                          const Sha256& identity) {
  SectionHeader header;
  if (at > file_bytes || file_bytes - at < sizeof header || !read_fully(file, &header, sizeof header, at))
    return std::nullopt;
  if (header.magic != code_segment::section_magic || header.objects == 0 ||
      header.objects > code_segment::most_objects || header.data_bytes > code_segment::most_data_bytes)
    return std::nullopt;
  const auto index_at = at + sizeof header;
  const auto data_at = aligned(index_at + header.objects * sizeof(IndexEntry), code_segment::record_alignment);
  const auto end = aligned(data_at + header.data_bytes, code_segment::section_alignment);
  if (end > file_bytes) return std::nullopt;
  StoredSection out{.data_at = data_at,
                    .data_bytes = header.data_bytes,
                    .check = {.seed = header.seed, .value = header.data},
                    .end = end,
                    .index = {}};
  out.index.resize(header.objects);
  if (!read_fully(file, out.index.data(), header.objects * sizeof(IndexEntry), index_at)) return std::nullopt;
  if (section_checksum(identity, header, out.index) != header.checksum) return std::nullopt;
  return out;
}

RecordBytes read_records(RecordMemory& memory, int file, std::uint64_t data_at, std::uint32_t data_bytes,
                         const RecordsCheck& check) {
  auto data = memory.take(data_bytes);
  if (!data || !read_fully(file, data.bytes.get(), data_bytes, data_at)) return {};
  return check_of(check.seed, {data.span()}) == check.value ? data : RecordBytes();
}

std::optional<StoredObject> object_at(std::span<const std::byte> records, std::uint32_t at) {
  if (at % code_segment::record_alignment != 0 || at > records.size() || records.size() - at < sizeof(Record))
    return std::nullopt;
  Record record;
  std::memcpy(&record, records.data() + at, sizeof record);
  if (record_bytes(record) > records.size() - at) return std::nullopt;
  auto rest = records.subspan(at + sizeof record);
  const auto take = [&](std::size_t bytes) {
    const auto part = rest.first(bytes);
    rest = rest.subspan(bytes);
    return part;
  };
  StoredObject out;
  const auto ranges = take(record.ranges * sizeof(SourceRange));
  out.ranges = {reinterpret_cast<const SourceRange*>(ranges.data()), record.ranges};
  const auto links = take(record.links * sizeof(CodeLink));
  out.links = {reinterpret_cast<const CodeLink*>(links.data()), record.links};
  out.source = take(record.source_bytes);
  out.code = take(record.code_bytes);
  out.extra = take(record.extra_bytes);
  if (source_length(out.ranges) != record.source_bytes || !links_inside(out.links, record.code_bytes))
    return std::nullopt;
  out.key = {.kind = CodeKind(record.kind), .mode = record.mode, .entry = out.ranges[0].offset};
  out.guest_count = record.guest_count;
  return out;
}

bool StoredObject::matches(const CodeKey& wanted, SourcePages& pages) const {
  if (key.kind != wanted.kind || key.mode != wanted.mode || key.entry != wanted.entry) return false;
  auto left = source;
  for (const auto& range : ranges) {
    const auto page = pages.page(range.page);
    if (page.size() < std::size_t(range.offset) + range.length) return false;
    if (std::memcmp(page.data() + range.offset, left.data(), range.length) != 0) return false;
    left = left.subspan(range.length);
  }
  return true;
}

void StoredObject::copy_to(CodeObject& out) const {
  out.key = key;
  out.guest_count = guest_count;
  out.ranges.assign(ranges.begin(), ranges.end());
  out.links.assign(links.begin(), links.end());
  out.source.assign(source.begin(), source.end());
  out.code.assign(code.begin(), code.end());
  out.extra.assign(extra.begin(), extra.end());
}

}  // namespace doppel
