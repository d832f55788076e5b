#pragma once
// The optimizing code generator: host code for paths, ways through guest code that are executed again and again. Values
// live in whatever register is free; guest registers are put into their places only where a path is left, and a path
// that ends where it begins goes round with its values in registers.
#include <asmjit/x86.h>

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "codegen/fast/generator.h"
#include "codegen/fast/host.h"
#include "codegen/layout.h"
#include "codegen/optimizing/moves.h"
#include "ir/code.h"

namespace doppel::optimizing {

namespace x86 = asmjit::x86;

/// Where a path over several pages has what only whoever keeps it can know, as 32-bit words, in bytes from the code's
/// begin; all 0 in other paths.
struct PathSites {
  std::uint32_t view = 0, page = 0, number = 0;  // of its ir::PathCheck
  std::uint32_t entry_count = 0;                 // what the code counts that it stands in for
  std::uint32_t fallback = 0;                    // the displacement of the jump to that, where the path cannot be used
};

/// What a path needs of whoever keeps it, besides links.
struct PathCode {
  fast::GeneratedCode code;
  PathSites sites;
};

/// Fills in all but the fallback: `check` is the ExecutionState::checks entry that tells whether the path's pages are
/// mapped as they were. `entry_count` is how many instructions the code that it stands in for counts.
void settle(PathCode& path, std::uint32_t check, std::uint32_t entry_count);

class Generator {
 public:
  explicit Generator(const GuestLayout& layout);
  /// Whether paths may have the operation.
  static bool knows(ir::Op op);
  /// Generates code for a path (ir::Code::path), of which nothing but `pages` may be linked: in pages from the first
  /// instruction's on. `repeated`: it goes round, and mostly many times. False where more values are wanted at once
  /// than there is room for.
  bool generate(const ir::Code& path, std::span<const std::int32_t> pages, bool repeated, PathCode& out);

 private:
  using Value = ir::Value;
  using Instruction = ir::Instruction;
  using Label = asmjit::Label;
  static constexpr unsigned max_registers = GuestLayout::max_registers;
  static constexpr std::uint32_t never = ~0U;
  static constexpr unsigned gp_count = 12, vector_count = 15;
  static constexpr std::int8_t nowhere = -1;
  static constexpr unsigned rdx_place = 4;

  /// Where a value is, perhaps in several places, and how long it is wanted.
  struct Info {
    std::uint32_t next_use = never;  // by an operation
    std::int32_t exit_last = -1;     // the last operation that may be left with it in a guest register
    std::uint32_t uses = 0;
    std::int8_t reg = nowhere;   // number of a register of its kind
    std::int8_t home = nowhere;  // guest register whose place in memory holds it
    std::int16_t slot = nowhere;
    std::int8_t hint = nowhere;  // register that it had best be made in
    bool vector = false, live = false, sunk = false;
  };
  /// How a path is left.
  struct Exit {
    enum class Kind : std::uint8_t { link, separate, jump, leave } kind;
    Label label;
    std::int64_t target;
    std::int32_t refund;
    std::size_t moves_begin, moves_end;
    Value at;
  };
  struct Fix {  // of a result that is no number
    Label label, resume;
    x86::Xmm value;
    ir::Type type;
    Value at;
  };

  /// A window whose base goes on by little from round to round, if at all: where in the frame its page and what is
  /// added are kept from the last round, so that most rounds need not look into the TLB.
  struct Kept {
    Value window;
    std::uint16_t page_slot, addend_slot;
    bool upwards;
  };
  struct Moving {  // a guest register's value at the round's begin, plus a constant
    unsigned reg;
    std::int64_t offset;
  };
  /// A path that copies one element a round, forwards.
  struct CopyLoop {
    Value load = ir::no_value, store = ir::no_value;
    std::uint8_t size = 0;                           // of an element in bytes
    unsigned from = 0, to = 0;                       // registers: what the accesses' addresses are counted from
    std::array<std::int8_t, max_registers> steps{};  // by which a round moves each register
    std::uint64_t loaded = 0;                        // registers, a bit for each, that a round leaves the element in
    // The path is left where a register plus `offset` and `bound` compare so.
    unsigned counter = 0;
    std::int64_t offset = 0;
    Value bound = ir::no_value;
    ir::Condition condition = ir::Condition::eq;
  };
  struct Look {  // into the TLB, for one of these
    Label label, miss, resume;
    x86::Gp base;
    const Kept* kept;
    std::int32_t first;
    Value at;
  };

