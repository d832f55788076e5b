#include "api/image_sender.h"

#include <pthread.h>

namespace doppel {

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
    const auto writer = std::move(waiting_.front());
    waiting_.pop_front();
    guard.unlock();
    writer->write_pages();
    guard.lock();
  }
}

}  // namespace doppel
