#pragma once
// Many machines that run at once on a few workers: one that waits costs what it wrote, and no thread.
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "snapshot/worker.h"

namespace doppel {

/// Machines of one configuration, each by its number from 0. A machine is given to a worker when its next timer is due,
/// keys wait for it, or its slice of time was over before it waited, and goes on as if it had never stopped. All
/// functions may be called from any thread.
class TimeSharing {
 public:
  /// Of one machine: what it printed. On a worker's thread, one call at a time for a machine; it may call type().
  using Printed = std::function<void(std::size_t machine, std::string_view text)>;

  /// `workers` of at least 1 for machines like the image; see Worker::create().
  static Result<std::unique_ptr<TimeSharing>> create(const MachineConfig& config, const MachineImage& image,
                                                     unsigned workers, Printed printed);
  ~TimeSharing();
  TimeSharing(const TimeSharing&) = delete;

  /// Adds a copy of what was captured, which runs from now on; its number.
  std::size_t add(MachineImage image, std::string identity);
  void type(std::size_t machine, std::string_view keys);

  struct Counters {
    std::size_t machines = 0, ended = 0;
    std::uint64_t turns = 0;           // of machines on workers
    std::int64_t latest_ns = 0;        // how late the latest turn began, since the last call of counters()
    std::uint64_t private_states = 0;  // bytes of the machines' records of devices and harts
  };
  Counters counters();

 private:
  struct Member {
    MachineImage image;  // of one that no worker has
    std::optional<std::string> identity;
    std::string keys;
    std::int64_t captured_ns = 0, due_ns = 0;  // of the host's monotonic clock
    bool running = false, ended = false;
  };
  static constexpr std::chrono::milliseconds slice{20};

  explicit TimeSharing(Printed printed) : printed_(std::move(printed)) {}
  void work(Worker& worker);
  Member* next(std::unique_lock<std::mutex>& guard, std::size_t& number);
  void give_turn(Worker& worker, std::size_t number, Member& member);
  void queue(std::size_t number, std::int64_t due_ns);

  Printed printed_;
  std::mutex lock_;
  std::condition_variable changed_;
  std::vector<std::unique_ptr<Member>> members_;
  std::set<std::pair<std::int64_t, std::size_t>> due_;  // those that no worker has
  Counters counters_;
  bool quit_ = false;
  std::vector<std::unique_ptr<Worker>> workers_;
  std::vector<std::thread> threads_;
};

}  // namespace doppel
