#include "snapshot/pack_builder.h"

#include <xxhash.h>

#include <algorithm>
#include <cstring>

#include "snapshot/file_bytes.h"

namespace doppel {

using namespace pack_format;

namespace {

constexpr int level = 3;                  // of zstd: more costs twice as long for four per cent
constexpr std::size_t most_waiting = 16;  // frames; then the caller compresses one too

ZSTD_CCtx* compressor() {
  static thread_local const std::unique_ptr<ZSTD_CCtx, std::size_t (*)(ZSTD_CCtx*)> context(ZSTD_createCCtx(),
                                                                                            ZSTD_freeCCtx);
  return context.get();
}

Header pack_header() {
  Header header{.version = version};
  std::ranges::copy(magic, header.magic.begin());
  return header;
}

}  // namespace

PackBuilder::PackBuilder(int file, std::uint64_t begin, std::string path)
    : file_(file), begin_(begin), path_(std::move(path)) {
  const auto header = pack_header();
  write(std::as_bytes(std::span(&header, 1)));
}

PackBuilder::~PackBuilder() { end_thread(); }

void PackBuilder::end_thread() {
  {
    std::lock_guard guard(lock_);
    ending_ = true;
  }
  wake_.notify_all();
  if (thread_.joinable()) thread_.join();
}

Error PackBuilder::failure() const {
  return error("cannot write {}: {}; the snapshot was not made", path_, std::strerror(problem_));
}

/// Appends; what could not be written is known from then on. While no frame is being written.
bool PackBuilder::write(std::span<const std::byte> bytes) {
  if (!write_at(file_, bytes, begin_ + at_)) problem_ = errno;
  at_ += bytes.size();
  return problem_ == 0;
}

std::unique_ptr<PackBuilder::Frame> PackBuilder::begin_frame() {
  std::lock_guard guard(lock_);
  std::unique_ptr<Frame> frame;
  if (spare_.empty()) {
    frame = std::make_unique<Frame>();
  } else {
    frame = std::move(spare_.back());
    spare_.pop_back();
  }
  frame->pages = 0;
  frame->hashes = {};
  frame->number = std::uint32_t(table_.size());
  table_.emplace_back();
  hashes_.emplace_back();
  return frame;
}

Result<std::uint32_t> PackBuilder::add(std::span<const std::byte, page_size> page, const Sha256& hash, bool hot) {
  auto& frame = open_[hot];
  if (!frame) {
    {
      std::lock_guard guard(lock_);
      if (problem_) return failure();
      if (table_.size() == most_frames) return error("{} would be too large: there is too much memory in use", path_);
    }
    frame = begin_frame();
  }
  pages_++;
  const auto place = frame->pages++;
  const auto at = frame->number * frame_pages + place;
  std::memcpy(frame->bytes.data() + place * page_size, page.data(), page_size);
  frame->hashes[place] = hash;
  if (frame->pages == frame_pages) pass_on(std::move(frame));
  return at;
}

/// To the thread, or if that has enough to do, to nobody else.
void PackBuilder::pass_on(std::unique_ptr<Frame> frame) {
  {
    std::lock_guard guard(lock_);
    if (!thread_.joinable() && frame->pages == frame_pages) thread_ = std::thread([this] { work(); });
    if (thread_.joinable() && waiting_.size() < most_waiting) {
      waiting_.push_back(std::move(frame));
      wake_.notify_one();
      return;
    }
  }
  compress(*frame);
  std::lock_guard guard(lock_);
  spare_.push_back(std::move(frame));
}

void PackBuilder::work() {
  std::unique_lock guard(lock_);
  while (true) {
    wake_.wait(guard, [&] { return ending_ || !waiting_.empty(); });
    if (waiting_.empty()) return;
    auto frame = std::move(waiting_.front());
    waiting_.pop_front();
    guard.unlock();
    compress(*frame);
    guard.lock();
    spare_.push_back(std::move(frame));
  }
}

void PackBuilder::compress(const Frame& frame) {
  std::array<std::byte, most_packed_bytes> packed;
  const auto length =
      ZSTD_compressCCtx(compressor(), packed.data(), packed.size(), frame.bytes.data(), frame.pages * page_size, level);
  const auto hash = sha256({std::as_bytes(std::span(frame.hashes))});
  const auto check = ZSTD_isError(length) ? 0 : XXH3_64bits(packed.data(), length);
  std::unique_lock guard(lock_);
  if (ZSTD_isError(length)) problem_ = ENOMEM;  // the only reason there is, as there is room for any result
  if (problem_) return;
  const auto at = at_;
  at_ += length;
  table_[frame.number] = {
      .at = at, .bytes = std::uint32_t(length), .pages = frame.pages, .check = check, .hashes = hash};
  hashes_[frame.number] = frame.hashes;
  guard.unlock();
  if (write_at(file_, std::span(packed).first(length), begin_ + at)) return;
  const int problem = errno;
  guard.lock();
  problem_ = problem;
}

Result<Sha256> PackBuilder::finish() {
  for (auto& frame : open_)
    if (frame) pass_on(std::move(frame));
  end_thread();
  const auto header = pack_header();
  Footer footer{.frames = table_.size(), .hashes_at = at_};
  std::ranges::copy(end_magic, footer.magic.begin());
  const auto end = std::as_bytes(std::span(&footer, 1)), table = std::as_bytes(std::span(table_));
  if (problem_ || !write(std::as_bytes(std::span(hashes_))) || !write(table) || !write(end)) return failure();
  return sha256({std::as_bytes(std::span(&header, 1)), end, table});
}

}  // namespace doppel
