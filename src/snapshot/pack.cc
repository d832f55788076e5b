#include "snapshot/pack.h"

#include <xxhash.h>

#include <algorithm>
#include <type_traits>

#include "snapshot/file_bytes.h"

namespace doppel {

using namespace pack_format;

namespace {

constexpr auto ends_bytes = sizeof(Header) + sizeof(Footer);

template <typename T>
std::span<std::byte> bytes_of(T& record) {
  return std::as_writable_bytes(std::span(&record, 1));
}

ZSTD_DCtx* decompressor() {
  static thread_local const std::unique_ptr<ZSTD_DCtx, std::size_t (*)(ZSTD_DCtx*)> context(ZSTD_createDCtx(),
                                                                                            ZSTD_freeDCtx);
  return context.get();
}

}  // namespace

Result<Pack> Pack::open(FileDescriptor file, PackPlace place, const Sha256& id, Error damaged) {
  Pack pack(std::move(file), place, id, std::move(damaged));
  if (!pack.read_table()) return pack.damaged();
  return pack;
}

bool Pack::read_table() {
  Header header;
  Footer footer;
  if (place_.bytes < ends_bytes || !read_at(file_.get(), bytes_of(header), place_.at) ||
      !read_at(file_.get(), bytes_of(footer), place_.at + place_.bytes - sizeof footer))
    return false;
  if (std::string_view(header.magic.data(), header.magic.size()) != magic) return false;
  if (header.version != version && header.version != 1) return false;
  has_checks_ = header.version != 1;
  const auto bytes_a_frame = sizeof(PageHashes) + (has_checks_ ? sizeof(FrameEntry) : sizeof(FrameEntry1));
  // No more memory than the file has bytes; what follows the frames must fill it to its end.
  if (footer.frames > most_frames || footer.frames * bytes_a_frame > place_.bytes - ends_bytes ||
      footer.hashes_at != place_.bytes - sizeof footer - footer.frames * bytes_a_frame)
    return false;
  hashes_at_ = footer.hashes_at;
  table_.resize(footer.frames);
  return (has_checks_ ? read_entries<FrameEntry>(header, footer) : read_entries<FrameEntry1>(header, footer)) &&
         std::ranges::all_of(table_, [&](const auto& entry) { return sound(entry); });
}

/// The table, as entries of its version; whether it is the one that the id stands for.
template <typename Entry>
bool Pack::read_entries(const Header& header, const Footer& footer) {
  std::vector<Entry> entries(table_.size());
  const auto bytes = std::as_writable_bytes(std::span(entries));
  if (!read_at(file_.get(), bytes, place_.at + hashes_at_ + entries.size() * sizeof(PageHashes))) return false;
  if (sha256({std::as_bytes(std::span(&header, 1)), std::as_bytes(std::span(&footer, 1)), bytes}) != id_) return false;
  if constexpr (std::is_same_v<Entry, FrameEntry>)
    table_ = std::move(entries);
  else
    std::ranges::transform(entries, table_.begin(), [](const auto& e) {
      return FrameEntry{.at = e.at, .bytes = e.bytes, .pages = e.pages, .check = 0, .hashes = e.hashes};
    });
  return true;
}

bool Pack::sound(const FrameEntry& entry) const {
  return entry.pages > 0 && entry.pages <= frame_pages && entry.bytes <= most_packed_bytes && entry.at <= hashes_at_ &&
         entry.bytes <= hashes_at_ - entry.at;
}

Result<std::vector<PageHashes>> Pack::hashes(std::uint32_t first, std::uint32_t count) const {
  std::vector<PageHashes> out(count);
  if (!read_at(file_.get(), std::as_writable_bytes(std::span(out)),
               place_.at + hashes_at_ + first * sizeof(PageHashes)))
    return damaged();
  for (std::uint32_t n = 0; n < count; n++)
    if (sha256({bytes_of(out[n])}) != table_[first + n].hashes) return damaged();
  return out;
}

Result<PageHashes> Pack::hashes(std::uint32_t frame) const {
  PageHashes out;
  if (!read_at(file_.get(), bytes_of(out), place_.at + hashes_at_ + frame * sizeof out) ||
      sha256({bytes_of(out)}) != table_[frame].hashes)
    return damaged();
  return out;
}

Result<void> Pack::unpack(std::uint32_t frame, std::byte* out) const {
  // Read and not mapped: a file that somebody cuts off meanwhile is an error then and no SIGBUS, and what the
  // decompressor looks at does not change under it.
  std::array<std::byte, most_packed_bytes> packed;
  const auto& entry = table_[frame];
  if (!read_at(file_.get(), std::span(packed).first(entry.bytes), place_.at + entry.at)) return damaged();
  if (has_checks_ && XXH3_64bits(packed.data(), entry.bytes) != entry.check) return damaged();
  const auto length = ZSTD_decompressDCtx(decompressor(), out, frame_bytes, packed.data(), entry.bytes);
  if (ZSTD_isError(length) || length != entry.pages * page_size) return damaged();
  if (!has_checks_ && !have_their_hashes(frame, out)) return damaged();
  return {};
}

bool Pack::have_their_hashes(std::uint32_t frame, const std::byte* bytes) const {
  const auto stored = hashes(frame);
  if (!stored) return false;
  for (std::uint32_t n = 0; n < pages(frame); n++)
    if (sha256({{bytes + n * page_size, page_size}}) != (*stored)[n]) return false;
  return true;
}

Result<const PackReader::Frame*> PackReader::frame(std::uint32_t pack, std::uint32_t number) {
  uses_++;
  auto* oldest = &frames_[0];
  for (auto& frame : frames_) {
    if (frame.pack == pack && frame.number == number) return frame.used = uses_, &frame;
    if (frame.used < oldest->used) oldest = &frame;
  }
  oldest->pack = ~0U;
  oldest->bytes.resize(frame_bytes);
  if (auto unpacked = packs_[pack].unpack(number, oldest->bytes.data()); !unpacked) return unpacked.failure();
  oldest->pack = pack, oldest->number = number, oldest->used = uses_;
  return oldest;
}

Result<const std::byte*> PackReader::read(std::uint32_t pack, std::uint32_t at) {
  if (!packs_[pack].holds(at)) return packs_[pack].damaged();
  const auto found = frame(pack, at / frame_pages);
  if (!found) return found.failure();
  return (*found)->bytes.data() + at % frame_pages * page_size;
}

}  // namespace doppel
