#pragma once
// A RISC-V hart: architectural state and the interpreter that runs it. An object, not a thread: run() may be called
// from any one thread at a time.
#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "base/archive.h"
#include "base/result.h"
#include "guest/riscv64/address_view.h"
#include "guest/riscv64/block.h"
#include "guest/riscv64/hart_state.h"
#include "guest/riscv64/page_lookups.h"
#include "guest/riscv64/reservation.h"
#include "guest/riscv64/tlb.h"
#include "guest/riscv64/translate.h"
#include "ir/execution_state.h"
#include "memory/guest_memory.h"
#include "memory/mmio.h"

namespace doppel::riscv64 {

class Hart;

/// What a hart needs from the machine that it is part of.
class HartEnvironment {
 public:
  virtual ~HartEnvironment() = default;
  /// The time CSR: ticks of the board's timebase.
  virtual std::uint64_t ticks(const Hart& hart) = 0;
  /// Brings up to date how a running hart may compute the same by itself, if there is a way.
  virtual void tell_time(ir::TimeFormula&) {}
  /// An ECALL from S-mode in a machine without firmware (HartConfig::host_sbi): arguments and results are in the
  /// registers.
  virtual void supervisor_call(Hart& hart) = 0;
  /// Runs `action` while no other hart of the machine executes. Called by a running hart, without the device lock.
  virtual void exclusive(Hart& hart, const std::function<void()>& action) = 0;
  /// Called by a running hart between blocks when attention was asked for: lets an exclusive action of another hart
  /// run.
  virtual void safepoint(Hart& hart) = 0;
  /// An interrupt became pending for a hart that may be waiting: let it run again. Any thread.
  virtual void wake(Hart& hart) = 0;
  /// All harts of the machine, the asking one included; for use inside exclusive().
  virtual std::span<const std::unique_ptr<Hart>> harts() = 0;
};

/// Executes a hart's instructions by other means than the interpreter.
class Executor {
 public:
  virtual ~Executor() = default;
  /// Executes until the hart's budget is used up, or almost if it need not be exact, or attention is asked for. The
  /// hart's own thread.
  virtual void execute(Hart& hart) = 0;
};

/// What is fixed when a hart is made.
struct HartConfig {
  unsigned id = 0;
  Paging max_paging = Paging::sv39;  // the largest mode that satp takes
  bool host_sbi = false;             // ECALL from S-mode is served by HartEnvironment::supervisor_call
  unsigned harts = 1;                // of the machine
  bool exact_runs = true;            // run() executes all the instructions that it may, not almost all
  bool exact_slices = false;         // time is a count of instructions: timers are looked at as often by every executor
};

/// Counted by each hart for itself; read when it does not run.
struct HartCounters {
  std::uint64_t instructions = 0, exceptions = 0, interrupts = 0, tlb_misses = 0, tlb_flushes = 0;
  std::uint64_t blocks_decoded = 0, device_accesses = 0, waits = 0, watched_reservations = 0;
  std::uint64_t jump_misses = 0;  // of translated code's jump caches
  std::uint64_t dispatches = 0;   // of translated code that was left, because the way on was not known or not made yet
  /// Of the instructions, those that an executor left to the interpreter, by Opcode.
  std::array<std::uint64_t, std::size_t(Opcode::count)> interpreted{};
};

class Hart {
 public:
  /// Everything given must outlive the hart.
  Hart(const HartConfig& config, GuestMemory& memory, MmioDoor& door, ReservationTable& reservations,
       HartEnvironment& environment);
  Hart(const Hart&) = delete;

