// The end of a transfer that receives: it trusts nothing that is in the file.
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <functional>
#include <mutex>
#include <optional>
#include <thread>

#include "base/archive.h"
#include "base/clock.h"
#include "snapshot/transfer.h"
#include "snapshot/transfer_format.h"

namespace doppel {
namespace {

constexpr std::int64_t slowest_page_ns = 100'000;  // on average

/// A file that is mapped, shared by all that lies in it.
class Mapping {
 public:
  static std::shared_ptr<Mapping> create(int file, std::uint64_t bytes, std::chrono::nanoseconds patience) {
    auto* data = ::mmap(nullptr, bytes, PROT_READ, MAP_SHARED, file, 0);
    if (data == MAP_FAILED) return nullptr;
    return std::shared_ptr<Mapping>(new Mapping(static_cast<std::byte*>(data), bytes, patience.count()));
  }
  ~Mapping() { ::munmap(data_, bytes_); }
  Mapping(const Mapping&) = delete;
  const std::byte* data() const { return data_; }
  std::uint64_t bytes() const { return bytes_; }
  std::int64_t patience_ns() const { return patience_ns_; }  // without progress
  const TransferHead& head() const { return *reinterpret_cast<const TransferHead*>(data_); }

 private:
  Mapping(std::byte* data, std::uint64_t bytes, std::int64_t patience_ns)
      : data_(data), bytes_(bytes), patience_ns_(patience_ns) {}
  std::byte* data_;
  std::uint64_t bytes_;
  std::int64_t patience_ns_;
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
  /// Waits for the last of them, behind which all of them are there, and those of the spaces before.
  Result<void> await_all() {
    if (numbers_.empty() || await(ordinal_ + numbers_.size() - 1)) return {};
    return Error{failure()};
  }
  std::string failure() const override {
    return given_up_ ? "the machine that this one is a copy of has ended before all of it was copied" : "";
  }

 private:
  bool await(std::uint64_t ordinal) {
    const auto& head = file_->head();
    const auto begin = monotonic_ns(), patience_ns = file_->patience_ns();
    const auto longest = patience_ns + std::int64_t(ordinal) * slowest_page_ns;
    auto most = head.written.load(std::memory_order_acquire);  // what a hostile one takes back is no progress when it
    for (auto since = begin; most <= ordinal;) {               // comes again
      const bool ended = head.ended.load(std::memory_order_acquire);
      const auto now = head.written.load(std::memory_order_acquire);
      const auto time = monotonic_ns();
      // Whoever has given up once does so at once: a machine that looks at a thousand pages shall not wait a thousand
      // times.
      if (now <= most && (ended || given_up_ || time - since > patience_ns)) return give_up();
      if (time - begin > longest) return give_up();
      if (now > most) most = now, since = time;
      if (most <= ordinal) std::this_thread::sleep_for(std::chrono::microseconds(50));
    }
    return true;
  }
  bool give_up() {
    given_up_ = true;
    return false;
  }

