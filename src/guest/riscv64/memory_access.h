#pragma once
// The fast paths of data accesses: one TLB look-up, no calls. Included by hart.h. Everything else is in
// memory_access.cc.
#include "guest/riscv64/hart.h"

namespace doppel::riscv64 {

/// Equal to a TLB tag only when the access is in that page and aligned.
template <typename T>
constexpr std::uint64_t access_tag(std::uint64_t address) {
  return address & (~page_mask | (sizeof(T) - 1));
}

template <typename T>
bool Hart::load(const Op& op, std::uint64_t address, T& value) {
  const auto& entry = data_->at(address);
  if (entry.load == access_tag<T>(address)) [[likely]] {
    value = __atomic_load_n(reinterpret_cast<const T*>(address + entry.addend), __ATOMIC_RELAXED);
    return true;
  }
  std::uint64_t wide;
  if (!load_slow(op, address, sizeof(T), wide)) return false;
  value = static_cast<T>(wide);
  return true;
}

template <typename T>
bool Hart::store(const Op& op, std::uint64_t address, T value) {
  const auto& entry = data_->at(address);
  if (entry.store == access_tag<T>(address)) [[likely]] {
    __atomic_store_n(reinterpret_cast<T*>(address + entry.addend), value, __ATOMIC_RELAXED);
    return true;
  }
  return store_slow(op, address, sizeof(T), std::uint64_t(value));
}

template <typename T, typename F>
bool Hart::amo(const Op& op, std::uint64_t address, T& value, F&& combine) {
  const auto place = locate_atomic(op, address, sizeof(T), Access::store);
  if (!place.host) return false;
  const auto update = [&] {
    auto* cell = reinterpret_cast<T*>(place.host);
    T old = __atomic_load_n(cell, __ATOMIC_RELAXED);
    while (!__atomic_compare_exchange_n(cell, &old, combine(old, value), false, __ATOMIC_SEQ_CST, __ATOMIC_RELAXED)) {
    }
    value = old;
  };
  if (place.watched)
    reservations_.store(config_.id, place.physical, sizeof(T), update);
  else
    update();
  return true;
}

template <typename T>
bool Hart::load_reserved(const Op& op, std::uint64_t address, T& value) {
  const auto place = locate_atomic(op, address, sizeof(T), Access::load);
  if (!place.host) return false;
  const auto read = [&] { value = __atomic_load_n(reinterpret_cast<const T*>(place.host), __ATOMIC_SEQ_CST); };
  const bool plain = config_.harts == 1 || (op.imm != 0 && watch_at_ != pc_of(op));
  if (plain) {
    if (reservation_.kind == Reservation::Kind::watched) reservations_.cancel(config_.id);
    constexpr std::uint32_t rl = 1 << 25;
    if (op.bits & rl)
      __atomic_thread_fence(__ATOMIC_SEQ_CST);  // LR.aqrl: no earlier store may come after it (17.1, rule 6)
    read();
    const auto behind_branch = plain_way_behind_branch(op.imm);
    reserve({Reservation::Kind::plain, place.physical, std::uint64_t(value), steps_before(op) + plain_way_steps(op.imm),
             behind_branch ? pc_of(op) + behind_branch : 0, sizeof(T), pc_of(op)});
  } else {
    reserve_watched(place, read);
    reserve({Reservation::Kind::watched, place.physical, 0, 0, 0, sizeof(T), pc_of(op)});
  }
  execution_.reserved_inline = 0;
  return true;
}

/// What the SC that comes may rely on; it is used up.
inline Hart::Reservation Hart::take_reservation() {
  const auto reservation = end_reservation();
  if (!std::exchange(execution_.reserved_inline, 0)) return reservation;
  if (reservation.kind == Reservation::Kind::watched) reservations_.cancel(config_.id);
  return {};
}

template <typename T>
bool Hart::store_conditional(const Op& op, std::uint64_t address, T value, bool& stored) {
  const auto place = locate_atomic(op, address, sizeof(T), Access::store);
  if (!place.host) return false;
  auto* cell = reinterpret_cast<T*>(place.host);
  const auto reservation = take_reservation();
  stored = false;
  if (reservation.kind == Reservation::Kind::watched) {
    stored = reservations_.store_conditional(config_.id, place.physical, sizeof(T),
                                             [&] { __atomic_store_n(cell, value, __ATOMIC_SEQ_CST); });
  } else if (reservation.kind == Reservation::Kind::plain) {
    const bool fits = reservation.physical == place.physical && reservation.size == sizeof(T) &&
                      (config_.harts == 1 ||
                       (reservation.at == steps_before(op) && (!reservation.block || reservation.block == block_pc_)));
    const auto exchange = [&] {
      T expected = static_cast<T>(reservation.value);
      stored = __atomic_compare_exchange_n(cell, &expected, value, false, __ATOMIC_SEQ_CST, __ATOMIC_RELAXED);
    };
    if (fits && place.watched)
      reservations_.store(config_.id, place.physical, sizeof(T), exchange);
    else if (fits)
      exchange();
    if (!fits) watch_at_ = reservation.pc;
  }
  if (stored && watch_at_ == reservation.pc) watch_at_ = 1;
  return true;
}

}  // namespace doppel::riscv64
