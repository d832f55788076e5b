#include <zlib.h>
#include <zstd.h>

#include "storage/qcow2_format.h"

namespace doppel::qcow2 {
namespace {

// Raw deflate with a window of 4 KiB (manual, "Compressed Clusters Descriptor"). What follows the stream is padding.
bool inflate_cluster(std::span<const std::byte> in, std::span<std::byte> out) {
  z_stream stream{};
  if (inflateInit2(&stream, -12) != Z_OK) return false;
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<std::byte*>(in.data()));
  stream.avail_in = static_cast<uInt>(in.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  const int status = inflate(&stream, Z_FINISH);
  inflateEnd(&stream);
  // Z_BUF_ERROR: the output is full before the end marker was read.
  return (status == Z_STREAM_END || status == Z_BUF_ERROR) && stream.avail_out == 0;
}

bool unpack_zstd(std::span<const std::byte> in, std::span<std::byte> out) {
  struct Free {
    void operator()(ZSTD_DCtx* context) const { ZSTD_freeDCtx(context); }
  };
  const std::unique_ptr<ZSTD_DCtx, Free> context(ZSTD_createDCtx());
  if (!context) return false;
  // A cluster is at most 2 MiB, so an image has no business asking for more memory than this.
  ZSTD_DCtx_setParameter(context.get(), ZSTD_d_windowLogMax, 23);
  ZSTD_inBuffer from{in.data(), in.size(), 0};
  ZSTD_outBuffer to{out.data(), out.size(), 0};
  while (to.pos < to.size) {
    const auto before = from.pos + to.pos;
    if (ZSTD_isError(ZSTD_decompressStream(context.get(), &to, &from))) return false;
    if (from.pos + to.pos == before) return false;  // no more input and no more output
  }
  return true;
}

}  // namespace

bool decompress(std::span<const std::byte> in, std::span<std::byte> out, bool zstd) {
  return zstd ? unpack_zstd(in, out) : inflate_cluster(in, out);
}

}  // namespace doppel::qcow2
