#pragma once
#include <cstdint>
#include <functional>
#include <vector>

#include "device/device.h"

namespace doppel {

/// Where a machine's time comes from (machine/input). The guest sees ticks() plus the offset.
class Timebase {
 public:
  virtual ~Timebase() = default;
  /// The machine's clock before the offset: 10 MHz, never backwards.
  virtual std::uint64_t ticks() = 0;
  /// The guest's time is `offset` ahead of ticks() (modulo 2^64) from now on: every hart's time CSR and every pending
  /// timer has to follow. Called when mtime is written, and by reset and restore.
  virtual void set_offset(std::uint64_t offset) = 0;
};

/// Machine timer and software interrupts, in the layout of SiFive's CLINT, which is also RISC-V ACLINT 1.0's MSWI at 0
/// and MTIMER with mtimecmp at 0x4000 and mtime at 0xbff8. The harts compare mtimecmp with the time themselves.
class Aclint final : public Device {
 public:
  static constexpr unsigned max_harts = 4095;
  using TimerWritten = std::function<void(unsigned hart, std::uint64_t mtimecmp)>;

  /// `msip` has one line a hart. `timer_written` hears of every mtimecmp, also from reset (all ones: never) and
  /// restore.
  Aclint(Timebase& timebase, std::vector<InterruptLine> msip, TimerWritten timer_written);

  std::string_view name() const override { return "aclint"; }
  std::uint64_t window() const override { return 0x10000; }
  void reset() override;
  /// Aligned accesses of 4 and 8 bytes; others are access faults.
  bool read(std::uint64_t offset, unsigned size, std::uint64_t& value) override;
  bool write(std::uint64_t offset, unsigned size, std::uint64_t value) override;
  void save(Writer& out) const override;
  Result<void> restore(Reader& in) override;

 private:
  struct Hart {
    std::uint64_t mtimecmp = ~0ULL;
    std::uint64_t msip = 0;  ///< 0 or 1
  };

  std::uint32_t read_word(std::uint64_t offset);
  void write_word(std::uint64_t offset, std::uint32_t value);
  std::uint64_t mtime() { return timebase_.ticks() + offset_; }
  void set_mtime(std::uint64_t value);
  void set_mtimecmp(std::size_t hart, std::uint64_t value);
  void drive_all();

  Timebase& timebase_;
  std::vector<InterruptLine> msip_;
  TimerWritten timer_written_;
  std::vector<Hart> harts_;
  std::uint64_t offset_ = 0;
};

}  // namespace doppel
