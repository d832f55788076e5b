#pragma once
// Writes captured machines to those who asked for them, while the machine runs on.
#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <thread>

#include "snapshot/transfer.h"

namespace doppel {

class ImageSender {
 public:
  ImageSender() = default;
  ImageSender(const ImageSender&) = delete;
  /// Whatever was begun is sent first.
  ~ImageSender();
  /// Its thread begins, named "sender"; once.
  void start();
  /// Any thread.
  void send(std::unique_ptr<TransferWriter> writer);

 private:
  void work();

  std::mutex lock_;
  std::condition_variable changed_;
  std::deque<std::unique_ptr<TransferWriter>> waiting_;
  bool ending_ = false;
  std::thread thread_;
};

}  // namespace doppel
