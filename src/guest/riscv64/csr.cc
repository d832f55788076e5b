// The control and status registers (Privileged ISA 2, 3.1, 3.7, 12.1, 16; Unprivileged ISA 7, 8, 20.2).
#include "guest/riscv64/csr.h"

#include <array>
#include <utility>

#include "guest/riscv64/hart.h"

namespace doppel::riscv64 {

using U64 = std::uint64_t;

struct Csr::Table {
  std::array<Csr, 4096> row{};
  using Read = U64 (*)(Hart&, const Op&);
  using Write = void (*)(Hart&, const Op&, U64);
  using Accessible = bool (*)(const Hart&);

  Table() {
    floating_point();
    counters();
    supervisor();
    machine_information();
    machine();
    protection();
  }

  void add(unsigned number, std::string_view name, Read read, Write write, Accessible accessible = nullptr) {
    row[number] = {name, read, write, accessible};
  }
  /// A plain register: `mask` is what a write changes.
  template <auto field, U64 mask = ~0ULL>
  void plain(unsigned number, std::string_view name) {
    add(
        number, name, [](Hart& h, const Op&) { return h.state_.*field; },
        [](Hart& h, const Op&, U64 v) { h.state_.*field = (h.state_.*field & ~mask) | (v & mask); });
  }
  template <U64 value>
  void constant(unsigned number, std::string_view name) {
    add(number, name, [](Hart&, const Op&) { return value; }, [](Hart&, const Op&, U64) {});
  }

  static bool fp_on(const Hart& h) { return !h.fp_off(); }

  void floating_point() {
    add(
        0x001, "fflags", [](Hart& h, const Op&) -> U64 { return h.state_.fflags; },
        [](Hart& h, const Op&, U64 v) { h.state_.fflags = v & 31, h.dirty_fp(); }, fp_on);
    add(
        0x002, "frm", [](Hart& h, const Op&) -> U64 { return h.state_.frm; },
        [](Hart& h, const Op&, U64 v) { write_rounding(h, v); }, fp_on);
    add(
        0x003, "fcsr", [](Hart& h, const Op&) -> U64 { return h.state_.frm << 5 | h.state_.fflags; },
        [](Hart& h, const Op&, U64 v) { h.state_.fflags = v & 31, write_rounding(h, v >> 5); }, fp_on);
  }
  static void write_rounding(Hart& h, U64 mode) {
    h.state_.frm = mode & 7;
    h.dirty_fp();
    h.update_views();  // whether floating point is inline depends on it
  }

  // What the running instruction sees is what retired before it; what it writes is what the next one sees.
  static U64 cycles(Hart& h, const Op& op) { return h.steps_before(op) + h.state_.cycle_offset; }
  static U64 retired(Hart& h, const Op& op) {
    return h.steps_before(op) - h.state_.unretired + h.state_.instret_offset;
  }

  template <unsigned index>
  static bool counter_enabled(const Hart& h) {
    const auto bit = U64{1} << index;
    if (h.privilege() == Privilege::machine) return true;
    if (!(h.state_.mcounteren & bit)) return false;
    return h.privilege() == Privilege::supervisor || (h.state_.scounteren & bit);
  }
  template <unsigned index>
  void event_counter() {
    if constexpr (index < 32) {
      add(0xc00 + index, "hpmcounter", [](Hart&, const Op&) { return U64{0}; }, nullptr, counter_enabled<index>);
      constant<0>(0xb00 + index, "mhpmcounter");
      constant<0>(0x320 + index, "mhpmevent");
      event_counter<index + 1>();
    }
  }
  void counters() {
    add(0xc00, "cycle", cycles, nullptr, counter_enabled<0>);
    add(0xc01, "time", [](Hart& h, const Op&) { return h.time(); }, nullptr, counter_enabled<1>);
    add(0xc02, "instret", retired, nullptr, counter_enabled<2>);
    add(0xb00, "mcycle", cycles, [](Hart& h, const Op& op, U64 v) { h.state_.cycle_offset += v - cycles(h, op) - 1; });
    add(0xb02, "minstret", retired,
        [](Hart& h, const Op& op, U64 v) { h.state_.instret_offset += v - retired(h, op) - 1; });
    event_counter<3>();
  }

  /// mstatus as written through `mask`, with what follows from it.
  static void write_status(Hart& h, U64 value, U64 mask) {
    auto& s = h.state_;
    if (((value & status::mpp) >> status::mpp_shift) == 2) mask &= ~status::mpp;  // there is no mode 2
    const auto before = s.mstatus;
    s.mstatus = (before & ~mask & ~status::sd) | (value & mask);
    if ((s.mstatus & status::fs) == status::fs) s.mstatus |= status::sd;
    if ((before ^ s.mstatus) & status::mxr) h.flush_translations();
    h.update_views();
    h.check_interrupts();
  }
  static void write_tvec(U64& tvec, U64 value) { tvec = value & ~U64{2}; }  // direct or vectored
  static void write_enables(Hart& h, U64 value, U64 mask) {
    h.state_.mie = (h.state_.mie & ~mask) | (value & mask);
    h.check_interrupts();
  }
  static void write_pending(Hart& h, U64 value, U64 mask) {
    if (h.state_.menvcfg & envcfg::stce) mask &= ~(U64{1} << interrupt::sti);  // STIP is stimecmp's then (16)
    h.pending();
    h.state_.mip = (h.state_.mip & ~mask) | (value & mask);
    h.check_interrupts();
  }

