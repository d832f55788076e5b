#include "storage/uring_disk.h"

#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstring>
#include <utility>

#include "base/clock.h"
#include "storage/sparse.h"

namespace doppel {
namespace {

constexpr unsigned max_interruptions = 1000;
/// For a disk that was frozen all requests are theirs, and no thread can be started by then.
constexpr unsigned worker_threads = 4;

bool has_operations(io_uring& ring) {
  io_uring_probe* probe = io_uring_get_probe_ring(&ring);
  if (!probe) return false;
  const bool has = std::ranges::all_of(std::initializer_list<int>{IORING_OP_READV, IORING_OP_WRITEV, IORING_OP_FSYNC},
                                       [&](int op) { return io_uring_opcode_supported(probe, op); });
  io_uring_free_probe(probe);
  return has;
}

/// What goes through a ring is not seen by the sandbox's filter, so the ring itself takes nothing but what a disk
/// needs.
bool restrict_and_enable(io_uring& ring) {
  io_uring_restriction allowed[4] = {};
  const unsigned operations[] = {IORING_OP_READV, IORING_OP_WRITEV, IORING_OP_FSYNC};
  for (unsigned i = 0; i < 3; i++) {
    allowed[i].opcode = IORING_RESTRICTION_SQE_OP;
    allowed[i].sqe_op = std::uint8_t(operations[i]);
  }
  allowed[3].opcode = IORING_RESTRICTION_SQE_FLAGS_ALLOWED;
  // Debian 12's liburing declares wrappers for these two and does not export them.
  const auto call = [&](unsigned what, void* argument, unsigned count) {
    return ::syscall(__NR_io_uring_register, ring.ring_fd, what, argument, count) == 0;
  };
  return call(IORING_REGISTER_RESTRICTIONS, allowed, 4) && call(IORING_REGISTER_ENABLE_RINGS, nullptr, 0);
}

/// Takes bytes that are done off the front of pieces; returns how many pieces are done as a whole.
std::size_t skip_bytes(std::span<iovec> pieces, std::size_t bytes) {
  std::size_t whole = 0;
  while (whole < pieces.size() && bytes >= pieces[whole].iov_len) bytes -= pieces[whole++].iov_len;
  if (whole == pieces.size()) return whole;
  pieces[whole].iov_base = static_cast<std::byte*>(pieces[whole].iov_base) + bytes;
  pieces[whole].iov_len -= bytes;
  return whole;
}

}  // namespace

std::unique_ptr<AsyncDisk> UringDisk::make(std::unique_ptr<Disk>& disk, EventLoop& loop) {
  io_uring ring;
  if (io_uring_queue_init(depth, &ring, IORING_SETUP_R_DISABLED) != 0) return nullptr;
  FileDescriptor ready(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!has_operations(ring) || !ready || io_uring_register_eventfd(&ring, ready.get()) != 0 ||
      !restrict_and_enable(ring)) {
    io_uring_queue_exit(&ring);
    return nullptr;
  }
  return std::unique_ptr<AsyncDisk>(new UringDisk(ring, std::move(ready), std::move(disk), loop));
}

UringDisk::UringDisk(io_uring ring, FileDescriptor ready, std::unique_ptr<Disk> disk, EventLoop& loop)
    : ring_(ring), ready_(std::move(ready)), disk_(std::move(disk)), loop_(loop) {
  for (unsigned i = depth; i-- > 0;) free_.push_back(i);
  worker_ = std::make_unique<DiskWorkers>(*disk_, loop_, worker_threads);
  loop_.watch(ready_.get(), EPOLLIN, [this](std::uint32_t) { on_ready(); });
}

UringDisk::~UringDisk() {
  ending_ = true;
  loop_.unwatch(ready_.get());
  if (retry_timer_) loop_.cancel(retry_timer_);
  worker_.reset();
  wait_for_all();  // the memory is the requesters' and goes away after this
  io_uring_queue_exit(&ring_);
}

void UringDisk::wait_for_all() {
  while (!backlog_.empty() || free_.size() < depth) {
    for (const auto& completion : collect()) complete(completion);
    pump();
    if (free_.size() < depth) io_uring_submit_and_wait(&ring_, 1);
  }
}

void UringDisk::drain() {
  worker_->drain();
  wait_for_all();
  if (!finished_.empty()) eventfd_write(ready_.get(), 1);
}

bool UringDisk::direct(const DiskRequest& request) const {
  using Kind = DiskRequest::Kind;
  if (disk_->direct_descriptor() < 0) return false;  // it was frozen: LayeredDisk
  if (request.kind == Kind::flush) return !disk_->read_only();
  if (request.kind != Kind::read && request.kind != Kind::write) return false;
  if (request.kind == Kind::write && (request.offset < 512 || disk_->read_only())) return false;
  // A wrong request gets its error from the worker.
  return size_of(request.pieces) == request.length && check_range(*disk_, request.offset, request.length).ok();
}

void UringDisk::submit(DiskRequest request) {
  if (!direct(request)) return worker_->submit(std::move(request));
  backlog_.push_back(std::move(request));
  pump();
}

void UringDisk::pump() {
  while (!backlog_.empty() && !free_.empty()) {
    const unsigned index = free_.back();
    free_.pop_back();
    slots_[index] = Slot{.request = std::move(backlog_.front()), .busy = true};
    backlog_.pop_front();
    queue(index);
  }
  enter();
}

// The ring has an entry for every slot, and a slot has one at most: there is always one free.
void UringDisk::queue(unsigned index) {
  Slot& slot = slots_[index];
  const DiskRequest& request = slot.request;
  io_uring_sqe* entry = io_uring_get_sqe(&ring_);
  const int fd = disk_->direct_descriptor();
  const std::uint64_t at = request.offset + slot.transferred;
  if (request.kind == DiskRequest::Kind::flush) {
    io_uring_prep_fsync(entry, fd, IORING_FSYNC_DATASYNC);
  } else {
    const auto rest = std::span(request.pieces).subspan(slot.piece);
    const auto count = static_cast<unsigned>(std::min<std::size_t>(rest.size(), IOV_MAX));
    if (request.kind == DiskRequest::Kind::read) io_uring_prep_readv(entry, fd, rest.data(), count, at);
    if (request.kind == DiskRequest::Kind::write) io_uring_prep_writev(entry, fd, rest.data(), count, at);
  }
  io_uring_sqe_set_data64(entry, index);
}

void UringDisk::enter() {
  if (io_uring_sq_ready(&ring_) == 0) return;
  io_uring_submit(&ring_);
  // The kernel was short of memory, or wants completions reaped first: what it did not take stays in the ring.
  if (io_uring_sq_ready(&ring_) == 0 || retry_timer_ || ending_) return;
  retry_timer_ = loop_.at(monotonic_ns() + 1'000'000, [this] {
    retry_timer_ = 0;
    enter();
  });
}

std::vector<UringDisk::Completion> UringDisk::collect() {
  std::vector<Completion> done;
  io_uring_cqe* entry;
  while (io_uring_peek_cqe(&ring_, &entry) == 0) {
    done.push_back({io_uring_cqe_get_data64(entry), entry->res});
    io_uring_cqe_seen(&ring_, entry);
  }
  return done;
}

void UringDisk::on_ready() {
  std::uint64_t drained;
  [[maybe_unused]] auto got = ::read(ready_.get(), &drained, sizeof drained);
  for (const auto& completion : collect()) complete(completion);
  pump();
  deliver();
}

// ECANCELED: the kernel ends the requests of a thread that ends, but they are the machine's and not the thread's.
bool UringDisk::again(Slot& slot, int result) const {
  const bool interrupted = result == -EINTR || result == -EAGAIN || result == -ECANCELED;
  if (interrupted) return ++slot.interruptions < max_interruptions;
  if (slot.request.kind == DiskRequest::Kind::flush || result <= 0) return false;
  slot.transferred += static_cast<unsigned>(result);
  slot.piece += skip_bytes(std::span(slot.request.pieces).subspan(slot.piece), static_cast<unsigned>(result));
  return slot.transferred < slot.request.length;
}

bool UringDisk::succeeded(const Slot& slot, int result) {
  if (slot.request.kind != DiskRequest::Kind::flush) return result >= 0 && slot.transferred == slot.request.length;
  // As in ImageFile::sync(): what the kernel could not write once is lost, whatever the next fdatasync says.
  if (result != 0) sync_failed_ = true;
  return !sync_failed_;
}

void UringDisk::complete(const Completion& completion) {
  Slot& slot = slots_[completion.slot];
  if (again(slot, completion.result)) return queue(static_cast<unsigned>(completion.slot));
  const bool ok = succeeded(slot, completion.result);
  finished_.emplace_back(std::move(slot.request.done), ok);
  slot = {};
  free_.push_back(static_cast<unsigned>(completion.slot));
}

// A `done` may submit more, and may end the disk.
void UringDisk::deliver() {
  const auto guard = std::weak_ptr(alive_);
  for (auto& [done, ok] : std::exchange(finished_, {})) {
    if (done) done(ok);
    if (guard.expired()) return;
  }
}

}  // namespace doppel
