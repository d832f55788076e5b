// Load reservations (Unprivileged ISA 14.2, 14.3): an SC succeeds only if nobody else can be seen to have written since
// the LR, an ABA included; and the loops that the manual promises to end do end.
#include "guest/riscv64/reservation.h"

#include <gtest/gtest.h>

#include "unit/guest/riscv64/bench_hart.h"

namespace doppel::riscv64::bench {
namespace {

struct ReservationTest : testing::Test {
  Bench b{2};
  ReservationTest() {
    for (unsigned id = 0; id < 2; id++)
      b.x(10, id) = data, b.x(11, id) = device, b.x(12, id) = 99, b.x(13, id) = data + 512;
    b.poke(data, 5);
    b.x(20, 1) = 5, b.x(21, 1) = 6;
  }
  void other(const Program& program) {
    b.put(code + 0x4000, program), b.state(1).pc = code + 0x4000, b.hart(1).flush_instructions(),
                                   b.run(program.size(), 1);
  }
  /// The other hart changes the cell and changes it back.
  void aba() { other({store(Opcode::sd, 21, 0, 10), store(Opcode::sd, 20, 0, 10)}); }
  /// Runs the program on hart 0, `between` when it reads the device; true if its SC (to x7) succeeded.
  bool succeeds(const Program& program, std::function<void()> between, U64 steps = 0) {
    b.put(code, program);
    b.state().pc = code;
    b.x(7) = 77;
    b.hart().flush_instructions();
    b.on_read = [&](U64, unsigned) { return between(), std::optional<U64>(0); };
    b.run(steps ? steps : program.size());
    EXPECT_LE(b.x(7), 1u) << "the SC was not reached";
    return b.x(7) == 0;
  }
  static Program with_load_between() {
    return {lr(Opcode::lr_d, 5, 10), load(Opcode::ld, 6, 0, 11), amo(Opcode::sc_d, 7, 12, 10)};
  }
};

TEST_F(ReservationTest, UndisturbedPairsSucceedAndStore) {
  EXPECT_TRUE(succeeds({lr(Opcode::lr_d, 5, 10), amo(Opcode::sc_d, 7, 12, 10)}, [] {}));
  EXPECT_EQ(b.peek(data), 99u);
  EXPECT_EQ(b.x(5), 5u);
  b.x(12) = 0xffff'ffff'8000'0001;
  EXPECT_TRUE(succeeds({lr(Opcode::lr_w, 5, 10), nop(), amo(Opcode::sc_w, 7, 12, 10)}, [] {}));
  EXPECT_EQ(b.peek(data), 0x8000'0001u);
  EXPECT_TRUE(succeeds(with_load_between(), [] {}));
  EXPECT_TRUE(succeeds({lr(Opcode::lr_w, 5, 10), amo(Opcode::sc_w, 7, 12, 10)}, [] {}));
  EXPECT_EQ(b.x(5), 0xffff'ffff'8000'0001) << "LR.W extends the sign";
}

// 14.2: no reservation, or one that was used, or one elsewhere: the SC fails and stores nothing.
TEST_F(ReservationTest, AnScNeedsItsLr) {
  EXPECT_FALSE(succeeds({amo(Opcode::sc_d, 7, 12, 10)}, [] {}));
  EXPECT_FALSE(succeeds({lr(Opcode::lr_d, 5, 10), amo(Opcode::sc_d, 6, 20, 10), amo(Opcode::sc_d, 7, 12, 10)}, [] {}));
  b.poke(data, 5);
  EXPECT_FALSE(succeeds({lr(Opcode::lr_d, 5, 13), amo(Opcode::sc_d, 7, 12, 10)}, [] {}))
      << "reserved is another granule";
  EXPECT_FALSE(succeeds({lr(Opcode::lr_d, 5, 13), load(Opcode::ld, 6, 0, 11), amo(Opcode::sc_d, 7, 12, 10)}, [] {}));
  EXPECT_EQ(b.peek(data), 5u);
}

TEST_F(ReservationTest, AbaByAnotherHartFails) {
  EXPECT_FALSE(succeeds(with_load_between(), [&] { aba(); }));
  EXPECT_EQ(b.peek(data), 5u);
  // Also by its AMO, by its SC, by bytes of the granule that the LR did not read, and by CBO.ZERO.
  EXPECT_FALSE(succeeds(with_load_between(), [&] { other({amo(Opcode::amoswap_d, 5, 20, 10)}); }));
  EXPECT_FALSE(succeeds(with_load_between(), [&] { other({lr(Opcode::lr_d, 5, 10), amo(Opcode::sc_d, 6, 5, 10)}); }));
  EXPECT_FALSE(succeeds(with_load_between(), [&] { other({store(Opcode::sb, 20, 3, 10)}); }));
  EXPECT_FALSE(succeeds(with_load_between(), [&] { other({store(Opcode::sd, 20, -4, 10)}); }))
      << "misaligned, overlapping";
  EXPECT_FALSE(succeeds(with_load_between(), [&] { other({plain(Opcode::cbo_zero, 10)}); }));
  b.poke(data, 5);
}

// The same with a store of its own between: that page was writable without asking until the LR.
TEST_F(ReservationTest, AbaWithAStoreBetweenFails) {
  b.on_write = [&](U64, unsigned, U64) { return aba(), true; };
  EXPECT_FALSE(succeeds({lr(Opcode::lr_d, 5, 10), store(Opcode::sd, 5, 0, 11), amo(Opcode::sc_d, 7, 12, 10)}, [] {}));
  b.on_write = [&](U64, unsigned, U64) { return true; };
  EXPECT_TRUE(succeeds(
      {lr(Opcode::lr_d, 5, 10), store(Opcode::sd, 5, 0, 13), store(Opcode::sd, 5, 0, 11), amo(Opcode::sc_d, 7, 12, 10)},
      [] {}));
}

// The other hart had the page in its TLB, writable, long before the LR.
TEST_F(ReservationTest, AStoreRightFromBeforeDoesNotSlipThrough) {
  other({store(Opcode::sd, 20, 0, 10), store(Opcode::sd, 20, 0, 10)});
  EXPECT_FALSE(succeeds(with_load_between(), [&] { aba(); }));
  other({store(Opcode::sd, 20, 256, 10)});
  EXPECT_FALSE(succeeds(with_load_between(), [&] { aba(); }));
}

// A store elsewhere in the page must not make loops fail for ever: other granules are not reserved.
TEST_F(ReservationTest, StoresToOtherGranulesDoNotDisturb) {
  EXPECT_TRUE(
      succeeds(with_load_between(), [&] { other({store(Opcode::sd, 20, 64, 10), store(Opcode::sd, 20, -8, 10)}); }));
}

// A device's write is a write: virtio queues and the like may be watched by LR/SC.
TEST_F(ReservationTest, DeviceWritesEndReservations) {
  const U64 five = 5;
  EXPECT_FALSE(succeeds(with_load_between(), [&] { EXPECT_TRUE(b.memory().write(data + 8, &five, 8)); }));
  EXPECT_FALSE(succeeds(with_load_between(), [&] { EXPECT_TRUE(b.memory().fill(data - 64, 0, 65)); }));
  EXPECT_TRUE(succeeds(with_load_between(), [&] { EXPECT_TRUE(b.memory().write(data + 64, &five, 8)); }));
}

// 14.2 leaves it open whether a trap ends a reservation; here it does, so that a preempted thread's SC never succeeds
// by another's LR.
TEST_F(ReservationTest, TrapsEndReservations) {
  b.put(handler, {csr(Opcode::csrrs, 5, 0x341, 0), i(Opcode::addi, 5, 5, 4), csr(Opcode::csrrw, 0, 0x341, 5),
                  plain(Opcode::mret)});
  b.state().mstatus |= status::mpp;
  EXPECT_FALSE(succeeds({lr(Opcode::lr_d, 5, 10), plain(Opcode::ebreak), amo(Opcode::sc_d, 7, 12, 10)}, [] {}, 7));
  EXPECT_FALSE(succeeds(
      {lr(Opcode::lr_d, 5, 10), load(Opcode::ld, 6, 0, 11), plain(Opcode::ebreak), amo(Opcode::sc_d, 7, 12, 10)}, [] {},
      8));
}

// A branch between LR and SC may lead over a load and back to that same SC, in as many steps as the straight way takes.
TEST_F(ReservationTest, AColdPathWithALoadSeesAba) {
  const Program same_sc = {lr(Opcode::lr_d, 5, 10),
                           branch(Opcode::bne, 5, 0, 20),
                           nop(),
                           nop(),
                           amo(Opcode::sc_d, 7, 12, 10),
                           jump(0),
                           load(Opcode::ld, 6, 0, 11),
                           jump(-12)};
  // bne at +4 goes to +24.
  EXPECT_FALSE(succeeds(same_sc, [&] { aba(); }, 5));
  for (int n = 0; n < 3; n++) EXPECT_FALSE(succeeds(same_sc, [&] { aba(); }, 5));
  const Program other_sc = {
      lr(Opcode::lr_d, 5, 10),    branch(Opcode::bne, 5, 0, 16), nop(), amo(Opcode::sc_d, 6, 12, 10), jump(0),
      load(Opcode::ld, 6, 0, 11), amo(Opcode::sc_d, 7, 12, 10)};
  for (int n = 0; n < 3; n++) EXPECT_FALSE(succeeds(other_sc, [&] { aba(); }, 4));
  const Program two_branches = {lr(Opcode::lr_d, 5, 10),
                                branch(Opcode::bne, 5, 0, 24),
                                nop(),
                                nop(),
                                branch(Opcode::bne, 0, 0, 0),
                                amo(Opcode::sc_d, 7, 12, 10),
                                jump(0),
                                load(Opcode::ld, 6, 0, 11),
                                jump(-16)};
  for (int n = 0; n < 3; n++) EXPECT_FALSE(succeeds(two_branches, [&] { aba(); }, 6));
}

// ... and such code must still get through when nobody disturbs it: soon, not for ever retrying.
TEST_F(ReservationTest, AColdPathGetsThroughInTheEnd) {
  const Program loop = {lr(Opcode::lr_d, 5, 10),
                        branch(Opcode::bne, 5, 0, 12),
                        nop(),
                        amo(Opcode::sc_d, 7, 12, 10),
                        load(Opcode::ld, 6, 0, 13),
                        amo(Opcode::sc_d, 7, 12, 10),
                        branch(Opcode::bne, 7, 0, -24),
                        jump(0)};
  b.poke(data, 5);
  EXPECT_TRUE(succeeds(loop, [] {}, 30));
  EXPECT_EQ(b.peek(data), 99u);
}

// 14.3: a constrained loop ends, wherever the machine's time slices cut it.
TEST_F(ReservationTest, LoopsEndWhateverTheSlices) {
  for (const auto& body : std::initializer_list<Program>{
           {nop()},
           {branch(Opcode::bne, 0, 0, 8)},
           {i(Opcode::andi, 6, 5, 1), branch(Opcode::bne, 0, 0, 8), i(Opcode::ori, 6, 5, 2), i(Opcode::ori, 6, 6, 4)},
           {load(Opcode::ld, 6, 0, 13)}}) {
    Program loop = {lr(Opcode::lr_d, 5, 10)};
    loop.insert(loop.end(), body.begin(), body.end());
    loop.push_back(amo(Opcode::sc_d, 7, 12, 10));
    loop.push_back(branch(Opcode::bne, 7, 0, -4 * int(loop.size())));
    loop.push_back(jump(0));
    for (U64 slice = 1; slice < 7; slice++) {
      b.put(code, loop);
      b.poke(data, 5);
      b.state().pc = code;
      b.hart().restore();
      for (U64 done = 0; done < 40; done += slice) b.run(slice);
      EXPECT_EQ(b.peek(data), 99u) << body.size() << " slice " << slice;
    }
  }
}

// FENCE.I: what an LR was taken for may lie in code that has changed since.
TEST_F(ReservationTest, ChangedCodeBehindAnLrIsSeen) {
  Program program = {lr(Opcode::lr_d, 5, 10), branch(Opcode::beq, 5, 0, 16), nop(), amo(Opcode::sc_d, 7, 12, 10),
                     jump(0)};
  EXPECT_TRUE(succeeds(program, [] {}, 4));
  b.poke(data, 5);
  program[2] = load(Opcode::ld, 6, 0, 11);
  EXPECT_FALSE(succeeds(program, [&] { aba(); }, 4));
}

// The last LR counts; an earlier one's granule must not come back.
TEST_F(ReservationTest, ANewLrReplacesTheOld) {
  EXPECT_FALSE(succeeds({lr(Opcode::lr_d, 5, 10), load(Opcode::ld, 6, 0, 13), lr(Opcode::lr_d, 5, 13),
                         load(Opcode::ld, 6, 0, 13), amo(Opcode::sc_d, 7, 12, 10)},
                        [] {}));
  EXPECT_FALSE(succeeds({lr(Opcode::lr_d, 5, 10), load(Opcode::ld, 6, 0, 13), lr(Opcode::lr_d, 5, 13), nop(),
                         amo(Opcode::sc_d, 7, 12, 10)},
                        [] {}));
}

// Watching a page makes stores to it slow; it has to end when nobody reserves there any more, or a guest's hot page
// stays slow.
TEST_F(ReservationTest, WatchedPagesAreReleased) {
  EXPECT_TRUE(succeeds(with_load_between(), [] {}));
  EXPECT_TRUE(b.reservations().watched(data));
  // A watched reservation that is left behind by a plain one must not hold the page.
  succeeds({lr(Opcode::lr_d, 5, 10), load(Opcode::ld, 6, 0, 11), lr(Opcode::lr_d, 5, 10), amo(Opcode::sc_d, 7, 12, 10)},
           [] {});
  b.put(code + 0x4000, {store(Opcode::sd, 20, 0, 13), jump(-4)});
  b.state(1).pc = code + 0x4000;
  b.hart(1).flush_instructions();
  b.run(50'000, 1);
  EXPECT_FALSE(b.reservations().watched(data));
  EXPECT_FALSE(succeeds(with_load_between(), [&] { aba(); })) << "and can be watched again";
}

// A spinning LR + WRS must not make its page slow for everybody (Zawrs); an SC behind it still needs a reservation that
// holds.
TEST_F(ReservationTest, WaitingOnlyWatchesNothing) {
  const Program wait = {lr(Opcode::lr_w, 5, 10), branch(Opcode::bne, 0, 0, 8), plain(Opcode::wrs_nto),
                        load(Opcode::ld, 6, 0, 11), amo(Opcode::sc_w, 7, 12, 10)};
  b.put(code, wait);
  b.state().pc = code;
  b.hart().restore();
  EXPECT_EQ(b.run(10), Hart::Stop::pause);
  EXPECT_FALSE(b.reservations().watched(data));
  b.on_read = [&](U64, unsigned) { return aba(), std::optional<U64>(0); };
  b.run(2);
  EXPECT_EQ(b.x(7), 1u);
}

// A program whose LRs go through its heap (their SC lies on the next page of code) must not slow every store down for
// good: Go's compiler on two harts did not come to an end.
TEST(ReservationTableTest, FewPagesAreWatchedAtATime) {
  ReservationTable table(2);
  constexpr U64 first = 0x8000'0000, pages = 1000;
  table.watch(first);
  ASSERT_TRUE(table.reserve(0, first + 8, [] {}));
  for (U64 n = 1; n < pages; n++) table.watch(first + n * page_size);
  U64 watched = 0;
  for (U64 n = 0; n < pages; n++) watched += table.watched(first + n * page_size);
  EXPECT_LE(watched, 64u);
  EXPECT_TRUE(table.watched(first + (pages - 1) * page_size));
  EXPECT_FALSE(table.store_conditional(0, first + 8, 8, [] {})) << "nobody saw whether there were stores";
}

TEST(ReservationTableTest, OnlyOthersStoresToTheGranuleEndIt) {
  ReservationTable table(2);
  EXPECT_FALSE(table.reserve(0, data, [] {})) << "not watched";
  table.watch(data);
  const auto holds_after = [&](unsigned hart, U64 address, U64 length) {
    EXPECT_TRUE(table.reserve(0, data + 64, [] {}));
    table.store(hart, address, length, [] {});
    return table.store_conditional(0, data + 64, 8, [] {});
  };
  EXPECT_TRUE(holds_after(0, data + 64, 8));
  EXPECT_TRUE(holds_after(1, data + 56, 8));
  EXPECT_TRUE(holds_after(1, data + 128, 8));
  EXPECT_FALSE(holds_after(1, data + 57, 8));
  EXPECT_FALSE(holds_after(1, data + 127, 1));
  EXPECT_FALSE(holds_after(1, data, 4096));
  table.reserve(0, data, [] {});
  table.cancel(0);
  EXPECT_FALSE(table.store_conditional(0, data, 8, [] {}));
}

}  // namespace
}  // namespace doppel::riscv64::bench
