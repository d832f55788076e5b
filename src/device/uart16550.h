#pragma once
#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>

#include "device/device.h"

namespace doppel {

/// A National Semiconductor NS16550A with its registers one byte apart. The line is infinitely fast: a byte is gone as
/// soon as it is written, so THRE and TEMT are always set, and a character timeout comes at once when fewer bytes than
/// the trigger level wait, because nobody knows of more to come. CTS, DSR and DCD are always asserted.
class Uart16550 final : public Device {
 public:
  using Output = std::function<void(std::span<const std::byte>)>;

  /// `output` gets what the guest transmits.
  Uart16550(InterruptLine interrupt, Output output);

  /// Puts received bytes into the FIFO and returns how many fit. After a short count the back end keeps the rest, stops
  /// reading, and offers them again from the room callback.
  std::size_t receive(std::span<const std::byte> bytes);
  /// Called once after a short count from receive(), when the guest has emptied the receiver. It may call receive().
  void set_room_callback(std::function<void()> room) { room_ = std::move(room); }

  std::string_view name() const override { return "uart16550"; }
  std::uint64_t window() const override { return 0x100; }
  void reset() override;
  bool read(std::uint64_t offset, unsigned size, std::uint64_t& value) override;
  bool write(std::uint64_t offset, unsigned size, std::uint64_t value) override;
  void save(Writer& out) const override;
  Result<void> restore(Reader& in) override;

 private:
  static constexpr std::size_t fifo_size = 16;
  struct State {
    std::uint8_t ier = 0, fcr = 0, lcr = 0, mcr = 0, scr = 0, dll = 0, dlm = 0;
    std::uint8_t overrun = 0;         ///< LSR.OE, until LSR is read
    std::uint8_t msr_deltas = 0;      ///< MSR bits 3:0, until MSR is read
    std::uint8_t thre_interrupt = 0;  ///< the transmitter-empty interrupt is pending
    std::uint8_t refused = 0;         ///< receive() gave a short count and the room callback is owed
    std::uint8_t received = 0;        ///< bytes in fifo, the oldest first
    std::array<std::uint8_t, fifo_size> fifo = {};
  };

  std::uint8_t read_register(unsigned index);
  void write_register(unsigned index, std::uint8_t value);
  bool fifo_enabled() const;
  bool loopback() const;
  std::size_t capacity() const;
  std::uint8_t lsr() const;
  std::uint8_t modem_lines() const;
  std::uint8_t interrupt_identity() const;
  std::uint8_t read_rbr();
  std::uint8_t read_iir();
  void write_thr(std::uint8_t value);
  void write_ier(std::uint8_t value);
  void write_fcr(std::uint8_t value);
  void write_mcr(std::uint8_t value);
  void push(std::uint8_t value);
  void offer_room();
  void update_interrupt();

  State state_;
  InterruptLine interrupt_;
  Output output_;
  std::function<void()> room_;
};

}  // namespace doppel