  struct Miss {  // of a window
    Label label, retry;
    x86::Gp base;
    std::int32_t first;
    bool store;
    Label exit;
    Value at;
  };

  // prepare.cc
  void prepare(const ir::Code& path);
  void find_registers();
  void find_arguments();
  void find_exit_needs();
  std::optional<std::int64_t> step_of(Value v, const std::array<Value, max_registers>& at_end, unsigned depth) const;
  void find_kept(const std::array<Value, max_registers>& at_end);
  void find_uses();
  void choose_header();
  void enter_header();
  bool is_exit(const Instruction& i) const;
  bool has_effect(const Instruction& i) const;
  bool can_sink(const Instruction& i) const;
  Value resolve(Value v) const {
    return v != ir::no_value && (*list_)[v].op == ir::Op::get ? header((*list_)[v].reg) : v;
  }
  Value header(unsigned reg) const { return Value(list_->size()) + reg; }
  bool is_header(Value v) const { return v >= list_->size(); }
  const Instruction& definition(Value v) const { return (*list_)[v]; }
  bool pinned(unsigned reg) const { return layout_.host[reg] != GuestLayout::in_memory; }
  bool kept(unsigned reg) const { return touched_[reg] || pinned(reg); }

  // copy_loops.cc
  std::optional<Moving> moving(Value v) const;
  void find_copy_loop(const std::array<Value, max_registers>& at_end);
  bool find_copy_end(CopyLoop& copy, Value branch) const;
  x86::Gp round_register(unsigned reg) const;
  void emit_copy();
  void emit_copy_rounds(const x86::Gp& count, const x86::Gp& spare, Label skip);
  void emit_copy_limits(const x86::Gp& count, Label skip);
  void emit_copy_place(const x86::Gp& to, unsigned reg, Value access, Label skip);
  void emit_copy_bytes(const x86::Gp& count, const x86::Gp& from, const x86::Gp& to);

  // places.cc
  bool dead(Value v) const;
  bool is_constant(Value v) const { return !is_header(v) && definition(v).op == ir::Op::constant; }
  bool is_place(Value v, std::int64_t& offset) const;
  bool remade(Value v) const;
  bool small(Value v, std::int32_t& out) const;
  unsigned take_gp();
  unsigned take_vector();
  template <std::size_t size>
  unsigned take(std::array<Value, size>& file, std::uint32_t locked);
  void spill(Value v);
  void evict(Value v);
  void claim_rdx();
  x86::Gp use(Value v);
  x86::Xmm use_vector(Value v);
  asmjit::Operand use_anywhere(Value v);
  void load(const x86::Gp& to, Value v);
  x86::Gp define(Value v, Value reuse = ir::no_value);
  void define_in(Value v, unsigned reg);
  x86::Xmm define_vector(Value v);
  void consume(Value n);
  void unlock() { locked_ = locked_vectors_ = 0, read_ = ir::no_value; }
  x86::Mem home(unsigned reg, unsigned size = 8) const { return x86::ptr(fast::state, layout_.offset[reg], size); }
  x86::Mem slot(int n, unsigned size = 8) const { return x86::ptr(x86::rsp, 8 * n, size); }
  x86::Mem memory_of(Value v, unsigned size = 8) const;
  Value a(Value n) const { return arguments_[n][0]; }
  Value b(Value n) const { return arguments_[n][1]; }
  Value c(Value n) const { return arguments_[n][2]; }
  Value d(Value n) const { return arguments_[n][3]; }