  /// Why run() came back.
  enum class Stop : std::uint8_t {
    budget,   // as many instructions as asked for are done
    waiting,  // in WFI and nothing to wake it: call again after wake() or at next_timer()
    asked,    // stop() was called
    pause,    // the guest spins (PAUSE, WRS): others may use the thread
  };
  /// Executes at most `instructions`, and exactly so many (HartConfig::exact_runs) when it returns Stop::budget. One
  /// that traps counts too.
  Stop run(std::uint64_t instructions);
  /// Makes a run() under way, or else the next one, return soon. Any thread.
  void stop() {
    stop_.store(true, std::memory_order_relaxed);
    ask_attention();
  }
  /// Makes a run() under way call HartEnvironment::safepoint() soon. Any thread.
  void ask_attention() {
    attention_.store(true, std::memory_order_release);
    __atomic_store_n(&execution_.limit, INT64_MAX, __ATOMIC_RELEASE);
  }

  /// How a hart waits for an interrupt: not at all, in WFI, or suspended through the SBI.
  enum class Wait : std::uint8_t { none, wfi, suspended };
  /// Makes the hart wait from the next instruction on, or stop waiting. Its own thread.
  void wait(Wait how) {
    __atomic_store_n(&state_.waiting, std::uint8_t(how), __ATOMIC_RELAXED);
    if (how != Wait::none) ask_attention();
  }
  /// Whether it waits because the SBI suspended it. Any thread.
  bool suspended() const { return __atomic_load_n(&state_.waiting, __ATOMIC_RELAXED) == std::uint8_t(Wait::suspended); }

  /// Drives one bit of mip from outside: 3 MSIP, 7 MTIP is not driven, 9 SEIP, 11 MEIP. Any thread.
  void set_interrupt(unsigned code, bool level);
  /// SSIP as software writes it, by another hart's SBI call. Any thread.
  void raise_software_interrupt();
  /// mtimecmp as the ACLINT has it now; any thread.
  void set_mtimecmp(std::uint64_t ticks);

  /// The earliest tick at which a timer interrupt that this hart would wake for becomes pending; ~0 is never.
  std::uint64_t next_timer() const;
  bool wakeable();

  /// To the state after reset, at `pc` in `privilege`, with a0 and a1 set.
  void reset(std::uint64_t pc, Privilege privilege, std::uint64_t a0, std::uint64_t a1);
  /// Use only while the hart does not run.
  HartState& state() { return state_; }
  const HartState& state() const { return state_; }
  /// Forgets all that is derived from state(), memory and mappings; call after changing state() by hand.
  void restore();
  /// The whole hart but its wires, which devices drive when they are restored. The hart does not run.
  void save(Writer& out) const;
  /// Reads hostile bytes; a failure leaves the hart as it is. Harts of one machine are restored after its memory.
  Result<void> restore(Reader& in);
  /// Instructions executed since reset, those that trapped included; for the hart itself, up to the end of the running
  /// block, or to the instruction that accesses a device.
  /// This, not what retired, is the time of a machine that runs by `--clock instructions`.
  std::uint64_t steps() const;
  unsigned id() const { return config_.id; }
  const HartConfig& config() const { return config_; }
  HartCounters& counters() { return counters_; }
  HartEnvironment& environment() { return environment_; }

  /// SFENCE.VMA for a range (length 0: everything), FENCE.I, and the loss of store rights to a page. For a hart that
  /// does not execute: the calling hart itself or inside HartEnvironment::exclusive().
  void flush_translations();
  void flush_translations(std::uint64_t address, std::uint64_t length);
  /// SFENCE.VMA for one address space: at one address, or everywhere.
  void flush_space(std::uint64_t asid, const std::uint64_t* address);
  void flush_instructions();
  void forbid_stores(std::uint64_t physical_page);
  /// All of memory is shared from now on: forgets where it is. Likewise.
  void forget_pages();
  /// Adds the guest-physical pages that the hart knows where they are, some twice. Likewise.
  void add_known_pages(std::vector<std::uint64_t>& pages);
  /// A copy has taken the page's place. Likewise.
  void forget_page(std::uint64_t physical_page);

