#include "api/image_sender.h"

#include <pthread.h>

namespace doppel {
namespace {

constexpr std::uint64_t turn_pages = 4096;  // some milliseconds

}  // namespace

ImageSender::~ImageSender() {
  {
    std::lock_guard guard(lock_);
    ending_ = true;
  }
  changed_.notify_all();
  if (thread_.joinable()) thread_.join();
}

void ImageSender::start() {
  thread_ = std::thread([this] { work(); });
}

bool ImageSender::full() {
  std::lock_guard guard(lock_);
  return waiting_.size() + writes_ >= most;
}

void ImageSender::send(std::unique_ptr<TransferWriter> writer) {
  std::lock_guard guard(lock_);
  waiting_.push_back(std::move(writer));
  changed_.notify_all();
}

void ImageSender::work() {
  ::pthread_setname_np(::pthread_self(), "sender");
  std::unique_lock guard(lock_);
  while (true) {
    changed_.wait(guard, [&] { return ending_ || !waiting_.empty(); });
    if (waiting_.empty()) return;
    auto writer = std::move(waiting_.front());
    waiting_.pop_front();
    writes_ = true;
    guard.unlock();
    if (!writer->write_pages(turn_pages)) writer.reset();
    guard.lock();
    writes_ = false;
    if (writer) waiting_.push_back(std::move(writer));
  }
}

}  // namespace doppel
