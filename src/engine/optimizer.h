#pragma once
// The way to the process that compiles hot regions.
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "base/file_descriptor.h"
#include "base/result.h"
#include "engine/region_queue.h"

namespace doppel {

class Optimizer final : public RegionQueue {
 public:
  using Receiver = RegionReceiver;
  /// Starts the process; what it makes is given to `receiver` on a thread of its own. Before the sandbox. Fails with a
  /// sentence where the program is not there.
  static Result<std::unique_ptr<Optimizer>> start(Receiver receiver);
  ~Optimizer() override;
  Optimizer(const Optimizer&) = delete;

  bool submit(const RegionRequest& request) override;

 private:
  static constexpr std::size_t longest_queue = 32;
  Optimizer(FileDescriptor to, FileDescriptor from, Receiver receiver);
  void work();
  bool read_all(void* to, std::size_t size);

  FileDescriptor to_, from_, stop_;
  Receiver receiver_;
  std::mutex lock_;
  std::condition_variable wake_;
  std::vector<std::vector<std::byte>> queue_;
  bool quit_ = false;
  std::thread thread_;
};

}  // namespace doppel
