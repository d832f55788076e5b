#include "handlers.h"

#include <array>
#include <map>

#include "../stream.h"

namespace doppel::differential::engines {
namespace {

constexpr unsigned sstatus = 0x100, sie = 0x104, stvec = 0x105, sscratch = 0x140, sepc = 0x141, scause = 0x142,
                   stval = 0x143, sip = 0x144, satp = 0x180, mstatus = 0x300, mie = 0x304, mscratch = 0x340,
                   mepc = 0x341, mcause = 0x342, mtval = 0x343;
constexpr unsigned vectors = 16;

/// The registers and names that differ between the two modes.
struct Mode {
  unsigned status, enables, scratch, epc, cause, tval;
  U64 saved, log;
};
constexpr Mode machine_mode{mstatus, mie, mscratch, mepc, mcause, mtval, 0, place::machine_log};
constexpr Mode supervisor_mode{sstatus, sie, sscratch, sepc, scause, stval, supervisor_saved, place::supervisor_log};

class Writer {
 public:
  explicit Writer(unsigned hart) : hart_(hart), base_(place::handlers + hart * page_size) {}

  Handlers write() {
    Handlers out;
    out.machine = here();
    machine();
    out.next = at("next");
    while (code_.size() % 64 != 0) add("addi", {});  // vectored trap bases are aligned
    out.supervisor = here();
    supervisor();
    out.idle = at("idle");
    for (const auto& jump : jumps_) code_[jump.at] = encoded(jump);
    out.code = code_;
    return out;
  }

 private:
  struct Jump {
    std::size_t at;
    std::string_view name;
    Fields fields;
    std::string label;
  };

  U64 here() const { return base_ + code_.size() * 4; }
  U64 at(const std::string& label) { return base_ + labels_.at(label) * 4; }
  void label(const std::string& name) { labels_[name] = code_.size(); }
  void add(std::string_view name, const Fields& fields) { code_.push_back(make(name, fields).bits); }
  void jump(std::string_view name, Fields fields, std::string to) {
    jumps_.push_back({code_.size(), name, fields, std::move(to)});
    code_.push_back(0);
  }
  std::uint32_t encoded(const Jump& jump) {
    auto fields = jump.fields;
    fields.i = (I64(labels_.at(jump.label)) - I64(jump.at)) * 4;
    return make(jump.name, fields).bits;
  }
  void read(unsigned r, unsigned csr) { add("csrrs", {.d = r, .i = csr}); }
  void write(unsigned csr, unsigned r) { add("csrrw", {.s = r, .i = csr}); }
  void address(unsigned r, U64 value) { add("lui", {.d = r, .i = I64(value)}); }

  void enter(const Mode& m, const std::string& mode) {
    for (unsigned n = 0; n < vectors; n++) jump("jal", {}, mode);
    label(mode);
    write_swap(m);
    address(5, records_of(hart_));
    if (m.saved) add("addi", {.d = 5, .s = 5, .i = I64(m.saved)});
    add("sd", {.s = 5, .t = 6, .i = I64(saved_x6)});
    add("sd", {.s = 5, .t = 7, .i = I64(saved_x7)});
    read(6, m.scratch);
    add("sd", {.s = 5, .t = 6, .i = I64(saved_x5)});
    add("ld", {.d = 6, .s = 5, .i = I64(log_at)});
    I64 place = 0;
    for (const auto csr : {m.cause, m.epc, m.tval, m.status}) {
      read(7, csr);
      add("sd", {.s = 6, .t = 7, .i = place});
      place += 8;
    }
    add("addi", {.d = 6, .s = 6, .i = place});
    add("bclri", {.d = 6, .s = 6, .i = 12});  // the log begins anew
    add("sd", {.s = 5, .t = 6, .i = I64(log_at)});
    read(6, m.cause);
    jump("blt", {.s = 6, .t = 0}, mode + " interrupt");
  }
  void write_swap(const Mode& m) { add("csrrw", {.d = 5, .s = 5, .i = m.scratch}); }
  void restore() {
    add("ld", {.d = 6, .s = 5, .i = I64(saved_x6)});
    add("ld", {.d = 7, .s = 5, .i = I64(saved_x7)});
    add("ld", {.d = 5, .s = 5, .i = I64(saved_x5)});
  }
  void branch_if(unsigned cause, const std::string& to) {
    add("addi", {.d = 7, .i = cause});
    jump("beq", {.s = 6, .t = 7}, to);
  }
  /// Where there is no code there are zeros, which are illegal.
  void give_up_if_lost(const Mode& m, const std::string& to) {
    add("addi", {.d = 7, .s = 6, .i = -2});
    read(5, m.tval);
    add("or_", {.d = 7, .s = 7, .t = 5});
    address(5, records_of(hart_));
    if (m.saved) add("addi", {.d = 5, .s = 5, .i = I64(m.saved)});
    jump("beq", {.s = 7}, to);
  }
  void skip(const Mode& m) {
    read(6, m.epc);
    add("addi", {.d = 6, .s = 6, .i = 4});
    write(m.epc, 6);
  }
  /// An interrupt is not wanted any more. Leaves its number in x6 and its bit in x7.
  void disable(const Mode& m) {
    add("bclri", {.d = 6, .s = 6, .i = 63});
    add("bset", {.d = 7, .s = 0, .t = 6});
    add("csrrc", {.s = 7, .i = m.enables});
  }

