#include "interpreter.h"

#include <fmt/format.h>

#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>

#include "engine/engine.h"
#include "guest/riscv64/hart.h"

namespace doppel::differential {

namespace {

using namespace riscv64;

// Physical memory: the program where it says, the trap vector, page tables; then, where there is paging, the program's
// frames.
constexpr std::uint64_t ram = place::text, ram_size = 0x10000000;
constexpr std::uint64_t vector = 0x16000000, root_table = 0x16001000;
constexpr std::uint64_t first_frame = 0x18000000, last_frame = ram + ram_size - page_size;
constexpr std::uint32_t wfi = 0x10500073;

class NoDevices : public MmioDoor {
 public:
  bool mmio_read(std::uint64_t, unsigned, std::uint64_t&) override { return false; }
  bool mmio_write(std::uint64_t, unsigned, std::uint64_t) override { return false; }
};

/// One hart, with as much of a machine as it needs, and Linux as far as write and exit.
class Computer : public HartEnvironment {
 public:
  Computer(const Program& program, Way way);
  Outcome run(const std::function<void(std::uint64_t)>& executed);

  std::uint64_t ticks(const Hart&) override { return 0; }
  void supervisor_call(Hart&) override {}
  void exclusive(Hart&, const std::function<void()>& action) override { action(); }
  void safepoint(Hart&) override {}
  void wake(Hart&) override {}
  std::span<const std::unique_ptr<Hart>> harts() override { return harts_; }

 private:
  void load(const Segment& segment);
  std::uint64_t frame_of(std::uint64_t address);
  void map(std::uint64_t address, std::uint64_t frame);
  std::uint64_t word(std::uint64_t physical);
  void set_word(std::uint64_t physical, std::uint64_t value);
  void begin(std::uint64_t entry);
  bool serve_trap(Outcome& outcome);
  bool write(Outcome& outcome);

