// Whatever a pack is made of, a page of it is what was stored or is refused with a sentence. The input is a list of
// changes to a sound pack, whose id is made right again now and then, so that what lies behind it is reached.
#include <sys/mman.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "base/archive.h"
#include "snapshot/file_bytes.h"
#include "snapshot/pack_builder.h"
#include "snapshot/resident_packs.h"

namespace {

using namespace doppel;
using namespace doppel::pack_format;

constexpr unsigned page_count = 11;

std::vector<std::byte> page_of(unsigned number) {
  std::vector<std::byte> out(page_size);
  for (unsigned n = 0; n < page_size; n++) out[n] = std::byte(n * number >> (n % 5));
  return out;
}

struct Sample {
  std::vector<std::byte> file;
  Sha256 id;
};

Sample sample() {
  const FileDescriptor file(memfd_create("pack", MFD_CLOEXEC));
  PackBuilder builder(file.get(), 0, "pack");
  for (unsigned n = 0; n < page_count; n++) {
    const auto page = page_of(n);
    if (!builder.add(std::span<const std::byte, page_size>(page.data(), page_size), sha256({page}), n % 3 == 0))
      std::abort();
  }
  auto id = builder.finish();
  if (!id) std::abort();
  Sample out{.file = std::vector<std::byte>(builder.bytes()), .id = *id};
  if (!read_at(file.get(), out.file, 0)) std::abort();
  return out;
}

/// The id of whatever has that much of a pack's shape.
Sha256 id_of(std::span<const std::byte> file) {
  Footer footer;
  if (file.size() < sizeof(Header) + sizeof footer) return {};
  std::memcpy(&footer, file.last(sizeof footer).data(), sizeof footer);
  const auto table = std::min(footer.frames, std::uint64_t(most_frames)) * sizeof(FrameEntry);
  if (table > file.size() - sizeof footer) return {};
  return sha256(
      {file.first(sizeof(Header)), file.last(sizeof footer), file.subspan(file.size() - sizeof footer - table, table)});
}

void change(std::vector<std::byte>& file, Reader& in) {
  for (unsigned left = in.get<std::uint8_t>() % 16; left > 0; left--) {
    const auto value = in.get<std::uint32_t>();
    // Half of the changes are in what says where all is.
    const auto from = left % 2 && file.size() > 400 ? file.size() - 400 : 0;
    const auto room = file.size() - from - sizeof value;
    std::memcpy(file.data() + from + in.get<std::uint16_t>() % room, &value, sizeof value);
  }
  if (in.get<std::uint8_t>() % 4 == 0) file.resize(in.get<std::uint16_t>() % (file.size() + 1));
}

/// With the id that was asked for, only what was stored comes out; with any other, nothing bad happens.
void use(Pack pack, bool as_stored) {
  const auto frames = pack.frames();
  std::vector<Pack> packs;
  packs.push_back(std::move(pack));
  PackReader reader(packs);
  std::vector<std::vector<std::byte>> read;
  for (std::uint32_t at = 0; at < std::min(frames, 64U) * frame_pages; at++) {
    const auto bytes = reader.read(0, at);
    read.emplace_back();
    if (!bytes && bytes.message().empty()) std::abort();
    if (!bytes) continue;
    read.back().assign(*bytes, *bytes + page_size);
    bool known = !as_stored;
    for (unsigned n = 0; n < page_count && !known; n++) known = read.back() == page_of(n);
    if (!known) std::abort();
  }
  ResidentPacks resident(std::move(packs));
  for (std::uint32_t at = 0; at < read.size(); at++) {
    const auto* bytes = resident.bring(0, at);
    if (!bytes != read[at].empty()) std::abort();
    if (bytes && std::memcmp(bytes, read[at].data(), page_size) != 0) std::abort();
  }
  if (resident.bring(0, ~0U)) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const auto sound = sample();
  Reader in({reinterpret_cast<const std::byte*>(data), size});
  auto bytes = sound.file;
  const bool as_stored = in.get<std::uint8_t>() % 2 == 0;
  change(bytes, in);
  FileDescriptor file(memfd_create("pack", MFD_CLOEXEC));
  if (!file || !write_at(file.get(), bytes, 0)) std::abort();
  const auto id = as_stored ? sound.id : id_of(bytes);
  auto pack = Pack::open(std::move(file), {.at = 0, .bytes = bytes.size()}, id, error("the pack is damaged"));
  if (pack) use(std::move(*pack), as_stored);
  if (!pack && pack.message().empty()) std::abort();
  return 0;
}
