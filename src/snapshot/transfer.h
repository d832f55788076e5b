#pragma once
// A captured machine on its way to other processes: a memory file that all of them map, so that its pages are there
// once. They begin before the last page is in it.
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/file_descriptor.h"
#include "base/result.h"
#include "machine/image.h"
#include "memory/page_source.h"

namespace doppel {

/// Room for one transfer: a sealable memory file of no size yet. Whoever asks for a machine makes it and passes it on.
Result<FileDescriptor> make_transfer_file();

/// The sending side, in the machine's process. Makes no system calls but ftruncate, mmap and munmap.
class TransferWriter {
 public:
  /// Writes all but the pages. `description` is not looked into.
  static Result<std::unique_ptr<TransferWriter>> begin(const FileDescriptor& file, MachineImage image,
                                                       std::string_view description);
  ~TransferWriter();
  TransferWriter(const TransferWriter&) = delete;
  /// Writes the pages, which takes its time. Whoever maps the file sees each when it is there, or that there will be no
  /// more.
  void write_pages();

 private:
  struct Space {
    std::vector<std::uint32_t> pages;
    std::uint64_t first = 0;  // ordinal of its first page
  };
  TransferWriter(MachineImage image, std::byte* data, std::uint64_t bytes)
      : image_(std::move(image)), data_(data), bytes_(bytes) {}
  void put(const std::byte* page);

  MachineImage image_;
  std::byte* data_;
  std::uint64_t bytes_, pages_at_ = 0, written_ = 0;
  std::vector<Space> spaces_;
};

/// The receiving side.
struct ReceivedImage {
  struct Space {
    std::string name;  // "memory", "disk 0" …
    std::uint64_t base = 0, bytes = 0;
    std::shared_ptr<PageSource> source;  // waits for a page that is not there yet; keeps the file mapped
  };
  std::string description;
  std::vector<std::byte> state;
  std::vector<Space> spaces;
};

/// Reads what TransferWriter::begin() wrote; the sender may be hostile, and is waited for so many seconds at most where
/// nothing comes. Seals the file's size.
Result<ReceivedImage> receive_transfer(const FileDescriptor& file);

}  // namespace doppel
