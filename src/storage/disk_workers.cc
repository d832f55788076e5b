#include "storage/disk_workers.h"

#include <sys/resource.h>

#include <algorithm>
#include <csignal>
#include <system_error>

#include "storage/sparse.h"

namespace doppel {
namespace {

/// Requests in a row that did not wait for the host's disk, after which the next ones are not expected to.
constexpr unsigned many = 64;

/// What this thread has had the host read from disks.
long blocks_read() {
  rusage usage{};
  getrusage(RUSAGE_THREAD, &usage);
  return usage.ru_inblock;
}

unsigned processors() { return std::max(2u, std::thread::hardware_concurrency()); }

}  // namespace

bool perform(Disk& disk, const DiskRequest& request) {
  using Kind = DiskRequest::Kind;
  if (request.kind == Kind::flush) return disk.flush().ok();
  if (!check_range(disk, request.offset, request.length)) return false;
  const bool transfers = request.kind == Kind::read || request.kind == Kind::write;
  if (transfers && size_of(request.pieces) != request.length) return false;
  switch (request.kind) {
    case Kind::read:
      return disk.readv(request.offset, request.pieces).ok();
    case Kind::write:
      return disk.writev(request.offset, request.pieces).ok();
    case Kind::discard:
      return disk.discard(request.offset, request.length).ok();
    case Kind::write_zeroes:
      return disk.write_zeroes(request.offset, request.length, request.may_unmap).ok();
    case Kind::flush:
      break;
  }
  return false;
}

DiskWorkers::DiskWorkers(Disk& disk, EventLoop& loop, unsigned threads)
    : disk_(disk), loop_(loop), limit_(processors()) {
  // The process's signals are for its main thread.
  sigset_t all, old;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &old);
  try {
    while (threads_.size() < threads) threads_.emplace_back([this] { work(); });
  } catch (const std::system_error&) {
    // The host allows no more threads: fewer do, and without any the requests run in submit().
  }
  pthread_sigmask(SIG_SETMASK, &old, nullptr);
  for (auto& thread : threads_) pthread_setname_np(thread.native_handle(), "disk");
}

DiskWorkers::~DiskWorkers() {
  {
    std::lock_guard guard(lock_);
    ending_ = true;
    limit_ = unsigned(threads_.size());
    wake(threads_.size());
  }
  for (auto& thread : threads_) thread.join();
  finished_->closed = true;
}

void DiskWorkers::submit(DiskRequest request) {
  if (threads_.empty()) {
    finish(request, perform(disk_, request));
    return;
  }
  std::lock_guard guard(lock_);
  queue_.push_back(std::move(request));
  wake(1);
}

void DiskWorkers::drain() {
  std::unique_lock guard(lock_);
  idle_.wait(guard, [this] { return busy_ == 0 && queue_.empty(); });
}

/// Has up to so many more threads work. Only as many wake as may: the others would only be in the way; and the one that
/// fell asleep last, whose processor knows it best.
void DiskWorkers::wake(std::size_t most) {
  for (; most > 0 && !asleep_.empty() && threads_.size() - asleep_.size() < limit_; most--) {
    auto* sleeper = asleep_.back();
    asleep_.pop_back();
    sleeper->called = true;
    sleeper->wake.notify_one();
  }
}

void DiskWorkers::work() {
  Sleeper self;
  std::unique_lock guard(lock_);
  while (true) {
    while (!queue_.empty() && (busy_ < limit_ || ending_)) do_next(guard);
    if (ending_) return;
    asleep_.push_back(&self);
    self.called = false;
    self.wake.wait(guard, [&] { return self.called; });
  }
}

void DiskWorkers::do_next(std::unique_lock<std::mutex>& guard) {
  DiskRequest request = std::move(queue_.front());
  queue_.pop_front();
  busy_++;
  guard.unlock();
  const auto before = blocks_read();
  const bool ok = perform(disk_, request);
  const bool waited = blocks_read() != before;
  finish(request, ok);
  guard.lock();
  adapt(waited);
  if (--busy_ == 0 && queue_.empty()) idle_.notify_all();
}

void DiskWorkers::adapt(bool waited) {
  unwaited_ = waited ? 0 : unwaited_ + 1;
  if (unwaited_ >= many) {
    limit_ = processors();
  } else if (waited && limit_ < threads_.size()) {
    limit_ = unsigned(threads_.size());
    wake(queue_.size());
  }
}

void DiskWorkers::finish(DiskRequest& request, bool ok) {
  bool first;
  {
    std::lock_guard guard(finished_->lock);
    first = finished_->results.empty();
    finished_->results.emplace_back(std::move(request.done), ok);
  }
  // One wake-up for all that finish before the loop comes to it.
  if (first) loop_.post([finished = finished_] { finished->deliver(); });
}

void DiskWorkers::Finished::deliver() {
  std::vector<std::pair<std::function<void(bool)>, bool>> ready;
  {
    std::lock_guard guard(lock);
    ready.swap(results);
  }
  for (auto& [done, ok] : ready) {
    if (closed) return;  // a `done` before it may have ended the disk
    if (done) done(ok);
  }
}

}  // namespace doppel