  // ---- What an executor needs (translated.cc). ----
  /// Executes by `executor`, which must outlive the hart's runs, from now on; null is the interpreter.
  void set_executor(Executor* executor);
  Executor* executor() const { return executor_; }
  ir::ExecutionState& execution() { return execution_; }
  /// From state() to execution(), in bytes; the same in every hart.
  std::ptrdiff_t execution_offset() const {
    return reinterpret_cast<const char*>(&execution_) - reinterpret_cast<const char*>(&state_);
  }
  std::uint64_t budget() const { return budget_; }
  /// Whether the budget must be used up to the last instruction: it ends where the run does.
  bool exact_budget() const { return exact_budget_; }
  /// Whether to go back to the hart's own loop. The limit may still be raised by one who asked for an attention that
  /// has been given since: only that loop lowers it again.
  bool attention() const {
    return attention_.load(std::memory_order_relaxed) || __atomic_load_n(&execution_.limit, __ATOMIC_RELAXED) != 0;
  }
  TranslationMode translation_mode() const;
  /// Where the code at state().pc is, and where the second half of an instruction that lies on two pages (else 0), when
  /// the pages may be fetched from as a whole. Otherwise false: executes one instruction, or takes the trap.
  bool find_code(std::uint64_t& physical, std::uint64_t& behind);
  /// The same where it takes no more than a look, else false; nothing happens.
  bool knows_code(std::uint64_t& physical) const {
    const auto pc = state_.pc;
    physical = (fetch_->physical_at(pc) & ~page_mask) | (pc & page_mask);
    return fetch_->at(pc).fetch == (pc & ~page_mask) && (pc & page_mask) != page_size - 2;
  }
  /// Executes `count` instructions by the interpreter, fewer when one traps.
  void interpret(std::uint64_t count);
  /// Executes the block at state().pc by the interpreter, keeping nothing of it; after find_code().
  void interpret_block();
  /// Before translated code is entered and behind it.
  void enter_translated();
  void leave_translated();
  /// Translated code that is running may have changed SUM or the privilege, each of which has views of its own: from
  /// now on the hart has those.
  void see_views();
  /// The slow paths of translated code; false when it must be left. interpret_site() also when `last` is set and all is
  /// well: control goes on at state().pc.
  bool slow_access();
  bool interpret_site();
  /// Brings the page of execution().address into the TLB, for what execution().site says; false, with nothing done,
  /// where it is not RAM, or not for that.
  bool refill();
  /// Executes the one instruction at state().pc, which `bits` encodes; false when it trapped or something else asks for
  /// the hart's own loop.
  bool step(std::uint32_t bits);
  /// Another number whenever code that was entered or page_fetched_from() may be mapped in another way.
  std::uint64_t code_view_number() { return code_table(translation_mode()).number(); }
  /// The physical page that the hart would fetch from at an address, without anything happening if it cannot: 0 then.
  std::uint64_t page_fetched_from(std::uint64_t address);
  /// The time CSR for code that the hart runs, translated or not.
  std::uint64_t time();
  /// Whether an FENCE.I of this hart waits for the executor; reading it says that it is done.
  bool take_fence() { return std::exchange(fenced_, false); }
  bool fenced() const { return fenced_; }
  /// Where the code for an address is said to be, in the present view and mode.
  const void* code_at(std::uint64_t pc) {
    const auto& jump = code_table(translation_mode()).at(pc);
    return jump.address == pc ? jump.code : nullptr;
  }
  void forget_code_at(std::uint64_t pc) { code_table(translation_mode()).remove(pc); }
  /// After find_code() or knows_code(), in the present mode: that code is there.
  void set_code_at(std::uint64_t pc, TranslationMode mode, const void* code, bool crosses) {
    auto& jumps = code_table(mode);
    jumps.add(pc, code, unsigned(fetch_->physical_at(pc) & page_mask));
    if (crosses) jumps.depends_on(pc + 2, unsigned(fetch_->physical_at(pc + 2) & page_mask));
  }
  /// Forgets where code is, in every view. The hart must not execute.
  void flush_code_jumps();

