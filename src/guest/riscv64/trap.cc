// Traps, interrupts and the instructions of the privileged chapters (Privileged ISA 3.1, 3.3, 12.1, 12.2).
#include <algorithm>

#include "guest/riscv64/hart.h"

namespace doppel::riscv64 {

bool Hart::raise(const Op& op, Cause cause, std::uint64_t tval) {
  budget_ += block_->count - std::uint64_t(&op - block_->ops) - 1;  // what follows was not executed
  state_.unretired++;
  counters_.exceptions++;
  trap(std::uint64_t(cause), tval, pc_of(op));
  return false;
}

void Hart::trap(std::uint64_t cause, std::uint64_t tval, std::uint64_t epc) {
  const bool is_interrupt = cause & interrupt::cause_flag;
  const auto code = cause & 63;
  const auto delegated = is_interrupt ? state_.mideleg : state_.medeleg;
  auto& s = state_;
  if (end_reservation().kind == Reservation::Kind::watched) reservations_.cancel(config_.id);
  const auto vector = [&](std::uint64_t tvec) { return (tvec & ~3ULL) + ((tvec & 1) && is_interrupt ? 4 * code : 0); };
  if (privilege() != Privilege::machine && (delegated >> code & 1)) {
    s.scause = cause, s.stval = tval, s.sepc = epc;
    const bool was_enabled = s.mstatus & status::sie;
    s.mstatus &= ~(status::spie | status::sie | status::spp);
    if (was_enabled) s.mstatus |= status::spie;
    if (privilege() == Privilege::supervisor) s.mstatus |= status::spp;
    s.pc = vector(s.stvec);
    set_privilege(Privilege::supervisor);
    return;
  }
  s.mcause = cause, s.mtval = tval, s.mepc = epc;
  const bool was_enabled = s.mstatus & status::mie;
  s.mstatus &= ~(status::mpie | status::mie | status::mpp);
  if (was_enabled) s.mstatus |= status::mpie;
  s.mstatus |= std::uint64_t(s.privilege) << status::mpp_shift;
  s.pc = vector(s.mtvec);
  set_privilege(Privilege::machine);
}

void Hart::set_privilege(Privilege privilege) {
  state_.privilege = std::uint8_t(privilege);
  update_views();
}

bool Hart::mret(const Op& op) {
  if (privilege() != Privilege::machine) return illegal(op);
  auto& s = state_;
  const auto to = Privilege(s.mstatus >> status::mpp_shift & 3);
  const bool enable = s.mstatus & status::mpie;
  s.mstatus &= ~(status::mie | status::mpp);
  s.mstatus |= status::mpie | (enable ? status::mie : 0);
  if (to != Privilege::machine) s.mstatus &= ~status::mprv;
  s.pc = s.mepc;
  set_privilege(to);
  check_interrupts();
  return true;
}

bool Hart::sret(const Op& op) {
  if (privilege() == Privilege::user || (privilege() == Privilege::supervisor && (state_.mstatus & status::tsr)))
    return illegal(op);
  auto& s = state_;
  const auto to = s.mstatus & status::spp ? Privilege::supervisor : Privilege::user;
  const bool enable = s.mstatus & status::spie;
  s.mstatus &= ~(status::sie | status::spp | status::mprv);
  s.mstatus |= status::spie | (enable ? status::sie : 0);
  s.pc = s.sepc;
  set_privilege(to);
  check_interrupts();
  return true;
}

bool Hart::wait_for_interrupt(const Op& op) {
  // With TW, or from U-mode, waiting must not last: it is illegal at once (3.1.6.5).
  const bool forbidden =
      privilege() == Privilege::user || (privilege() == Privilege::supervisor && (state_.mstatus & status::tw));
  if (forbidden) return illegal(op);
  wait(Wait::wfi);
  return true;
}

bool Hart::sfence(const Op& op, bool order_only) {
  if (privilege() == Privilege::user) return illegal(op);
  if (privilege() == Privilege::supervisor && !order_only && (state_.mstatus & status::tvm)) return illegal(op);
  if (order_only) return true;
  const auto address = x(op.rs1);
  if (op.rs2 != 0)
    flush_space(x(op.rs2) & 0xffff, op.rs1 != 0 ? &address : nullptr);
  else if (op.rs1 != 0)
    flush_translations(address, 1);
  else
    flush_translations();
  return true;
}

bool Hart::environment_call(const Op& op) {
  const auto from = privilege();
  if (from == Privilege::supervisor && config_.host_sbi) {
    state_.pc = pc_of(op) + 4;
    environment_.supervisor_call(*this);
    check_interrupts();
    return true;
  }
  return raise(op,
               from == Privilege::user         ? Cause::ecall_from_user
               : from == Privilege::supervisor ? Cause::ecall_from_supervisor
                                               : Cause::ecall_from_machine,
               0);
}

void Hart::set_interrupt(unsigned code, bool level) {
  const auto bit = 1ULL << code;
  const auto before = level ? external_.fetch_or(bit) : external_.fetch_and(~bit);
  if (level && !(before & bit)) {
    ask_attention();
    environment_.wake(*this);
  }
}

void Hart::raise_software_interrupt() {
  software_.store(true);
  ask_attention();
  environment_.wake(*this);
}

void Hart::set_mtimecmp(std::uint64_t ticks) {
  mtimecmp_.store(ticks);
  ask_attention();
  environment_.wake(*this);
}

void Hart::update_timers() {
  state_.mtimecmp = mtimecmp_.load(std::memory_order_relaxed);
  const bool sstc = state_.menvcfg & envcfg::stce;
  timers_ = 0;
  if (state_.mtimecmp == ~0ULL && (!sstc || state_.stimecmp == ~0ULL)) return;
  const auto now = environment_.ticks(*this);
  if (now >= state_.mtimecmp) timers_ |= 1 << interrupt::mti;
  if (sstc && now >= state_.stimecmp) timers_ |= 1 << interrupt::sti;
}

std::uint64_t Hart::pending() {
  if (software_.load(std::memory_order_relaxed) && software_.exchange(false)) state_.mip |= 1 << interrupt::ssi;
  const auto software =
      state_.menvcfg & envcfg::stce ? state_.mip & ~(1ULL << interrupt::sti) : state_.mip;  // 16: STIP is stimecmp's
  return software | timers_ | external_.load(std::memory_order_relaxed);
}

std::uint64_t Hart::next_timer() const {
  std::uint64_t next = ~0ULL;
  if (state_.mie & 1 << interrupt::mti) next = mtimecmp_.load();
  if ((state_.mie & 1 << interrupt::sti) && (state_.menvcfg & envcfg::stce)) next = std::min(next, state_.stimecmp);
  return next;
}

bool Hart::wakeable() {
  update_timers();
  return pending() & state_.mie;
}

/// Attention is for what can be taken only: where a write to sstatus enables nothing translated code does not even ask,
/// and by the instruction clock timers must be looked at as often by every executor.
void Hart::check_interrupts() {
  if (takeable()) ask_attention();
}

/// The interrupts of the mode to trap into that are pending and enabled; notes what waits for being enabled.
std::uint64_t Hart::takeable() {
  const auto ready = execution_.pending = pending() & state_.mie;
  if (!ready) return 0;
  const auto mode = privilege();
  const bool machine_enabled = mode != Privilege::machine || (state_.mstatus & status::mie);
  const bool supervisor_enabled =
      mode == Privilege::user || (mode == Privilege::supervisor && (state_.mstatus & status::sie));
  const auto by_machine = machine_enabled ? ready & ~state_.mideleg : 0;
  return by_machine ? by_machine : supervisor_enabled ? ready & state_.mideleg : 0;
}

bool Hart::take_interrupt() {
  const auto taken = takeable();
  // 3.1.9: MEI, MSI, MTI, SEI, SSI, STI.
  for (const auto code :
       {interrupt::mei, interrupt::msi, interrupt::mti, interrupt::sei, interrupt::ssi, interrupt::sti}) {
    if (!(taken >> code & 1)) continue;
    counters_.interrupts++;
    trap(interrupt::cause_flag | code, 0, state_.pc);
    return true;
  }
  return false;
}

}  // namespace doppel::riscv64
