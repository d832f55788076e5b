// Whatever bytes a qcow2 image has, opening and reading it gives data or an error.
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>

#include "storage/qcow2.h"

namespace {

using namespace doppel;

constexpr std::size_t backing_size = 100'000;

Result<std::unique_ptr<ImageFile>> in_memory(std::span<const std::uint8_t> content) {
  FileDescriptor fd(memfd_create("image", MFD_CLOEXEC));
  if (!fd || write(fd.get(), content.data(), content.size()) != static_cast<ssize_t>(content.size())) std::abort();
  return ImageFile::adopt(std::move(fd), "image", false);
}

/// Stands for any backing file, so that no image reaches files of the host.
class Backing final : public Disk {
 public:
  std::uint64_t size() const override { return backing_size; }
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

void read_places(Qcow2Disk& disk) {
  std::vector<std::byte> buffer(200'000);
  const std::uint64_t size = disk.size();
  for (const std::uint64_t at :
       {std::uint64_t{0}, size / 3, size / 2, size - std::min<std::uint64_t>(size, buffer.size())}) {
    const auto part = std::span(buffer).first(std::min<std::uint64_t>(buffer.size(), size - at));
    [[maybe_unused]] const auto whole = disk.read(at, part);
    [[maybe_unused]] const auto odd = disk.read(at + part.size() / 2, part.first(part.size() / 3));
    const std::uint64_t zeros = disk.zeros_at(at, size - at);
    if (zeros > size - at) std::abort();
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  auto file = in_memory({data, size});
  if (!file) std::abort();
  auto disk =
      Qcow2Disk::open(std::move(*file), [](const std::string&, const std::string&) -> Result<std::unique_ptr<Disk>> {
        return std::unique_ptr<Disk>(std::make_unique<Backing>());
      });
  if (!disk) {
    if (disk.message().empty()) std::abort();
    return 0;
  }
  read_places(**disk);
  return 0;
}
