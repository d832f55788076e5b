// A computer while it runs: time, interrupts, keys, and how it ends.
#include <unistd.h>
#include <x86intrin.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "base/clock.h"
#include "machine/byte_size.h"
#include "machine/computer.h"
#include "machine/memory_map.h"
#include "machine/sandbox.h"

namespace doppel {
namespace {

constexpr std::uint64_t ns_per_tick = 1'000'000'000 / timebase_frequency;

}  // namespace

Computer::~Computer() {
  if (scheduler_) {
    scheduler_->halt();
    scheduler_->wait_halted();
  }
  if (io_thread_.joinable()) {  // events may wake harts, so it ends before the scheduler does
    loop_->stop();
    io_thread_.join();
  }
  scheduler_.reset();
  if (started_ns_ == 0)  // it never ran
    for (const auto& path : new_overlays_) ::unlink(path.c_str());
}

std::uint64_t Computer::ticks() {
  if (ir::TimeFormula time; host_clock_ && host_clock_->formula(__rdtsc(), time))
    return time.ticks(__rdtsc()) + ticks_ahead();
  const auto now = input_->deterministic() ? scheduler_->deterministic_now_ns() : input_->now_ns();
  return std::uint64_t(now) / ns_per_tick + time_offset_.load(std::memory_order_relaxed);
}

/// A hart's time must not go back, neither where the formula becomes another, nor where it comes to a processor.
void Computer::tell_time(ir::TimeFormula& time) {
  const auto counter = __rdtsc();
  ir::TimeFormula now;
  if (!host_clock_ || !host_clock_->formula(counter, now)) {
    time.enabled = 0;
    return;
  }
  now.offset = ticks_ahead();
  if (time.enabled && time.offset == now.offset) {
    if (time.origin == now.origin) return;
    if (const auto before = time.units(counter), after = now.units(counter); before > after) now.base += before - after;
  }
  time = now;
}

void Computer::set_offset(std::uint64_t offset) {
  time_offset_ = offset;
  tell_offset();
}

std::uint64_t Computer::ticks_ahead() const {
  return time_offset_.load(std::memory_order_relaxed) - std::uint64_t(input_->start_ns()) / ns_per_tick;
}

void Computer::tell_offset() {
  for (const auto& hart : harts_) __atomic_store_n(&hart->execution().time.offset, ticks_ahead(), __ATOMIC_RELAXED);
}

void Computer::set_level(unsigned source, bool level) {
  if (source >= 2 * max_harts) return harts_[source - 2 * max_harts]->set_interrupt(riscv64::interrupt::msi, level);
  harts_[source / 2]->set_interrupt(source % 2 == 0 ? riscv64::interrupt::mei : riscv64::interrupt::sei, level);
}

std::size_t Computer::output(std::span<const std::byte> data) {
  hvc_in_use_ = true;
  print_to_console(data);
  return data.size();
}

void Computer::set_mac(const MacAddress& mac) {
  std::lock_guard guard(lock_);
  if (card_) card_->set_mac(mac);
}

std::size_t Computer::type(std::span<const std::byte> keys) {
  std::lock_guard guard(lock_);
  return typed(keys);
}

void Computer::resize_console(std::uint16_t columns, std::uint16_t rows) {
  std::lock_guard guard(lock_);
  input_->deliver([this, columns, rows] { virtio_console_->resize(columns, rows); });
}

Result<void> Computer::set_memory_target(std::uint64_t bytes) {
  std::lock_guard guard(lock_);
  if (!balloon_) return error("the machine has no memory balloon");
  if (bytes > config_.memory) return error("the machine has {} of memory", byte_size_text(config_.memory));
  const auto pages = std::uint32_t((config_.memory - bytes) >> page_shift);
  input_->deliver([this, pages] { balloon_->set_target(pages); });
  return {};
}

std::size_t Computer::typed(std::span<const std::byte> keys) {
  const auto taken = std::min(keys.size(), max_typed - std::min(max_typed, typed_.size()));
  typed_.insert(typed_.end(), keys.begin(), keys.begin() + std::ptrdiff_t(taken));
  if (taken > 0) input_->deliver([this] { pump_typed(); });
  return taken;
}

/// Hands keys to the device that the guest reads, as many as it takes.
void Computer::pump_typed() {
  bool moved = false;
  while (!typed_.empty()) {
    const auto key = typed_.front();
    const std::span one(&key, 1);
    if (htif_)
      htif_->type(key);
    else if (!(hvc_in_use_ ? virtio_console_->input(0, one) : uart_->receive(one)))
      break;
    typed_.pop_front();
    moved = true;
  }
  if (moved) console_->input_room();
}

std::size_t Computer::read_typed(std::span<std::byte> out) {
  std::lock_guard guard(hart_lock_);
  const auto count = std::min(out.size(), typed_.size());
  std::copy_n(typed_.begin(), count, out.begin());
  typed_.erase(typed_.begin(), typed_.begin() + std::ptrdiff_t(count));
  if (count > 0) console_->input_room();
  return count;
}

void Computer::poll_htif() {
  std::lock_guard guard(hart_lock_);
  if (!htif_) return;
  if (const auto code = htif_->poll(*memory_)) finish({End::Kind::off, int(std::min<std::uint64_t>(*code, 255))});
}

void Computer::finish(End end) {
  bool off = false;
  Result<int> status = end.status;
  {
    std::lock_guard guard(end_lock_);
    // One that goes off while it waits for its reboot ends all the same.
    off = end.kind == End::Kind::off && (!end_ || end_->kind == End::Kind::reboot);
    if (!end_ || end.kind == End::Kind::off) end_ = end;
    if (lost_) status = Error{loss_};
  }
  scheduler_->halt();
  ended_.notify_all();
  if (off && config_.ended) config_.ended(status);
}

/// A page that the guest wanted cannot be had: it must not go on, and nothing that it does until it has stopped counts.
void Computer::lose(const std::string& sentence) {
  {
    std::lock_guard guard(end_lock_);
    loss_ = sentence;
    lost_ = true;
  }
  finish({End::Kind::off, 2});
}

void Computer::power_off() {
  {
    std::lock_guard guard(end_lock_);
    powered_off_ = true;
    if (!end_) end_ = End{End::Kind::off, 0};
  }
  scheduler_->halt();
  ended_.notify_all();
}

/// Waits until something is to be done about the guest's end; whether it is over.
bool Computer::await_end() {
  std::unique_lock guard(end_lock_);
  ended_.wait(guard, [&] { return powered_off_ || (end_ && (end_->kind == End::Kind::reboot || !config_.ended)); });
  return powered_off_ || !end_ || end_->kind == End::Kind::off;
}

/// Harts run, unless they are paused, or who waits for their end is about to reset them. Under end_lock_.
void Computer::go_on() {
  if (started_ && !paused_ && !end_) scheduler_->resume();
}

/// pause() waits for it, so that nobody captures what is about to be reset, or has something else reset by it.
Result<void> Computer::reboot() {
  scheduler_->wait_halted();
  auto again = reset();
  std::lock_guard guard(end_lock_);
  if (powered_off_ || !end_ || end_->kind == End::Kind::off) return {};
  end_.reset();
  ended_.notify_all();
  if (again) go_on();
  return again;
}

/// Waits for the guest's end, rebooting as often as it asks to; the exit status.
Result<int> Computer::serve_ends() {
  while (!await_end())
    if (auto again = reboot(); !again) {
      if (!config_.ended) return again.failure();
      config_.ended(again.failure());
    }
  std::lock_guard guard(end_lock_);
  if (lost_) return Error{loss_};
  return end_ ? end_->status : 0;
}

Result<MachineOutcome> Computer::run() {
  const SandboxOptions confinement{
      .network = config_.network == NetworkKind::user,
      .io_uring = !config_.disks.empty(),
      .control_socket = config_.hosting.serves_socket,
      .socket_directory = console_->socket_directory(),
      .readable = files_loaded_ ? std::vector<std::string>()
                                : std::vector{config_.kernel, config_.initrd, config_.firmware, config_.dtb}};
  // Before the threads that serve the guest exist, since each inherits it.
  if (config_.sandbox)
    if (auto files = restrict_files(confinement); !files) return files.failure();
  io_thread_ = std::thread([this] {
    pthread_setname_np(pthread_self(), "io");
    loop_->run();
  });
  scheduler_->start_workers();
  if (engine_) engine_->start_store();
  {
    std::lock_guard guard(lock_);
    console_->start();
  }
  if (config_.hosting.start_threads) config_.hosting.start_threads();
  if (config_.sandbox)
    if (auto inside = enter_sandbox(confinement); !inside) return inside.failure();
  started_ns_ = monotonic_ns();
  if (config_.hosting.running) config_.hosting.running();
  {
    std::lock_guard guard(end_lock_);
    started_ = serves_ends_ = true;
    go_on();
  }
  const auto status = serve_ends();
  {
    std::lock_guard guard(end_lock_);
    started_ = serves_ends_ = false;
  }
  ended_.notify_all();
  scheduler_->halt();
  scheduler_->wait_halted();
  ran_ns_ = monotonic_ns() - started_ns_;
  if (engine_) engine_->close_store();
  std::lock_guard guard(lock_);
  console_->restore_terminal();
  if (!status) return status.failure();
  if (signature_)
    if (auto written = write_signature(); !written) return written.failure();
  return MachineOutcome{*status};
}

Result<void> Computer::write_signature() {
  const auto text = signature_text(*memory_, board_.htif ? *board_.htif : plan_.symbols);
  if (!text) return text.failure();
  for (std::size_t done = 0; done < text->size();) {
    const auto written = ::write(signature_.get(), text->data() + done, text->size() - done);
    if (written < 0) return error("cannot write the signature to {}: {}", config_.signature, std::strerror(errno));
    done += std::size_t(written);
  }
  return {};
}

MachineStatistics Computer::statistics() {
  const auto ran = ran_ns_ ? ran_ns_.load() : started_ns_ ? monotonic_ns() - started_ns_ : 0;
  MachineStatistics all{
      .seconds = double(ran) / 1e9, .seconds_waiting = scheduler_->seconds_waiting(), .cpus = config_.cpus};
  std::lock_guard guard(lock_);
  scheduler_->exclusive([&] { count(all); });
  if (ran_ns_ && input_->deterministic()) all.memory_hash = memory_->hash();
  return all;
}

/// While no hart runs.
void Computer::count(MachineStatistics& all) {
  for (const auto& hart : harts_) {
    const auto& c = hart->counters();
    all.harts.instructions += c.instructions, all.harts.exceptions += c.exceptions,
        all.harts.interrupts += c.interrupts;
    all.harts.tlb_misses += c.tlb_misses, all.harts.tlb_flushes += c.tlb_flushes,
        all.harts.blocks_decoded += c.blocks_decoded;
    all.places.push_back({hart->state().pc, "USHM"[hart->state().privilege & 3]});
    all.harts.device_accesses += c.device_accesses, all.harts.waits += c.waits,
        all.harts.watched_reservations += c.watched_reservations;
  }
  for (const auto& hart : harts_)
    all.harts.dispatches += hart->counters().dispatches, all.harts.jump_misses += hart->counters().jump_misses;
  for (const auto& hart : harts_)
    for (std::size_t op = 0; op < all.harts.interpreted.size(); op++)
      all.harts.interpreted[op] += hart->counters().interpreted[op];
  if (engine_) all.engine = engine_->counters(), all.code_store = engine_->store_counters();
  all.dirty_pages = memory_->dirty_pages().size();
  if (balloon_) all.balloon_pages = balloon_->counters().inflated, all.discarded_pages = balloon_->counters().discarded;
}

}  // namespace doppel