  // ---- What instructions are made of; used by the interpreter's chapters only. ----
  std::uint64_t& x(unsigned index) { return state_.x[index]; }
  std::uint64_t& f(unsigned index) { return state_.f[index]; }
  Privilege privilege() const { return Privilege(state_.privilege); }
  std::uint64_t pc_of(const Op& op) const { return block_pc_ + op.offset; }

  /// Raises an exception at `op`; always false, for handlers to return.
  bool raise(const Op& op, Cause cause, std::uint64_t tval);
  bool illegal(const Op& op) { return raise(op, Cause::illegal_instruction, op.bits); }
  /// Takes the trap into M or S mode (Privileged ISA 3.1.6 to 3.1.16, 12.1.1).
  void trap(std::uint64_t cause, std::uint64_t tval, std::uint64_t epc);
  bool mret(const Op& op);
  bool sret(const Op& op);
  bool wait_for_interrupt(const Op& op);
  bool sfence(const Op& op, bool order_only);
  bool environment_call(const Op& op);
  void spin_hint() { pause_ = true, ask_attention(); }

  /// Reads or writes a CSR for the instruction `op`, false when it raised an exception (Zicsr, Privileged ISA 2).
  bool read_csr(const Op& op, std::uint64_t& value);
  bool write_csr(const Op& op, std::uint64_t value);
  /// What bits are set and cleared in, after read_csr() gave `value`.
  std::uint64_t csr_base_for_update(const Op& op, std::uint64_t value) const;

  /// Data accesses of 1, 2, 4 or 8 bytes; false when an exception was raised.
  template <typename T>
  bool load(const Op& op, std::uint64_t address, T& value);
  template <typename T>
  bool store(const Op& op, std::uint64_t address, T value);
  /// Atomic read-modify-write: `value` goes in as the operand and out as the old content.
  template <typename T, typename F>
  bool amo(const Op& op, std::uint64_t address, T& value, F&& combine);
  template <typename T>
  bool load_reserved(const Op& op, std::uint64_t address, T& value);
  template <typename T>
  bool store_conditional(const Op& op, std::uint64_t address, T value, bool& stored);
  /// CBO.ZERO and the checks of the other cache-block operations.
  bool zero_block(const Op& op, std::uint64_t address);
  bool manage_block(const Op& op, std::uint64_t address);

  void dirty_fp() { state_.mstatus |= status::fs | status::sd; }
  bool fp_off() const { return (state_.mstatus & status::fs) == 0; }

  /// Goes on at state().pc: with its block when that is known, else by returning to the dispatcher.
  static void go(Hart& hart, const Op* op);

