// A hart as bytes: what a copy of a machine needs to go on where the hart was.
#include "guest/riscv64/csr.h"
#include "guest/riscv64/hart.h"

namespace doppel::riscv64 {
namespace {

/// Whether a hart could have come to such a state; what it does with the rest of it harms nobody but its guest.
bool sound(const HartState& s, unsigned id, Paging max_paging) {
  const auto mode = Paging(s.satp >> 60);
  const auto previous = s.mstatus >> status::mpp_shift & 3;
  return s.hartid == id && s.x[0] == 0 && (s.pc & 1) == 0 && s.privilege <= 3 && s.privilege != 2 && previous != 2 &&
         s.waiting <= std::uint8_t(Hart::Wait::suspended) && s.fflags <= 31 && s.frm <= 7 &&
         (mode == Paging::bare || (mode >= Paging::sv39 && mode <= max_paging));
}

}  // namespace

void Hart::save(Writer& out) const {
  out.put(state_);
  out.put<std::uint64_t>(software_);
  out.put<std::uint64_t>(mtimecmp_);
  out.put<std::uint64_t>(watch_at_);
  const auto& r = reservation_;
  for (const auto value : {std::uint64_t(r.kind), r.physical, r.value, r.at, r.block, std::uint64_t(r.size), r.pc})
    out.put(value);
}

Result<void> Hart::restore(Reader& in) {
  const auto state = in.get<HartState>();
  const bool software = in.get<std::uint64_t>() != 0;
  const auto mtimecmp = in.get<std::uint64_t>(), watch_at = in.get<std::uint64_t>();
  Reservation r;
  const auto kind = in.get<std::uint64_t>();
  for (auto* value : {&r.physical, &r.value, &r.at, &r.block}) *value = in.get<std::uint64_t>();
  const auto size = in.get<std::uint64_t>();
  r.pc = in.get<std::uint64_t>();
  if (!in.ok()) return error("the saved state of hart {} is cut short", config_.id);
  const bool reserves = kind != 0;
  if (!sound(state, config_.id, config_.max_paging) || kind > std::uint64_t(Reservation::Kind::watched) ||
      (reserves && ((size != 4 && size != 8) || !memory_.contains(r.physical, size))))
    return error("the saved state of hart {} is damaged", config_.id);
  state_ = state;
  software_ = software;
  reservations_.cancel(config_.id);
  restore();
  mtimecmp_ = mtimecmp;
  watch_at_ = watch_at;
  r.kind = Reservation::Kind(kind);
  r.size = unsigned(size);
  if (r.kind == Reservation::Kind::watched) {
    reservations_.watch(r.physical & ~page_mask);
    reservations_.reserve(config_.id, r.physical, [] {});
  }
  reserve(r);
  ask_attention();
  return {};
}

}  // namespace doppel::riscv64