  bool paged_;
  bool single_;
  std::unique_ptr<GuestMemory> memory_;
  NoDevices devices_;
  ReservationTable reservations_{1};
  std::unique_ptr<Engine> engine_;
  std::vector<std::unique_ptr<Hart>> harts_;
  std::map<std::uint64_t, std::uint64_t> frames_;  // page to frame, both as addresses
  std::uint64_t next_table_ = root_table + page_size;
};

std::unique_ptr<GuestMemory> make_memory(std::uint64_t base, std::uint64_t size) {
  auto memory = GuestMemory::create(base, size);
  if (!memory) std::abort();
  return std::move(*memory);
}

Computer::Computer(const Program& program, Way way)
    : paged_(way != Way::machine_mode && way != Way::translated_machine_mode),
      single_(way == Way::single_steps),
      memory_(make_memory(ram, ram_size)) {
  harts_.push_back(std::make_unique<Hart>(HartConfig{}, *memory_, devices_, reservations_, *this));
  if (way >= Way::translated_machine_mode) {
    constexpr std::size_t code_bytes = 64 << 20;
    engine_ = std::move(Engine::create(*memory_, code_bytes)).value();
    if (!engine_->attach(*harts_[0])) std::abort();
  }
  if (!memory_->write(vector, &wfi, sizeof wfi)) std::abort();
  for (std::uint64_t page = place::data; page < place::seeds; page += page_size) frame_of(page);
  for (const auto& segment : program.segments) load(segment);
  begin(program.entry);
}

/// Neighbours alternate between the two ends of physical memory.
std::uint64_t Computer::frame_of(std::uint64_t address) {
  const std::uint64_t page = address & ~page_mask;
  if (!paged_) return page;
  if (const auto found = frames_.find(page); found != frames_.end()) return found->second;
  const std::uint64_t n = frames_.size() * page_size;
  const std::uint64_t frame = frames_.size() % 2 ? last_frame - n : first_frame + n;
  frames_[page] = frame;
  map(page, frame);
  return frame;
}

std::uint64_t Computer::word(std::uint64_t physical) {
  std::uint64_t value = 0;
  if (!memory_->read(physical, &value, sizeof value)) std::abort();
  return value;
}

void Computer::set_word(std::uint64_t physical, std::uint64_t value) {
  if (!memory_->write(physical, &value, sizeof value)) std::abort();
}

/// Sv39 (Privileged ISA 12.4).
void Computer::map(std::uint64_t address, std::uint64_t frame) {
  std::uint64_t table = root_table;
  for (unsigned level = 2; level > 0; level--) {
    const std::uint64_t at = table + (address >> (12 + 9 * level) & 511) * 8;
    if (word(at) == 0) {
      set_word(at, next_table_ >> page_shift << pte::ppn_shift | pte::v);
      next_table_ += page_size;
    }
    table = word(at) >> pte::ppn_shift << page_shift;
  }
  const std::uint64_t all = pte::v | pte::r | pte::w | pte::x | pte::u | pte::a | pte::d;
  set_word(table + (address >> 12 & 511) * 8, frame >> page_shift << pte::ppn_shift | all);
}

void Computer::load(const Segment& segment) {
  for (std::size_t done = 0; done < segment.bytes.size();) {
    const std::uint64_t address = segment.address + done;
    const std::size_t part = std::min<std::size_t>(page_size - (address & page_mask), segment.bytes.size() - done);
    if (!memory_->write(frame_of(address) | (address & page_mask), segment.bytes.data() + done, part)) std::abort();
    done += part;
  }
}

void Computer::begin(std::uint64_t entry) {
  auto& hart = *harts_[0];
  hart.reset(entry, paged_ ? Privilege::user : Privilege::machine, 0, 0);
  auto& state = hart.state();
  state.mtvec = vector;
  state.mstatus |= status::fs | status::sd;
  state.mcounteren = state.scounteren = 7;
  state.menvcfg = state.senvcfg = envcfg::cbie | envcfg::cbcfe | envcfg::cbze;
  state.pmpcfg[0] = 0x1f;  // NAPOT, all memory, read write execute
  state.pmpaddr[0] = ~0ULL >> 10;
  if (paged_) state.satp = std::uint64_t(Paging::sv39) << 60 | root_table >> page_shift;
  hart.restore();
}

bool Computer::write(Outcome& outcome) {
  const auto& x = harts_[0]->state().x;
  for (std::uint64_t address = x[11], end = x[11] + std::min(x[12], report_size); address < end; address++) {
    std::byte byte;
    if (!memory_->read(frame_of(address) | (address & page_mask), &byte, 1)) return false;
    outcome.output.push_back(byte);
  }
  return true;
}

/// After a trap: whether the program goes on.
bool Computer::serve_trap(Outcome& outcome) {
  constexpr std::uint64_t system_write = 64, system_exit = 93;
  auto& hart = *harts_[0];
  auto& state = hart.state();
  const auto cause = Cause(state.mcause);
  const bool call = cause == Cause::ecall_from_user || cause == Cause::ecall_from_machine;
  if (call && state.x[17] == system_exit) return outcome.end = fmt::format("exit {}", state.x[10]), false;
  if (!call || state.x[17] != system_write || !write(outcome)) {
    outcome.end = fmt::format("trap with mcause {}, mtval {:#x} at {:#x}", state.mcause, state.mtval, state.mepc);
    return false;
  }
  state.x[10] = state.x[12];
  state.pc = state.mepc + 4;
  state.privilege = std::uint8_t(paged_ ? Privilege::user : Privilege::machine);
  state.waiting = 0;
  hart.restore();
  return true;
}

Outcome Computer::run(const std::function<void(std::uint64_t)>& executed) {
  constexpr std::uint64_t most = 20'000;  // instructions between two reports
  auto& hart = *harts_[0];
  Outcome outcome;
  for (std::uint64_t left = most; left > 0;) {
    if (single_ && executed) executed(hart.state().pc);
    const std::uint64_t part = single_ ? 1 : std::min<std::uint64_t>(left, 1000);
    hart.run(part);
    left -= part;
    if (const auto pc = hart.state().pc; pc != vector && pc != vector + 4) continue;  // before or after its WFI
    if (!serve_trap(outcome)) return outcome;
    left = most;
  }
  outcome.end = fmt::format("it does not end: it was at {:#x} after {} instructions", hart.state().pc, most);
  return outcome;
}

}  // namespace

Outcome run_interpreter(const Program& program, Way way, const std::function<void(std::uint64_t)>& executed) {
  return std::make_unique<Computer>(program, way)->run(executed);
}

}  // namespace doppel::differential
