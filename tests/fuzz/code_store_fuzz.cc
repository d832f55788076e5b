// Whatever bytes a file of the code cache has, reading it gives sound objects or nothing. The input is a list of
// changes to a sound file, with hashes made right again, so that what lies behind them is reached.
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "base/archive.h"
#include "base/file_descriptor.h"
#include "engine/code_section.h"

namespace {

using namespace doppel;

constexpr Sha256 identity = {std::byte{7}};

CodeObject sample(unsigned number) {
  CodeObject out;
  out.key = {
      .kind = number % 2 ? CodeKind::block : CodeKind::path, .mode = number, .entry = std::uint16_t(100 * number)};
  out.guest_count = number + 1;
  out.ranges = {{.page = 0, .offset = out.key.entry, .length = std::uint16_t(4 + number)}};
  if (number % 2 == 0) out.ranges.push_back({.page = -1, .offset = 4090, .length = 6});
  for (const auto& range : out.ranges) out.source.resize(out.source.size() + range.length, std::byte(number));
  out.code.assign(40 + number, std::byte{0x90});
  out.links.assign(number % 3, {.displacement = 8, .stub = 20, .stub_return = 25, .target = 64});
  out.extra.assign(number, std::byte{3});
  return out;
}

/// Sound sections; each change is an offset and a value.
struct Contents {
  std::vector<code_segment::IndexEntry> index;
  std::vector<std::byte> records;
};

Contents changed_contents(Reader& in) {
  SectionBuilder builder;
  for (unsigned n = 0; n < 6; n++) {
    const auto object = sample(n);
    const auto entry = builder.entry_of(object);
    if (!entry) std::abort();
    builder.add(object, *entry);
  }
  Contents out{builder.index(), builder.data()};
  const auto change = [&](std::span<std::byte> bytes) {
    const auto value = in.get<std::uint32_t>();
    std::memcpy(bytes.data() + in.get<std::uint16_t>() % (bytes.size() - sizeof value), &value, sizeof value);
  };
  for (unsigned left = in.get<std::uint8_t>() % 16; left > 0; left--)
    change(left % 4 == 0 ? std::as_writable_bytes(std::span(out.index)) : std::span(out.records));
  return out;
}

class Zeros final : public SourcePages {
 public:
  std::span<const std::byte> page(std::int32_t number) override {
    static const std::vector<std::byte> bytes(4096);
    return std::span(bytes).first(number == 1 ? 2 : 4096);
  }
};

/// Reads all of it, as who executes it would.
void use(const StoredObject& object) {
  CodeObject copy;
  object.copy_to(copy);
  std::size_t source = 0;
  for (const auto& range : copy.ranges) {
    source += range.length;
    if (range.length == 0 || range.offset + range.length > 4096) std::abort();
  }
  if (source != copy.source.size() || copy.key.entry != copy.ranges.at(0).offset) std::abort();
  for (const auto& link : copy.links)
    if (link.displacement + 4ULL > copy.code.size() || link.stub >= copy.code.size()) std::abort();
  Zeros guest;
  const bool zero = std::ranges::all_of(copy.source, [](auto byte) { return byte == std::byte(); });
  if (object.matches(object.key, guest) && !zero) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  Reader in({reinterpret_cast<const std::byte*>(data), size});
  const auto contents = changed_contents(in);
  auto bytes = SectionBuilder::seal(identity, 7, contents.index, contents.records).bytes;
  // Now and then with what is under the checksum changed too, and cut off somewhere.
  if (in.get<std::uint8_t>() % 4 == 0) {
    const auto value = in.get<std::uint32_t>();
    std::memcpy(bytes.data() + in.get<std::uint16_t>() % (bytes.size() - sizeof value), &value, sizeof value);
  }
  if (in.get<std::uint8_t>() % 4 == 0) bytes.resize(in.get<std::uint16_t>() % (bytes.size() + 1));
  const FileDescriptor file(memfd_create("section", MFD_CLOEXEC));
  if (!file || write(file.get(), bytes.data(), bytes.size()) != ssize_t(bytes.size())) std::abort();
  const auto section = read_section(file.get(), 0, bytes.size(), identity);
  if (!section) return 0;
  static RecordMemory memory;
  const auto records = read_records(memory, file.get(), section->data_at, section->data_bytes, section->check);
  if (!records) return 0;
  for (const auto& entry : section->index)
    if (const auto object = object_at(records.span(), entry.at)) use(*object);
  for (std::uint32_t at = 0; at < records.size; at += 8)
    if (const auto object = object_at(records.span(), at)) use(*object);
  return 0;
}
