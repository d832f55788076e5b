#include "machine/scheduler.h"

#include <pthread.h>

#include <algorithm>
#include <utility>

#include "base/clock.h"

namespace doppel {
namespace {

constexpr std::uint64_t deterministic_quantum = 20'000;  // instructions: 200 microseconds of guest time
constexpr std::int64_t ns_per_step = 10;

}  // namespace

thread_local Scheduler::Slot* Scheduler::running_here = nullptr;

Scheduler::Scheduler(std::span<const std::unique_ptr<Hart>> harts, Input& input, Hooks hooks)
    : harts_(harts), input_(input), hooks_(std::move(hooks)), slots_(harts.size()) {
  for (const auto& hart : harts) slots_[hart->id()].hart = hart.get();
}

Scheduler::~Scheduler() {
  halt();
  {
    std::lock_guard guard(lock_);
    quit_ = true;
  }
  work_.notify_all();
  for (auto& worker : workers_) worker.join();
}

void Scheduler::start_workers() {
  if (input_.deterministic()) {
    workers_.emplace_back([this] { work_deterministically(); });
    return;
  }
  const auto count = std::min<std::size_t>(harts_.size(), std::max(1u, std::thread::hardware_concurrency()));
  for (std::size_t i = 0; i < count; i++) workers_.emplace_back([this] { work(); });
}

void Scheduler::make_ready(Slot& slot) {
  if (slot.state == State::waiting) waited_ns_ += monotonic_ns() - slot.waiting_since;
  slot.state = State::ready;
  slot.woken = false;
  ready_.push_back(&slot);
  work_.notify_one();
}

void Scheduler::start(Hart& hart) {
  std::lock_guard guard(lock_);
  auto& slot = slot_of(hart);
  slot.park = false;
  if (slot.state == State::parked) make_ready(slot);
}

void Scheduler::park(Hart& hart) {
  std::lock_guard guard(lock_);
  auto& slot = slot_of(hart);
  if (slot.state == State::running) {
    slot.park = true;
    hart.stop();
    return;
  }
  std::erase(ready_, &slot);
  slot.state = State::parked;
}

bool Scheduler::idle(const Hart& hart) const {
  std::lock_guard guard(lock_);
  return slots_[hart.id()].state == State::parked;
}

void Scheduler::wake(Hart& hart) {
  std::lock_guard guard(lock_);
  auto& slot = slot_of(hart);
  if (slot.state == State::waiting)
    make_ready(slot);
  else
    slot.woken = true;
}

void Scheduler::halt() {
  std::lock_guard guard(lock_);
  halted_ = true;
  if (input_.deterministic()) return;  // between quanta, or it would not be as if nobody had halted it
  for (auto& slot : slots_)
    if (slot.state == State::running) slot.hart->stop();
}

void Scheduler::wait_halted() {
  std::unique_lock guard(lock_);
  // Not by running_: a hart that lets another's exclusive action go first is not counted there, and comes back.
  settled_.wait(guard, [&] {
    return !between_ && std::ranges::none_of(slots_, [](auto& s) { return s.state == State::running; });
  });
}

void Scheduler::resume() {
  std::lock_guard guard(lock_);
  halted_ = told_idle_ = false;
  work_.notify_all();
}

std::int64_t Scheduler::next_deadline_ns() const {
  std::lock_guard guard(lock_);
  return busy() ? 0 : earliest_deadline();
}

/// Not by running_: a hart that waits for a lock, or lets another's exclusive action go first, is not counted there.
bool Scheduler::busy() const {
  return std::ranges::any_of(
      slots_, [](const Slot& slot) { return slot.state == State::ready || slot.state == State::running; });
}

void Scheduler::save(Writer& out) const {
  std::lock_guard guard(lock_);
  out.put(quantum_ns_);
  out.put(turn_);
  out.put<std::uint64_t>(events_ran_);
  for (const auto& slot : slots_) {
    out.put(std::uint64_t(slot.state));
    out.put<std::uint64_t>(slot.woken);
    out.put(slot.deadline_ns);
  }
}

Result<void> Scheduler::restore(Reader& in) {
  const auto quantum = in.get<std::int64_t>();
  const auto turn = in.get<std::uint64_t>();
  const bool events_ran = in.get<std::uint64_t>() != 0;
  std::lock_guard guard(lock_);
  auto slots = slots_;
  bool sound = quantum >= 0 && quantum <= latest_ns;
  for (auto& slot : slots) {
    slot.state = State(in.get<std::uint64_t>());
    slot.woken = in.get<std::uint64_t>() != 0;
    slot.deadline_ns = in.get<std::int64_t>();
    slot.park = false;
    sound = sound && slot.deadline_ns >= 0 && (slot.deadline_ns <= latest_ns || slot.deadline_ns == INT64_MAX) &&
            (slot.state == State::parked || slot.state == State::ready || slot.state == State::waiting);
  }
  if (!in.ok() || !sound) return error("the saved record of which harts run is damaged");
  ready_.clear();
  const auto now = monotonic_ns();
  for (std::size_t n = 0; n < slots_.size(); n++) {
    slots_[n] = slots[n];
    slots_[n].waiting_since = now;
    if (slots_[n].state == State::ready) ready_.push_back(&slots_[n]);
  }
  quantum_ns_ = quantum;
  turn_ = turn % slots_.size();
  events_ran_ = events_ran;
  return {};
}

void Scheduler::stop_others(const Slot* self, const std::function<void()>& action) {
  std::unique_lock guard(lock_);
  const unsigned own = self ? 1 : 0;
  while (exclusive_) {
    running_ -= own;
    settled_.notify_all();
    settled_.wait(guard, [&] { return !exclusive_; });
    running_ += own;
  }
  exclusive_ = true;
  for (auto& slot : slots_)
    if (slot.state == State::running && &slot != self) slot.hart->ask_attention();
  settled_.wait(guard, [&] { return running_ == own; });
  guard.unlock();
  action();
  guard.lock();
  exclusive_ = false;
  settled_.notify_all();
  work_.notify_all();
}

void Scheduler::lock(std::recursive_mutex& mutex) {
  if (mutex.try_lock()) return;
  auto* slot = running_here;
  if (!slot) return mutex.lock();
  {
    std::lock_guard guard(lock_);
    running_--;
    settled_.notify_all();
  }
  mutex.lock();
  std::unique_lock guard(lock_);
  // Whoever acts now does not need the mutex: it would not have got it.
  settled_.wait(guard, [&] { return !exclusive_; });
  running_++;
}

void Scheduler::safepoint() {
  if (!exclusive_.load(std::memory_order_acquire)) return;
  std::unique_lock guard(lock_);
  if (!exclusive_) return;
  running_--;
  settled_.notify_all();
  settled_.wait(guard, [&] { return !exclusive_; });
  running_++;
}

void Scheduler::run_slot(std::unique_lock<std::mutex>& guard, Slot& slot, std::uint64_t instructions) {
  slot.state = State::running;
  slot.woken = told_idle_ = false;
  running_++;
  guard.unlock();
  running_here = &slot;
  const auto stop = slot.hart->run(instructions);
  if (hooks_.between) hooks_.between();
  running_here = nullptr;
  const auto timer = slot.hart->next_timer();
  guard.lock();
  running_--;
  settled_.notify_all();
  if (std::exchange(slot.park, false)) {
    slot.state = State::parked;
  } else if (stop == Hart::Stop::waiting && !slot.woken) {
    slot.state = State::waiting;
    slot.waiting_since = monotonic_ns();
    slot.deadline_ns = timer == ~0ULL ? INT64_MAX : std::int64_t(hooks_.ticks_to_ns(timer));
    if (!ready_.empty()) work_.notify_one();  // this worker goes on with another hart: somebody else minds the timer
  } else {
    slot.state = State::ready;
    ready_.push_back(&slot);
  }
}

std::int64_t Scheduler::earliest_deadline() const {
  std::int64_t earliest = INT64_MAX;
  for (const auto& slot : slots_)
    if (slot.state == State::waiting) earliest = std::min(earliest, slot.deadline_ns);
  return earliest;
}

void Scheduler::wake_due() {
  const auto now = input_.now_ns();
  for (auto& slot : slots_)
    if (slot.state == State::waiting && slot.deadline_ns <= now) make_ready(slot);
}

Scheduler::Slot* Scheduler::next_ready(std::unique_lock<std::mutex>& guard) {
  while (!quit_) {
    if (!halted_) wake_due();  // who has halted us may be giving us another time, and other harts
    if (!halted_ && !exclusive_ && !ready_.empty()) {
      auto* slot = ready_.front();
      ready_.pop_front();
      return slot;
    }
    if (hooks_.idle && !halted_ && !busy() && !std::exchange(told_idle_, true)) {
      guard.unlock();
      hooks_.idle();
      guard.lock();
      continue;
    }
    const auto deadline = halted_ ? INT64_MAX : earliest_deadline();
    if (deadline == INT64_MAX)
      work_.wait(guard);
    else
      work_.wait_for(guard, std::chrono::nanoseconds(std::max<std::int64_t>(0, deadline - input_.now_ns())));
  }
  return nullptr;
}

void Scheduler::work() {
  pthread_setname_np(pthread_self(), "hart");
  std::unique_lock guard(lock_);
  while (auto* slot = next_ready(guard)) run_slot(guard, *slot, hooks_.quantum);
}

/// What the deterministic worker does without the lock. Who waits for it to halt would else find some of it done.
void Scheduler::unlocked(std::unique_lock<std::mutex>& guard, const std::function<void()>& action) {
  between_ = true;
  guard.unlock();
  action();
  guard.lock();
  between_ = false;
  settled_.notify_all();
}

void Scheduler::work_deterministically() {
  pthread_setname_np(pthread_self(), "harts");
  std::unique_lock guard(lock_);
  while (!quit_) {
    if (halted_ || exclusive_) {
      work_.wait(guard);
      continue;
    }
    if (!std::exchange(events_ran_, true)) {
      unlocked(guard, [this] { input_.advance_to(quantum_ns_); });  // events may wake harts, or halt
      if (halted_ || exclusive_) continue;
    }
    wake_due();
    // Round robin by number, whatever order they became ready in.
    Slot* slot = nullptr;
    for (std::size_t i = 0; i < slots_.size() && !slot; i++) {
      auto& candidate = slots_[(turn_ + i) % slots_.size()];
      if (candidate.state == State::ready) slot = &candidate;
    }
    ready_.clear();
    if (slot) {
      turn_ = (slot->hart->id() + 1) % slots_.size();
      quantum_hart_ = slot->hart;
      quantum_steps_ = slot->hart->steps();
      run_slot(guard, *slot, deterministic_quantum);
      quantum_hart_ = nullptr;
      quantum_ns_ += std::int64_t(slot->hart->steps() - quantum_steps_) * ns_per_step;
      events_ran_ = false;
      continue;
    }
    std::int64_t event = 0;
    unlocked(guard, [&] { event = input_.next_event_ns(); });
    if (halted_) continue;
    events_ran_ = false;
    const auto next = std::min(event, earliest_deadline());
    if (next != INT64_MAX)
      quantum_ns_ = std::max(quantum_ns_, next);  // nobody computes: time jumps to when something happens
    else if (ready_.empty() && !halted_ && !quit_)
      work_.wait_for(guard, std::chrono::milliseconds(20));  // only the outside can go on; it does not notify us
  }
}

std::int64_t Scheduler::deterministic_now_ns() const {
  return quantum_ns_ + (quantum_hart_ ? std::int64_t(quantum_hart_->steps() - quantum_steps_) * ns_per_step : 0);
}

double Scheduler::seconds_waiting() const {
  std::lock_guard guard(lock_);
  auto ns = waited_ns_;
  const auto now = monotonic_ns();
  for (const auto& slot : slots_)
    if (slot.state == State::waiting) ns += now - slot.waiting_since;
  return double(ns) / 1e9;
}

}  // namespace doppel
