#pragma once
// A machine that programs run on: memory, one or two harts that an engine executes, and a device.
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "guest/riscv64/hart.h"
#include "link.h"

namespace doppel::differential::engines {

/// What executes harts.
class Executing {
 public:
  virtual ~Executing() = default;
  /// Translations made so far, each of which was about to be executed.
  virtual U64 blocks() const = 0;
  /// Paths that the optimizing generator made.
  virtual U64 paths() const { return 0; }
};

/// An engine under comparison. The first of the list is what the others are compared with.
struct EngineKind {
  std::string_view name;
  /// Makes the harts execute by a new engine.
  std::unique_ptr<Executing> (*attach)(GuestMemory& memory, std::span<const std::unique_ptr<riscv64::Hart>> harts,
                                       std::size_t code_bytes);
  bool (*takes_part)(Way way) = nullptr;  // in every way if null
  bool makes_paths = false;
};
std::span<const EngineKind> engine_kinds();
/// The first and those of these names; without names, all that must agree. Nothing when there is no such name.
std::vector<EngineKind> choose_kinds(const std::vector<std::string>& names);

class Computer : public riscv64::HartEnvironment, public MmioDoor {
 public:
  using Hart = riscv64::Hart;
  /// `code_bytes` bounds the memory for translated code.
  Computer(Way way, const EngineKind& engine, std::size_t code_bytes);
  void load(const Image& image);

  /// What became of a run.
  struct Ran {
    Hart::Stop stop = Hart::Stop::budget;
    U64 steps = 0;
    bool operator==(const Ran&) const = default;
  };
  /// Executes so many instructions, fewer if the hart waits.
  Ran run(unsigned hart, U64 steps);
  /// What happens to the machine behind a run; a hart that waits goes on.
  void apply(const Stop& stop);
  bool finished(unsigned hart) const;

  Hart& hart(unsigned id) { return *harts_[id]; }
  unsigned count() const { return unsigned(harts_.size()); }
  GuestMemory& memory() { return *memory_; }
  U64 device_history() const { return history_; }
  U64 blocks() const { return executing_ ? executing_->blocks() : 0; }
  U64 paths() const { return executing_ ? executing_->paths() : 0; }

  U64 ticks(const Hart& hart) override;
  void supervisor_call(Hart& hart) override;
  void exclusive(Hart&, const std::function<void()>& action) override { action(); }
  void safepoint(Hart&) override {}
  void wake(Hart&) override {}
  std::span<const std::unique_ptr<Hart>> harts() override { return harts_; }
  bool mmio_read(U64 address, unsigned size, U64& value) override;
  bool mmio_write(U64 address, unsigned size, U64 value) override;

 private:
  void note(U64 value);
  void freeze();
  void wake_waiting(unsigned hart);
  void apply_delayed(unsigned hart);

  Way way_;
  std::unique_ptr<GuestMemory> memory_;
  riscv64::ReservationTable reservations_;
  std::vector<std::unique_ptr<Hart>> harts_;
  std::unique_ptr<Executing> executing_;
  unsigned current_ = 0;
  U64 time_ = 0, history_ = 0;
  // Where time stands still between stops, what asks for a hart's attention in a run waits for the next stop: engines
  // may look at it at different instructions.
  struct Delayed {
    bool raises = false, sets_timer = false;
    U64 timer = 0;
  } delayed_;
};

}  // namespace doppel::differential::engines
