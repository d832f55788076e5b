#pragma once
// A captured machine on its way to other processes: a memory file that all of them map, so that its pages are there
// once. They begin before the last page is in it.
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/file_descriptor.h"
#include "base/result.h"
#include "machine/image.h"
#include "snapshot/assemble.h"

namespace doppel {

/// Room for one transfer: a memory file of no size yet, which can grow but not shrink until the receiver seals it.
/// Whoever asks for a machine makes it and passes it on.
Result<FileDescriptor> make_transfer_file();

/// The sending side, in the machine's process. Makes no system calls but fcntl, ftruncate, mmap, munmap, pwritev and
/// what reading the disks' layers takes.
class TransferWriter {
 public:
  /// Writes all but the pages. `description` is not looked into. `hot` are pages of the memory that will be wanted
  /// first. The file comes from others: one that they could take the room away from under our hands is an error, as is
  /// a machine that has written to more blocks of its disks than a receiver takes.
  static Result<std::unique_ptr<TransferWriter>> begin(const FileDescriptor& file, MachineImage image,
                                                       std::string_view description,
                                                       std::span<const std::uint32_t> hot = {});
  ~TransferWriter();
  TransferWriter(const TransferWriter&) = delete;
  /// Writes as many more pages, which takes its time; false when there is nothing left to do. Whoever maps the file
  /// sees each page when it is there, and when the writer goes, that there will be no more.
  bool write_pages(std::uint64_t count);
  /// All of them.
  void write_pages() { write_pages(UINT64_MAX); }

 private:
  TransferWriter(FileDescriptor file, MachineImage image, std::byte* data, std::uint64_t bytes)
      : file_(std::move(file)), image_(std::move(image)), data_(data), bytes_(bytes) {}
  std::uint64_t write_some(std::uint64_t most);
  std::uint64_t write_memory(std::span<const std::uint32_t> numbers);
  bool write_run(std::vector<iovec>& run, std::uint64_t end);

  FileDescriptor file_;
  MachineImage image_;
  std::byte* data_;
  std::uint64_t bytes_, pages_at_ = 0, written_ = 0;
  std::vector<std::vector<std::uint32_t>> numbers_;  // of the memory's pages, and of each disk's blocks
  std::size_t space_ = 0, next_ = 0;                 // among them
};

/// The receiving side.
struct ReceivedImage {
  std::string description;
  std::vector<std::byte> state;
  std::vector<std::uint32_t> hot;       // pages of the memory
  std::vector<KeptSpace> spaces;        // their sources wait for pages that are not there yet, and keep the file mapped
  std::function<Result<void>()> await;  // see await_pages(); empty: nothing is to come
};

/// Reads what TransferWriter::begin() wrote; the sender may be hostile. A page is waited for so long where nothing
/// comes, and in any case no longer than a slow sender takes for it and those in front of it. Seals the file's size.
Result<ReceivedImage> receive_transfer(const FileDescriptor& file,
                                       std::chrono::milliseconds patience = std::chrono::seconds(10));
/// Comes back when all pages are there: from then on the sender is not needed. An error when it ended before.
Result<void> await_pages(const ReceivedImage& image);

}  // namespace doppel
