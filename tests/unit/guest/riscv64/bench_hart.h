#pragma once
// A tiny machine for tests of harts: RAM, one device page that a test scripts, some harts, and the few lines that stop
// the others for one of them, as the machine's scheduler does.
#include <atomic>
#include <condition_variable>
#include <cstring>
#include <functional>
#include <initializer_list>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

#ifdef DOPPEL_BENCH_ENGINE
#include "engine/engine.h"
#include "unit/engine/sound_ir.h"
#endif
#include "guest/riscv64/hart.h"
#include "unit/guest/riscv64/encoding.h"

namespace doppel::riscv64::bench {

using U64 = std::uint64_t;
using Program = std::vector<std::uint32_t>;

// ---- A mini assembler: operands in the manual's order ----
using Reg = std::uint8_t;
inline std::uint32_t r(Opcode op, Reg rd, Reg rs1, Reg rs2) {
  return encode({.op = op, .rd = rd, .rs1 = rs1, .rs2 = rs2});
}
inline std::uint32_t i(Opcode op, Reg rd, Reg rs1, int imm) {
  return encode({.op = op, .rd = rd, .rs1 = rs1, .imm = imm});
}
inline std::uint32_t load(Opcode op, Reg rd, int offset, Reg base) { return i(op, rd, base, offset); }
inline std::uint32_t store(Opcode op, Reg source, int offset, Reg base) {
  return encode({.op = op, .rs1 = base, .rs2 = source, .imm = offset});
}
inline std::uint32_t branch(Opcode op, Reg rs1, Reg rs2, int offset) {
  return encode({.op = op, .rs1 = rs1, .rs2 = rs2, .imm = offset});
}
inline std::uint32_t jump(int offset, Reg rd = 0) { return encode({.op = Opcode::jal, .rd = rd, .imm = offset}); }
inline std::uint32_t csr(Opcode op, Reg rd, unsigned number, Reg rs1) { return i(op, rd, rs1, int(number)); }
inline std::uint32_t lr(Opcode op, Reg rd, Reg base, std::uint8_t aqrl = 0) {
  return encode({.op = op, .rd = rd, .rs1 = base, .aqrl = aqrl});
}
inline std::uint32_t amo(Opcode op, Reg rd, Reg source, Reg base, std::uint8_t aqrl = 0) {
  return encode({.op = op, .rd = rd, .rs1 = base, .rs2 = source, .aqrl = aqrl});
}
inline std::uint32_t plain(Opcode op, Reg rs1 = 0, Reg rs2 = 0) { return encode({.op = op, .rs1 = rs1, .rs2 = rs2}); }
inline std::uint32_t fence_rw() { return encode({.op = Opcode::fence, .imm = 0x33}); }
inline std::uint32_t nop() { return i(Opcode::addi, 0, 0, 0); }

inline constexpr U64 ram = 0x8000'0000, ram_bytes = 32 << 20;
inline constexpr U64 code = ram + 0x1000, handler = ram + 0x80'0000, data = ram + 0x10'0000, tables = ram + 0x100'0000;
inline constexpr U64 device = 0x1000'0000;  // one page
inline constexpr U64 interrupt_flag = interrupt::cause_flag;

/// What one instruction did: the trap that it caused, if any.
struct Outcome {
  bool trapped = false;
  U64 cause = 0, tval = 0, epc = 0;
  Privilege to = Privilege::machine;
  bool is(Cause expected) const { return trapped && cause == U64(expected); }
};

class Bench : public HartEnvironment, public MmioDoor {
 public:
  explicit Bench(unsigned count = 1, bool host_sbi = false, Paging paging = Paging::sv57)
      : memory_(std::move(*GuestMemory::create(ram, ram_bytes))), reservations_(count) {
    memory_->set_write_observer(
        [this](U64 address, U64 length) { return reservations_.device_store(address, length); });
    for (unsigned id = 0; id < count; id++) {
      const HartConfig config{.id = id, .max_paging = paging, .host_sbi = host_sbi, .harts = count};
      harts_.push_back(std::make_unique<Hart>(config, *memory_, *this, reservations_, *this));
#ifdef DOPPEL_BENCH_ENGINE
      if (!engine_) engine_ = std::move(Engine::create(*memory_, code_bytes)).value();
      if (!engine_->attach(*harts_.back())) std::abort();
      if (id == 0 && !engine_->open_store(code_store)) std::abort();
      if (id == 0) engine_->observe(std::make_unique<SoundIr>());
#endif
      harts_.back()->reset(code, Privilege::machine, 0, 0);
      state(id).mtvec = handler;
      open_memory(id);
    }
#ifdef DOPPEL_BENCH_ENGINE
    if (optimizing) engine_->optimize(0, 1);
    if (interprets_new) engine_->interpret_what_is_new();
    engine_->start_store();
#endif
  }

#ifdef DOPPEL_BENCH_ENGINE
  static inline std::size_t code_bytes = 16 << 20;
#ifdef DOPPEL_BENCH_OPTIMIZING
  static inline bool optimizing = true;  // whatever is executed more than once becomes a path
#else
  static inline bool optimizing = false;
#endif
  static inline bool interprets_new = false;  // else nothing of what tests execute once would be translated
  static inline CodeStoreOptions code_store;
  CodeStoreCounters store_counters() const { return engine_->store_counters().value_or(CodeStoreCounters{}); }
  EngineCounters engine_counters() const { return engine_->counters(); }
#endif
  Hart& hart(unsigned id = 0) { return *harts_[id]; }
  HartState& state(unsigned id = 0) { return hart(id).state(); }
  U64& x(unsigned index, unsigned id = 0) { return state(id).x[index]; }
  GuestMemory& memory() { return *memory_; }
  ReservationTable& reservations() { return reservations_; }

