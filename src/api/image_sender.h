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
  /// Whether there is room for one more: each keeps memory, and whoever asked for it waits for the others.
  static constexpr std::size_t most = 16;
  bool full();
  /// All that are there get some of their pages in turn, so that nobody waits for those in front of it. Any thread.
  void send(std::unique_ptr<TransferWriter> writer);

 private:
  void work();

  std::mutex lock_;
  std::condition_variable changed_;
  std::deque<std::unique_ptr<TransferWriter>> waiting_;
  bool writes_ = false;  // for one that is not among them
  bool ending_ = false;
  std::thread thread_;
};

}  // namespace doppel
