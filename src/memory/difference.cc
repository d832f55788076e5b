#include "memory/difference.h"

#include <zstd.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <memory>
#include <new>

namespace doppel {
namespace {

using Words = std::array<std::uint64_t, page_size / 8>;
constexpr std::uint64_t words = std::tuple_size_v<Words>;
constexpr std::uint64_t close = 2;  // words that are alike between two runs cost less than a second run
constexpr int level = 3;            // of zstd: more costs three times as long for a few per cent
constexpr std::uint64_t most_unpacked = 1ULL << 32;

// The packed form is a number (how many bytes follow when they are unpacked) and a zstd frame, or with the number's
// lowest bit set the bytes themselves. They are, for each page in ascending order: how many pages were skipped; then
// runs: how many words were skipped and how many follow, these themselves, to a run of none.

void put_number(std::vector<std::byte>& out, std::uint64_t value) {  // LEB128
  for (; value >= 0x80; value >>= 7) out.push_back(std::byte(value | 0x80));
  out.push_back(std::byte(value));
}

bool get_number(std::span<const std::byte>& in, std::uint64_t& value) {
  value = 0;
  for (unsigned shift = 0; shift < 64 && !in.empty(); shift += 7) {
    const auto byte = std::uint64_t(in.front());
    in = in.subspan(1);
    value |= (byte & 0x7f) << shift;
    if (byte < 0x80) return true;
  }
  return false;
}

void put_page(std::vector<std::byte>& out, const Words& now, const Words& before) {
  std::uint64_t behind = 0;  // the last run
  for (std::uint64_t at = 0; at < words;) {
    if (now[at] == before[at]) {
      at++;
      continue;
    }
    auto end = at + 1;
    for (auto next = end; next < words && next <= end + close; next++)
      if (now[next] != before[next]) end = next + 1;
    put_number(out, at - behind);
    put_number(out, end - at);
    const auto bytes = std::as_bytes(std::span(now)).subspan(8 * at, 8 * (end - at));
    out.insert(out.end(), bytes.begin(), bytes.end());
    behind = at = end;
  }
  put_number(out, 0), put_number(out, 0);
}

/// The pages in layers that only one of them has.
std::vector<std::uint64_t> pages_apart(const MemoryImage& image, const MemoryImage& base) {
  std::vector<std::uint64_t> pages;
  for (const auto* layer : layers_apart(image.top.get(), base.top.get()))
    layer->for_each([&](std::uint64_t page) { pages.push_back(page); });
  std::ranges::sort(pages);
  pages.erase(std::unique(pages.begin(), pages.end()), pages.end());
  return pages;
}

ZSTD_CCtx* compressor() {
  static thread_local const std::unique_ptr<ZSTD_CCtx, std::size_t (*)(ZSTD_CCtx*)> context(ZSTD_createCCtx(),
                                                                                            ZSTD_freeCCtx);
  return context.get();
}

ZSTD_DCtx* decompressor() {
  static thread_local const std::unique_ptr<ZSTD_DCtx, std::size_t (*)(ZSTD_DCtx*)> context(ZSTD_createDCtx(),
                                                                                            ZSTD_freeDCtx);
  return context.get();
}

Error damaged() { return error("a saved difference of memory is damaged"); }

Result<std::vector<std::byte>> unpack(std::span<const std::byte> packed) {
  std::uint64_t head;
  if (!get_number(packed, head) || head >> 1 > most_unpacked) return damaged();
  if (head & 1) return std::vector(packed.begin(), packed.end());
  // Not before the frame says so too is so much memory given to it.
  if (ZSTD_getFrameContentSize(packed.data(), packed.size()) != head >> 1) return damaged();
  std::vector<std::byte> out(head >> 1);
  const auto length = ZSTD_decompress(out.data(), out.size(), packed.data(), packed.size());
  if (ZSTD_isError(length) || length != out.size()) return damaged();
  return out;
}

}  // namespace

std::vector<std::byte> pack_difference(const MemoryImage& image, const MemoryImage& base) {
  std::vector<std::byte> plain;
  std::uint64_t behind = 0;
  Words now, before;
  for (const auto page : pages_apart(image, base)) {
    const auto *ours = image.page(page), *theirs = base.page(page);
    if (ours == theirs || std::memcmp(ours, theirs, page_size) == 0) continue;
    std::memcpy(now.data(), ours, page_size), std::memcpy(before.data(), theirs, page_size);
    put_number(plain, page - behind);
    put_page(plain, now, before);
    behind = page + 1;
  }
  std::vector<std::byte> out;
  put_number(out, plain.size() << 1);
  const auto begin = out.size();
  out.resize(begin + ZSTD_compressBound(plain.size()));
  ZSTD_CCtx_reset(compressor(), ZSTD_reset_session_and_parameters);
  const auto length =
      ZSTD_compressCCtx(compressor(), out.data() + begin, out.size() - begin, plain.data(), plain.size(), level);
  if (!ZSTD_isError(length) && length < plain.size()) {
    out.resize(begin + length);
  } else {
    out.clear();
    put_number(out, plain.size() << 1 | 1);
    out.insert(out.end(), plain.begin(), plain.end());
  }
  out.shrink_to_fit();
  return out;
}

std::vector<std::byte> pack_bytes(std::span<const std::byte> bytes, std::span<const std::byte> like) {
  auto* context = compressor();
  ZSTD_CCtx_reset(context, ZSTD_reset_session_and_parameters);
  ZSTD_CCtx_setParameter(context, ZSTD_c_compressionLevel, level);
  ZSTD_CCtx_refPrefix(context, like.data(), like.size());
  std::vector<std::byte> out(ZSTD_compressBound(bytes.size()));
  const auto length = ZSTD_compress2(context, out.data(), out.size(), bytes.data(), bytes.size());
  if (ZSTD_isError(length)) throw std::bad_alloc();  // nothing else can be wrong
  out.resize(length);
  return out;
}

Result<std::vector<std::byte>> unpack_bytes(std::span<const std::byte> packed, std::span<const std::byte> like) {
  const auto size = ZSTD_getFrameContentSize(packed.data(), packed.size());
  if (size > most_unpacked) return error("a saved difference is damaged");
  std::vector<std::byte> out(size);
  auto* context = decompressor();
  ZSTD_DCtx_reset(context, ZSTD_reset_session_and_parameters);
  ZSTD_DCtx_refPrefix(context, like.data(), like.size());
  const auto length = ZSTD_decompressDCtx(context, out.data(), out.size(), packed.data(), packed.size());
  if (ZSTD_isError(length) || length != size) return error("a saved difference is damaged");
  return out;
}

Result<void> apply_difference(std::span<const std::byte> packed, GuestMemory& memory) {
  const auto plain = unpack(packed);
  if (!plain) return plain.failure();
  const auto pages = memory.size() >> page_shift;
  std::uint64_t page = 0, skipped, count;
  for (std::span<const std::byte> in = *plain; !in.empty(); page++) {
    if (!get_number(in, skipped) || skipped >= pages - page) return damaged();
    page += skipped;
    const auto address = memory.base() + (page << page_shift);
    for (std::uint64_t at = 0;; at += count) {
      if (!get_number(in, skipped) || !get_number(in, count)) return damaged();
      if (count == 0) break;
      if (skipped > words - at || count > words - at - skipped || in.size() < 8 * count) return damaged();
      at += skipped;
      if (!memory.write(address + 8 * at, in.data(), 8 * count)) return damaged();
      in = in.subspan(8 * count);
    }
    if (page + 1 == pages && !in.empty()) return damaged();
  }
  return {};
}

}  // namespace doppel
