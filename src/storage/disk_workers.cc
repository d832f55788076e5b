#include "storage/disk_workers.h"

#include <csignal>
#include <system_error>

#include "storage/sparse.h"

namespace doppel {

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

DiskWorkers::DiskWorkers(Disk& disk, EventLoop& loop, unsigned threads) : disk_(disk), loop_(loop) {
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
  }
  wake_.notify_all();
  for (auto& thread : threads_) thread.join();
  finished_->closed = true;
}

void DiskWorkers::submit(DiskRequest request) {
  if (threads_.empty()) {
    finish(request, perform(disk_, request));
    return;
  }
  {
    std::lock_guard guard(lock_);
    queue_.push_back(std::move(request));
  }
  wake_.notify_one();
}

void DiskWorkers::drain() {
  std::unique_lock guard(lock_);
  idle_.wait(guard, [this] { return busy_ == 0 && queue_.empty(); });
}

void DiskWorkers::work() {
  std::unique_lock guard(lock_);
  for (;;) {
    wake_.wait(guard, [this] { return ending_ || !queue_.empty(); });
    if (queue_.empty()) return;
    DiskRequest request = std::move(queue_.front());
    queue_.pop_front();
    busy_++;
    guard.unlock();
    finish(request, perform(disk_, request));
    guard.lock();
    if (--busy_ == 0 && queue_.empty()) idle_.notify_all();
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
