#include "snapshot/transfer.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <mutex>
#include <optional>
#include <thread>

#include "base/archive.h"
#include "base/clock.h"

namespace doppel {
namespace {

// The file: a Head; a record of the machine (Writer), at record_at; its pages, from pages_at on, those of one space
// after those of another, each in ascending order.
struct Head {
  static constexpr std::uint64_t right = 0x3130'6d69'7070'6f64;  // "doppim01"
  std::uint64_t magic = right;
  std::uint64_t record_at = 0, record_bytes = 0, pages_at = 0;
  std::atomic<std::uint64_t> written = 0;  // pages that are there
  std::atomic<std::uint64_t> ended = 0;    // there will be no more
};
constexpr std::uint64_t most_bytes = 1ULL << 46, most_record = 256 << 20;
constexpr std::size_t most_spaces = 64, longest_text = 1 << 20, longest_name = 64;
constexpr std::int64_t patience_ns = 10'000'000'000;  // without progress

std::uint64_t whole_pages(std::uint64_t bytes) { return (bytes + page_mask) & ~page_mask; }

/// A file that is mapped, shared by all that lies in it.
class Mapping {
 public:
  static std::shared_ptr<Mapping> create(int file, std::uint64_t bytes, int protection) {
    auto* data = ::mmap(nullptr, bytes, protection, MAP_SHARED, file, 0);
    if (data == MAP_FAILED) return nullptr;
    return std::shared_ptr<Mapping>(new Mapping(static_cast<std::byte*>(data), bytes));
  }
  ~Mapping() { ::munmap(data_, bytes_); }
  Mapping(const Mapping&) = delete;
  std::byte* data() const { return data_; }
  std::uint64_t bytes() const { return bytes_; }
  const Head& head() const { return *reinterpret_cast<const Head*>(data_); }

 private:
  Mapping(std::byte* data, std::uint64_t bytes) : data_(data), bytes_(bytes) {}
  std::byte* data_;
  std::uint64_t bytes_;
};

/// The pages of one space, where they are in the file, as soon as they are there.
class MappedPages final : public PageSource {
 public:
  MappedPages(std::shared_ptr<Mapping> file, const std::byte* first, std::uint64_t ordinal, std::uint64_t pages,
              std::vector<std::uint32_t> numbers)
      : file_(std::move(file)), first_(first), ordinal_(ordinal), pages_(pages), numbers_(std::move(numbers)) {}
  std::uint64_t pages() const override { return pages_; }
  bool holds(std::uint64_t page) const override { return std::ranges::binary_search(numbers_, page); }
  std::uint64_t next(std::uint64_t page) const override {
    const auto found = std::ranges::lower_bound(numbers_, page);
    return found == numbers_.end() ? pages_ : *found;
  }
  const std::byte* bring(std::uint64_t page) override {
    const auto n = std::uint64_t(std::ranges::lower_bound(numbers_, page) - numbers_.begin());
    return await(ordinal_ + n) ? first_ + n * page_size : nullptr;
  }
  std::string failure() const override {
    std::lock_guard guard(lock_);
    return failure_;
  }

 private:
  bool await(std::uint64_t ordinal) {
    auto seen = file_->head().written.load(std::memory_order_acquire);
    for (auto since = monotonic_ns(); seen <= ordinal;) {
      const bool ended = file_->head().ended.load(std::memory_order_acquire);
      const auto now = file_->head().written.load(std::memory_order_acquire);
      if (now == seen && (ended || monotonic_ns() - since > patience_ns)) return give_up();
      if (now != seen) since = monotonic_ns();
      seen = now;
      if (seen <= ordinal) std::this_thread::sleep_for(std::chrono::microseconds(50));
    }
    return true;
  }
  bool give_up() {
    std::lock_guard guard(lock_);
    if (failure_.empty()) failure_ = "the machine that this one is a copy of has ended before all of it was copied";
    return false;
  }