  std::shared_ptr<Mapping> file_;
  const std::byte* first_;
  std::uint64_t ordinal_, pages_;
  std::vector<std::uint32_t> numbers_;
  std::atomic<bool> given_up_ = false;
};

Error unsound() { return error("the machine's process gives a copy that makes no sense"); }

std::optional<std::vector<std::uint32_t>> get_numbers(Reader& in) {
  const auto raw = in.blob(TransferLimits::record);
  if (!in.ok() || raw.size() % sizeof(std::uint32_t) != 0) return {};
  std::vector<std::uint32_t> numbers(raw.size() / sizeof(std::uint32_t));
  if (!raw.empty()) std::memcpy(numbers.data(), raw.data(), raw.size());
  return numbers;
}

std::string get_text(Reader& in, std::size_t limit) {
  const auto letters = in.blob(limit);
  return {reinterpret_cast<const char*>(letters.data()), letters.size()};
}

/// The next space of the record, whose pages begin with that ordinal, which moves on; null where it makes no sense.
std::optional<KeptSpace> get_space(Reader& in, const std::shared_ptr<Mapping>& file, std::uint64_t pages_at,
                                   std::uint64_t& ordinal, std::shared_ptr<MappedPages>& last) {
  KeptSpace space;
  space.name = get_text(in, TransferLimits::name);
  space.base = in.get<std::uint64_t>(), space.bytes = in.get<std::uint64_t>();
  auto numbers = get_numbers(in);
  if (!numbers || space.bytes > TransferLimits::bytes) return {};
  const auto pages = whole_pages(space.bytes) / page_size, count = std::uint64_t(numbers->size());
  const bool sound = std::ranges::adjacent_find(*numbers, std::greater_equal<>()) == numbers->end() &&
                     (numbers->empty() || numbers->back() < pages) &&
                     ordinal + count <= (file->bytes() - pages_at) / page_size;
  if (!sound) return {};
  auto source = std::make_shared<MappedPages>(file, file->data() + pages_at + ordinal * page_size, ordinal, pages,
                                              *std::move(numbers));
  if (count > 0) last = source;
  space.source = std::move(source);
  ordinal += count;
  return space;
}

std::optional<ReceivedImage> get_image(Reader& in, const std::shared_ptr<Mapping>& file, std::uint64_t pages_at) {
  ReceivedImage image;
  image.description = get_text(in, TransferLimits::text);
  image.state = in.blob(TransferLimits::record);
  auto hot = get_numbers(in);
  if (!hot) return {};
  image.hot = *std::move(hot);
  std::shared_ptr<MappedPages> last;
  for (std::uint64_t ordinal = 0; in.left() > 0;) {
    if (image.spaces.size() == TransferLimits::spaces) return {};
    auto space = get_space(in, file, pages_at, ordinal, last);
    if (!space || std::ranges::find(image.spaces, space->name, &KeptSpace::name) != image.spaces.end()) return {};
    image.spaces.push_back(*std::move(space));
  }
  if (last) image.await = [last] { return last->await_all(); };
  const auto memory = std::ranges::find(image.spaces, "memory", &KeptSpace::name);
  const auto pages = memory == image.spaces.end() ? 0 : memory->source->pages();
  if (!in.ok() || std::ranges::any_of(image.hot, [&](std::uint32_t page) { return page >= pages; })) return {};
  return image;
}

}  // namespace

Result<ReceivedImage> receive_transfer(const FileDescriptor& file, std::chrono::milliseconds patience) {
  struct stat status{};
  if (::fcntl(file.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0 ||
      ::fstat(file.get(), &status) != 0)
    return error("cannot keep the copy of the machine: {}", std::strerror(errno));
  const auto bytes = std::uint64_t(status.st_size);
  if (bytes < sizeof(TransferHead) || bytes > TransferLimits::bytes) return unsound();
  auto mapping = Mapping::create(file.get(), bytes, patience);
  if (!mapping) return error("cannot map the copy of the machine: {}", std::strerror(errno));
  const auto& head = mapping->head();
  // Once each, and the record as a copy: the sender could change them meanwhile.
  const auto once = [](const std::uint64_t& field) { return *const_cast<const volatile std::uint64_t*>(&field); };
  const auto record_at = once(head.record_at), record_bytes = once(head.record_bytes), pages_at = once(head.pages_at);
  if (once(head.magic) != TransferHead::right || record_at < sizeof(TransferHead) || record_at > bytes ||
      record_bytes > std::min(TransferLimits::record, bytes - record_at) || pages_at > bytes ||
      pages_at < record_at + record_bytes || pages_at % page_size != 0)
    return unsound();
  const std::vector<std::byte> record(mapping->data() + record_at, mapping->data() + record_at + record_bytes);
  Reader in(record);
  auto image = get_image(in, mapping, pages_at);
  if (!image) return unsound();
  return *std::move(image);
}

}  // namespace doppel
