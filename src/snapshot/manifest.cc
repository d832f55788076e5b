#include "snapshot/manifest.h"

#include <zstd.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <string_view>

#include "memory/guest_memory.h"
#include "snapshot/numbers.h"

namespace doppel {
namespace {

constexpr std::string_view magic = "doppelsn";
constexpr std::size_t most_spaces = 256, longest_space_name = 64;
constexpr int level = 9;  // of zstd: there is little to compress

/// Begins the file. Behind it are a zstd frame of `packed` bytes, which are `plain` unpacked, and the SHA-256 of all
/// that is before it.
struct Header {
  std::array<char, 8> magic{};
  std::uint32_t version = 0;
  std::uint32_t zero = 0;
  std::uint64_t plain = 0, packed = 0;
};
static_assert(sizeof(Header) == 32);

// What is unpacked are fields: a number that says which, and a blob. A later version may have others.
enum class Field : std::uint8_t { made = 1, description = 2, state = 3, packs = 4, space = 5 };

std::span<const std::byte> bytes_of(std::string_view text) { return std::as_bytes(std::span(text)); }
std::string text_of(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

void put_field(NumberWriter& out, Field field, std::span<const std::byte> bytes) {
  out.number(std::uint64_t(field));
  out.blob(bytes);
}

// A run is: pages skipped, how many follow, the pack (zeros are 0), and how far its first page there is from where the
// last run in that pack ended.

void put_runs(NumberWriter& out, const std::vector<PageRun>& runs) {
  out.number(runs.size());
  std::vector<std::uint64_t> ends(most_packs);
  std::uint64_t page = 0;
  for (const auto& run : runs) {
    out.number(run.page - page);
    out.number(run.count);
    out.number(run.pack + 1U);
    page = run.end();
    if (run.pack == PageRun::zeros) continue;
    out.signed_number(std::int64_t(run.at) - std::int64_t(ends[run.pack]));
    ends[run.pack] = std::uint64_t(run.at) + run.count;
  }
}

bool get_run(NumberReader& in, std::uint64_t& page, std::vector<std::uint64_t>& ends, PageRun& run) {
  const auto skipped = in.number(), count = in.number(), pack = in.number();
  if (skipped > most_space_pages - page) return false;
  page += skipped;
  if (count == 0 || page == most_space_pages || count > most_space_pages - 1 || count > most_space_pages - page ||
      pack > ends.size())
    return false;
  run = {.page = std::uint32_t(page), .count = std::uint32_t(count), .pack = std::uint32_t(pack) - 1, .at = 0};
  page += count;
  if (run.pack == PageRun::zeros) return true;
  const auto at = std::uint64_t(in.signed_number()) + ends[run.pack];
  if (at > ~0U || count > ~0U - at) return false;
  run.at = std::uint32_t(at);
  ends[run.pack] = at + count;
  return true;
}

bool get_runs(NumberReader& in, std::vector<PageRun>& runs) {
  runs.resize(in.count(3));
  std::vector<std::uint64_t> ends(most_packs);
  std::uint64_t page = 0;
  return std::ranges::all_of(runs, [&](auto& run) { return get_run(in, page, ends, run) && in.ok(); });
}

void put_space(NumberWriter& out, const SpaceManifest& space) {
  NumberWriter field;
  field.blob(bytes_of(space.name));
  field.number(space.base);
  field.number(space.bytes);
  put_runs(field, space.runs);
  field.number(space.hot.size());
  std::int64_t last = 0;
  for (const auto page : space.hot) field.signed_number(page - std::exchange(last, page));
  put_field(out, Field::space, field.data());
}

bool get_space(std::span<const std::byte> bytes, SpaceManifest& space) {
  NumberReader in(bytes);
  space.name = text_of(in.blob());
  space.base = in.number();
  space.bytes = in.number();
  if (!get_runs(in, space.runs)) return false;
  space.hot.resize(in.count(1));
  std::int64_t last = 0;
  for (auto& page : space.hot) {
    const auto step = in.signed_number();
    if (step < -last || step > ~0U - last) return false;
    page = std::uint32_t(last += step);
  }
  return in.ok() && in.at_end();
}

bool get_field(std::uint64_t field, std::span<const std::byte> bytes, Manifest& out) {
  NumberReader in(bytes);
  switch (Field(field)) {
    case Field::made:
      return out.made_s = in.signed_number(), in.ok();
    case Field::description:
      return out.description = text_of(bytes), true;
    case Field::state:
      return out.state.assign(bytes.begin(), bytes.end()), true;
    case Field::packs:
      if (bytes.size() % sizeof(Sha256) != 0) return false;
      out.packs.resize(bytes.size() / sizeof(Sha256));
      if (!bytes.empty()) std::memcpy(out.packs.data(), bytes.data(), bytes.size());
      return true;
    case Field::space:
      return out.spaces.size() < most_spaces && get_space(bytes, out.spaces.emplace_back());
  }
  return false;
}

bool get_fields(std::span<const std::byte> plain, Manifest& out) {
  NumberReader in(plain);
  while (!in.at_end()) {
    const auto field = in.number();
    const auto bytes = in.blob();
    if (!in.ok() || field > 0xff || !get_field(field, bytes, out)) return false;
  }
  return out.sound();
}

/// Whether the file is what was written. Magic, version and sum are where they are in all versions.
bool has_sum(std::span<const std::byte> file, Header& header) {
  Sha256 sum;
  if (file.size() < sizeof header + sizeof sum) return false;
  std::memcpy(&header, file.data(), sizeof header);
  std::memcpy(sum.data(), file.last(sizeof sum).data(), sizeof sum);
  return std::string_view(header.magic.data(), header.magic.size()) == magic &&
         sha256({file.first(file.size() - sizeof sum)}) == sum;
}

/// The unpacked fields, in no more memory than the limit; false for what is no manifest.
bool unpack(std::span<const std::byte> file, const Header& header, std::vector<std::byte>& plain) {
  if (header.plain > most_manifest_bytes || header.packed != file.size() - sizeof header - sizeof(Sha256)) return false;
  const auto packed = file.subspan(sizeof header, header.packed);
  if (ZSTD_getFrameContentSize(packed.data(), packed.size()) != header.plain) return false;
  plain.resize(header.plain);
  return ZSTD_decompress(plain.data(), plain.size(), packed.data(), packed.size()) == plain.size();
}

bool sound_space(const SpaceManifest& space, std::size_t packs) {
  const auto letter = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == ' ' || c == '-' ||
           c == '_' || c == '.';
  };
  if (space.name.empty() || space.name.size() > longest_space_name || !std::ranges::all_of(space.name, letter) ||
      space.bytes > most_space_pages * page_size)
    return false;
  std::uint64_t page = 0;
  for (const auto& run : space.runs) {
    if (run.count == 0 || run.page < page || run.end() > space.pages()) return false;
    if (run.pack != PageRun::zeros && (run.pack >= packs || run.count > ~0U - run.at)) return false;
    page = run.end();
  }
  return std::ranges::all_of(space.hot, [&](auto hot) { return hot < space.pages(); });
}

}  // namespace

void append_run(std::vector<PageRun>& runs, const PageRun& run) {
  if (!runs.empty()) {
    auto& last = runs.back();
    const bool follows = run.pack == PageRun::zeros || run.at == last.at + last.count;
    if (last.end() == run.page && last.pack == run.pack && follows && run.count < ~0U - last.count) {
      last.count += run.count;
      return;
    }
  }
  runs.push_back(run);
}

std::uint64_t SpaceManifest::pages() const { return bytes / page_size + (bytes % page_size != 0); }

std::uint64_t SpaceManifest::held() const {
  std::uint64_t sum = 0;
  for (const auto& run : runs) sum += run.count;
  return sum;
}

bool Manifest::sound() const {
  if (packs.size() > most_packs || spaces.size() > most_spaces) return false;
  for (std::size_t n = 0; n < spaces.size(); n++) {
    if (!sound_space(spaces[n], packs.size())) return false;
    for (std::size_t other = 0; other < n; other++)
      if (spaces[other].name == spaces[n].name) return false;
  }
  return true;
}

Result<std::vector<std::byte>> Manifest::encode() const {
  NumberWriter fields, made;
  made.signed_number(made_s);
  put_field(fields, Field::made, made.data());
  put_field(fields, Field::description, bytes_of(description));
  put_field(fields, Field::state, state);
  put_field(fields, Field::packs, std::as_bytes(std::span(packs)));
  for (const auto& space : spaces) put_space(fields, space);
  const auto& plain = fields.data();
  if (plain.size() > most_manifest_bytes)
    return error("the snapshot needs a manifest of {} bytes, and the limit is {}: its pages are in too many places",
                 plain.size(), most_manifest_bytes);
  std::vector<std::byte> out(sizeof(Header) + ZSTD_compressBound(plain.size()) + sizeof(Sha256));
  const auto length =
      ZSTD_compress(out.data() + sizeof(Header), ZSTD_compressBound(plain.size()), plain.data(), plain.size(), level);
  if (ZSTD_isError(length)) return error("a snapshot's manifest cannot be compressed: there is no memory left");
  Header header{.version = manifest_version, .plain = plain.size(), .packed = length};
  std::ranges::copy(magic, header.magic.begin());
  std::memcpy(out.data(), &header, sizeof header);
  out.resize(sizeof header + length);
  const auto sum = sha256({out});
  out.insert(out.end(), sum.begin(), sum.end());
  return out;
}

Result<Manifest> Manifest::decode(std::span<const std::byte> file, const std::string& path) {
  Header header;
  const bool whole = has_sum(file, header);
  if (whole && header.version > manifest_version) return error("{} was made by a newer Doppel: use that one", path);
  Manifest out;
  std::vector<std::byte> plain;
  if (!whole || header.version != manifest_version || !unpack(file, header, plain) || !get_fields(plain, out))
    return error("{} is damaged, or no snapshot: remove it and make or import the snapshot again", path);
  return out;
}

}  // namespace doppel
