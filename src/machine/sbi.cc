#include "machine/sbi.h"

#include <algorithm>

namespace doppel {

using riscv64::Privilege;

const Sbi::Extension Sbi::extensions[] = {
    {0x10, &Sbi::base},
    {0x54494d45, &Sbi::time},
    {0x735049, &Sbi::ipi},
    {0x52464e43, &Sbi::remote_fence},
    {0x48534d, &Sbi::hart_state},
    {0x53525354, &Sbi::system_reset},
    {0x4442434e, &Sbi::debug_console},
};

const Sbi::Extension* Sbi::find(std::uint64_t id) {
  const auto* found =
      std::find_if(std::begin(extensions), std::end(extensions), [&](const Extension& e) { return e.id == id; });
  return found == std::end(extensions) ? nullptr : found;
}

void Sbi::enter_supervisor(Hart& hart, std::uint64_t pc, std::uint64_t a1) {
  hart.reset(pc, Privilege::supervisor, hart.id(), a1);
  auto& s = hart.state();
  s.medeleg = 0xb1ff;  // everything but ECALLs from S-mode, which come here
  s.mideleg = riscv64::interrupt::supervisor_bits;
  s.mcounteren = s.scounteren =
      0xffffffff;  // kernels expect user programs to be able to read the time, as OpenSBI has it
  s.menvcfg = riscv64::envcfg::machine_writable;
  s.pmpcfg[0] = 0x1f;  // everything is readable, writable and executable
  s.pmpaddr[0] = (1ULL << 54) - 1;
  hart.restore();
}

void Sbi::reset(unsigned boot_hart) {
  std::lock_guard guard(lock_);
  std::fill(states_.begin(), states_.end(), HartState::stopped);
  states_[boot_hart] = HartState::started;
}

void Sbi::save(Writer& out) {
  std::lock_guard guard(lock_);
  for (const auto state : states_) out.put(std::uint64_t(state));
}

Result<void> Sbi::restore(Reader& in) {
  std::vector<HartState> states(states_.size());
  bool sound = true;
  for (auto& state : states) {
    state = HartState(in.get<std::uint64_t>());
    sound = sound && (state == HartState::started || state == HartState::stopped || state == HartState::suspended);
  }
  if (!in.ok() || !sound) return error("the saved states of the SBI's harts are damaged");
  std::lock_guard guard(lock_);
  states_ = std::move(states);
  return {};
}

void Sbi::call(Hart& hart) {
  const auto* a = &hart.state().x[10];
  const auto* extension = find(a[7]);
  const auto answer = extension ? (this->*extension->handler)(hart, a[6], a) : Answer{not_supported};
  hart.state().x[10] = std::uint64_t(answer.error);
  hart.state().x[11] = answer.value;
}

template <typename F>
bool Sbi::for_each_of(std::uint64_t mask, std::uint64_t first, F&& f) {
  const auto count = host_.harts.size();
  const bool all = first == ~0ULL;
  if (all) mask = ~0ULL, first = 0;
  for (std::uint64_t bits = mask; bits && !all; bits &= bits - 1)
    if (first >= count || first + std::uint64_t(__builtin_ctzll(bits)) >= count) return false;
  for (std::uint64_t id = 0; id < count; id++)
    if (id >= first && id - first < 64 && (mask >> (id - first) & 1)) f(*host_.harts[id]);
  return true;
}

Sbi::Answer Sbi::base(Hart&, std::uint64_t function, const std::uint64_t* a) {
  switch (function) {
    case 0:
      return {success, 2 << 24};  // specification 2.0
    case 1:
      return {success, 0xd0};  // implementation: none of the registered ones
    case 2:
      return {success, 1};
    case 3:
      return {success, find(a[0]) != nullptr};
    case 4:
    case 5:
    case 6:
      return {success, 0};  // mvendorid, marchid, mimpid
    default:
      return {not_supported};
  }
}

Sbi::Answer Sbi::time(Hart& hart, std::uint64_t function, const std::uint64_t* a) {
  if (function != 0) return {not_supported};
  hart.state().stimecmp = a[0];
  hart.ask_attention();
  return {};
}

Sbi::Answer Sbi::ipi(Hart&, std::uint64_t function, const std::uint64_t* a) {
  if (function != 0) return {not_supported};
  return {for_each_of(a[0], a[1], [](Hart& target) { target.raise_software_interrupt(); }) ? success : invalid_param};
}

Sbi::Answer Sbi::remote_fence(Hart& hart, std::uint64_t function, const std::uint64_t* a) {
  if (function > 2) return {not_supported};  // the rest is for the hypervisor extension
  const auto start = a[2], length = a[3];
  const bool everything = (start == 0 && length == 0) || length == ~0ULL;
  bool known = true;
  // Nothing else executes meanwhile, so when the call returns the fence has happened everywhere.
  host_.exclusive(hart, [&] {
    known = for_each_of(a[0], a[1], [&](Hart& target) {
      if (function == 0)
        target.flush_instructions();
      else
        everything ? target.flush_translations() : target.flush_translations(start, length);
    });
  });
  return {known ? success : invalid_param};
}

Sbi::Answer Sbi::start_hart(std::uint64_t id, std::uint64_t address, std::uint64_t opaque) {
  if (id >= host_.harts.size()) return {invalid_param};
  if (!host_.memory.contains(address, 4)) return {invalid_address};
  auto& hart = *host_.harts[id];
  std::unique_lock guard(lock_);
  while (states_[id] == HartState::stopped && !host_.scheduler.idle(hart)) {
    // It has just stopped and is on its way out of run(), where another hart's exclusive action may hold it up: that
    // one waits for us too, so let it act.
    guard.unlock();
    host_.scheduler.safepoint();
    std::this_thread::yield();
    guard.lock();
  }
  if (states_[id] != HartState::stopped) return {already_available};
  states_[id] = HartState::started;
  enter_supervisor(hart, address, opaque);
  host_.scheduler.start(hart);
  return {};
}

Sbi::Answer Sbi::suspend_hart(Hart& hart, std::uint32_t type, std::uint64_t resume, std::uint64_t opaque) {
  constexpr std::uint32_t retentive = 0, non_retentive = 0x80000000;
  if (type != retentive && type != non_retentive) return {invalid_param};
  if (type == non_retentive) {
    // It wakes at `resume` as if it had been started there; until then it waits like a WFI.
    if (!host_.memory.contains(resume, 4)) return {invalid_address};
    auto& s = hart.state();
    const auto enabled = s.mie;
    const auto stimecmp = s.stimecmp;
    s.mstatus &= ~riscv64::status::sie;
    s.satp = 0;
    s.mie = enabled, s.stimecmp = stimecmp;
    s.pc = resume;
    hart.flush_translations();
    s.x[11] = opaque;
    hart.wait(Hart::Wait::suspended);
    return {std::int64_t(s.hartid), opaque};  // a0 and a1 of the resumed hart
  }
  hart.wait(Hart::Wait::suspended);
  return {};
}

Sbi::Answer Sbi::hart_state(Hart& hart, std::uint64_t function, const std::uint64_t* a) {
  switch (function) {
    case 0:
      return start_hart(a[0], a[1], a[2]);
    case 1: {
      std::lock_guard guard(lock_);
      states_[hart.id()] = HartState::stopped;
      host_.scheduler.park(hart);
      return {};
    }
    case 2: {
      if (a[0] >= host_.harts.size()) return {invalid_param};
      std::lock_guard guard(lock_);
      const bool suspended = states_[a[0]] == HartState::started && host_.harts[a[0]]->suspended();
      return {success, std::uint64_t(suspended ? HartState::suspended : states_[a[0]])};
    }
    case 3:
      return suspend_hart(hart, std::uint32_t(a[0]), a[1], a[2]);
    default:
      return {not_supported};
  }
}

Sbi::Answer Sbi::system_reset(Hart&, std::uint64_t function, const std::uint64_t* a) {
  if (function != 0) return {not_supported};
  const auto type = std::uint32_t(a[0]), reason = std::uint32_t(a[1]);
  if (type > 2) return {invalid_param};
  host_.reset(type != 0 ? Reset::reboot : reason == 1 ? Reset::failure : Reset::shutdown);
  return {};
}

Sbi::Answer Sbi::console_write(std::uint64_t length, std::uint64_t address) {
  std::byte text[4096];
  const auto part = std::min<std::uint64_t>(length, sizeof text);  // 12.1: fewer than asked for may be written
  if (!host_.memory.contains(address, length) || !host_.memory.read(address, text, part)) return {invalid_param};
  host_.write({text, part});
  return {success, part};
}

Sbi::Answer Sbi::console_read(std::uint64_t length, std::uint64_t address) {
  std::byte text[256];
  if (!host_.memory.contains(address, length)) return {invalid_param};
  const auto got = host_.read({text, std::min<std::uint64_t>(length, sizeof text)});
  return host_.memory.write(address, text, got) ? Answer{success, got} : Answer{failed};
}

Sbi::Answer Sbi::debug_console(Hart&, std::uint64_t function, const std::uint64_t* a) {
  if (function < 2 && a[2] != 0) return {invalid_param};  // no memory has a high address half
  const auto byte = std::byte(a[0]);
  switch (function) {
    case 0:
      return console_write(a[0], a[1]);
    case 1:
      return console_read(a[0], a[1]);
    case 2:
      host_.write({&byte, 1});
      return {};
    default:
      return {not_supported};
  }
}

}  // namespace doppel
