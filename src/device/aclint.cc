#include "device/aclint.h"

#include <algorithm>

namespace doppel {
namespace {

constexpr std::uint64_t mtimecmp_base = 0x4000, mtime_register = 0xbff8;

std::uint32_t half(std::uint64_t value, bool high) { return static_cast<std::uint32_t>(high ? value >> 32 : value); }

std::uint64_t with_half(std::uint64_t value, bool high, std::uint32_t part) {
  return high ? (value & 0xffffffff) | std::uint64_t{part} << 32 : (value & ~0xffffffffULL) | part;
}

}  // namespace

Aclint::Aclint(Timebase& timebase, std::vector<InterruptLine> msip, TimerWritten timer_written)
    : timebase_(timebase), msip_(std::move(msip)), timer_written_(std::move(timer_written)) {
  msip_.resize(std::min<std::size_t>(msip_.size(), max_harts));
  harts_.resize(msip_.size());
}

void Aclint::drive_all() {
  timebase_.set_offset(offset_);
  for (std::size_t i = 0; i < harts_.size(); i++) {
    msip_[i].set(harts_[i].msip);
    if (timer_written_) timer_written_(static_cast<unsigned>(i), harts_[i].mtimecmp);
  }
}

void Aclint::reset() {
  std::fill(harts_.begin(), harts_.end(), Hart{});
  offset_ = 0;
  drive_all();
}

void Aclint::set_mtime(std::uint64_t value) {
  offset_ = value - timebase_.ticks();
  timebase_.set_offset(offset_);
}

void Aclint::set_mtimecmp(std::size_t hart, std::uint64_t value) {
  harts_[hart].mtimecmp = value;
  if (timer_written_) timer_written_(static_cast<unsigned>(hart), value);
}

std::uint32_t Aclint::read_word(std::uint64_t offset) {
  const bool high = offset & 4;
  if (offset < mtimecmp_base)
    return offset / 4 < harts_.size() ? static_cast<std::uint32_t>(harts_[offset / 4].msip) : 0;
  if ((offset & ~7ULL) == mtime_register) return half(mtime(), high);
  const auto hart = (offset - mtimecmp_base) / 8;
  return hart < harts_.size() ? half(harts_[hart].mtimecmp, high) : 0;
}

void Aclint::write_word(std::uint64_t offset, std::uint32_t value) {
  const bool high = offset & 4;
  if (offset < mtimecmp_base) {
    if (offset / 4 >= harts_.size()) return;
    harts_[offset / 4].msip = value & 1;
    msip_[offset / 4].set(value & 1);
  } else if ((offset & ~7ULL) == mtime_register) {
    set_mtime(with_half(mtime(), high, value));
  } else if (const auto hart = (offset - mtimecmp_base) / 8; hart < harts_.size()) {
    set_mtimecmp(hart, with_half(harts_[hart].mtimecmp, high, value));
  }
}

bool Aclint::read(std::uint64_t offset, unsigned size, std::uint64_t& value) {
  if ((size != 4 && size != 8) || offset % size) return false;
  if (size == 8 && offset == mtime_register) {
    value = mtime();  // at one instant: two halves could straddle a carry
    return true;
  }
  value = read_word(offset);
  if (size == 8) value |= std::uint64_t{read_word(offset + 4)} << 32;
  return true;
}

bool Aclint::write(std::uint64_t offset, unsigned size, std::uint64_t value) {
  if ((size != 4 && size != 8) || offset % size) return false;
  const auto hart = (offset - mtimecmp_base) / 8;
  if (size == 8 && offset == mtime_register) {
    set_mtime(value);
  } else if (size == 8 && offset >= mtimecmp_base) {
    // At once: between two halves an interrupt could come that nobody asked for.
    if (hart < harts_.size()) set_mtimecmp(hart, value);
  } else {
    write_word(offset, static_cast<std::uint32_t>(value));
    if (size == 8) write_word(offset + 4, static_cast<std::uint32_t>(value >> 32));
  }
  return true;
}

void Aclint::save(Writer& out) const {
  out.put(offset_);
  out.put<std::uint64_t>(harts_.size());
  for (const auto& hart : harts_) out.put(hart);
}

Result<void> Aclint::restore(Reader& in) {
  const auto offset = in.get<std::uint64_t>();
  const auto count = in.get<std::uint64_t>();
  if (!in.ok()) return error("the saved state of the aclint is cut short");
  if (count != harts_.size())
    return error("the saved state of the aclint is for {} harts, this machine has {}", count, harts_.size());
  std::vector<Hart> harts(count);
  bool good = true;
  for (auto& hart : harts) {
    hart = in.get<Hart>();
    good = good && hart.msip <= 1;
  }
  if (!in.ok()) return error("the saved state of the aclint is cut short");
  if (!good) return error("the saved state of the aclint is damaged");
  harts_ = std::move(harts);
  offset_ = offset;
  drive_all();
  return {};
}

}  // namespace doppel
