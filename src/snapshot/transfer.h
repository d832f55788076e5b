#pragma once
// A captured machine on its way to other processes: a memory file that all of them map, so that its pages are there
// once. They begin before the last page is in it.
#include <cstdint>
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

/// Room for one transfer: a sealable memory file of no size yet. Whoever asks for a machine makes it and passes it on.
Result<FileDescriptor> make_transfer_file();

/// The sending side, in the machine's process. Makes no system calls but ftruncate, mmap and munmap.
class TransferWriter {
 public:
  /// Writes all but the pages. `description` is not looked into.
  /// `hot` are pages of the memory that will be wanted first.
  static Result<std::unique_ptr<TransferWriter>> begin(const FileDescriptor& file, MachineImage image,
                                                       std::string_view description,
                                                       std::span<const std::uint32_t> hot = {});
  ~TransferWriter();
  TransferWriter(const TransferWriter&) = delete;
  /// Writes the pages, which takes its time. Whoever maps the file sees each when it is there, or that there will be no
  /// more.
  void write_pages();

 private:
  TransferWriter(MachineImage image, std::byte* data, std::uint64_t bytes)
      : image_(std::move(image)), data_(data), bytes_(bytes) {}
  bool put(const std::byte* page);

  MachineImage image_;
  std::byte* data_;
  std::uint64_t bytes_, pages_at_ = 0, written_ = 0;
  std::vector<std::uint32_t> pages_;  // of the memory
};

/// The receiving side.
struct ReceivedImage {
  std::string description;
  std::vector<std::byte> state;
  std::vector<std::uint32_t> hot;  // pages of the memory
  std::vector<KeptSpace> spaces;   // their sources wait for pages that are not there yet, and keep the file mapped
};

/// Reads what TransferWriter::begin() wrote; the sender may be hostile, and is waited for so many seconds at most where
/// nothing comes. Seals the file's size.
Result<ReceivedImage> receive_transfer(const FileDescriptor& file);
/// Comes back when all pages are there: from then on the sender is not needed. An error when it ended before.
Result<void> await_pages(const ReceivedImage& image);

}  // namespace doppel
