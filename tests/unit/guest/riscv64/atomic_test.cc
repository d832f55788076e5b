// Atomics and memory order (Unprivileged ISA 14, 17, 2.7) among harts that run at the same time: litmus shapes, each
// with the outcome that the manual forbids, and data structures that lose or double something when an atomic is not
// one.
#include <gtest/gtest.h>

#include <set>

#include "unit/guest/riscv64/bench_hart.h"

namespace doppel::riscv64::bench {
namespace {

constexpr U64 x_cell = data, y_cell = data + 0x1000, meeting = data + 0x2000, results = data + 0x10'000;
constexpr Reg round_ = 20, limit = 21, mine = 22, out = 23;  // round number; own place in the meeting; where results go

/// Bodies read into x6 and x7 and write the round's number; a round begins when all harts have come to it.
class Litmus {
 public:
  explicit Litmus(const std::vector<Program>& bodies, U64 rounds = 20'000)
      : b_(unsigned(bodies.size())), rounds_(rounds) {
    for (unsigned id = 0; id < bodies.size(); id++) prepare(id, bodies[id], unsigned(bodies.size()));
  }
  /// For each round, what the harts saw: bit 2n and 2n+1 are hart n's x6 and x7 being the round's number.
  std::set<unsigned> run() {
    EXPECT_TRUE(b_.run_all()) << "a hart did not come to the end";
    std::set<unsigned> seen;
    for (U64 round = 1; round < rounds_; round++) {
      unsigned outcome = 0;
      for (unsigned id = 0; id < b_.harts().size(); id++)
        outcome |= unsigned(b_.peek(results + id * 0x10'000 + round, 1)) << 2 * id;
      seen.insert(outcome);
    }
    return seen;
  }

 private:
  void prepare(unsigned id, const Program& body, unsigned harts) {
    Program p;
    p.push_back(store(Opcode::sd, round_, 0, mine));
    for (unsigned other = 0; other < harts; other++) {
      if (other == id) continue;
      p.push_back(load(Opcode::ld, 5, (int(other) - int(id)) * 64, mine));
      p.push_back(branch(Opcode::bge, 5, round_, 12));
      p.push_back(plain(Opcode::pause));  // the other hart's thread may need this processor
      p.push_back(jump(-12));
    }
    p.insert(p.end(), body.begin(), body.end());
    for (const Reg seen : {6, 7})
      p.insert(p.end(), {r(Opcode::xor_, seen, seen, round_), i(Opcode::sltiu, seen, seen, 1)});
    p.insert(p.end(), {i(Opcode::slli, 7, 7, 1), r(Opcode::or_, 6, 6, 7), r(Opcode::add, 5, out, round_),
                       store(Opcode::sb, 6, 0, 5), i(Opcode::addi, round_, round_, 1)});
    p.push_back(branch(Opcode::blt, round_, limit, -4 * int(p.size())));
    p.push_back(plain(Opcode::wfi));
    const U64 at = code + id * 0x1000;
    b_.put(at, p);
    auto& s = b_.state(id);
    s.pc = at;
    s.x[10] = x_cell, s.x[11] = y_cell;
    s.x[round_] = 1, s.x[limit] = rounds_, s.x[mine] = meeting + id * 64, s.x[out] = results + id * 0x10'000;
    b_.hart(id).restore();
  }
  Bench b_;
  U64 rounds_;
};

std::uint32_t write_x() { return store(Opcode::sd, round_, 0, 10); }
std::uint32_t write_y() { return store(Opcode::sd, round_, 0, 11); }
std::uint32_t read_x(Reg to) { return load(Opcode::ld, to, 0, 10); }
std::uint32_t read_y(Reg to) { return load(Opcode::ld, to, 0, 11); }
std::uint32_t none(Reg to) { return i(Opcode::addi, to, 0, 0); }

// Message passing: who sees the flag sees the message.
TEST(LitmusTest, MessagePassing) {
  const auto seen =
      Litmus({{write_x(), fence_rw(), write_y(), none(6), none(7)}, {read_y(6), fence_rw(), read_x(7)}}).run();
  EXPECT_FALSE(seen.contains(0b01'00)) << "flag without message";
}

// Store buffering: with fences at least one sees the other's store (Dekker's algorithm).
TEST(LitmusTest, StoreBufferingWithFences) {
  const auto seen =
      Litmus({{write_x(), fence_rw(), read_y(6), none(7)}, {write_y(), fence_rw(), read_x(6), none(7)}}).run();
  EXPECT_FALSE(seen.contains(0));
}

// The same with LR.aqrl, which no earlier store may pass (17.1, rule 6), and with AMOs.
TEST(LitmusTest, StoreBufferingWithLoadReservedAqrl) {
  const auto lr_of = [](Reg base) { return lr(Opcode::lr_d, 6, base, 3); };
  // An SC at its right distance makes the LR one that needs no watching; its address differs, so that it fails.
  const auto seen = Litmus({{write_x(), lr_of(11), amo(Opcode::sc_d, 5, 6, 22), none(7)},
                            {write_y(), lr_of(10), amo(Opcode::sc_d, 5, 6, 22), none(7)}})
                        .run();
  EXPECT_FALSE(seen.contains(0));
}

TEST(LitmusTest, StoreBufferingWithSwaps) {
  const auto swap = [](Reg base) { return amo(Opcode::amoswap_d, 5, round_, base, 3); };
  const auto seen = Litmus({{swap(10), read_y(6), none(7)}, {swap(11), read_x(6), none(7)}}).run();
  EXPECT_FALSE(seen.contains(0));
}

// Load buffering: nobody reads what is only written after it was read.
TEST(LitmusTest, LoadBuffering) {
  const auto seen =
      Litmus({{read_y(6), fence_rw(), write_x(), none(7)}, {read_x(6), fence_rw(), write_y(), none(7)}}).run();
  EXPECT_FALSE(seen.contains(0b01'01));
}

// Coherence: of one address, time does not go back (17.1, rule 2).
TEST(LitmusTest, CoherenceOfReads) {
  const auto seen = Litmus({{write_x(), none(6), none(7)}, {read_x(6), read_x(7)}}).run();
  EXPECT_FALSE(seen.contains(0b01'00)) << "new, then old";
}

// Independent reads of independent writes: all agree on an order.
TEST(LitmusTest, IndependentReadsOfIndependentWrites) {
  const auto seen = Litmus({{write_x(), none(6), none(7)},
                            {write_y(), none(6), none(7)},
                            {read_x(6), fence_rw(), read_y(7)},
                            {read_y(6), fence_rw(), read_x(7)}},
                           3000)
                        .run();
  EXPECT_FALSE(seen.contains(0b01'01'00'00));
}

/// Runs a loop on each hart that does `body` as often as x20 says, then waits.
void run_loops(Bench& b, const Program& body, U64 times) {
  Program p = body;
  p.push_back(i(Opcode::addi, 20, 20, -1));
  p.push_back(branch(Opcode::bne, 20, 0, -4 * int(p.size())));
  p.push_back(plain(Opcode::wfi));
  b.put(code, p);
  for (unsigned id = 0; id < b.harts().size(); id++) {
    b.state(id).pc = code;
    b.x(20, id) = times;
    b.hart(id).restore();
  }
  EXPECT_TRUE(b.run_all());
}

// No increment is lost, whichever way harts add.
TEST(AtomicTest, CountersLoseNothing) {
  Bench b(2);
  for (unsigned id = 0; id < 2; id++)
    b.x(10, id) = data, b.x(11, id) = data + 8, b.x(12, id) = data + 16, b.x(5, id) = 1;
  run_loops(
      b,
      {amo(Opcode::amoadd_d, 0, 5, 10), amo(Opcode::amoadd_w, 0, 5, 11),
       // LR/SC on the granule that AMOs hit
       lr(Opcode::lr_d, 6, 12), i(Opcode::addi, 6, 6, 1), amo(Opcode::sc_d, 7, 6, 12), branch(Opcode::bne, 7, 0, -12)},
      50'000);
  EXPECT_EQ(b.peek(data), 100'000u);
  EXPECT_EQ(b.peek(data + 8), 100'000u);
  EXPECT_EQ(b.peek(data + 16), 100'000u);
}

// A loop with a load between LR and SC, plain stores of the other kind on the same page.
TEST(AtomicTest, WatchedCountersLoseNothing) {
  Bench b(2);
  for (unsigned id = 0; id < 2; id++) b.x(10, id) = data, b.x(11, id) = data + 512 + id * 64;
  run_loops(b,
            {lr(Opcode::lr_d, 6, 10), load(Opcode::ld, 7, 0, 11), i(Opcode::addi, 6, 6, 1), amo(Opcode::sc_d, 7, 6, 10),
             branch(Opcode::bne, 7, 0, -16), store(Opcode::sd, 20, 0, 11)},
            10'000);
  EXPECT_EQ(b.peek(data), 20'000u);
}

// A lock made of AMOs protects what is not atomic.
TEST(AtomicTest, SpinlocksExclude) {
  Bench b(2);
  for (unsigned id = 0; id < 2; id++) b.x(10, id) = data, b.x(11, id) = data + 256, b.x(5, id) = 1;
  run_loops(b,
            {amo(Opcode::amoswap_w, 6, 5, 10, 2), branch(Opcode::beq, 6, 0, 12), plain(Opcode::pause), jump(-12),
             load(Opcode::ld, 7, 0, 11), i(Opcode::addi, 7, 7, 1), store(Opcode::sd, 7, 0, 11),
             amo(Opcode::amoswap_w, 0, 0, 10, 1)},
            3'000);
  EXPECT_EQ(b.peek(data + 256), 6'000u);
}

// A lock-free stack: pop reads the next pointer between LR and SC, the very place where compare-and-swap falls to ABA.
TEST(AtomicTest, StacksSurviveAba) {
  Bench b(2);
  constexpr unsigned nodes = 4;
  for (unsigned n = 0; n < nodes; n++) b.poke(data + 0x1000 + n * 64, n + 1 < nodes ? data + 0x1000 + (n + 1) * 64 : 0);
  b.poke(data, data + 0x1000);
  for (unsigned id = 0; id < 2; id++) b.x(10, id) = data, b.x(5, id) = 1;
  const Program body = {
      lr(Opcode::lr_d, 6, 10, 2),      // pop: x6 = head
      branch(Opcode::beq, 6, 0, -4),   // empty: the other has them
      load(Opcode::ld, 7, 0, 6),       //
      amo(Opcode::sc_d, 8, 7, 10),     //
      branch(Opcode::bne, 8, 0, -16),  //
      load(Opcode::ld, 11, 8, 6),      // owner count must be 0
      r(Opcode::or_, 12, 12, 11),      // remember if it was not
      store(Opcode::sd, 5, 8, 6),      // mine
      store(Opcode::sd, 0, 8, 6),      // not any more
      lr(Opcode::lr_d, 7, 10, 2),      // push
      store(Opcode::sd, 7, 0, 6),      //
      amo(Opcode::sc_d, 8, 6, 10, 1),  //
      branch(Opcode::bne, 8, 0, -12),
  };
  run_loops(b, body, 10'000);
  EXPECT_EQ(b.x(12, 0) | b.x(12, 1), 0u) << "two harts had one node";
  std::set<U64> on_stack;
  for (U64 node = b.peek(data); node && on_stack.size() <= nodes; node = b.peek(node))
    EXPECT_TRUE(on_stack.insert(node).second) << "a ring";
  EXPECT_EQ(on_stack.size(), nodes) << "nodes were lost";
}

// 14.4: what each AMO computes, of its width, and what it returns; results of the W forms are sign-extended.
TEST(AtomicTest, EachAmoComputes) {
  struct Case {
    Opcode w, d;
    U64 w_result, d_result;
  };
  constexpr U64 cell = 0x8000'0000'8000'0010, operand = 0x0000'0001'0000'0013;
  for (const auto& c : std::initializer_list<Case>{{Opcode::amoswap_w, Opcode::amoswap_d, 0x13, operand},
                                                   {Opcode::amoadd_w, Opcode::amoadd_d, 0x8000'0023, cell + operand},
                                                   {Opcode::amoxor_w, Opcode::amoxor_d, 0x8000'0003, cell ^ operand},
                                                   {Opcode::amoand_w, Opcode::amoand_d, 0x10, cell & operand},
                                                   {Opcode::amoor_w, Opcode::amoor_d, 0x8000'0013, cell | operand},
                                                   {Opcode::amomin_w, Opcode::amomin_d, 0x8000'0010, cell},
                                                   {Opcode::amomax_w, Opcode::amomax_d, 0x13, operand},
                                                   {Opcode::amominu_w, Opcode::amominu_d, 0x13, operand},
                                                   {Opcode::amomaxu_w, Opcode::amomaxu_d, 0x8000'0010, cell}}) {
    Bench b;
    b.x(10) = data, b.x(6) = operand;
    b.poke(data, cell);
    b.execute({amo(c.w, 5, 6, 10)});
    EXPECT_EQ(b.peek(data), (cell & ~0xffff'ffffULL) | c.w_result) << int(c.w);
    EXPECT_EQ(b.x(5), 0xffff'ffff'8000'0010);
    b.poke(data, cell);
    b.execute({amo(c.d, 6, 6, 10)});
    EXPECT_EQ(b.peek(data), c.d_result) << int(c.d);
    EXPECT_EQ(b.x(6), cell);
  }
}

}  // namespace
}  // namespace doppel::riscv64::bench
