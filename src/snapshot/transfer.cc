#include "snapshot/transfer.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <new>

#include "base/archive.h"
#include "snapshot/snapshot_content.h"
#include "snapshot/transfer_format.h"

namespace doppel {
namespace {

Error no_room() { return error("cannot make room for a copy of the machine: {}", std::strerror(errno)); }

/// The blocks that a disk has over its image.
Result<std::vector<std::uint32_t>> blocks_of(const DiskImage& disk) {
  constexpr std::uint64_t most = TransferLimits::record / sizeof(std::uint32_t) / 2;
  std::vector<std::uint32_t> blocks;
  auto seen = for_each_part(disk.top.get(), 0, disk_blocks(disk.size()), [&](const DiskPart& part) -> Result<void> {
    if (part.place == DiskPart::Place::image) return {};
    if (part.last > UINT32_MAX || blocks.size() + (part.last - part.first) > most)
      return error("the machine has written to more of a disk, or discarded more of it, than can be copied");
    for (auto block = part.first; block < part.last; block++) blocks.push_back(std::uint32_t(block));
    return {};
  });
  if (!seen) return seen.failure();
  return blocks;
}

/// A block over a disk's image into `out`, which is zeros before; false where it cannot be read.
bool read_block(const DiskImage& disk, std::uint64_t block, std::byte* out) {
  const auto length = std::min(disk_block_bytes, disk.size() - block * disk_block_bytes);
  const iovec piece{out, length};
  const auto got = for_each_part(disk.top.get(), block, block + 1, [&](const DiskPart& part) -> Result<void> {
    // Zeros are there already: to write them would take the host's memory for what a guest only discarded.
    if (part.place == DiskPart::Place::zeros) return {};
    return read_part(part, 0, {&piece, 1}, *disk.base);
  });
  return got.ok();
}

void put_space(Writer& record, std::string_view name, std::uint64_t base, std::uint64_t bytes,
               std::span<const std::uint32_t> numbers) {
  record.blob(std::as_bytes(std::span(name)));
  record.put(base), record.put(bytes);
  record.blob(std::as_bytes(numbers));
}

/// So long, and ours to write to as long as we map it: whoever has the file too could else end this process by a
/// SIGBUS.
Result<std::byte*> map_for_writing(const FileDescriptor& file, std::uint64_t bytes) {
  const int seals = ::fcntl(file.get(), F_GET_SEALS);
  if (seals < 0 || !(seals & F_SEAL_SHRINK))
    return error("a machine is copied into a memory file that is sealed against being cut short");
  if (::ftruncate(file.get(), off_t(bytes)) != 0) return no_room();
  auto* const mapped = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, file.get(), 0);
  if (mapped == MAP_FAILED) return no_room();
  return static_cast<std::byte*>(mapped);
}

}  // namespace

Result<FileDescriptor> make_transfer_file() {
  FileDescriptor file(::memfd_create("doppel", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!file || ::fcntl(file.get(), F_ADD_SEALS, F_SEAL_SHRINK) != 0) return no_room();
  return file;
}

Result<std::unique_ptr<TransferWriter>> TransferWriter::begin(const FileDescriptor& file, MachineImage image,
                                                              std::string_view description,
                                                              std::span<const std::uint32_t> hot) {
  Writer record;
  record.blob(std::as_bytes(std::span(description)));
  record.blob(image.state);
  record.blob(std::as_bytes(hot));
  std::vector<std::vector<std::uint32_t>> numbers = {image.memory.held()};
  put_space(record, "memory", image.memory.base, image.memory.size, numbers[0]);
  for (std::size_t n = 0; n < image.disks.size(); n++) {
    auto blocks = blocks_of(image.disks[n]);
    if (!blocks) return blocks.failure();
    numbers.push_back(*std::move(blocks));
    put_space(record, disk_space_name(n), 0, image.disks[n].size(), numbers.back());
  }
  const auto& data = record.data();
  if (data.size() > TransferLimits::record)
    return error("the machine has written to more of its memory and disks than can be copied");
  std::uint64_t pages = 0;
  for (const auto& space : numbers) pages += space.size();
  const std::uint64_t record_at = sizeof(TransferHead), pages_at = whole_pages(record_at + data.size());
  const auto bytes = pages_at + pages * page_size;
  auto mapped = map_for_writing(file, bytes);
  if (!mapped) return mapped.failure();
  auto writer = std::unique_ptr<TransferWriter>(new TransferWriter(std::move(image), *mapped, bytes));
  std::ranges::copy(data, *mapped + record_at);
  auto& head = *new (*mapped) TransferHead;
  head.record_at = record_at, head.record_bytes = data.size(), head.pages_at = pages_at;
  writer->pages_at_ = pages_at;
  writer->numbers_ = std::move(numbers);
  return writer;
}

TransferWriter::~TransferWriter() {
  reinterpret_cast<TransferHead*>(data_)->ended.store(1, std::memory_order_release);
  ::munmap(data_, bytes_);
}

bool TransferWriter::write_next() {
  while (space_ < numbers_.size() && next_ == numbers_[space_].size()) space_++, next_ = 0;
  if (space_ == numbers_.size()) return false;
  const auto number = numbers_[space_][next_++];
  auto* to = data_ + pages_at_ + written_ * page_size;
  if (space_ > 0) {
    if (!read_block(image_.disks[space_ - 1], number, to)) return false;
  } else {
    const auto* page = image_.memory.page(number);
    if (page == lost_page) return false;
    if (!is_zero(std::span<const std::byte, page_size>(page, page_size)))
      std::memcpy(to, page, page_size);  // else no memory is taken for it
  }
  reinterpret_cast<TransferHead*>(data_)->written.store(++written_, std::memory_order_release);
  return true;
}

bool TransferWriter::write_pages(std::uint64_t count) {
  for (; count > 0; count--)
    if (!write_next()) return false;
  return true;
}

Result<void> await_pages(const ReceivedImage& image) {
  for (const auto& space : image.spaces)
    for (auto page = space.source->next(0); page < space.source->pages(); page = space.source->next(page + 1))
      if (!space.source->bring(page)) return Error{space.source->failure()};
  return {};
}

}  // namespace doppel
