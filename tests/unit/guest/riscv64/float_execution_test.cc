// Floating point in loops, where an executor may translate it, against the same instructions one by one, which the
// interpreter executes: results and exceptions must be the same, bit by bit.
#include <gtest/gtest.h>

#include <map>

#include "unit/guest/riscv64/bench_hart.h"
#include "unit/guest/riscv64/float_operands.h"

namespace doppel::riscv64::bench {
namespace {

constexpr unsigned fflags = 1, frm = 2, fcsr = 3, any_mode = 7;
constexpr U64 results = data + 0x1'0000;
constexpr unsigned rounds = 200;
constexpr Reg source = 6, target = 7, left = 8, flags = 9;

/// The ends of the integers' ranges and what is next to them, as numbers of both formats, and any operand.
struct Pool {
  Operands<DoubleFormat> doubles{1};
  Operands<SingleFormat> singles{2};
  U64 next() {
    const auto choice = doubles.raw() % 8;
    if (choice < 3) return doubles.next();
    if (choice < 6) return singles.next() | ~0xffffffffULL;
    const auto step = doubles.raw() % 5 - 2, sign = doubles.raw() << 63;
    constexpr U64 ends[] = {0x41dfffffffc00000, 0x41e0000000000000, 0x41efffffffe00000, 0x41f0000000000000,
                            0x43e0000000000000, 0x43f0000000000000, 0x3fe0000000000000, 0x3ff8000000000000};
    if (choice == 6) return (ends[doubles.raw() % std::size(ends)] + step) | sign;
    constexpr U64 singles_ends[] = {0x4effffff, 0x4f000000, 0x4f7fffff, 0x4f800000,
                                    0x5f000000, 0x5f800000, 0x3f000000, 0x3fc00000};
    return (singles_ends[doubles.raw() % std::size(singles_ends)] + step) | sign >> 32 | ~0xffffffffULL;
  }
  /// Integers around powers of two.
  U64 next_integer() {
    const auto bits = doubles.raw();
    const auto power = (U64{1} << doubles.raw() % 64) + doubles.raw() % 5 - 2;
    return bits % 3 == 0 ? bits : bits % 3 == 1 ? power : -power;
  }
};

struct FloatExecutionTest : testing::Test {
  Bench b;
  HartState& s = b.state();
  Pool pool;