  void machine() {
    enter(machine_mode, "machine");
    branch_if(1, "next");
    branch_if(12, "next");
    give_up_if_lost(machine_mode, "next");
    for (const auto call : {8U, 9U, 11U}) branch_if(call, "call");
    label("skip");
    skip(machine_mode);
    jump("jal", {}, "leave");
    label("call");
    jump("bne", {.s = call_number_register}, "skip");
    jump("jal", {}, "next");
    label("machine interrupt");
    disable(machine_mode);
    add("addi", {.d = 7, .i = 11});
    jump("bne", {.s = 6, .t = 7}, "leave");
    address(7, place::device);
    add("sw", {.s = 7, .t = 0, .i = I64(place::device_acknowledge)});
    label("next");
    start_next();
    label("leave");
    restore();
    add("mret", {});
    label("idle");
    add("wfi", {});
    jump("jal", {}, "idle");
  }

  void start_next() {
    add("fence_i", {});
    add("ld", {.d = 6, .s = 5, .i = I64(place::changing)});
    jump("beq", {.s = 6}, "fenced");
    add("sfence_vma", {});
    add("sd", {.s = 5, .t = 0, .i = I64(place::changing)});
    label("fenced");
    add("ld", {.d = 6, .s = 5, .i = I64(descriptor_at)});
    I64 place = 0;
    for (const auto csr : {mepc, mstatus, satp, stvec, mie}) {
      add("ld", {.d = 7, .s = 6, .i = place});
      write(csr, 7);
      place += 8;
    }
    add("addi", {.d = 6, .s = 6, .i = place});
    add("sd", {.s = 5, .t = 6, .i = I64(descriptor_at)});
  }

  void supervisor() {
    enter(supervisor_mode, "supervisor");
    branch_if(1, "give up");
    branch_if(12, "give up");
    give_up_if_lost(supervisor_mode, "give up");
    branch_if(8, "supervisor call");
    label("supervisor skip");
    skip(supervisor_mode);
    label("supervisor leave");
    restore();
    add("sret", {});
    // Reached where SRET traps (mstatus.TSR).
    label("give up");
    add("addi", {.d = call_number_register});
    label("supervisor call");
    jump("bne", {.s = call_number_register}, "supervisor skip");
    restore();
    add("ecall", {});
    label("supervisor interrupt");
    disable(supervisor_mode);
    add("csrrc", {.s = 7, .i = sip});
    jump("jal", {}, "supervisor leave");
  }

  unsigned hart_;
  U64 base_;
  std::vector<std::uint32_t> code_;
  std::vector<Jump> jumps_;
  std::map<std::string, std::size_t> labels_;
};

}  // namespace

const Handlers& handlers_of(unsigned hart) {
  static const std::array<Handlers, place::harts> all = {Writer(0).write(), Writer(1).write()};
  return all[hart];
}

}  // namespace doppel::differential::engines
