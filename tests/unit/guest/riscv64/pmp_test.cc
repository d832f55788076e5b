// Physical memory protection (Privileged ISA 3.7) and the cache-block operations' rules (Unprivileged ISA 19).
#include <gtest/gtest.h>

#include "unit/guest/riscv64/bench_hart.h"

namespace doppel::riscv64::bench {
namespace {

constexpr auto user = Privilege::user, supervisor = Privilege::supervisor, machine = Privilege::machine;
enum Mode : std::uint8_t { off = 0, tor = 1 << 3, na4 = 2 << 3, napot = 3 << 3, locked = 0x80, rights = 7 };

struct PmpTest : testing::Test {
  Bench b;
  HartState& s = b.state();
  void entry(unsigned n, unsigned config, U64 address) { s.pmpcfg[n] = std::uint8_t(config), s.pmpaddr[n] = address; }
  static U64 range(U64 base, U64 size) { return (base | (size / 2 - 1)) >> 2; }
  Outcome access(std::uint32_t instruction, U64 address, Privilege p = supervisor) {
    b.x(6) = address;
    return b.step(instruction, p);
  }
  bool reads(U64 address, Privilege p = supervisor) { return !access(load(Opcode::lb, 5, 0, 6), address, p).trapped; }
  bool writes(U64 address, Privilege p = supervisor) { return !access(store(Opcode::sb, 5, 0, 6), address, p).trapped; }
};

// Without a matching entry S and U may nothing, M may all; firmware that forgets an entry must not seem to work.
TEST_F(PmpTest, WithoutAnEntryOnlyMachineMayAccess) {
  s.pmpcfg[15] = 0;
  EXPECT_TRUE(reads(data, machine));
  const auto out = b.step(nop(), supervisor);
  EXPECT_TRUE(out.is(Cause::instruction_access_fault));
  EXPECT_EQ(out.tval, code);
}

TEST_F(PmpTest, EachModeMatchesItsRange) {
  struct Case {
    unsigned config;
    U64 address, low, last;
  };
  for (const auto& c : std::initializer_list<Case>{{na4, data >> 2, data, data + 3},
                                                   {napot, data >> 2, data, data + 7},
                                                   {napot, range(data, 64), data, data + 63},
                                                   {napot, range(data, 0x2000), data, data + 0x1fff},
                                                   {tor, (data + 0x208) >> 2, data + 0x104, data + 0x207}}) {
    if (c.config == tor) entry(0, off, (data + 0x104) >> 2);
    entry(1, c.config, c.address);
    for (const auto p : {user, supervisor}) {
      EXPECT_TRUE(reads(c.low - 1, p)) << c.config;
      EXPECT_FALSE(reads(c.low, p)) << c.config;
      EXPECT_FALSE(writes(c.last, p)) << c.config;
      EXPECT_TRUE(writes(c.last + 1, p)) << c.config;
    }
    EXPECT_TRUE(reads(c.low, machine));
    EXPECT_TRUE(access(load(Opcode::lb, 5, 0, 6), c.low).is(Cause::load_access_fault));
    EXPECT_TRUE(access(store(Opcode::sb, 5, 0, 6), c.low).is(Cause::store_access_fault));
    EXPECT_EQ(s.mtval, c.low);
  }
}

TEST_F(PmpTest, TorOfTheFirstEntryBeginsAtZeroAndEmptyOnesMatchNothing) {
  entry(0, tor, (code + 0x1000) >> 2);
  EXPECT_TRUE(b.step(nop(), supervisor).is(Cause::instruction_access_fault));
  entry(0, off, (code + 0x1000) >> 2);
  entry(1, tor, code >> 2);
  EXPECT_FALSE(b.step(nop(), supervisor).trapped);
}

// 3.7.1: the lowest entry that matches any byte decides; one that matches only some bytes fails the access.
TEST_F(PmpTest, TheFirstMatchDecidesAndPartsFail) {
  entry(0, napot | 1, range(data, 8));
  entry(1, napot, range(data, 4096));
  EXPECT_TRUE(reads(data + 7));
  EXPECT_FALSE(reads(data + 8));
  entry(1, off, 0);
  EXPECT_FALSE(access(load(Opcode::ld, 5, 0, 6), data).trapped);
  EXPECT_TRUE(access(load(Opcode::ld, 5, 0, 6), data + 4).is(Cause::load_access_fault));
  EXPECT_TRUE(access(load(Opcode::ld, 5, 0, 6), data + 4, machine).is(Cause::load_access_fault))
      << "whatever the privilege";
}

TEST_F(PmpTest, LockedEntriesBindMachineToo) {
  entry(0, napot | 1, range(data, 4096));
  EXPECT_TRUE(writes(data, machine));
  entry(0, napot | 1 | locked, range(data, 4096));
  EXPECT_TRUE(reads(data, machine));
  EXPECT_FALSE(writes(data, machine));
  b.x(6) = 0;
  b.step(csr(Opcode::csrrw, 0, 0x3b0, 6));
  EXPECT_EQ(s.pmpaddr[0], range(data, 4096));
  b.step(csr(Opcode::csrrw, 0, 0x3a0, 6));
  EXPECT_EQ(s.pmpcfg[0], napot | 1 | locked);
  entry(3, tor | locked | rights, data >> 2);  // locks the address below it as well
  b.x(6) = 0x55;
  b.step(csr(Opcode::csrrw, 0, 0x3b2, 6));
  EXPECT_EQ(s.pmpaddr[2], 0u);
  b.step(csr(Opcode::csrrw, 0, 0x3b4, 6));
  EXPECT_EQ(s.pmpaddr[4], 0x55u);
}

// 3.7.1: W without R is reserved; bits 5 and 6 are zero.
TEST_F(PmpTest, ConfigurationsAreLegal) {
  b.x(6) = 0x7f02'0607'1f7e;
  b.step(csr(Opcode::csrrw, 0, 0x3a0, 6));
  for (unsigned n = 0; n < 8; n++) {
    EXPECT_EQ(s.pmpcfg[n] & 0x60, 0) << n;
    EXPECT_NE(s.pmpcfg[n] & 3, 2) << n;
  }
}

// A change acts on the next access: what the TLB knew is gone.
TEST_F(PmpTest, ChangesActAtOnce) {
  s.mstatus |= status::mprv | 1ULL << status::mpp_shift;
  b.x(6) = data, b.x(7) = range(data, 4096), b.x(8) = napot | 1;
  b.execute({store(Opcode::sb, 5, 0, 6), csr(Opcode::csrrw, 0, 0x3b0, 7), csr(Opcode::csrrw, 0, 0x3a0, 8),
             load(Opcode::lb, 5, 0, 6), store(Opcode::sb, 5, 0, 6)});
  EXPECT_EQ(s.mcause, U64(Cause::store_access_fault));
  EXPECT_EQ(s.mepc, code + 16);
}

// Protection finer than a page: straight-line code must not run out of what may be executed.
TEST_F(PmpTest, CodeStopsAtTheEndOfItsRange) {
  entry(0, napot, range(code + 16, 16));
  b.put(code, {nop(), nop(), nop(), nop(), nop(), nop()});
  s.pc = code, s.privilege = std::uint8_t(supervisor);
  b.hart().restore();
  b.run(5);
  EXPECT_EQ(s.mcause, U64(Cause::instruction_access_fault));
  EXPECT_EQ(s.mepc, code + 16);
  EXPECT_EQ(s.mtval, code + 16);
  // Compressed and whole instructions up to the end; one that lies on the edge faults for its second half.
  b.poke(code, 0x0001'0001'0001, 6);
  b.poke(code + 6, nop(), 4), b.poke(code + 10, 0x0001, 2), b.poke(code + 12, 0x0001, 2), b.poke(code + 14, nop(), 4);
  s.pc = code, s.privilege = std::uint8_t(supervisor);
  b.hart().restore();
  b.run(7);
  EXPECT_EQ(s.mepc, code + 14);
  EXPECT_EQ(s.mtval, code + 16);
}

// 3.7.2: page-table walks are accesses of S-mode.
TEST_F(PmpTest, PageTablesAreProtectedToo) {
  Pages pages(b);
  pages.map(0x10'0000, code);
  entry(0, napot, range(pages.root(), 4096));
  EXPECT_TRUE(b.step(nop(), supervisor, 0x10'0000, code).is(Cause::instruction_access_fault));
  entry(0, napot | 1, range(pages.slot(0x10'0000, 0) & ~page_mask, 4096));  // readable is enough, but not to set A
  EXPECT_FALSE(b.step(nop(), supervisor, 0x10'0000, code).trapped);
  s.menvcfg = envcfg::adue;
  pages.map(0x10'0000, code, Pages::rwx & ~pte::a);
  EXPECT_TRUE(b.step(nop(), supervisor, 0x10'0000, code).is(Cause::instruction_access_fault));
}

// 19.5: what menvcfg and senvcfg enable.
TEST_F(PmpTest, CacheBlockOperationsObeyTheirEnables) {
  struct Case {
    Opcode op;
    U64 field;
  };
  for (const auto& c : std::initializer_list<Case>{{Opcode::cbo_clean, envcfg::cbcfe},
                                                   {Opcode::cbo_flush, envcfg::cbcfe},
                                                   {Opcode::cbo_inval, envcfg::cbie},
                                                   {Opcode::cbo_zero, envcfg::cbze}})
    for (const bool m : {false, true})
      for (const bool v : {false, true}) {
        s.menvcfg = m ? c.field : envcfg::supervisor_writable & ~c.field;
        s.senvcfg = v ? c.field : envcfg::supervisor_writable & ~c.field;
        EXPECT_FALSE(access(plain(c.op, 6), data, machine).trapped);
        EXPECT_EQ(access(plain(c.op, 6), data, supervisor).trapped, !m);
        const auto out = access(plain(c.op, 6), data, user);
        EXPECT_EQ(out.trapped, !(m && v));
        if (out.trapped) EXPECT_TRUE(out.is(Cause::illegal_instruction));
      }
}

// 19.4: all 64 bytes of the block, and no other; wherever in it the address points.
TEST_F(PmpTest, CboZeroClearsItsBlock) {
  for (const U64 offset : {0, 1, 8, 63}) {
    std::string filled(256, 'x');
    b.poke_bytes(data, filled.data(), 256);
    EXPECT_FALSE(access(plain(Opcode::cbo_zero, 6), data + 64 + offset, machine).trapped);
    for (U64 n = 0; n < 256; n++)
      EXPECT_EQ(b.peek(data + n, 1), n >= 64 && n < 128 ? 0u : U64{'x'}) << offset << " " << n;
  }
}

// 19.5.4: what they lack is a store's fault, at the address in rs1.
TEST_F(PmpTest, CacheBlockFaultsAreStoreFaults) {
  s.menvcfg = envcfg::supervisor_writable;
  Pages pages(b);
  pages.map(0x10'0000, code);
  pages.map(0x20'0000, data, Pages::rwx & ~pte::w);
  for (const auto op : {Opcode::cbo_clean, Opcode::cbo_flush, Opcode::cbo_inval, Opcode::cbo_zero}) {
    b.x(6) = 0x30'0011;
    auto out = b.step(plain(op, 6), supervisor, 0x10'0000, code);
    EXPECT_TRUE(out.is(Cause::store_page_fault)) << int(op);
    EXPECT_EQ(out.tval, 0x30'0011u) << int(op);
    b.x(6) = 0x20'0011;
    out = b.step(plain(op, 6), supervisor, 0x10'0000, code);
    EXPECT_EQ(out.trapped, op == Opcode::cbo_zero) << "leave to load is enough for the others";
    entry(0, napot, range(data, 64));
    out = b.step(plain(op, 6), supervisor, 0x10'0000, code);
    EXPECT_TRUE(out.is(op == Opcode::cbo_zero ? Cause::store_page_fault : Cause::store_access_fault));
    EXPECT_EQ(out.tval, 0x20'0011u);
    entry(0, off, 0);
  }
  b.x(6) = device + 5;
  EXPECT_TRUE(b.step(plain(Opcode::cbo_zero, 6)).is(Cause::store_access_fault));
  EXPECT_EQ(s.mtval, device + 5);
}

}  // namespace
}  // namespace doppel::riscv64::bench