 private:
  friend struct Csr;  // whose nested Table is the register file
  struct Translation {
    std::uint64_t physical = 0;
    std::uint64_t leaf_bits = page_shift;  // log2 of the leaf's size
    bool load = false, store = false, fetch = false;
    bool global = true;  // in every address space
  };
  // hart.cc
  void update_views();
  std::uint64_t tlb_changes_ = 0;  // how often what a window relies on may have ended
  AddressView& view_of(Privilege privilege) {
    return privilege == Privilege::machine ? views_.machine()
           : privilege == Privilege::user  ? views_.user()
                                           : views_.supervisor();
  }
  DataView& data_view_of(Privilege privilege, bool sum) {
    return sum && privilege == Privilege::supervisor ? views_.supervisor_with_user() : view_of(privilege);
  }
  /// The present view's table of code for a mode.
  CodeJumps& code_table(TranslationMode mode) {
    const bool known = code_view_->has_code(mode.jump_key());
    auto& table = code_view_->code(mode.jump_key());
    if (!known) publish_code_tables();
    return table;
  }
  void publish_code_tables();
  static std::uint64_t asid_of(std::uint64_t satp) { return satp >> 44 & 0xffff; }
  std::uint64_t slice_length() const;
  void execute(std::uint64_t slice);
  void interpret_slice();
  bool fetch_address(std::uint64_t pc, std::uint64_t& physical);
  bool fetch_behind(std::uint64_t address, std::uint64_t& physical);
  bool fetch_fault(Cause cause, std::uint64_t at, std::uint64_t pc);
  void begin_site(const ir::Site& site);
  bool slow_load(const ir::Site& site);
  bool finish_load();
  bool slow_store(const ir::Site& site);
  void merge_float_flags();
  bool rounds_inline() const { return state_.frm < host_rounding_modes; }
  const Block* known_block(std::uint32_t bits);
  const Block* find_block(std::uint64_t pc);
  /// A block of the one instruction at physical address `first`, whose upper half, if it has one, is at `second`.
  const Block* decode_alone(std::uint64_t first, std::uint64_t second);
  void run_block(const Block& block, std::uint64_t pc);
  void run_part(const Block& block, std::uint64_t pc, std::uint64_t count);
  bool same_bytes(const Block& block);

  // trap.cc
  std::uint64_t pending();
  void update_timers();
  std::uint64_t takeable();
  bool take_interrupt();
  void check_interrupts();
  void set_privilege(Privilege privilege);

  // mmu.cc
  /// Without `update`, A and D bits stay as they are: what needs one set fails.
  bool translate(std::uint64_t address, Access access, Privilege privilege, Translation& out, Cause& fault,
                 bool update = true);
  bool walk(std::uint64_t address, Access access, Privilege privilege, Translation& out, Cause& fault, bool update);
  bool update_entry(std::uint64_t entry_address, std::uint64_t entry, Access access, bool& retry);
  std::uint8_t pmp_permissions(std::uint64_t address, std::uint64_t length, Privilege privilege) const;
  bool pmp_allows(std::uint64_t address, std::uint64_t length, Access access, Privilege privilege) const;
  std::byte* fill_tlb(std::uint64_t address, Access access, const Translation& translation, Privilege privilege);
  /// Translates a data access inside one page and says where it is; false after raising.
  bool locate(const Op& op, std::uint64_t address, unsigned size, Access access, std::uint64_t& physical);
  Privilege data_privilege() const;

  // memory_access.cc
  bool load_slow(const Op& op, std::uint64_t address, unsigned size, std::uint64_t& value);
  bool store_slow(const Op& op, std::uint64_t address, unsigned size, std::uint64_t value);
  bool load_across(const Op& op, std::uint64_t address, unsigned size, std::uint64_t& value);
  /// What a device sees of time during an access is the instruction's, not the block's.
  void begin_device_access(const Op& op) {
    counters_.device_accesses++;
    ahead_ = block_->count - std::uint64_t(&op - block_->ops);
  }
  bool leave(const Op& op, bool behind);
  std::byte* own_page(std::uint64_t physical);
  PageLookups lookups_;       // of pages that are shared
  bool left_behind_ = false;  // that is why an instruction ended its block
  bool store_across(const Op& op, std::uint64_t address, unsigned size, std::uint64_t value);
  void store_part(std::uint64_t physical, const void* bytes, unsigned size);
  /// Where an aligned atomic goes; `host` is null after raising.
  struct AtomicPlace {
    std::byte* host = nullptr;
    std::uint64_t physical = 0;
    bool watched = false;  // it must go through the reservation table
  };
  AtomicPlace locate_atomic(const Op& op, std::uint64_t address, unsigned size, Access access);
  void reserve_watched(const AtomicPlace& place, const std::function<void()>& load);
  std::uint64_t steps_before(const Op& op) const {
    return state_.steps + (slice_ - budget_) - (block_->count - (&op - block_->ops));
  }
  void watch_page(std::uint64_t physical_page);

