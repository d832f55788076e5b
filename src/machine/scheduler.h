#pragma once
// Runs harts on a pool of worker threads: busy ones in parallel, waiting ones nowhere.
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <span>
#include <thread>
#include <vector>

#include "base/archive.h"
#include "guest/riscv64/hart.h"
#include "machine/input.h"

namespace doppel {

/// The harts of one machine and the threads that run them. With a deterministic Input there is one worker, which runs
/// the harts round robin in fixed quanta and moves guest time; otherwise a worker for each hart, up to the host's
/// processors.
class Scheduler {
 public:
  using Hart = riscv64::Hart;
  static constexpr std::int64_t latest_ns = 1LL
                                            << 60;  // what is due later (36 years) never comes; sums do not overflow
  struct Hooks {
    std::function<std::uint64_t(std::uint64_t ticks)> ticks_to_ns;  // guest ticks to Input::now_ns() time
    std::function<void()> between;    // after each run of a hart, without locks; may be empty
    std::function<void()> idle;       // no hart runs or can; without locks; may be empty. Not by the instruction clock
    std::uint64_t quantum = 200'000;  // instructions a run: a millisecond or two
  };
  Scheduler(std::span<const std::unique_ptr<Hart>> harts, Input& input, Hooks hooks);
  ~Scheduler();

  /// Makes the threads; they wait. Once.
  void start_workers();
  /// The hart may run from now on (its state is set), or must not any more once its current run ends.
  void start(Hart& hart);
  void park(Hart& hart);
  /// No worker has the hart and none will take it.
  bool idle(const Hart& hart) const;
  /// Something became pending for a waiting hart. Any thread.
  void wake(Hart& hart);

  /// No hart runs from when halted() is true until resume(). halt() may be called by a running hart.
  void halt();
  void wait_halted();
  void resume();

  /// When the first hart can run, in Input time: 0 where one can, INT64_MAX is never, as far as timers tell.
  std::int64_t next_deadline_ns() const;

  /// Which harts run, and by the instruction clock whose turn it is. Halted.
  void save(Writer& out) const;
  Result<void> restore(Reader& in);

  /// See riscv64::HartEnvironment.
  void exclusive(Hart& hart, const std::function<void()>& action) { stop_others(&slot_of(hart), action); }
  void safepoint();
  /// The same for any thread, also one that holds a lock that harts take by lock().
  void exclusive(const std::function<void()>& action) { stop_others(running_here, action); }
  /// Locks as a running hart does, if this thread runs one: it does not execute while it waits.
  void lock(std::recursive_mutex& mutex);

  /// Guest time of the deterministic clock; called on the worker's thread, by what a hart does or by events.
  std::int64_t deterministic_now_ns() const;
  /// Seconds that the machine's harts spent waiting, all together.
  double seconds_waiting() const;

 private:
  enum class State : std::uint8_t { parked, ready, running, waiting };
  struct Slot {
    Hart* hart = nullptr;
    State state = State::parked;
    bool woken = false, park = false;
    std::int64_t deadline_ns = INT64_MAX;  // waiting: Input time of its timer
    std::int64_t waiting_since = 0;
  };
  void stop_others(const Slot* self, const std::function<void()>& action);
  void work();
  void work_deterministically();
  void unlocked(std::unique_lock<std::mutex>& guard, const std::function<void()>& action);
  void run_slot(std::unique_lock<std::mutex>& guard, Slot& slot, std::uint64_t instructions);
  Slot* next_ready(std::unique_lock<std::mutex>& guard);
  void make_ready(Slot& slot);
  void wake_due();
  std::int64_t earliest_deadline() const;
  bool busy() const;
  Slot& slot_of(const Hart& hart) { return slots_[hart.id()]; }

  static thread_local Slot* running_here;  // whose hart this thread runs
  std::span<const std::unique_ptr<Hart>> harts_;
  Input& input_;
  Hooks hooks_;
  mutable std::mutex lock_;
  std::condition_variable work_, settled_;
  std::vector<Slot> slots_;
  std::deque<Slot*> ready_;
  unsigned running_ = 0;
  bool halted_ = true, quit_ = false;
  bool told_idle_ = false;
  std::atomic<bool> exclusive_ = false;
  std::int64_t waited_ns_ = 0;
  std::vector<std::thread> workers_;

  // Deterministic: guest time when the running hart's quantum began, and its steps then.
  std::int64_t quantum_ns_ = 0;
  std::uint64_t quantum_steps_ = 0;
  std::uint64_t turn_ = 0;              // the hart that comes next if it is ready
  bool events_ran_ = false;             // those that were due at quantum_ns_: once, also if that halted us
  bool between_ = false;                // the worker is at events: it has not halted
  const Hart* quantum_hart_ = nullptr;  // null between quanta
};

}  // namespace doppel
