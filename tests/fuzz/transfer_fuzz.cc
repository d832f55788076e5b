// Whatever a machine's process puts into the file of a copy, receiving it gives spaces whose pages lie in that file, or
// a sentence. The input is the file as it is, and the record in one whose head is right.
#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <cstring>

#include "snapshot/transfer.h"
#include "snapshot/transfer_format.h"

namespace {

using namespace doppel;

void write_at(const FileDescriptor& file, std::uint64_t at, const void* data, std::size_t size) {
  if (size > 0 && ::pwrite(file.get(), data, size, off_t(at)) != ssize_t(size)) std::abort();
}

/// Looks at the first pages of each space and one behind them.
void check(const Result<ReceivedImage>& image) {
  if (!image) {
    if (image.message().empty()) std::abort();
    return;
  }
  unsigned sum = 0;
  for (const auto& space : image->spaces) {
    auto& source = *space.source;
    unsigned seen = 0;
    for (auto page = source.next(0); page < source.pages() && seen < 16; page = source.next(page + 1), seen++) {
      if (!source.holds(page)) std::abort();
      const auto* bytes = source.bring(page);
      for (std::size_t n = 0; bytes && n < page_size; n += 64) sum += unsigned(bytes[n]);
      if (!bytes && source.failure().empty()) std::abort();
    }
  }
  asm volatile("" : : "r"(sum));  // so that the bytes are read
}

void receive(const FileDescriptor& file) { check(receive_transfer(file, std::chrono::milliseconds(0))); }

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto plain = make_transfer_file(), wrapped = make_transfer_file();
  if (!plain || !wrapped) std::abort();
  write_at(*plain, 0, data, size);
  receive(*plain);

  TransferHead head;
  head.record_at = sizeof head, head.record_bytes = size, head.pages_at = whole_pages(sizeof head + size);
  head.written = 2, head.ended = 1;
  if (::ftruncate(wrapped->get(), off_t(head.pages_at + 3 * page_size)) != 0) std::abort();
  write_at(*wrapped, 0, &head, sizeof head);
  write_at(*wrapped, sizeof head, data, size);
  receive(*wrapped);
  return 0;
}