  // lower_*.cc
  void emit(Value n);
  bool emit_integer(Value n);
  void emit_binary(Value n);
  void emit_shift(Value n);
  void emit_rotation(Value n);
  void emit_multiply_high(Value n);
  void emit_multiply_carryless(Value n);
  void emit_divide(Value n);
  void emit_unary(Value n);
  x86::CondCode emit_comparison(const Instruction& i, Value left, Value right);
  void emit_compare(Value n);
  void emit_select(Value n);
  void emit_window(Value n);
  void emit_kept_window(Value n, const Kept& kept);
  void emit_look_up(const x86::Gp& to, const x86::Gp& base, std::int32_t first, const Instruction& i, Label miss);
  void emit_look(const Look& look);
  void emit_miss(const Miss& miss);
  void load_element(const x86::Gp& to, const x86::Mem& cell, bool sign);
  void emit_access(Value n);
  void emit_float(Value n);
  void emit_float_binary(Value n);
  void emit_fma(Value n);
  void emit_sign_injection(Value n);
  void emit_float_compare(Value n);
  void emit_least_or_greatest(Value n);
  void emit_round(const x86::Xmm& to, const x86::Xmm& from, const Instruction& i, bool d);
  void emit_to_integer(Value n);
  void emit_from_integer(Value n);
  void emit_unbox(Value n);
  void emit_box(Value n);
  void canonicalize(const x86::Xmm& value, ir::Type type);

  // exits.cc
  void emit_check(PathSites& sites);
  void emit_head();
  void emit_end(Value n);
  void emit_jump_to(Value n);
  void emit_branch(Value n);
  void emit_expect(Value n);
  Location place(Value v) const;
  Move move_of(Value v, Location to) const;
  void collect_canonical();
  void collect_header();
  Exit& add_exit(Exit::Kind kind, std::int64_t target, std::int32_t refund);
  Label exit_before(const Instruction& i);
  void emit_exit(Exit& exit);
  void emit_fix(const Fix& fix);
  void go_to(std::int64_t target, bool separate);
  void link(std::int64_t target, bool separate);
  void order_moves(std::size_t begin);
  void emit_moves(std::size_t begin, std::size_t end);
  void emit_move(const Move& move);
  x86::Mem memory(const Location& location) const;
  void mark(Value operation, bool aside);

  const GuestLayout layout_;
  asmjit::CodeHolder holder_;
  x86::Assembler a_;
  const ir::Code* path_ = nullptr;
  const std::vector<Instruction>* list_ = nullptr;
  std::span<const std::int32_t> pages_;
  bool loop_ = false, repeated_ = false;
  std::vector<Info> info_;
  std::vector<std::array<Value, 4>> arguments_;
  std::vector<std::array<std::uint32_t, 4>> next_;
  std::vector<std::int64_t> displacement_;  // of accesses
  std::vector<std::uint32_t> seen_;
  std::array<bool, max_registers> touched_{}, written_{}, floating_{};
  std::array<Value, max_registers> current_{}, holder_of_{};  // guest registers' values, and what their places hold
  std::array<std::int8_t, max_registers> header_{};           // registers that values are in where the path goes round
  std::array<std::uint32_t, max_registers> weight_{};
  std::array<Value, gp_count> in_gp_{};
  std::array<Value, vector_count> in_vector_{};
  std::uint64_t slots_ = 0, reserved_slots_ = 0;
  bool failed_ = false;
  std::uint32_t locked_ = 0, locked_vectors_ = 0;
  Value read_ = ir::no_value;  // that the running operation reads from memory: nothing else goes there yet
  Value now_ = 0;
  bool exits_now_ = false;
  Label round_;
  std::vector<Exit> exits_;
  std::vector<Fix> fixes_;
  std::vector<Miss> misses_;
  std::vector<Kept> kept_windows_;
  CopyLoop copy_;
  std::vector<Look> looks_;
  std::vector<Move> moves_;
  struct PendingLink {
    Label stub, stub_return;
    std::size_t displacement;
    std::int32_t page;
    std::uint16_t target;
    bool separate;
  };
  std::vector<PendingLink> links_;
  std::vector<HostMark>* marks_ = nullptr;
};

/// The registers that values may be in; rax and xmm15 are for what lasts no longer than an operation.
inline const std::array<x86::Gp, 12> registers = {x86::r14, x86::r15, x86::rdi, x86::rsi, x86::rdx, x86::rcx,
                                                  x86::r8,  x86::r9,  x86::r11, x86::rbx, x86::rbp, x86::r10};
inline const x86::Gp passing = x86::rax;
inline const x86::Xmm passing_vector = x86::xmm15;

}  // namespace doppel::optimizing