  HartConfig config_;
  GuestMemory& memory_;
  MmioDoor& door_;
  ReservationTable& reservations_;
  HartEnvironment& environment_;

  alignas(64) ir::ExecutionState execution_;
  HartState state_;  // lies behind
  Executor* executor_ = nullptr;
  bool fenced_ = false;
  Tlb* data_ = nullptr;   // the view of loads and stores
  Tlb* fetch_ = nullptr;  // the view of instruction fetches
  BlockJumps* jumps_ = nullptr;
  std::uint64_t asid_ = ~0ULL;  // that views_ is switched to
  AddressView* code_view_ = nullptr;
  DataView* data_view_ = nullptr;
  const Block* block_ = nullptr;  // running
  std::uint64_t block_pc_ = 0;
  std::uint64_t budget_ = 0;  // instructions of the slice that are left after the running block
  std::uint64_t slice_ = 0;
  bool exact_budget_ = true;
  std::uint64_t ahead_ = 0;  // of the running block, what is not executed yet; kept only during device accesses
  std::atomic<bool> attention_ = false;
  bool pause_ = false;
  std::atomic<bool> stop_ = false;
  std::atomic<std::uint64_t> external_ = 0;  // mip bits that wires drive
  std::atomic<bool> software_ = false;       // SSIP raised by another hart, not yet in state
  std::atomic<std::uint64_t> mtimecmp_ = ~0ULL;
  std::uint64_t timers_ = 0;  // MTIP, STIP as of the last look
  std::uint64_t decode_epoch_ = 1;

  struct Reservation {
    enum class Kind : std::uint8_t { none, plain, watched } kind = Kind::none;
    std::uint64_t physical = 0;
    std::uint64_t value = 0;  // what a plain LR read
    std::uint64_t at = 0;     // steps_before() the SC that a plain LR may be followed by
    std::uint64_t block =
        0;  // where the block of that SC must have been entered: behind the branch that is between; 0 is none
    unsigned size = 0;
    std::uint64_t pc = 0;  // of the LR
  } reservation_;
  /// Generated code need not know more of it than whether there is one.
  void reserve(const Reservation& reservation) {
    reservation_ = reservation;
    execution_.reserved = reservation.kind != Reservation::Kind::none;
  }
  Reservation end_reservation() {
    execution_.reserved = 0;
    return std::exchange(reservation_, {});
  }
  Reservation take_reservation();
  /// An LR whose plain reservation did not fit the code is watched the next time; 1 is none. Only that one: of others
  /// translated code may not ask the hart.
  std::uint64_t watch_at_ = 1;

  AddressViews views_;
  BlockCache blocks_;
  Op site_op_;  // stands for the instruction of a slow path
  Block site_block_;
  struct KnownOp {
    std::uint32_t bits = 0;
    Block block;
    std::array<Op, 2> ops;
  };
  std::unique_ptr<std::array<KnownOp, 256>> known_ = std::make_unique<std::array<KnownOp, 256>>();
  Block part_, across_;  // the beginning of a block that the budget ends in; an instruction that lies on two pages
  std::array<Op, Block::max_ops + 1> part_ops_;
  std::vector<Op> across_ops_;
  Block once_;  // of interpret_block()
  std::vector<Op> once_ops_;
  HartCounters counters_;
};

inline void Hart::go(Hart& hart, const Op*) {
  const auto pc = hart.state_.pc;
  const auto& jump = hart.jumps_->at(pc);
  if (jump.pc != pc || jump.block->count > hart.budget_ || hart.attention_.load(std::memory_order_relaxed)) return;
  const auto* block = jump.block;
  hart.block_ = block;
  hart.block_pc_ = pc;
  hart.budget_ -= block->count;
  [[clang::musttail]] return block->ops->handler(hart, block->ops);
}

}  // namespace doppel::riscv64

#include "guest/riscv64/memory_access.h"