  /// One PMP entry that lets S and U do everything.
  void open_memory(unsigned id = 0) {
    state(id).pmpcfg[15] = 0x1f;
    state(id).pmpaddr[15] = ~0ULL >> 10;
  }

  void put(U64 address, const Program& program) { poke_bytes(address, program.data(), program.size() * 4); }
  void poke_bytes(U64 address, const void* bytes, U64 length) {
    bool replaced = false;
    for (U64 done = 0; done < length; done++)
      std::memcpy(memory_->page_for_write(address + done, replaced) + ((address + done) & page_mask),
                  static_cast<const char*>(bytes) + done, 1);
  }
  void poke(U64 address, U64 value, unsigned size = 8) { poke_bytes(address, &value, size); }
  /// What was written is shared from now on, as when a machine is forked.
  void freeze() {
    memory_->freeze();
    for (auto& hart : harts_) hart->forget_pages();
  }
  U64 peek(U64 address, unsigned size = 8) {
    U64 value = 0;
    for (unsigned n = 0; n < size; n++)
      value |= U64(std::uint8_t(memory_->page_for_read(address + n)[(address + n) & page_mask])) << 8 * n;
    return value;
  }

  /// Runs a hart on this thread, as one that executes; may be called inside a device access of another hart.
  Hart::Stop run(U64 instructions, unsigned id = 0) {
    thread_local unsigned depth = 0;
    if (depth == 0) enter();
    depth++;
    const auto stop = hart(id).run(instructions);
    if (--depth == 0) leave();
    return stop;
  }
  /// Puts the program at `code` and runs as many instructions as it has.
  void execute(const Program& program, unsigned id = 0) {
    put(code, program);
    state(id).pc = code;
    hart(id).restore();
    run(program.size(), id);
  }
  /// Runs one instruction at `at` in `privilege` and says what came of it.
  Outcome step(std::uint32_t instruction, Privilege privilege = Privilege::machine, U64 at = code, U64 physical = 0) {
    put(physical ? physical : at, {instruction});
    return step_at(at, privilege);
  }
  Outcome step_at(U64 at, Privilege privilege) {
    state().privilege = std::uint8_t(privilege);
    state().pc = at;
    hart().restore();
    return again();
  }
  /// One more instruction from where the hart is.
  Outcome again(unsigned id = 0) {
    const auto before = hart(id).counters().exceptions + hart(id).counters().interrupts;
    run(1, id);
    Outcome out;
    auto& s = state(id);
    out.trapped = hart(id).counters().exceptions + hart(id).counters().interrupts != before;
    out.to = Privilege(s.privilege);
    const bool machine = out.to == Privilege::machine;
    if (out.trapped)
      out.cause = machine ? s.mcause : s.scause, out.tval = machine ? s.mtval : s.stval,
      out.epc = machine ? s.mepc : s.sepc;
    return out;
  }

