#include "device/uart16550.h"

#include <algorithm>

namespace doppel {
namespace {

// Register numbers and bits as in the NS16550A data sheet, table II.
enum Register : unsigned { RBR_THR_DLL, IER_DLM, IIR_FCR, LCR, MCR, LSR, MSR, SCR };
constexpr std::uint8_t ier_erbfi = 1, ier_etbei = 2, ier_elsi = 4, ier_edssi = 8;
constexpr std::uint8_t iir_none = 0x01, iir_line_status = 0x06, iir_data = 0x04, iir_timeout = 0x0c, iir_thre = 0x02,
                       iir_modem = 0x00, iir_fifos = 0xc0;
constexpr std::uint8_t fcr_enable = 1, fcr_clear_receiver = 2, fcr_kept = 0xc9;
constexpr std::uint8_t lcr_dlab = 0x80;
constexpr std::uint8_t mcr_dtr = 1, mcr_rts = 2, mcr_out1 = 4, mcr_out2 = 8, mcr_loop = 0x10, mcr_bits = 0x1f;
constexpr std::uint8_t lsr_dr = 1, lsr_oe = 2, lsr_thre = 0x20, lsr_temt = 0x40;
constexpr std::uint8_t msr_cts = 0x10, msr_dsr = 0x20, msr_ri = 0x40, msr_dcd = 0x80;
constexpr std::array<std::uint8_t, 4> trigger_levels = {1, 4, 8, 14};

}  // namespace

Uart16550::Uart16550(InterruptLine interrupt, Output output) : interrupt_(interrupt), output_(std::move(output)) {}

bool Uart16550::fifo_enabled() const { return state_.fcr & fcr_enable; }
bool Uart16550::loopback() const { return state_.mcr & mcr_loop; }
std::size_t Uart16550::capacity() const { return fifo_enabled() ? fifo_size : 1; }

std::uint8_t Uart16550::lsr() const {
  return lsr_thre | lsr_temt | (state_.received ? lsr_dr : 0) | (state_.overrun ? lsr_oe : 0);
}

// In loopback the modem's inputs are the UART's own outputs (data sheet 8.6, bit 4).
std::uint8_t Uart16550::modem_lines() const {
  if (!loopback()) return msr_cts | msr_dsr | msr_dcd;
  return (state_.mcr & mcr_rts ? msr_cts : 0) | (state_.mcr & mcr_dtr ? msr_dsr : 0) |
         (state_.mcr & mcr_out1 ? msr_ri : 0) | (state_.mcr & mcr_out2 ? msr_dcd : 0);
}

// Priorities from the data sheet, table IV.
std::uint8_t Uart16550::interrupt_identity() const {
  if ((state_.ier & ier_elsi) && state_.overrun) return iir_line_status;
  if ((state_.ier & ier_erbfi) && state_.received) {
    const unsigned trigger = fifo_enabled() ? trigger_levels[state_.fcr >> 6] : 1;
    return state_.received >= trigger ? iir_data : iir_timeout;
  }
  if ((state_.ier & ier_etbei) && state_.thre_interrupt) return iir_thre;
  if ((state_.ier & ier_edssi) && state_.msr_deltas) return iir_modem;
  return iir_none;
}

void Uart16550::update_interrupt() { interrupt_.set(interrupt_identity() != iir_none); }

void Uart16550::push(std::uint8_t value) {
  if (state_.received < capacity()) {
    state_.fifo[state_.received++] = value;
    return;
  }
  // Data sheet 8.4, bit 1: without FIFOs the old character is lost, with them the new one.
  state_.overrun = 1;
  if (!fifo_enabled()) state_.fifo[0] = value;
}

std::size_t Uart16550::receive(std::span<const std::byte> bytes) {
  // Loopback disconnects the receiver's pin; the back end keeps its bytes meanwhile.
  const std::size_t room = loopback() ? 0 : capacity() - std::min<std::size_t>(capacity(), state_.received);
  const std::size_t taken = std::min(room, bytes.size());
  for (const auto byte : bytes.first(taken)) push(std::to_integer<std::uint8_t>(byte));
  if (taken < bytes.size()) state_.refused = 1;
  update_interrupt();
  return taken;
}

// Only an empty receiver asks for more: asking at every byte that a driver reads would wake the back end for each.
void Uart16550::offer_room() {
  if (!state_.refused || state_.received || loopback()) return;
  state_.refused = 0;
  if (room_) room_();
}

void Uart16550::reset() {
  const auto refused = state_.refused;
  state_ = {};
  state_.refused = refused;
  update_interrupt();
  offer_room();
}

std::uint8_t Uart16550::read_rbr() {
  if (!state_.received) return 0;
  const auto value = state_.fifo[0];
  std::copy(state_.fifo.begin() + 1, state_.fifo.end(), state_.fifo.begin());
  state_.fifo.back() = 0;
  state_.received--;
  return value;
}

std::uint8_t Uart16550::read_iir() {
  const auto identity = interrupt_identity();
  if (identity == iir_thre) state_.thre_interrupt = 0;
  return identity | (fifo_enabled() ? iir_fifos : 0);
}

std::uint8_t Uart16550::read_register(unsigned index) {
  const bool dlab = state_.lcr & lcr_dlab;
  switch (index) {
    case RBR_THR_DLL:
      return dlab ? state_.dll : read_rbr();
    case IER_DLM:
      return dlab ? state_.dlm : state_.ier;
    case IIR_FCR:
      return read_iir();
    case LCR:
      return state_.lcr;
    case MCR:
      return state_.mcr;
    case LSR: {
      const auto value = lsr();
      state_.overrun = 0;
      return value;
    }
    case MSR: {
      const std::uint8_t value = modem_lines() | state_.msr_deltas;
      state_.msr_deltas = 0;
      return value;
    }
    default:
      return state_.scr;
  }
}

void Uart16550::write_thr(std::uint8_t value) {
  if (loopback()) {
    push(value);
  } else if (output_) {
    const std::byte byte{value};
    output_({&byte, 1});
  }
  state_.thre_interrupt = 1;  // empty again at once
}

// Enabling the transmitter's interrupt while it is empty raises it: drivers start sending by this, and Linux's 8250
// driver takes a UART that does not do it again after a disable for broken (UART_BUG_THRE) and polls it.
void Uart16550::write_ier(std::uint8_t value) {
  value &= ier_erbfi | ier_etbei | ier_elsi | ier_edssi;
  if ((value ^ state_.ier) & ier_etbei) state_.thre_interrupt = (value & ier_etbei) ? 1 : 0;
  state_.ier = value;
}

void Uart16550::write_fcr(std::uint8_t value) {
  const bool toggled = (value ^ state_.fcr) & fcr_enable;
  // Data sheet 8.5: without bit 0 the other bits are not programmed; changing it clears the FIFOs.
  if (toggled || ((value & fcr_enable) && (value & fcr_clear_receiver))) {
    state_.received = 0;
    state_.fifo = {};
  }
  state_.fcr = (value & fcr_enable) ? (value & fcr_kept) : 0;
}

void Uart16550::write_mcr(std::uint8_t value) {
  const auto before = modem_lines();
  state_.mcr = value & mcr_bits;
  const auto changed = before ^ modem_lines();
  // Bits 3, 1 and 0 say that DCD, DSR or CTS changed; bit 2 that RI went away (data sheet 8.7).
  state_.msr_deltas |= (changed & (msr_cts | msr_dsr | msr_dcd)) >> 4;
  if (changed & before & msr_ri) state_.msr_deltas |= 4;
}

void Uart16550::write_register(unsigned index, std::uint8_t value) {
  const bool dlab = state_.lcr & lcr_dlab;
  switch (index) {
    case RBR_THR_DLL:
      if (!dlab) return write_thr(value);
      state_.dll = value;
      return;
    case IER_DLM:
      if (!dlab) return write_ier(value);
      state_.dlm = value;
      return;
    case IIR_FCR:
      return write_fcr(value);
    case LCR:
      state_.lcr = value;
      return;
    case MCR:
      return write_mcr(value);
    case SCR:
      state_.scr = value;
      return;
    default:  // LSR and MSR are read-only
      return;
  }
}

bool Uart16550::read(std::uint64_t offset, unsigned, std::uint64_t& value) {
  value = offset <= SCR ? read_register(static_cast<unsigned>(offset)) : 0;
  update_interrupt();
  offer_room();
  return true;
}

bool Uart16550::write(std::uint64_t offset, unsigned, std::uint64_t value) {
  if (offset <= SCR) write_register(static_cast<unsigned>(offset), static_cast<std::uint8_t>(value));
  update_interrupt();
  offer_room();
  return true;
}

void Uart16550::save(Writer& out) const { out.put(state_); }

Result<void> Uart16550::restore(Reader& in) {
  auto state = in.get<State>();
  if (!in.ok()) return error("the saved state of the uart16550 is cut short");
  const std::size_t capacity = state.fcr & fcr_enable ? fifo_size : 1;
  const bool registers = !(state.ier & 0xf0) && !(state.fcr & ~fcr_kept) && !(state.mcr & ~mcr_bits);
  const bool flags = state.overrun <= 1 && state.thre_interrupt <= 1 && state.refused <= 1 && state.msr_deltas <= 15;
  if (!registers || !flags || state.received > capacity) return error("the saved state of the uart16550 is damaged");
  state_ = state;
  update_interrupt();
  return {};
}

}  // namespace doppel
