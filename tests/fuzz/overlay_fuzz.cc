// Whatever bytes an overlay has, opening, reading and writing it gives data or an error. The input is a list of changes
// to a sound file, with checksums made right again, so that what lies behind them is reached.
#include <sys/mman.h>
#include <unistd.h>
#include <zlib.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "base/archive.h"
#include "storage/overlay.h"

namespace {

using namespace doppel;

constexpr std::uint64_t disk_size = 1'000'448;

class Backing final : public Disk {
 public:
  std::uint64_t size() const override { return disk_size; }
  bool read_only() const override { return true; }
  std::string_view format() const override { return "raw"; }
  Result<void> read(std::uint64_t offset, std::span<std::byte> out) override {
    if (offset > size() || out.size() > size() - offset) std::abort();
    std::ranges::fill(out, std::byte{0x5a});
    return {};
  }
  Result<void> write(std::uint64_t, std::span<const std::byte>) override { std::abort(); }
  Result<void> flush() override { return {}; }
  Result<void> discard(std::uint64_t, std::uint64_t) override { std::abort(); }
  Result<void> write_zeroes(std::uint64_t, std::uint64_t, bool) override { std::abort(); }
};

template <typename Record>
void make_checksum_right(Record& record) {
  record.checksum = 0;
  record.checksum = static_cast<std::uint32_t>(crc32(0, reinterpret_cast<const Bytef*>(&record), sizeof record));
}

struct Start {
  overlay::Header header;
  overlay::MapPage slots[2];
};

Start sound_start() {
  Start start{};
  std::memcpy(start.header.magic, overlay_magic.data(), 8);
  start.header.version = overlay::version;
  start.header.size = disk_size;
  start.header.map_offset = overlay::header_size;
  start.header.data_offset = 1 << 20;
  start.header.block_size = overlay::block_size;
  start.header.chain_length = 1;
  start.header.chain[0].size = disk_size;
  for (auto& slot : start.slots)
    slot = {.magic = overlay::map_magic, .checksum = 0, .generation = 1, .index = 0, .reserved = 0, .words = {}};
  return start;
}

// Each change: an offset and a value. Changes to a file's words of bits are as likely as those to its header.
Start changed_start(Reader& in) {
  Start start = sound_start();
  const unsigned changes = in.get<std::uint8_t>() % 16;
  for (unsigned i = 0; i < changes; i++) {
    const std::size_t at = in.get<std::uint16_t>() % (sizeof start - 8);
    const auto value = in.get<std::uint64_t>();
    std::memcpy(reinterpret_cast<std::byte*>(&start) + at, &value, sizeof value);
  }
  const auto right = in.get<std::uint8_t>();
  if (right & 1) make_checksum_right(start.header);
  if (right & 2) make_checksum_right(start.slots[0]);
  if (right & 4) make_checksum_right(start.slots[1]);
  return start;
}

void use(OverlayDisk& disk, Reader& in) {
  std::vector<std::byte> buffer(70'000, std::byte{1});
  for (int i = 0; i < 20 && in.left(); i++) {
    const unsigned kind = in.get<std::uint8_t>() % 6;
    const std::uint64_t at = in.get<std::uint32_t>() % (disk_size + 5000);
    const std::uint64_t length = in.get<std::uint32_t>() % buffer.size();
    const auto part = std::span(buffer).first(length);
    Result<void> result;
    if (kind == 0) result = disk.read(at, part);
    if (kind == 1) result = disk.write(at, part);
    if (kind == 2) result = disk.flush();
    if (kind == 3) result = disk.discard(at, length);
    if (kind == 4) result = disk.write_zeroes(at, length, true);
    if (kind == 5 && at < disk_size && disk.zeros_at(at, disk_size - at) > disk_size - at) std::abort();
    if (kind != 2 && kind != 5 && at + length <= disk_size && !result) std::abort();
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  Reader in({reinterpret_cast<const std::byte*>(data), size});
  const Start start = changed_start(in);
  const std::uint64_t length = in.get<std::uint8_t>() % 8 ? (1 << 20) + 1'003'520 : in.get<std::uint32_t>() % (3 << 20);
  FileDescriptor fd(memfd_create("overlay", MFD_CLOEXEC));
  if (!fd || write(fd.get(), &start, sizeof start) != sizeof start) std::abort();
  if (ftruncate(fd.get(), static_cast<off_t>(length)) != 0) std::abort();
  auto file = ImageFile::adopt(std::move(fd), "overlay", true);
  if (!file) std::abort();
  const std::vector<FileStamp> chain{{.size = disk_size}};
  auto disk = OverlayDisk::open(std::move(*file), std::make_unique<Backing>(), chain);
  if (disk) use(**disk, in);
  return 0;
}
