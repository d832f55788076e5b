#pragma once
// Runs machines, one after another, each where an image left off.
#include <chrono>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <thread>

#include "machine/machine.h"

namespace doppel {

/// What a machine that stands still does not need: threads, mappings, an engine and its code. Many machines share a
/// worker, one at a time; between two calls of converse() the one that it has stands still. For one thread.
class Worker {
 public:
  static constexpr std::size_t most_printed = 1 << 20;  // bytes of what a guest prints that are kept: the last

  /// A worker for images like this one, which was captured of a machine with this configuration. The console and what
  /// happens at the guest's end are the worker's. It opens all files that it will need.
  static Result<std::unique_ptr<Worker>> create(MachineConfig config, const MachineImage& image);
  /// Starts its threads; comes back when there will be no more of them. Once, before everything else.
  void start();
  ~Worker();
  Worker(const Worker&) = delete;

  /// Goes on as what was captured; what ran before is gone. With an identity it is a copy of that machine, which is to
  /// know that it is another (Machine::become()), without one that machine itself.
  Result<void> take_over(MachineImage image, const std::optional<std::string>& identity = {},
                         std::int64_t elapsed_ns = 0);
  Result<MachineImage> capture() { return machine_->capture(); }

  enum class Stop : std::uint8_t { enough, ended, patience };
  /// Types on the guest's console and lets it run until `enough` says so of all that it printed since (called on a
  /// thread of the machine's, each time there is more), the guest ended or time is over.
  Stop converse(std::string_view keys, const std::function<bool(std::string_view printed)>& enough,
                std::chrono::nanoseconds patience);
  /// Lets the guest run until all its harts wait, it ended or time is over.
  enum class Rest : std::uint8_t { waits, ended, runs };
  Rest run_until_it_waits(std::chrono::nanoseconds patience);
  /// What the guest printed during the last of these.
  const std::string& printed() const { return printed_; }
  /// The guest's exit status after Stop::ended, or why it could not go on.
  const Result<int>& status() const { return *status_; }
  Machine& machine() { return *machine_; }

 private:
  Worker() = default;
  void begin(const std::function<bool(std::string_view)>* enough);
  void print(std::span<const std::byte> text);

  std::unique_ptr<Machine> machine_;
  std::thread runner_;
  std::mutex lock_;
  std::condition_variable changed_;
  std::string printed_;
  const std::function<bool(std::string_view)>* enough_ = nullptr;  // while a conversation goes on
  bool runs_ = false, satisfied_ = false, waits_ = false;
  std::optional<Result<int>> status_;
};

}  // namespace doppel
