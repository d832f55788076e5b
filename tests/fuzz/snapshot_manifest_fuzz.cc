// Whatever a manifest is made of, reading it gives a sound one or a sentence. The input is what is compressed in it;
// the frame and the sum around it are made right, so that what lies behind them is reached.
#include <zstd.h>

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "snapshot/manifest.h"

namespace {

using namespace doppel;

std::vector<std::byte> wrapped(std::span<const std::byte> plain) {
  std::vector<std::byte> out(32 + ZSTD_compressBound(plain.size()));
  const std::uint64_t packed = ZSTD_compress(out.data() + 32, out.size() - 32, plain.data(), plain.size(), 1);
  const std::uint64_t length = plain.size();
  std::memcpy(out.data(), "doppelsn", 8);
  std::memcpy(out.data() + 8, &manifest_version, sizeof manifest_version);
  std::memcpy(out.data() + 16, &length, sizeof length);
  std::memcpy(out.data() + 24, &packed, sizeof packed);
  out.resize(32 + packed);
  const auto sum = sha256({out});
  out.insert(out.end(), sum.begin(), sum.end());
  return out;
}

/// What is read is sound, and is read again as what it is.
void check(const Result<Manifest>& manifest) {
  if (!manifest) {
    if (manifest.message().empty()) std::abort();
    return;
  }
  if (!manifest->sound()) std::abort();
  const auto again = manifest->encode();
  if (!again) std::abort();
  const auto same = Manifest::decode(*again, "again");
  if (!same || !(*same == *manifest)) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto bytes = std::as_bytes(std::span(data, size));
  check(Manifest::decode(wrapped(bytes), "wrapped"));
  check(Manifest::decode(bytes, "as it is"));
  return 0;
}