  void supervisor() {
    add(
        0x100, "sstatus", [](Hart& h, const Op&) { return h.state_.mstatus & status::supervisor_visible; },
        [](Hart& h, const Op&, U64 v) { write_status(h, v, status::supervisor_writable); });
    add(
        0x104, "sie", [](Hart& h, const Op&) { return h.state_.mie & h.state_.mideleg; },
        [](Hart& h, const Op&, U64 v) { write_enables(h, v, h.state_.mideleg); });
    add(
        0x105, "stvec", [](Hart& h, const Op&) { return h.state_.stvec; },
        [](Hart& h, const Op&, U64 v) { write_tvec(h.state_.stvec, v); });
    plain<&HartState::scounteren, 0xffffffff>(0x106, "scounteren");
    add(
        0x10a, "senvcfg", [](Hart& h, const Op&) { return h.state_.senvcfg; },
        [](Hart& h, const Op&, U64 v) {
          const auto before = std::exchange(h.state_.senvcfg, legal_envcfg(v) & envcfg::supervisor_writable);
          // Translations depend on CBZE. Kernels write the same at every switch between processes.
          if ((before ^ h.state_.senvcfg) & envcfg::cbze) h.flush_code_jumps();
        });
    plain<&HartState::sscratch>(0x140, "sscratch");
    plain<&HartState::sepc, ~1ULL>(0x141, "sepc");
    plain<&HartState::scause>(0x142, "scause");
    plain<&HartState::stval>(0x143, "stval");
    add(
        0x144, "sip", [](Hart& h, const Op&) { return h.pending() & h.state_.mideleg; },
        [](Hart& h, const Op&, U64 v) { write_pending(h, v, h.state_.mideleg & 1 << interrupt::ssi); });
    add(
        0x14d, "stimecmp", [](Hart& h, const Op&) { return h.state_.stimecmp; },
        [](Hart& h, const Op&, U64 v) { h.state_.stimecmp = v, h.update_timers(), h.check_interrupts(); },
        [](const Hart& h) {
          return h.privilege() == Privilege::machine ||
                 ((h.state_.menvcfg & envcfg::stce) && (h.state_.mcounteren & 2));
        });
    add(
        0x180, "satp", [](Hart& h, const Op&) { return h.state_.satp; }, write_satp,
        [](const Hart& h) { return h.privilege() != Privilege::supervisor || !(h.state_.mstatus & status::tvm); });
  }
  static void write_satp(Hart& h, const Op&, U64 value) {
    const auto mode = value >> 60;
    const bool known = mode == U64(Paging::bare) || (mode >= U64(Paging::sv39) && mode <= U64(h.config_.max_paging));
    if (!known || value == h.state_.satp) return;  // a mode that is not there changes nothing (12.1.11)
    // What is cached of an address space stays (12.1.11): software that gives its number to another one fences.
    const auto before = std::exchange(h.state_.satp, value);
    if (before >> 60 != mode)
      h.flush_translations();
    else if (((before ^ value) & pte::ppn_mask) != 0 && h.asid_of(before) == h.asid_of(value))
      h.flush_space(h.asid_of(value), nullptr);
    h.update_views();
  }

