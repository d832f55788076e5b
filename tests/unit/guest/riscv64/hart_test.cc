// Running: exact budgets, code that changes, code on two pages and at two addresses (Unprivileged ISA 2, 5 Zifencei).
#include "guest/riscv64/hart.h"

#include <gtest/gtest.h>

#include <random>

#include "unit/guest/riscv64/bench_hart.h"

namespace doppel::riscv64::bench {
namespace {

/// Random instructions with loads, stores, jumps, traps and interrupt-free CSR traffic, in a region that loops for
/// ever.
Program random_program(std::mt19937_64& random) {
  Program p;
  const auto reg = [&] { return Reg(5 + random() % 5); };
  while (p.size() < 200) {
    switch (random() % 12) {
      case 0:
        p.push_back(load(Opcode::ld, reg(), int(random() % 64), 10));
        break;
      case 1:
        p.push_back(store(Opcode::sd, reg(), int(random() % 64), 10));
        break;
      case 2:
        p.push_back(branch(Opcode::bltu, reg(), reg(), 8));
        break;
      case 3:
        p.push_back(csr(Opcode::csrrs, reg(), 0xb02, 0));
        break;
      case 4:
        p.push_back(csr(Opcode::csrrs, reg(), 0xb00, 0));
        break;
      case 5:
        p.push_back(random() % 4 ? plain(Opcode::ecall) : std::uint32_t{0});
        break;
      case 6:
        p.push_back(plain(Opcode::fence_i));
        break;
      case 7:
        p.push_back(amo(Opcode::amoadd_d, reg(), reg(), 11));
        break;
      case 8:
        p.insert(p.end(), {lr(Opcode::lr_d, reg(), 11), nop(), amo(Opcode::sc_d, reg(), reg(), 11)});
        break;
      default:
        p.push_back(r(random() % 2 ? Opcode::add : Opcode::mul, reg(), reg(), reg()));
    }
  }
  p.push_back(jump(-4 * int(p.size())));
  return p;
}

struct Final {
  HartState state;
  std::uint64_t memory;
};

Final run_sliced(const Program& program, U64 total, std::mt19937_64* slices) {
  Bench b;
  b.put(code, program);
  // The handler goes on behind what trapped.
  b.put(handler, {csr(Opcode::csrrs, 30, 0x341, 0), i(Opcode::addi, 30, 30, 4), csr(Opcode::csrrw, 0, 0x341, 30),
                  plain(Opcode::mret)});
  b.x(10) = data, b.x(11) = data + 128;
  for (unsigned n = 5; n < 10; n++) b.x(n) = n * 0x9e37'79b9'7f4a'7c15;
  b.state().mstatus |= status::mpp;
  b.hart().restore();
  for (U64 done = 0; done < total;) {
    const auto n = slices ? std::min(total - done, 1 + (*slices)() % 7) : total;
    EXPECT_EQ(b.run(n), Hart::Stop::budget);
    done += n;
    EXPECT_EQ(b.hart().steps(), done);
  }
  return {b.state(), b.memory().hash()};
}

// `--clock instructions` is reproducible only if a budget is exact and the slicing leaves no trace.
TEST(HartTest, SlicingLeavesNoTrace) {
  for (unsigned seed = 0; seed < 20; seed++) {
    std::mt19937_64 random(seed), slices(seed);
    const auto program = random_program(random);
    const auto whole = run_sliced(program, 5'000, nullptr), sliced = run_sliced(program, 5'000, &slices);
    auto a = whole.state, c = sliced.state;
    a.x[32] = c.x[32] = 0;
    EXPECT_EQ(std::memcmp(&a, &c, sizeof a), 0) << "seed " << seed;
    EXPECT_EQ(whole.memory, sliced.memory) << "seed " << seed;
  }
}

TEST(HartTest, BudgetsAreExact) {
  Bench b;
  Program p(150, i(Opcode::addi, 5, 5, 1));
  p.push_back(jump(-4 * 150));
  b.put(code, p);
  U64 expected = 0;
  for (const U64 n : {1, 2, 63, 64, 65, 127, 150, 151, 2047, 2048, 2049, 10'000}) {
    b.run(n);
    expected += n;
    EXPECT_EQ(b.hart().steps(), expected);
    EXPECT_EQ(b.x(5), expected - expected / 151) << n;
  }
}

// A device sees the time of the instruction that reads it, wherever in its block that is.
TEST(HartTest, StepsAreExactDuringDeviceAccesses) {
  Bench b;
  std::vector<U64> seen;
  b.on_read = [&](U64, unsigned) { return seen.push_back(b.hart().steps()), std::optional<U64>(0); };
  b.x(11) = device;
  b.execute({nop(), load(Opcode::lw, 5, 0, 11), nop(), nop(), load(Opcode::lw, 5, 0, 11), nop()});
  EXPECT_EQ(seen.size(), 2u);
  EXPECT_EQ(seen[1] - seen[0], 3u);
}

// 5: after FENCE.I new code runs, also code that was run often before; kernels patch themselves at boot.
TEST(FetchTest, FenceISeesChangedCode) {
  Bench b;
  b.x(6) = code + 8;
  const Program p = {store(Opcode::sw, 7, 0, 6), plain(Opcode::fence_i), i(Opcode::addi, 5, 0, 1), jump(-12)};
  b.put(code, p);
  for (int value = 1; value < 50; value++) {
    b.x(7) = i(Opcode::addi, 5, 0, value);
    b.run(4);
    EXPECT_EQ(b.x(5), U64(value));
  }
}

// The cache must know code by its bytes: what a device (a disk read) put in its place before FENCE.I counts.
TEST(FetchTest, CodeThatADeviceReplaced) {
  Bench b;
  for (int value = 1; value < 10; value++) {
    const auto instruction = i(Opcode::addi, 5, 0, value);
    b.put(code + 4, {nop(), nop(), nop()});
    EXPECT_TRUE(b.memory().write(code + 8, &instruction, 4));
    b.put(code, {plain(Opcode::fence_i)});
    b.state().pc = code;
    b.run(4);
    EXPECT_EQ(b.x(5), U64(value));
  }
}

TEST(FetchTest, OneCodeAtTwoAddresses) {
  Bench b;
  Pages pages(b);
  pages.map(0x10'0000, code), pages.map(0x1f'c000'0000, code);
  b.put(code, {encode({.op = Opcode::auipc, .rd = 5}), jump(8, 1), nop(), nop()});
  for (const U64 at : {U64{0x10'0000}, U64{0x1f'c000'0000}, U64{0x10'0000}}) {
    b.step_at(at, Privilege::supervisor);
    b.again();
    EXPECT_EQ(b.x(5), at);
    EXPECT_EQ(b.x(1), at + 8);
    EXPECT_EQ(b.state().pc, at + 12);
  }
}

// An instruction on two pages of which the second is mapped anew: nothing of the old half may stay.
TEST(FetchTest, AnInstructionOnTwoPagesFollowsTheSecondsMapping) {
  Bench b;
  Pages pages(b);
  pages.map(0x10'0000, code), pages.map(0x10'1000, data);
  const auto one = i(Opcode::addi, 5, 0, 1), two = i(Opcode::addi, 5, 0, 2);
  ASSERT_EQ(one & 0xffff, two & 0xffff);
  b.poke(code + 0xffe, one & 0xffff, 2);
  for (const auto& [page, instruction] : {std::pair{data, one}, std::pair{data + 0x1000, two}}) {
    b.poke(page, instruction >> 16, 2);
    b.poke(page + 2, jump(-4), 4);
  }
  b.state().pc = 0x10'0ffe, b.state().privilege = 1;
  b.hart().restore();
  b.run(11);
  EXPECT_EQ(b.x(5), 1u);
  pages.map(0x10'1000, data + 0x1000);
  b.hart().flush_translations(0x10'1000, 1);
  b.state().pc = 0x10'0ffe;
  b.run(1);
  EXPECT_EQ(b.x(5), 2u);
}

// 2.2: writes to x0 are lost, whatever the instruction.
TEST(HartTest, XZeroStaysZero) {
  Bench b;
  b.x(10) = data;
  b.poke(data, 77);
  b.execute({i(Opcode::addi, 0, 0, 5), load(Opcode::ld, 0, 0, 10), encode({.op = Opcode::lui, .rd = 0, .imm = 4096}),
             csr(Opcode::csrrs, 0, 0x301, 0), amo(Opcode::amoadd_d, 0, 0, 10), lr(Opcode::lr_d, 0, 10),
             amo(Opcode::sc_d, 0, 0, 10), jump(4), r(Opcode::add, 5, 0, 0)});
  EXPECT_EQ(b.x(0), 0u);
  EXPECT_EQ(b.x(5), 0u);
}

// 3.2.1: time is the board's clock.
TEST(HartTest, TimeIsTheBoards) {
  Bench b;
  b.now = 123'456;
  b.execute({csr(Opcode::csrrs, 5, 0xc01, 0)});
  EXPECT_EQ(b.x(5), 123'456u);
}

}  // namespace
}  // namespace doppel::riscv64::bench
