#include "machine/decompress.h"

#include <zlib.h>
#include <zstd.h>

#include <algorithm>
#include <limits>
#include <memory>

#include "machine/byte_size.h"
#include "machine/file_record.h"

namespace doppel {
namespace {

constexpr std::size_t output_step = 1 << 20;

Error too_large(std::string_view path, std::uint64_t limit) {
  return error("{} unpacks to more than {} of memory: give more with --memory", path, byte_size_text(limit));
}

Error ends_early(std::string_view path, std::string_view format) {
  return error("{} is truncated: its {} data ends early", path, format);
}

/// Output that grows by steps and never beyond one byte over the limit.
class Output {
 public:
  explicit Output(std::uint64_t limit) : limit_(limit) {}
  std::span<std::byte> room() {
    const auto over = limit_ == std::numeric_limits<std::uint64_t>::max() ? limit_ : limit_ + 1;
    if (used_ == bytes_.size()) bytes_.resize(std::min<std::uint64_t>(over, used_ + std::max(used_, output_step)));
    return std::span(bytes_).subspan(used_);
  }
  void add(std::size_t count) { used_ += count; }
  bool over_limit() const { return used_ > limit_; }
  std::vector<std::byte> take() {
    bytes_.resize(used_);
    return std::move(bytes_);
  }

 private:
  std::uint64_t limit_;
  std::size_t used_ = 0;
  std::vector<std::byte> bytes_;
};

bool more_gzip(const z_stream& stream) {
  return stream.avail_in >= 2 && stream.next_in[0] == 0x1f && stream.next_in[1] == 0x8b;
}

Result<std::vector<std::byte>> inflate_all(z_stream& stream, std::string_view path, std::uint64_t limit) {
  Output output(limit);
  for (;;) {
    const auto room = output.room();
    const auto count = static_cast<uInt>(std::min<std::size_t>(room.size(), 1U << 30));
    stream.next_out = reinterpret_cast<Bytef*>(room.data());
    stream.avail_out = count;
    const int status = inflate(&stream, Z_NO_FLUSH);
    output.add(count - stream.avail_out);
    if (output.over_limit()) return too_large(path, limit);
    if (status == Z_STREAM_END) {
      if (!more_gzip(stream)) return output.take();
      inflateReset(&stream);
    } else if (status == Z_BUF_ERROR || (status == Z_OK && stream.avail_in == 0 && stream.avail_out != 0)) {
      return ends_early(path, "gzip");
    } else if (status != Z_OK) {
      return error("{} is corrupt: its gzip data does not unpack ({})", path, stream.msg ? stream.msg : "bad data");
    }
  }
}

}  // namespace

Result<std::vector<std::byte>> unpack_gzip(std::span<const std::byte> packed, std::string_view path,
                                           std::uint64_t limit) {
  if (packed.size() > std::numeric_limits<uInt>::max()) return error("{} is too large for a gzip kernel", path);
  z_stream stream{};
  constexpr int gzip_window_bits = 15 + 16;  // zlib.h, inflateInit2: 16 asks for the gzip format
  if (inflateInit2(&stream, gzip_window_bits) != Z_OK) return error("cannot set up zlib to unpack {}", path);
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<std::byte*>(packed.data()));
  stream.avail_in = static_cast<uInt>(packed.size());
  auto result = inflate_all(stream, path, limit);
  inflateEnd(&stream);
  return result;
}

Result<std::vector<std::byte>> unpack_zstd(std::span<const std::byte> packed, std::string_view path,
                                           std::uint64_t limit) {
  const std::unique_ptr<ZSTD_DStream, decltype(&ZSTD_freeDStream)> stream(ZSTD_createDStream(), &ZSTD_freeDStream);
  if (!stream) return error("cannot set up zstd to unpack {}", path);
  Output output(limit);
  ZSTD_inBuffer in{packed.data(), packed.size(), 0};
  for (bool ended = false;;) {
    // What follows the last frame is padding or a signature, not ours.
    if (ended && !has_magic(packed, in.pos, "\x28\xb5\x2f\xfd")) return output.take();
    const auto room = output.room();
    ZSTD_outBuffer out{room.data(), room.size(), 0};
    const auto before = in.pos;
    const auto status = ZSTD_decompressStream(stream.get(), &out, &in);
    if (ZSTD_isError(status))
      return error("{} is corrupt: its zstd data does not unpack ({})", path, ZSTD_getErrorName(status));
    output.add(out.pos);
    if (output.over_limit()) return too_large(path, limit);
    ended = status == 0;
    if (!ended && out.pos == 0 && in.pos == before) return ends_early(path, "zstd");
  }
}

}  // namespace doppel