  /// For each operand of `rounds`: the instruction, then what it gave and raised.
  static Program loop_of(std::uint32_t instruction) {
    const Program body = {load(Opcode::fld, 2, 0, source),
                          load(Opcode::fld, 3, 8, source),
                          load(Opcode::fld, 4, 16, source),
                          load(Opcode::ld, 5, 24, source),
                          i(Opcode::addi, 11, 0, 0),
                          csr(Opcode::csrrwi, 0, fflags, 0),
                          instruction,
                          csr(Opcode::csrrs, flags, fflags, 0),
                          store(Opcode::fsd, 1, 0, target),
                          store(Opcode::sd, 11, 8, target),
                          store(Opcode::sd, flags, 16, target),
                          i(Opcode::addi, source, source, 32),
                          i(Opcode::addi, target, target, 24),
                          i(Opcode::addi, left, left, -1)};
    Program program = body;
    program.push_back(branch(Opcode::bne, left, 0, -4 * int(body.size())));
    program.push_back(jump(0));
    return program;
  }
  std::vector<U64> run(const Program& program, std::uint8_t mode, bool one_by_one) {
    b.put(code, program);
    s.pc = code;
    s.mstatus |= status::fs | status::sd;
    s.frm = mode;
    s.f[1] = 0;
    b.x(source) = data, b.x(target) = results, b.x(left) = rounds;
    b.hart().restore();
    const auto count = rounds * (program.size() - 1) + 1;
    for (unsigned n = 0; n < count && one_by_one; n++) b.run(1);
    if (!one_by_one) b.run(count + 100);
    EXPECT_EQ(b.x(left), 0u);
    std::vector<U64> out;
    for (unsigned n = 0; n < 3 * rounds; n++) out.push_back(b.peek(results + 8 * n));
    return out;
  }
  void fill() {
    for (unsigned n = 0; n < rounds; n++) {
      for (unsigned k = 0; k < 3; k++) b.poke(data + 32 * n + 8 * k, pool.next());
      if (n % 4 == 0) b.poke(data + 32 * n + 8, b.peek(data + 32 * n) ^ (pool.doubles.raw() & 1) << 63);
      b.poke(data + 32 * n + 24, pool.next_integer());
    }
  }
  void agree(const Row& row, std::uint8_t rm) {
    fill();
    const auto f = row.format;
    const bool gives_integer =
        f == Format::FpCompare || f == Format::FpToX || f == Format::FpToInt || f == Format::FpToIntRtz;
    const bool takes_integer = f == Format::FpFromX || f == Format::FpFromInt || f == Format::FpFromIntExact;
    const auto program = loop_of(encode({.op = row.opcode,
                                         .rd = Reg(gives_integer ? 11 : 1),
                                         .rs1 = Reg(takes_integer ? 5 : 2),
                                         .rs2 = 3,
                                         .rs3 = 4,
                                         .rm = rm}));
    for (const std::uint8_t mode : {0, 1, 2, 3}) {
      const auto expected = run(program, mode, true);
      const auto before = interpreted(row.opcode);
      const auto got = run(program, mode, false);
      inline_.insert_or_assign(row.opcode, inline_[row.opcode] + rounds - (interpreted(row.opcode) - before));
      for (unsigned n = 0; n < got.size(); n++)
        ASSERT_EQ(got[n], expected[n]) << row.name << " rm " << int(rm) << " frm " << int(mode) << " part " << n % 3
                                       << std::hex << " of " << operand(n, 0) << ' ' << operand(n, 1) << ' '
                                       << operand(n, 2) << ' ' << operand(n, 3);
    }
  }
  U64 interpreted(Opcode op) { return b.hart().counters().interpreted[std::size_t(op)]; }
  std::map<Opcode, U64> inline_;  // how often an instruction was not left to the interpreter
  U64 operand(unsigned result, unsigned index) { return b.peek(data + 32 * (result / 3) + 8 * index); }
};

bool is_arithmetic(Format format) { return format >= Format::FpR && format <= Format::Fli; }

// A program computes something else, or a library sees an exception that was none.
TEST_F(FloatExecutionTest, AgreesWithTheInterpreter) {
  unsigned programs = 0;
  for (const auto& row : rows()) {
    if (!is_arithmetic(row.format)) continue;
    const bool has_mode = fields(row.format).layout.find('m') != std::string_view::npos;
    for (const std::uint8_t rm : {7, 0, 1, 2, 3, 4}) {
      if (!has_mode && rm != any_mode) break;
      agree(row, has_mode ? rm : 0);
      if (HasFatalFailure()) return;
      programs++;
    }
  }
  EXPECT_GT(programs, 200u);
#ifdef DOPPEL_BENCH_ENGINE
  // Nothing that compilers make is left to the interpreter, but for rare operands.
  for (const auto& row : rows())
    if (is_arithmetic(row.format) && (row.extension == Extension::F || row.extension == Extension::D))
      EXPECT_GT(inline_[row.opcode], rounds / 10) << row.name;
#endif
}

// What a mathematical library does around each of its functions: flags are kept and put back, modes looked at.
TEST_F(FloatExecutionTest, FlagsAreWhatWasRaisedSinceTheyWereSet) {
  s.mstatus |= status::fs | status::sd;
  s.f[2] = 0x3ff0'0000'0000'0000, s.f[3] = 0x4008'0000'0000'0000;  // 1, 3
  const auto divide = encode({.op = Opcode::fdiv_d, .rd = 1, .rs1 = 2, .rs2 = 3, .rm = any_mode});
  const auto by_zero = encode({.op = Opcode::fdiv_d, .rd = 1, .rs1 = 2, .rs2 = 4, .rm = any_mode});
  b.x(5) = 0xf0, b.x(6) = 0x28;
  Program program = {csr(Opcode::csrrw, 7, fflags, 5),  // 0x10
                     divide,
                     csr(Opcode::csrrs, 8, fflags, 0),   // 0x11
                     csr(Opcode::csrrci, 9, fflags, 1),  // 0x11
                     by_zero,
                     csr(Opcode::csrrs, 10, fcsr, 0),  // 0x18
                     csr(Opcode::csrrw, 11, fcsr, 6),  // 0x18, and another rounding mode
                     divide,
                     csr(Opcode::csrrsi, 12, fcsr, 4),  // 0x29
                     csr(Opcode::csrrs, 13, frm, 0),    // 1
                     csr(Opcode::csrrwi, 14, frm, 1),   // 1
                     csr(Opcode::csrrs, 15, fcsr, 0),   // 0x2d
                     jump(0)};
  b.put(code, program);
  s.pc = code;
  b.hart().restore();
  b.run(100);
  const U64 expected[] = {0, 0x11, 0x11, 0x18, 0x18, 0x29, 1, 1, 0x2d};
  for (unsigned n = 0; n < std::size(expected); n++) EXPECT_EQ(b.x(7 + n), expected[n]) << 7 + n;
  EXPECT_EQ(s.fflags, 0x0d);
  EXPECT_EQ(s.frm, 1);
#ifdef DOPPEL_BENCH_ENGINE
  for (const auto op : {Opcode::csrrci, Opcode::csrrwi, Opcode::csrrs})
    EXPECT_EQ(b.hart().counters().interpreted[std::size_t(op)], 0u);
#endif
}

// A kernel saves what is dirty only: too little marked loses a program's numbers at the next switch. Floating point
// that was loaded and not used is inline all the same, and for nothing but the first use.
TEST_F(FloatExecutionTest, UseMakesTheStateDirtyAndNothingElseDoes) {
  struct Case {
    std::uint32_t instruction;
    Opcode op;
    bool dirties;
  };
  const auto unary = [](Opcode op) { return encode({.op = op, .rd = 11, .rs1 = 2, .rm = 1}); };
  const auto binary = [](Opcode op) { return encode({.op = op, .rd = 11, .rs1 = 2, .rs2 = 3, .rm = any_mode}); };
  const Case cases[] = {
      {store(Opcode::fsd, 1, 0, source), Opcode::fsd, false},
      {unary(Opcode::fmv_x_d), Opcode::fmv_x_d, false},
      {csr(Opcode::csrrs, 11, fflags, 0), Opcode::csrrs, false},
      {csr(Opcode::csrrwi, 11, fflags, 3), Opcode::csrrwi, true},
      {load(Opcode::fld, 1, 0, source), Opcode::fld, true},
      {load(Opcode::flw, 1, 0, source), Opcode::flw, true},
      {load(Opcode::fld, 1, 0, 0), Opcode::fld, false},  // there is nothing
      {binary(Opcode::fadd_d), Opcode::fadd_d, true},
      {binary(Opcode::feq_d), Opcode::feq_d, true},
      {unary(Opcode::fcvt_w_d), Opcode::fcvt_w_d, true},
      {unary(Opcode::fcvt_lu_d), Opcode::fcvt_lu_d, true},
      {encode({.op = Opcode::fmv_d_x, .rd = 1, .rs1 = source}), Opcode::fmv_d_x, true},
      {encode({.op = Opcode::fsgnj_d, .rd = 1, .rs1 = 2, .rs2 = 2}), Opcode::fsgnj_d, true},
  };
  constexpr U64 initial = 1ULL << status::fs_shift;
  b.put(handler, {jump(0)});
  for (const auto& one : cases) {
    b.put(code, {nop(), one.instruction, nop(), jump(0)});
    for (int turn = 0; turn < 3; turn++) {
      s.pc = code, s.frm = s.fflags = 0, s.f[2] = s.f[3] = 0x3ff0'0000'0000'0000, b.x(source) = data;
      s.mstatus = (s.mstatus & ~(status::fs | status::sd)) | initial;
      b.hart().restore();
      b.run(100);
      EXPECT_EQ(s.mstatus & (status::fs | status::sd), one.dirties ? status::fs | status::sd : initial)
          << int(one.op) << ' ' << turn;
    }
#ifdef DOPPEL_BENCH_ENGINE
    if (one.instruction != load(Opcode::fld, 1, 0, 0)) EXPECT_EQ(interpreted(one.op), 0u) << int(one.op);
#endif
  }
}

}  // namespace
}  // namespace doppel::riscv64::bench
