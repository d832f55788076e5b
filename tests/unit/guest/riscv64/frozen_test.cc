// Memory that is shared with a copy of the machine: the first store to a page makes another page of it, under code that
// may have looked up the old one.
#include <gtest/gtest.h>

#include "unit/guest/riscv64/bench_hart.h"

namespace doppel::riscv64::bench {
namespace {

struct Frozen : testing::Test {
  /// Executes the program until it waits, some times over, so that whoever translates has done so; then once with all
  /// of memory frozen. A block of its own in front of it loads from what x10 points to, so that the look-ups succeed.
  void run(const Program& program, const std::function<void()>& before) {
    Program all = {load(Opcode::lb, 20, 0, 10), jump(4)};
    all.insert(all.end(), program.begin(), program.end());
    b.put(code, all);
    b.hart().flush_instructions();
    for (unsigned time = 0; time < 6; time++) {
      before();
      b.state().pc = code;
      b.state().waiting = 0;
      if (time == 5) b.freeze();
      ASSERT_EQ(b.run(10'000), Hart::Stop::waiting);
    }
  }
  Bench b;
};

// Two loads share a look-up; a store that has one of its own goes to the same page between them.
TEST_F(Frozen, LoadsSeeWhatWasStoredBetween) {
  run({load(Opcode::ld, 5, 0, 10), load(Opcode::ld, 6, 8, 10), store(Opcode::sd, 7, 0, 11), load(Opcode::ld, 8, 16, 10),
       plain(Opcode::wfi)},
      [&] { b.x(7)++, b.x(10) = data, b.x(11) = data + 16; });
  EXPECT_EQ(b.x(8), b.x(7));
}

TEST_F(Frozen, LoadsSeeWhatWasStoredOverTwoPages) {
  run({load(Opcode::ld, 5, 0, 10), load(Opcode::ld, 6, 8, 10), store(Opcode::sd, 7, 0, 11), load(Opcode::lw, 8, 16, 10),
       plain(Opcode::wfi)},
      [&] { b.x(7) += 1ULL << 32, b.x(10) = data + page_size - 16, b.x(11) = data + page_size - 4; });
  EXPECT_EQ(b.x(8), b.x(7) >> 32);
}

TEST_F(Frozen, LoadsSeeZeroedBlocksAndAtomics) {
  run({load(Opcode::ld, 5, 0, 10), load(Opcode::ld, 6, 8, 10), i(Opcode::cbo_zero, 0, 11, 0),
       load(Opcode::ld, 8, 64, 10), plain(Opcode::wfi)},
      [&] { b.poke(data + 64, 77), b.x(10) = data, b.x(11) = data + 64, b.x(8) = 1; });
  EXPECT_EQ(b.x(8), 0u);
  run({load(Opcode::ld, 5, 0, 10), load(Opcode::ld, 6, 8, 10), r(Opcode::amoadd_d, 9, 11, 7),
       load(Opcode::ld, 8, 64, 10), plain(Opcode::wfi)},
      [&] { b.poke(data + 64, 70), b.x(10) = data, b.x(11) = data + 64, b.x(7) = 7; });
  EXPECT_EQ(b.x(8), 77u);
}

// An address that is accessed for the first time: the entry in the page table is written to, and the program looks at
// that by an address that it has looked up.
TEST_F(Frozen, LoadsSeeWhatWalksWrite) {
  constexpr U64 first = 0x40'0000, table = 0x50'0000;
  Pages pages(b);
  const auto entry = pages.map(first, data, pte::v | pte::r | pte::w);
  pages.map(table, entry & ~page_mask), pages.map(code, code);
  b.state().menvcfg = envcfg::adue;
  b.state().privilege = std::uint8_t(Privilege::supervisor);
  const auto at = int(entry & page_mask);
  run({load(Opcode::ld, 5, at, 10), load(Opcode::ld, 6, at + 8, 10), load(Opcode::lb, 9, 0, 11),
       load(Opcode::ld, 8, at, 10), plain(Opcode::wfi)},
      [&] {
        b.poke(entry, Pages::entry(data, pte::v | pte::r | pte::w));
        b.hart().flush_translations();
        b.x(10) = table, b.x(11) = first;
      });
  EXPECT_EQ(b.x(8), Pages::entry(data, pte::v | pte::r | pte::w | pte::a));
}

// The same page at two addresses, in a loop that keeps what it knows of both from round to round.
TEST_F(Frozen, LoopsSeeStoresThroughAnotherAddress) {
  constexpr U64 first = 0x40'0000, second = 0x50'0000;
  Pages pages(b);
  pages.map(first, data), pages.map(second, data), pages.map(code, code);
  b.state().privilege = std::uint8_t(Privilege::supervisor);
  run({load(Opcode::ld, 5, 0, 10), r(Opcode::add, 6, 6, 5), i(Opcode::addi, 5, 5, 1), store(Opcode::sd, 5, 0, 11),
       i(Opcode::addi, 12, 12, -1), branch(Opcode::bne, 12, 0, -20), plain(Opcode::wfi)},
      [&] {
        b.poke(data, 0);
        b.x(10) = first, b.x(11) = second, b.x(12) = 100, b.x(6) = 0;
      });
  EXPECT_EQ(b.x(6), 99u * 100 / 2);
}

// Another hart has read the page: what is stored there it must read from then on.
TEST(FrozenHarts, ReadWhatAnotherStores) {
  Bench b(2);
  const auto turn = [&](unsigned id, const Program& program) {
    b.put(code + id * page_size, program);
    b.state(id).pc = code + id * page_size;
    b.state(id).waiting = 0;
    b.hart(id).flush_instructions();
    ASSERT_EQ(b.run(1000, id), Hart::Stop::waiting);
  };
  b.x(10, 0) = b.x(10, 1) = data;
  b.poke(data, 1);
  b.freeze();
  turn(0, {load(Opcode::ld, 5, 0, 10), plain(Opcode::wfi)});
  EXPECT_EQ(b.x(5, 0), 1u);
  b.x(6, 1) = 2;
  turn(1, {store(Opcode::sd, 6, 0, 10), plain(Opcode::wfi)});
  turn(0, {load(Opcode::ld, 5, 0, 10), plain(Opcode::wfi)});
  EXPECT_EQ(b.x(5, 0), 2u);
}

}  // namespace
}  // namespace doppel::riscv64::bench
