#pragma once
// Harts, memory, scheduler and SBI without a board, for the tests of the last two.
#include <gtest/gtest.h>

#include <chrono>
#include <functional>
#include <memory>
#include <thread>

#include "machine/input.h"
#include "machine/memory_map.h"
#include "machine/sbi.h"
#include "machine/scheduler.h"
#include "unit/machine/guest_program.h"

namespace doppel::test {

/// Looks until `done()`; false after a minute. What is waited for happens on other threads.
inline bool eventually(const std::function<bool()>& done) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::minutes(1);
  while (!done()) {
    if (std::chrono::steady_clock::now() > end) return false;
    std::this_thread::yield();
  }
  return true;
}

struct RigOptions {
  unsigned harts = 1;
  ClockKind clock = ClockKind::host;
  std::uint64_t quantum = 20'000;
  std::function<void(riscv64::Hart&)> supervisor_call = {};  // instead of the SBI
  std::function<void()> idle = {};
};

class HartRig : private riscv64::HartEnvironment, private MmioDoor {
 public:
  using Hart = riscv64::Hart;
  static constexpr std::uint64_t memory_size = 16 << 20;
  static constexpr std::uint64_t data = dram_base + 0x10'0000;  // what programs and tests tell each other

  explicit HartRig(RigOptions options = {}) : options_(std::move(options)), reservations_(options_.harts) {
    loop_ = std::move(EventLoop::create(device_lock_)).value();
    input_ = std::make_unique<Input>(options_.clock, *loop_, device_lock_);
    memory_ = std::move(GuestMemory::create(dram_base, memory_size)).value();
    riscv64::HartEnvironment& environment = *this;
    MmioDoor& door = *this;
    for (unsigned id = 0; id < options_.harts; id++)
      harts_.push_back(std::make_unique<Hart>(riscv64::HartConfig{.id = id, .host_sbi = true, .harts = options_.harts},
                                              *memory_, door, reservations_, environment));
    Scheduler::Hooks hooks;
    hooks.ticks_to_ns = [](std::uint64_t t) { return t > INT64_MAX / 100 ? std::uint64_t(INT64_MAX) : t * 100; };
    hooks.quantum = options_.quantum;
    hooks.idle = options_.idle;
    scheduler_ = std::make_unique<Scheduler>(harts_, *input_, std::move(hooks));
    sbi_ = std::make_unique<Sbi>(Sbi::Host{
        .memory = *memory_,
        .harts = harts_,
        .scheduler = *scheduler_,
        .reset = [this](Sbi::Reset kind) { resets.push_back(kind); },
        .write = [this](std::span<const std::byte> text) { written.append(characters(text), text.size()); },
        .read = [this](std::span<std::byte> out) { return take_typed(out); },
        .exclusive =
            [this](Hart& hart, const std::function<void()>& action) {
              running ? scheduler_->exclusive(hart, action) : action();
            },
    });
  }
  ~HartRig() override { scheduler_->halt(); }

  /// Puts the program into memory and a hart to its beginning, ready to run.
  void start(unsigned id, const Program& program, riscv64::Privilege mode = riscv64::Privilege::machine) {
    load(program);
    mode == riscv64::Privilege::machine ? hart(id).reset(program.base(), mode, id, 0)
                                        : Sbi::enter_supervisor(hart(id), program.base(), 0);
    scheduler().start(hart(id));
  }
  void load(const Program& program) {
    const auto bytes = program.bytes();
    ASSERT_TRUE(memory_->write(program.base(), bytes.data(), bytes.size()));
  }
  void run() {
    running = true;
    scheduler_->start_workers();
    scheduler_->resume();
  }
  void halt() {
    scheduler_->halt();
    scheduler_->wait_halted();
  }
  /// A 64-bit word of `data`, by number; guests write it meanwhile.
  std::uint64_t word(unsigned index) const {
    const auto* page = memory_->page_for_read(data + 8 * index);
    return std::atomic_ref(
               *reinterpret_cast<std::uint64_t*>(const_cast<std::byte*>(page) + ((data + 8 * index) & page_mask)))
        .load();
  }
  void set_word(unsigned index, std::uint64_t value) { ASSERT_TRUE(memory_->write(data + 8 * index, &value, 8)); }
  static std::uint64_t at(unsigned index) { return data + 8 * index; }

  Hart& hart(unsigned id) { return *harts_[id]; }
  Scheduler& scheduler() { return *scheduler_; }
  Sbi& sbi() { return *sbi_; }
  GuestMemory& memory() { return *memory_; }
  Input& input() { return *input_; }

  std::vector<Sbi::Reset> resets;
  std::string written, typed;
  bool running = false;

 private:
  static const char* characters(std::span<const std::byte> text) { return reinterpret_cast<const char*>(text.data()); }
  std::size_t take_typed(std::span<std::byte> out) {
    const auto count = std::min(out.size(), typed.size());
    std::memcpy(out.data(), typed.data(), count);
    typed.erase(0, count);
    return count;
  }
  std::uint64_t ticks(const Hart&) override {
    return std::uint64_t(input_->deterministic() ? scheduler_->deterministic_now_ns() : input_->now_ns()) / 100;
  }
  void supervisor_call(Hart& hart) override {
    options_.supervisor_call ? options_.supervisor_call(hart) : sbi_->call(hart);
  }
  void exclusive(Hart& hart, const std::function<void()>& action) override { scheduler_->exclusive(hart, action); }
  void safepoint(Hart&) override { scheduler_->safepoint(); }
  void wake(Hart& hart) override { scheduler_->wake(hart); }
  std::span<const std::unique_ptr<Hart>> harts() override { return harts_; }
  bool mmio_read(std::uint64_t, unsigned, std::uint64_t&) override { return false; }
  bool mmio_write(std::uint64_t, unsigned, std::uint64_t) override { return false; }

  RigOptions options_;
  std::recursive_mutex device_lock_;
  std::unique_ptr<EventLoop> loop_;
  std::unique_ptr<Input> input_;
  std::unique_ptr<GuestMemory> memory_;
  riscv64::ReservationTable reservations_;
  std::vector<std::unique_ptr<Hart>> harts_;
  std::unique_ptr<Scheduler> scheduler_;
  std::unique_ptr<Sbi> sbi_;
};

}  // namespace doppel::test
