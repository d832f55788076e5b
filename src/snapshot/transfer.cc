#include "snapshot/transfer.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/uio.h>
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
  FileDescriptor ours(::fcntl(file.get(), F_DUPFD_CLOEXEC, 0));
  auto writer = std::unique_ptr<TransferWriter>(new TransferWriter(std::move(ours), std::move(image), *mapped, bytes));
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

/// Writes pages that follow one another in the file, the last one before the page `end`. By a system call: the kernel
/// need not clear each before it is written, and where there is no memory for them, this is an error and no signal.
bool TransferWriter::write_run(std::vector<iovec>& run, std::uint64_t end) {
  const auto pages = run.size();
  const auto at = pages_at_ + (end - pages) * page_size;
  const auto put = pages == 0 ? 0 : ::pwritev(file_.get(), run.data(), int(pages), off_t(at));
  run.clear();
  return put == ssize_t(pages * page_size);
}

/// Some pages of the memory; how many. Zeros are there already, and take no memory.
std::uint64_t TransferWriter::write_memory(std::span<const std::uint32_t> numbers) {
  std::vector<iovec> run;
  auto end = written_;
  for (const auto number : numbers) {
    const auto* page = image_.memory.page(number);
    if (page == lost_page) return 0;
    if (!is_zero(std::span<const std::byte, page_size>(page, page_size)))
      run.push_back({const_cast<std::byte*>(page), page_size});
    else if (!write_run(run, end))
      return 0;
    end++;
  }
  return write_run(run, end) ? numbers.size() : 0;
}

/// How many it wrote; 0 at the end, or when it cannot go on.
std::uint64_t TransferWriter::write_some(std::uint64_t most) {
  while (space_ < numbers_.size() && next_ == numbers_[space_].size()) space_++, next_ = 0;
  if (space_ == numbers_.size()) return 0;
  const auto left = std::span(numbers_[space_]).subspan(next_);
  std::uint64_t count = 1;
  if (space_ == 0)
    count = write_memory(left.first(std::min<std::uint64_t>(most, left.size())));
  else if (!read_block(image_.disks[space_ - 1], left[0], data_ + pages_at_ + written_ * page_size))
    count = 0;
  next_ += count;
  reinterpret_cast<TransferHead*>(data_)->written.store(written_ += count, std::memory_order_release);
  return count;
}

bool TransferWriter::write_pages(std::uint64_t count) {
  constexpr std::uint64_t at_once = 64;  // who waits for one of them waits for the others
  while (count > 0) {
    const auto some = write_some(std::min(count, at_once));
    if (some == 0) return false;
    count -= some;
  }
  return true;
}

Result<void> await_pages(const ReceivedImage& image) { return image.await ? image.await() : Result<void>(); }

}  // namespace doppel
