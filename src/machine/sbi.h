#pragma once
// The supervisor binary interface that a machine without firmware gives its kernel (RISC-V SBI Specification 2.0).
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "base/archive.h"
#include "guest/riscv64/hart.h"
#include "machine/scheduler.h"
#include "memory/guest_memory.h"

namespace doppel {

/// Serves ECALLs from S-mode: base, time, IPI, remote fence, hart state, system reset and debug console.
class Sbi {
 public:
  using Hart = riscv64::Hart;
  enum class Reset : std::uint8_t { shutdown, failure, reboot };
  struct Host {
    GuestMemory& memory;
    std::span<const std::unique_ptr<Hart>> harts;
    Scheduler& scheduler;
    std::function<void(Reset)> reset;
    std::function<void(std::span<const std::byte>)> write;  // to the debug console
    std::function<std::size_t(std::span<std::byte>)> read;  // from it, what there is
    std::function<void(Hart&, const std::function<void()>&)> exclusive;
  };
  explicit Sbi(Host host) : host_(std::move(host)), states_(host_.harts.size(), HartState::stopped) {}

  /// The state in which a kernel finds its hart (SBI 9.1, table 12): S-mode, no translation, interrupts off, everything
  /// delegated.
  static void enter_supervisor(Hart& hart, std::uint64_t pc, std::uint64_t a1);
  /// Before the first hart runs, and at each reboot: only `boot_hart` is started.
  void reset(unsigned boot_hart);
  void save(Writer& out);
  Result<void> restore(Reader& in);

  /// Serves the call in the hart's registers. The hart is inside run(); its pc is already behind the ECALL.
  void call(Hart& hart);

 private:
  struct Answer {
    std::int64_t error = 0;
    std::uint64_t value = 0;
  };
  enum Error : std::int64_t {
    success = 0,
    failed = -1,
    not_supported = -2,
    invalid_param = -3,
    denied = -4,
    invalid_address = -5,
    already_available = -6
  };
  enum class HartState : std::uint64_t { started = 0, stopped = 1, suspended = 4 };  // as HSM numbers them
  using Handler = Answer (Sbi::*)(Hart& hart, std::uint64_t function, const std::uint64_t* a);
  struct Extension {
    std::uint64_t id;
    Handler handler;
  };
  static const Extension extensions[];
  static const Extension* find(std::uint64_t id);

  Answer base(Hart& hart, std::uint64_t function, const std::uint64_t* a);
  Answer time(Hart& hart, std::uint64_t function, const std::uint64_t* a);
  Answer ipi(Hart& hart, std::uint64_t function, const std::uint64_t* a);
  Answer remote_fence(Hart& hart, std::uint64_t function, const std::uint64_t* a);
  Answer hart_state(Hart& hart, std::uint64_t function, const std::uint64_t* a);
  Answer system_reset(Hart& hart, std::uint64_t function, const std::uint64_t* a);
  Answer debug_console(Hart& hart, std::uint64_t function, const std::uint64_t* a);
  Answer start_hart(std::uint64_t id, std::uint64_t address, std::uint64_t opaque);
  Answer suspend_hart(Hart& hart, std::uint32_t type, std::uint64_t resume, std::uint64_t opaque);
  Answer console_write(std::uint64_t length, std::uint64_t address);
  Answer console_read(std::uint64_t length, std::uint64_t address);
  /// Calls `f` for each hart of a mask (3.1); false when the mask names one that is not there.
  template <typename F>
  bool for_each_of(std::uint64_t mask, std::uint64_t first, F&& f);

  Host host_;
  std::vector<HartState> states_;
  std::mutex lock_;  // guards states_
};

}  // namespace doppel