  std::shared_ptr<Mapping> file_;
  const std::byte* first_;
  std::uint64_t ordinal_, pages_;
  std::vector<std::uint32_t> numbers_;
  mutable std::mutex lock_;
  std::string failure_;
};

Error unsound() { return error("the machine's process gives a copy that makes no sense"); }

}  // namespace

Result<FileDescriptor> make_transfer_file() {
  FileDescriptor file(::memfd_create("doppel", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!file) return error("cannot make room for a copy of the machine: {}", std::strerror(errno));
  return file;
}

namespace {

/// The blocks that a disk has over its image.
Result<std::vector<std::uint32_t>> blocks_of(const DiskImage& disk) {
  std::vector<std::uint32_t> blocks;
  auto seen = disk.for_each_block([&](std::uint64_t block, std::span<const std::byte>) -> Result<void> {
    blocks.push_back(std::uint32_t(block));
    return {};
  });
  if (!seen) return seen.failure();
  return blocks;
}

}  // namespace

Result<std::unique_ptr<TransferWriter>> TransferWriter::begin(const FileDescriptor& file, MachineImage image,
                                                              std::string_view description,
                                                              std::span<const std::uint32_t> hot) {
  Writer record;
  record.blob(std::as_bytes(std::span(description)));
  record.blob(image.state);
  record.blob(std::as_bytes(hot));
  std::uint64_t count = 0;
  const auto add = [&](std::string_view name, std::uint64_t base, std::uint64_t bytes,
                       std::span<const std::uint32_t> numbers) {
    record.blob(std::as_bytes(std::span(name)));
    record.put(base), record.put(bytes);
    record.blob(std::as_bytes(numbers));
    count += numbers.size();
  };
  auto pages = image.memory.held();
  add("memory", image.memory.base, image.memory.size, pages);
  for (std::size_t n = 0; n < image.disks.size(); n++) {
    const auto blocks = blocks_of(image.disks[n]);
    if (!blocks) return blocks.failure();
    add(disk_space_name(n), 0, image.disks[n].size(), *blocks);
  }
  const std::uint64_t record_at = sizeof(Head), pages_at = whole_pages(record_at + record.data().size());
  const auto bytes = pages_at + count * page_size;
  auto* const mapped = ::ftruncate(file.get(), off_t(bytes)) == 0
                           ? ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, file.get(), 0)
                           : MAP_FAILED;
  if (mapped == MAP_FAILED) return error("cannot make room for a copy of the machine: {}", std::strerror(errno));
  auto writer =
      std::unique_ptr<TransferWriter>(new TransferWriter(std::move(image), static_cast<std::byte*>(mapped), bytes));
  std::ranges::copy(record.data(), writer->data_ + record_at);
  auto& head = *new (writer->data_) Head;
  head.record_at = record_at, head.record_bytes = record.data().size(), head.pages_at = pages_at;
  writer->pages_at_ = pages_at;
  writer->pages_ = std::move(pages);
  return writer;
}

TransferWriter::~TransferWriter() {
  reinterpret_cast<Head*>(data_)->ended.store(1, std::memory_order_release);
  ::munmap(data_, bytes_);
}

/// False where there is no room: more than begin() saw.
bool TransferWriter::put(const std::byte* page) {
  const auto at = pages_at_ + written_ * page_size;
  if (at >= bytes_) return false;
  std::memcpy(data_ + at, page, page_size);
  reinterpret_cast<Head*>(data_)->written.store(++written_, std::memory_order_release);
  return true;
}

void TransferWriter::write_pages() {
  for (const auto page : pages_)
    if (const auto* bytes = image_.memory.page(page); bytes == lost_page || !put(bytes)) return;
  std::vector<std::byte> block(page_size);
  for (const auto& disk : image_.disks) {
    const auto done = disk.for_each_block([&](std::uint64_t, std::span<const std::byte> bytes) -> Result<void> {
      std::ranges::fill(block, std::byte{});
      std::ranges::copy(bytes, block.begin());
      if (put(block.data())) return {};
      return error("a frozen disk has changed");
    });
    if (!done) return;
  }
}

namespace {

std::vector<std::uint32_t> get_numbers(Reader& in) {
  const auto raw = in.blob(most_record);
  std::vector<std::uint32_t> numbers(raw.size() / sizeof(std::uint32_t));
  std::memcpy(numbers.data(), raw.data(), numbers.size() * sizeof(std::uint32_t));
  return numbers;
}

std::string get_text(Reader& in, std::size_t limit) {
  const auto letters = in.blob(limit);
  return {reinterpret_cast<const char*>(letters.data()), letters.size()};
}

/// The next space of the record, whose pages begin with that ordinal, which moves on; null where it makes no sense.
std::optional<KeptSpace> get_space(Reader& in, const std::shared_ptr<Mapping>& file, std::uint64_t pages_at,
                                   std::uint64_t& ordinal) {
  KeptSpace space;
  space.name = get_text(in, longest_name);
  space.base = in.get<std::uint64_t>(), space.bytes = in.get<std::uint64_t>();
  auto numbers = get_numbers(in);
  const auto pages = whole_pages(std::min(space.bytes, most_bytes)) / page_size, count = std::uint64_t(numbers.size());
  const bool sound = in.ok() && space.bytes <= most_bytes &&
                     std::ranges::adjacent_find(numbers, std::greater_equal<>()) == numbers.end() &&
                     (numbers.empty() || numbers.back() < pages) &&
                     ordinal + count <= (file->bytes() - pages_at) / page_size;
  if (!sound) return {};
  space.source = std::make_shared<MappedPages>(file, file->data() + pages_at + ordinal * page_size, ordinal, pages,
                                               std::move(numbers));
  ordinal += count;
  return space;
}

}  // namespace

Result<ReceivedImage> receive_transfer(const FileDescriptor& file) {
  struct stat status{};
  if (::fcntl(file.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0 ||
      ::fstat(file.get(), &status) != 0)
    return error("cannot keep the copy of the machine: {}", std::strerror(errno));
  const auto bytes = std::uint64_t(status.st_size);
  if (bytes < sizeof(Head) || bytes > most_bytes) return unsound();
  auto mapping = Mapping::create(file.get(), bytes, PROT_READ);
  if (!mapping) return error("cannot map the copy of the machine: {}", std::strerror(errno));
  const auto& head = mapping->head();
  const auto record_at = head.record_at, record_bytes = head.record_bytes, pages_at = head.pages_at;
  if (head.magic != Head::right || record_at > bytes || record_bytes > std::min(most_record, bytes - record_at) ||
      pages_at > bytes || pages_at % page_size != 0)
    return unsound();
  // A copy: the sender could change it meanwhile.
  const std::vector<std::byte> record(mapping->data() + record_at, mapping->data() + record_at + record_bytes);
  Reader in(record);
  ReceivedImage image;
  image.description = get_text(in, longest_text);
  image.state = in.blob(most_record);
  image.hot = get_numbers(in);
  for (std::uint64_t ordinal = 0; in.ok() && in.left() > 0;) {
    auto space = get_space(in, mapping, pages_at, ordinal);
    if (!space || image.spaces.size() == most_spaces) return unsound();
    image.spaces.push_back(*std::move(space));
  }
  if (!in.ok()) return unsound();
  return image;
}

Result<void> await_pages(const ReceivedImage& image) {
  for (const auto& space : image.spaces)
    for (auto page = space.source->next(0); page < space.source->pages(); page = space.source->next(page + 1))
      if (!space.source->bring(page)) return Error{space.source->failure()};
  return {};
}

}  // namespace doppel
