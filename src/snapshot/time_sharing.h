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

#include "memory/shared_pages.h"
#include "snapshot/worker.h"

namespace doppel {

/// Machines of one configuration, each by its number from 0. A machine is given to a worker when its next timer is due,
/// keys wait for it, or its slice of time was over before it waited, and goes on as if it had never stopped. All
/// functions may be called from any thread. While nothing is due, pages that are alike are found and kept once.
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
    std::uint64_t saved_pages = 0;     // that looks for equal pages gave back, all together
    std::size_t shared_pages = 0;      // that are kept for several machines
  };
  Counters counters();

 private:
  struct Member {
    MachineImage image;  // of one that no worker has
    std::optional<std::string> identity;
    std::string keys;
    std::int64_t captured_ns = 0, due_ns = 0;  // of the host's monotonic clock
    std::int64_t looked_ns = 0;                // for equal pages
    bool running = false, ended = false;       // running: somebody has it
    bool changed = false;                      // since it was looked at
  };
  static constexpr std::chrono::milliseconds slice{20};
  // Looks for equal pages take some ten microseconds each: a machine's pages are worth one every so often, and the
  // workers' time no more than a hundredth.
  static constexpr std::int64_t look_again_ns = 5'000'000'000, between_looks_ns = 5'000'000, round_ns = 500'000'000;
  static constexpr std::int64_t late_look_ns = 100'000'000;  // where there is always something due

  explicit TimeSharing(Printed printed) : printed_(std::move(printed)) {}
  void work(Worker& worker);
  Member* next(std::unique_lock<std::mutex>& guard, std::size_t& number);
  void give_turn(Worker& worker, std::size_t number, Member& member);
  void queue(std::size_t number, std::int64_t due_ns);
  bool look_for_equal_pages(std::unique_lock<std::mutex>& guard, std::int64_t now);

  Printed printed_;
  std::mutex lock_;
  std::condition_variable changed_;
  std::vector<std::unique_ptr<Member>> members_;
  std::set<std::pair<std::int64_t, std::size_t>> due_;  // those that no worker has
  Counters counters_;
  SharedPages shared_;
  std::size_t look_next_ = 0;
  std::int64_t next_look_ns_ = 0;
  bool quit_ = false;
  std::vector<std::unique_ptr<Worker>> workers_;
  std::vector<std::thread> threads_;
};

}  // namespace doppel
