#include "snapshot/worker.h"

namespace doppel {

Result<std::unique_ptr<Worker>> Worker::create(MachineConfig config, const MachineImage& image) {
  auto worker = std::unique_ptr<Worker>(new Worker);
  auto& w = *worker;
  config.console_output = [&w](std::span<const std::byte> text) { w.print(text); };
  config.ended = [&w](const Result<int>& status) {
    std::lock_guard guard(w.lock_);
    w.status_ = status;
    w.changed_.notify_all();
  };
  config.idle = [&w] {
    std::lock_guard guard(w.lock_);
    w.waits_ = true;
    w.changed_.notify_all();
  };
  config.hosting.running = [&w] {
    std::lock_guard guard(w.lock_);
    w.runs_ = true;
    w.changed_.notify_all();
  };
  config.sandbox = false;  // that is for all of the process's workers together
  auto machine = Machine::create(config, image);
  if (!machine) return machine.failure();
  w.machine_ = *std::move(machine);
  w.machine_->pause();
  return worker;
}

void Worker::start() {
  runner_ = std::thread([this] { static_cast<void>(machine_->run()); });
  std::unique_lock guard(lock_);
  changed_.wait(guard, [&] { return runs_; });
}

Worker::~Worker() {
  if (runner_.joinable()) {
    machine_->power_off();
    runner_.join();
  }
  machine_.reset();  // its threads may call us until it is gone
}

Result<void> Worker::take_over(MachineImage image, const std::optional<std::string>& identity,
                               std::int64_t elapsed_ns) {
  {
    std::lock_guard guard(lock_);
    status_.reset();
    printed_.clear();  // by another machine
  }
  if (auto taken = machine_->take_over(std::move(image), elapsed_ns); !taken) return taken;
  if (identity) machine_->become(*identity);
  return {};
}

/// On a thread of the machine's, under its device lock.
void Worker::print(std::span<const std::byte> text) {
  std::lock_guard guard(lock_);
  printed_.append(reinterpret_cast<const char*>(text.data()), text.size());
  if (printed_.size() > 2 * most_printed) printed_.erase(0, printed_.size() - most_printed);
  if (!enough_ || satisfied_ || !(*enough_)(printed_)) return;
  satisfied_ = true;
  machine_->pause_soon();
  changed_.notify_all();
}

void Worker::begin(const std::function<bool(std::string_view)>* enough) {
  std::lock_guard guard(lock_);
  printed_.clear();
  satisfied_ = waits_ = false;
  enough_ = enough;
}

Worker::Rest Worker::run_until_it_waits(std::chrono::nanoseconds patience) {
  begin(nullptr);
  machine_->resume();
  {
    std::unique_lock guard(lock_);
    changed_.wait_for(guard, patience, [&] { return waits_ || status_; });
  }
  machine_->pause();
  std::lock_guard guard(lock_);
  return status_ ? Rest::ended : waits_ ? Rest::waits : Rest::runs;
}

Worker::Stop Worker::converse(std::string_view keys, const std::function<bool(std::string_view)>& enough,
                              std::chrono::nanoseconds patience) {
  const auto deadline = std::chrono::steady_clock::now() + patience;
  begin(&enough);
  auto left = std::as_bytes(std::span(keys));
  machine_->resume();
  for (bool over = false; !over;) {
    left = left.subspan(machine_->type(left));
    std::unique_lock guard(lock_);
    const auto done = [&] { return satisfied_ || status_; };
    // While the guest has not taken all keys they are offered again from time to time.
    constexpr std::chrono::milliseconds again(5);
    const auto until = left.empty() ? deadline : std::min(deadline, std::chrono::steady_clock::now() + again);
    over = changed_.wait_until(guard, until, done) || std::chrono::steady_clock::now() >= deadline;
  }
  machine_->pause();
  std::lock_guard guard(lock_);
  enough_ = nullptr;
  return satisfied_ ? Stop::enough : status_ ? Stop::ended : Stop::patience;
}

}  // namespace doppel