  void machine_information() {
    constant<0>(0xf11, "mvendorid");
    constant<0>(0xf12, "marchid");
    constant<0>(0xf13, "mimpid");
    add(0xf14, "mhartid", [](Hart& h, const Op&) { return h.state_.hartid; }, nullptr);
    constant<0>(0xf15, "mconfigptr");
    constexpr auto letter = [](char c) { return U64{1} << (c - 'A'); };
    constant<U64{2} << 62 | letter('A') | letter('B') | letter('C') | letter('D') | letter('F') | letter('I') |
             letter('M') | letter('S') | letter('U')>(0x301, "misa");
  }
  void machine() {
    add(
        0x300, "mstatus", [](Hart& h, const Op&) { return h.state_.mstatus; },
        [](Hart& h, const Op&, U64 v) { write_status(h, v, status::machine_writable); });
    plain<&HartState::medeleg, 0xb3ff>(0x302, "medeleg");
    add(
        0x303, "mideleg", [](Hart& h, const Op&) { return h.state_.mideleg; },
        [](Hart& h, const Op&, U64 v) { h.state_.mideleg = v & interrupt::supervisor_bits, h.check_interrupts(); });
    add(
        0x304, "mie", [](Hart& h, const Op&) { return h.state_.mie; },
        [](Hart& h, const Op&, U64 v) { write_enables(h, v, interrupt::all_bits); });
    add(
        0x305, "mtvec", [](Hart& h, const Op&) { return h.state_.mtvec; },
        [](Hart& h, const Op&, U64 v) { write_tvec(h.state_.mtvec, v); });
    plain<&HartState::mcounteren, 0xffffffff>(0x306, "mcounteren");
    add(0x30a, "menvcfg", [](Hart& h, const Op&) { return h.state_.menvcfg; }, write_menvcfg);
    constant<0>(0x320, "mcountinhibit");
    plain<&HartState::mscratch>(0x340, "mscratch");
    plain<&HartState::mepc, ~1ULL>(0x341, "mepc");
    plain<&HartState::mcause>(0x342, "mcause");
    plain<&HartState::mtval>(0x343, "mtval");
    add(
        0x344, "mip", [](Hart& h, const Op&) { return h.pending(); },
        [](Hart& h, const Op&, U64 v) { write_pending(h, v, interrupt::supervisor_bits); });
  }
  static U64 legal_envcfg(U64 value) {
    return (value & envcfg::cbie) == 2 << 4 ? value & ~envcfg::cbie : value;
  }  // CBIE = 2 is reserved
  static void write_menvcfg(Hart& h, const Op&, U64 value) {
    h.state_.menvcfg = legal_envcfg(value) & envcfg::machine_writable;
    h.flush_translations();
    h.update_timers();
    h.check_interrupts();
  }

  // Physical memory protection (3.7.1): 16 entries; the registers of the other 48 read as zero.
  template <unsigned first>
  static U64 read_pmpcfg(Hart& h, const Op&) {
    U64 value = 0;
    for (unsigned i = 0; i < 8; i++) value |= U64{h.state_.pmpcfg[first + i]} << (8 * i);
    return value;
  }
  template <unsigned first>
  static void write_pmpcfg(Hart& h, const Op&, U64 value) {
    for (unsigned i = 0; i < 8; i++) {
      auto& config = h.state_.pmpcfg[first + i];
      if (config & 0x80) continue;  // locked
      config = value >> (8 * i) & 0x9f;
      if ((config & 3) == 2) config &= ~2;  // W without R is reserved
    }
    h.flush_translations();
  }
  template <unsigned index>
  static void write_pmpaddr(Hart& h, const Op&, U64 value) {
    const auto& config = h.state_.pmpcfg;
    const bool locked = config[index] & 0x80;
    const bool next_locks =
        index + 1 < pmp_entries && (config[(index + 1) % pmp_entries] & 0x98) == 0x88;  // a locked TOR above
    if (locked || next_locks) return;
    h.state_.pmpaddr[index] = value & ((U64{1} << 54) - 1);
    h.flush_translations();
  }
  template <unsigned index>
  void addresses() {
    if constexpr (index < pmp_entries) {
      add(0x3b0 + index, "pmpaddr", [](Hart& h, const Op&) { return h.state_.pmpaddr[index]; }, write_pmpaddr<index>);
      addresses<index + 1>();
    }
  }
  void protection() {
    add(0x3a0, "pmpcfg0", read_pmpcfg<0>, write_pmpcfg<0>);
    add(0x3a2, "pmpcfg2", read_pmpcfg<8>, write_pmpcfg<8>);
    for (unsigned number = 0x3a4; number < 0x3b0; number += 2) constant<0>(number, "pmpcfg");
    addresses<0>();
    for (unsigned number = 0x3b0 + pmp_entries; number < 0x3f0; number++) constant<0>(number, "pmpaddr");
  }
};

const Csr* Csr::find(unsigned number) {
  static const Table table;
  const auto& row = table.row[number & 4095];
  return row.read ? &row : nullptr;
}

bool Hart::read_csr(const Op& op, std::uint64_t& value) {
  const unsigned number = op.imm & 4095;
  const auto* csr = Csr::find(number);
  if (!csr || (number >> 8 & 3) > state_.privilege || (csr->accessible && !csr->accessible(*this))) return illegal(op);
  value = csr->read(*this, op);
  return true;
}

bool Hart::write_csr(const Op& op, std::uint64_t value) {
  const unsigned number = op.imm & 4095;
  const auto* csr = Csr::find(number);
  const bool read_only = (number >> 10) == 3;
  if (!csr || read_only || (number >> 8 & 3) > state_.privilege || (csr->accessible && !csr->accessible(*this)))
    return illegal(op);
  csr->write(*this, op, value);
  return true;
}

std::uint64_t Hart::csr_base_for_update(const Op& op, std::uint64_t value) const {
  // Setting or clearing bits of mip leaves SEIP as software last wrote it, whatever the wire says (3.1.9).
  constexpr std::uint64_t seip = 1 << interrupt::sei;
  return (op.imm & 4095) == 0x344 ? (value & ~seip) | (state_.mip & seip) : value;
}

}  // namespace doppel::riscv64