  /// Runs each hart on a thread of its own until it reaches WFI or has done `limit` instructions; false if one did not
  /// get there.
  bool run_all(U64 limit = 2'000'000'000) {
    std::atomic<unsigned> arrived = 0;
    std::vector<std::thread> threads;
    for (unsigned id = 0; id < harts_.size(); id++)
      threads.emplace_back([&, id] {
        // A pause ends a run early and counts for what it did: where the host has other work, there may be very many.
        for (const U64 begin = hart(id).steps(); hart(id).steps() - begin < limit;) {
          const auto stop = run(20'000, id);
          if (stop == Hart::Stop::pause) std::this_thread::yield();
          if (stop != Hart::Stop::waiting) continue;
          arrived++;
          break;
        }
      });
    for (auto& thread : threads) thread.join();
    return arrived == harts_.size();
  }

  std::atomic<U64> now = 0;
  ir::TimeFormula time;  // where it is on, harts may compute the time by it
  std::atomic<unsigned> wakes = 0;
  std::function<void(Hart&)> on_call;
  std::function<std::optional<U64>(U64 address, unsigned size)> on_read;
  std::function<bool(U64 address, unsigned size, U64 value)> on_write;

  // HartEnvironment
  U64 ticks(const Hart&) override { return now; }
  void tell_time(ir::TimeFormula& out) override { out = time; }
  void supervisor_call(Hart& hart) override {
    if (on_call) on_call(hart);
  }
  void exclusive(Hart& hart, const std::function<void()>& action) override {
    std::unique_lock guard(lock_);
    while (exclusive_) stand_aside(guard);
    exclusive_ = true;
    for (auto& other : harts_)
      if (other.get() != &hart) other->ask_attention();
    settled_.wait(guard, [&] { return running_ == 1; });
    action();
    exclusive_ = false;
    settled_.notify_all();
  }
  void safepoint(Hart&) override {
    std::unique_lock guard(lock_);
    if (exclusive_) stand_aside(guard);
  }
  void wake(Hart&) override { wakes++; }
  std::span<const std::unique_ptr<Hart>> harts() override { return harts_; }

  // MmioDoor
  bool mmio_read(U64 address, unsigned size, U64& value) override {
    if (address >> page_shift != device >> page_shift || !on_read) return false;
    const auto read = on_read(address, size);
    if (read) value = *read;
    return read.has_value();
  }
  bool mmio_write(U64 address, unsigned size, U64 value) override {
    return address >> page_shift == device >> page_shift && on_write && on_write(address, size, value);
  }

 private:
  void enter() {
    std::unique_lock guard(lock_);
    settled_.wait(guard, [&] { return !exclusive_; });
    running_++;
  }
  void leave() {
    std::lock_guard guard(lock_);
    running_--;
    settled_.notify_all();
  }
  void stand_aside(std::unique_lock<std::mutex>& guard) {
    running_--;
    settled_.notify_all();
    settled_.wait(guard, [&] { return !exclusive_; });
    running_++;
  }

  std::unique_ptr<GuestMemory> memory_;
  ReservationTable reservations_;
#ifdef DOPPEL_BENCH_ENGINE
  std::unique_ptr<Engine> engine_;
#endif
  std::vector<std::unique_ptr<Hart>> harts_;
  std::mutex lock_;
  std::condition_variable settled_;
  unsigned running_ = 0;
  bool exclusive_ = false;
};

/// Builds page tables in a bench's RAM and points satp at them.
class Pages {
 public:
  explicit Pages(Bench& bench, Paging mode = Paging::sv39) : bench_(bench), mode_(mode), root_(next()) {
    bench.state().satp = U64(mode) << 60 | root_ >> page_shift;
  }
  static constexpr U64 rwx = pte::v | pte::r | pte::w | pte::x | pte::a | pte::d;
  static constexpr U64 entry(U64 physical, U64 bits) { return physical >> page_shift << pte::ppn_shift | bits; }
  /// Maps one leaf at `level` (0 is 4 KiB) and gives the address of its entry.
  U64 map(U64 address, U64 physical, U64 bits = rwx, unsigned level = 0) {
    const auto at = slot(address, level);
    bench_.poke(at, entry(physical, bits));
    return at;
  }
  /// Where the entry for `address` at `level` is; makes the tables above.
  U64 slot(U64 address, unsigned level) {
    auto table = root_;
    for (auto l = paging_levels(mode_) - 1; l > level; l--) {
      const auto at = table + index(address, l) * 8;
      if (!(bench_.peek(at) & pte::v)) bench_.poke(at, entry(next(), pte::v));
      table = bench_.peek(at) >> pte::ppn_shift << page_shift;
    }
    return table + index(address, level) * 8;
  }
  U64 root() const { return root_; }

 private:
  static U64 index(U64 address, unsigned level) { return address >> (12 + 9 * level) & 511; }
  U64 next() { return std::exchange(free_, free_ + page_size); }
  Bench& bench_;
  Paging mode_;
  U64 free_ = tables;
  U64 root_;
};

}  // namespace doppel::riscv64::bench
