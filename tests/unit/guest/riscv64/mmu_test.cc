// Address translation (Privileged ISA 12.3 to 12.6, 13 Svnapot, 14 Svpbmt, 15 Svinval, 17 Svadu).
#include <gtest/gtest.h>

#include "unit/guest/riscv64/bench_hart.h"

namespace doppel::riscv64::bench {
namespace {

constexpr auto user = Privilege::user, supervisor = Privilege::supervisor, machine = Privilege::machine;
constexpr U64 rwx = Pages::rwx, there = 0x10'0000'0000;  // some canonical virtual address for all modes

struct MmuTest : testing::Test {
  Bench b;
  Pages pages{b};
  HartState& s = b.state();
  static constexpr U64 text = 0x10'0000;  // where tests' code is, virtually
  MmuTest() { pages.map(text, code), pages.map(text + 0x1000, code, rwx | pte::u); }
  U64 text_of(Privilege p) { return p == user ? text + 0x1000 : p == machine ? code : text; }
  Outcome read(U64 address, Privilege p = supervisor) {
    b.x(6) = address;
    b.x(5) = 0xdead;
    return b.step(load(Opcode::ld, 5, 0, 6), p, text_of(p), code);
  }
  Outcome write(U64 address, Privilege p = supervisor, U64 value = 0x77) {
    b.x(6) = address, b.x(5) = value;
    return b.step(store(Opcode::sd, 5, 0, 6), p, text_of(p), code);
  }
  Outcome fetch(U64 address, Privilege p = supervisor) { return b.step_at(address, p); }
  /// Reads without forgetting what was translated before.
  Outcome read_again(U64 address) {
    b.x(6) = address;
    s.pc = text;
    return b.again();
  }
};

// 12.4 to 12.6: every level of every mode, as page or superpage; its offset bits come from the address.
TEST(MmuModes, LeavesOfEveryLevelTranslate) {
  for (const auto mode : {Paging::sv39, Paging::sv48, Paging::sv57})
    for (unsigned level = 0; level < paging_levels(mode); level++)
      for (const bool high : {false, true}) {
        Bench b;
        Pages pages(b, mode);
        const U64 size = 1ULL << (12 + 9 * level);
        // A leaf that holds all of RAM, or a part of it, at an address in either half.
        const U64 physical = (data + 0x1000) & ~(size - 1);
        const U64 address =
            (high ? ~0ULL << (11 + 9 * paging_levels(mode)) : 0) + (level + 1 == paging_levels(mode) ? size : 3 * size);
        pages.map(address, physical, Pages::rwx, level);
        b.poke(data + 0x1ff8, 0x1234);
        b.put(data + 0x1000, {load(Opcode::ld, 5, 0, 6)});
        b.x(6) = address + ((data + 0x1ff8) & (size - 1));
        const auto out = b.step_at(address + ((data + 0x1000) & (size - 1)), supervisor);
        EXPECT_FALSE(out.trapped) << int(mode) << " " << level << high << " cause " << out.cause;
        EXPECT_EQ(b.x(5), 0x1234u) << int(mode) << " " << level << high;
      }
}

// 12.4.1: bits above the highest used one must equal it.
TEST(MmuModes, AddressesThatAreNotCanonicalFault) {
  for (const auto mode : {Paging::sv39, Paging::sv48, Paging::sv57}) {
    Bench b;
    Pages pages(b, mode);
    const unsigned bits = 12 + 9 * paging_levels(mode);
    pages.map(0x10'0000, code);
    pages.map((1ULL << (bits - 1)) | ~0ULL << bits, data);
    for (const U64 address : {1ULL << (bits - 1), 1ULL << bits, 1ULL << 63, ~0ULL << bits, (1ULL << 63) | 0x10'0000}) {
      b.x(6) = address;
      auto out = b.step(load(Opcode::ld, 5, 0, 6), supervisor, 0x10'0000, code);
      EXPECT_TRUE(out.is(Cause::load_page_fault)) << std::hex << address;
      EXPECT_EQ(out.tval, address);
      out = b.step_at(address, supervisor);
      EXPECT_TRUE(out.is(Cause::instruction_page_fault));
      EXPECT_EQ(out.tval, address);
    }
    b.x(6) = (1ULL << (bits - 1)) | ~0ULL << bits;
    EXPECT_FALSE(b.step(load(Opcode::ld, 5, 0, 6), supervisor, 0x10'0000, code).trapped);
  }
}

// 12.3.2 steps 3 to 8: what makes an entry invalid, whatever the access.
TEST_F(MmuTest, MalformedEntriesFault) {
  using namespace pte;
  using pte::r;
  for (const U64 bits :
       std::initializer_list<U64>{rwx & ~v, v | w | a | d, v | w | x | a | d, rwx | 1ULL << 54, rwx | 1ULL << 60,
                                  rwx | 1ULL << 61, rwx | 2ULL << 61, rwx | 3ULL << 61, U64{v}, v | a | d, U64{0}}) {
    const auto at = pages.map(there, data, bits);
    EXPECT_TRUE(read(there + 8).is(Cause::load_page_fault)) << std::hex << bits;
    EXPECT_TRUE(write(there).is(Cause::store_page_fault)) << std::hex << bits;
    EXPECT_TRUE(fetch(there).is(Cause::instruction_page_fault)) << std::hex << bits;
    EXPECT_EQ(b.peek(at), Pages::entry(data, bits)) << "a fault changes no entry";
  }
  const auto upper = pages.slot(there, 1);  // pointers: A, D, U, N and PBMT are reserved
  pages.map(there, data);
  const auto good = b.peek(upper);
  EXPECT_FALSE(read(there).trapped);
  for (const U64 bits : std::initializer_list<U64>{U64{a}, U64{d}, U64{u}, n, 1ULL << 61, 1ULL << 54}) {
    b.poke(upper, good | bits);
    EXPECT_TRUE(read(there).is(Cause::load_page_fault)) << std::hex << bits;
  }
}

TEST_F(MmuTest, MisalignedSuperpagesFault) {
  for (unsigned level = 1; level < 3; level++)
    for (unsigned bit = 12; bit < 12 + 9 * level; bit += 4) {
      pages.map(0x20'0000'0000, (ram & ~((1ULL << (12 + 9 * level)) - 1)) | 1ULL << bit, rwx, level);
      EXPECT_TRUE(read(0x20'0000'0000).is(Cause::load_page_fault)) << level << " " << bit;
    }
}

// 12.3.1: U, SUM and MXR.
TEST_F(MmuTest, PermissionsByPrivilege) {
  using namespace pte;
  using pte::r;
  for (const U64 rights : std::initializer_list<U64>{U64{r}, r | w, U64{x}, r | x, r | w | x})
    for (const bool user_page : {false, true})
      for (const auto p : {user, supervisor})
        for (const bool sum : {false, true})
          for (const bool mxr : {false, true}) {
            s.mstatus = status::sxl64 | status::uxl64 | (sum ? status::sum : 0) | (mxr ? status::mxr : 0);
            pages.map(there, data, v | a | d | rights | (user_page ? u : 0));
            b.put(data, {nop()});
            const bool reach = p == user ? user_page : !user_page || sum;
            EXPECT_EQ(!read(there, p).trapped, reach && ((rights & r) || (mxr && (rights & x))))
                << rights << user_page << int(p) << sum << mxr;
            s.mstatus = status::sxl64 | status::uxl64 | (sum ? status::sum : 0) | (mxr ? status::mxr : 0);
            EXPECT_EQ(!write(there, p).trapped, reach && (rights & w)) << rights << user_page << int(p) << sum << mxr;
            s.mstatus = status::sxl64 | status::uxl64 | (sum ? status::sum : 0) | (mxr ? status::mxr : 0);
            b.put(data, {nop()});
            EXPECT_EQ(!fetch(there, p).trapped, (user_page == (p == user)) && (rights & x))
                << rights << user_page << int(p) << sum << mxr;
          }
}

// 3.1.6.3: SUM and MXR act at once, without a fence: kernels set SUM around each copy from user memory.
TEST_F(MmuTest, SumAndMxrActAtOnce) {
  pages.map(there, data, pte::v | pte::x | pte::u | pte::a | pte::d);
  b.x(6) = there, b.x(7) = status::sum | status::mxr;
  b.put(code, {csr(Opcode::csrrs, 0, 0x100, 7), load(Opcode::ld, 5, 0, 6), csr(Opcode::csrrc, 0, 0x100, 7),
               load(Opcode::ld, 5, 0, 6)});
  s.privilege = std::uint8_t(supervisor), s.pc = text;
  b.hart().restore();
  b.run(4);
  EXPECT_EQ(s.mepc, text + 12);
  EXPECT_EQ(s.mcause, U64(Cause::load_page_fault));
}

// 3.1.6.3: with MPRV, loads and stores of M-mode are MPP's; fetches are not.
TEST_F(MmuTest, MprvLoadsWithTheEyesOfMpp) {
  pages.map(there, data);
  pages.map(there + 0x1000, data, rwx | pte::u);
  b.poke(data, 0x99);
  s.mstatus |= status::mprv | 1ULL << status::mpp_shift;
  EXPECT_FALSE(read(there, machine).trapped);
  EXPECT_EQ(b.x(5), 0x99u);
  EXPECT_TRUE(read(there + 0x1000, machine).is(Cause::load_page_fault));
  s.mstatus = status::mprv;
  EXPECT_FALSE(read(there + 0x1000, machine).trapped);
  s.mstatus = status::mprv | status::mpp;
  EXPECT_TRUE(read(there, machine).is(Cause::load_access_fault)) << "MPP = M: physical";
}

// 12.3.2 step 9, Svade: without menvcfg.ADUE, A and D are software's.
TEST_F(MmuTest, SvadeFaultsWhereAOrDIsMissing) {
  const auto at = pages.map(there, data, rwx & ~(pte::a | pte::d));
  EXPECT_TRUE(read(there).is(Cause::load_page_fault));
  EXPECT_TRUE(fetch(there).is(Cause::instruction_page_fault));
  pages.map(there, data, rwx & ~pte::d);
  EXPECT_FALSE(read(there).trapped);
  EXPECT_TRUE(write(there).is(Cause::store_page_fault));
  EXPECT_EQ(b.peek(at), Pages::entry(data, rwx & ~pte::d));
}

// 17 Svadu: with it the hart sets them: A for any access, D for a store only, nothing for one that faults.
TEST_F(MmuTest, SvaduSetsAAndD) {
  s.menvcfg = envcfg::adue;
  const U64 none = pte::v | pte::r | pte::w | pte::x;
  b.put(data, {nop()});
  auto at = pages.map(there, data, none);
  EXPECT_FALSE(read(there).trapped);
  EXPECT_EQ(b.peek(at), Pages::entry(data, none | pte::a));
  EXPECT_FALSE(write(there).trapped);
  EXPECT_EQ(b.peek(at), Pages::entry(data, none | pte::a | pte::d));
  at = pages.map(there, data, none);
  EXPECT_FALSE(write(there).trapped);
  EXPECT_EQ(b.peek(at), Pages::entry(data, none | pte::a | pte::d));
  at = pages.map(there, data, none);
  b.put(data, {nop()});
  EXPECT_FALSE(fetch(there).trapped);
  EXPECT_EQ(b.peek(at), Pages::entry(data, none | pte::a));
  at = pages.map(there, data, pte::v | pte::r);
  EXPECT_TRUE(write(there).trapped);
  EXPECT_EQ(b.peek(at), Pages::entry(data, pte::v | pte::r));
  // A load first, then a store in the same breath: the TLB must not let the store pass without D.
  at = pages.map(there, data, none);
  b.x(6) = there;
  b.put(code, {load(Opcode::ld, 5, 0, 6), store(Opcode::sd, 5, 0, 6)});
  b.step_at(text, supervisor);
  b.again();
  EXPECT_EQ(b.peek(at), Pages::entry(data, none | pte::a | pte::d));
}

// 13: sixteen pages of 64 KiB by one pattern; other patterns and levels are reserved.
TEST_F(MmuTest, Svnapot64K) {
  const U64 base = (data + 0xffff) & ~0xffffULL, at = 0x20'0000;
  for (unsigned page = 0; page < 16; page++) {
    b.poke(pages.slot(at + page * 0x1000, 0), Pages::entry(base | 0x8000, rwx | pte::n));
    b.poke(base + page * 0x1000, 100 + page);
  }
  for (unsigned page = 0; page < 16; page++) {
    EXPECT_FALSE(read(at + page * 0x1000).trapped);
    EXPECT_EQ(b.x(5), 100 + page);
  }
  for (unsigned low = 0; low < 16; low++) {
    b.poke(pages.slot(at, 0), Pages::entry(base | U64{low} << 12, rwx | pte::n));
    EXPECT_EQ(read(at).trapped, low != 8) << low;
  }
  pages.map(0x4000'0000, ram, rwx | pte::n, 1);
  EXPECT_TRUE(read(0x4000'0000).is(Cause::load_page_fault));
}

// 14: memory types 1 and 2 with menvcfg.PBMTE; 3 never.
TEST_F(MmuTest, Svpbmt) {
  s.menvcfg = envcfg::pbmte;
  for (U64 type = 0; type < 4; type++) {
    pages.map(there, data, rwx | type << 61);
    EXPECT_EQ(read(there).trapped, type == 3) << type;
  }
}

// 12.3.2 step 2: tables outside of memory are an access fault of the access's kind, not a page fault.
TEST_F(MmuTest, TablesOutsideOfMemoryAreAccessFaults) {
  b.poke(pages.slot(there, 2), Pages::entry(0x1000, pte::v));
  EXPECT_TRUE(read(there).is(Cause::load_access_fault));
  EXPECT_TRUE(write(there).is(Cause::store_access_fault));
  EXPECT_TRUE(fetch(there).is(Cause::instruction_access_fault));
  b.poke(pages.slot(there, 2), Pages::entry(0xff'ffff'ffff'f000, pte::v));
  EXPECT_TRUE(read(there).is(Cause::load_access_fault));
  pages.map(0x20'0000, 0xff'ffff'ffff'f000);  // and so are pages
  EXPECT_TRUE(read(0x20'0000).is(Cause::load_access_fault));
  EXPECT_TRUE(fetch(0x20'0000).is(Cause::instruction_access_fault));
  EXPECT_EQ(s.mtval, 0x20'0000u);
}

// 12.2.1: after SFENCE.VMA the new entry counts, for all addresses or the one, in a superpage too. A stale one is a
// security hole.
TEST_F(MmuTest, FencesForgetTranslations) {
  b.poke(data, 1), b.poke(data + 0x2000, 2), b.poke(data + 0x20'0000, 3);
  const auto flush_and_read = [&](U64 address, std::uint32_t fence) {
    b.put(code, {fence, load(Opcode::ld, 5, 0, 6)});
    b.hart().flush_instructions();
    b.x(6) = address, s.pc = text;
    b.again();
    EXPECT_FALSE(b.again().trapped);
    return b.x(5);
  };
  for (const auto op : {Opcode::sfence_vma, Opcode::sinval_vma})
    for (const Reg by_address : {0, 6})
      for (const Reg asid : {0, 8}) {
        pages.map(there, data);
        EXPECT_FALSE(read(there).trapped);
        EXPECT_EQ(b.x(5), 1u);
        pages.map(there, data + 0x2000);
        EXPECT_EQ(flush_and_read(there, plain(op, by_address, asid)), 2u);
        // A superpage, read at two places, fenced by a third address in it.
        const U64 huge = 0x20'0000 * 9;
        pages.map(huge, data & ~0x1f'ffffULL, rwx, 1);
        const U64 place = huge + (data & 0x1f'ffff);
        EXPECT_FALSE(read(place).trapped);
        EXPECT_EQ(b.x(5), 1u);
        b.put(code, {plain(op, by_address ? 9 : 0, asid), load(Opcode::ld, 5, 0, 6)});
        b.x(9) = huge + 0x1f'fff0;
        pages.map(huge, (data & ~0x1f'ffffULL) + 0x20'0000, rwx, 1);
        b.hart().flush_instructions();
        b.x(6) = place, s.pc = text;
        b.again();
        EXPECT_FALSE(b.again().trapped);
        EXPECT_EQ(b.x(5), 3u);
      }
}

// 12.2.1 for fetches: a page of code that is mapped elsewhere or away after the fence.
TEST_F(MmuTest, FencesForgetFetches) {
  for (const Reg by_address : {0, 6}) {
    b.put(data, {i(Opcode::addi, 5, 0, 1), i(Opcode::jalr, 0, 1, 0)});
    b.put(data + 0x1000, {i(Opcode::addi, 5, 0, 2), i(Opcode::jalr, 0, 1, 0)});
    b.put(code, {i(Opcode::jalr, 1, 6, 0), plain(Opcode::sfence_vma, by_address), i(Opcode::jalr, 1, 6, 0)});
    pages.map(there, data);
    b.x(6) = there, s.pc = text, s.privilege = std::uint8_t(supervisor);
    b.hart().restore();
    b.run(3);
    EXPECT_EQ(b.x(5), 1u);
    pages.map(there, data + 0x1000);
    b.run(3);
    EXPECT_EQ(b.x(5), 2u);
  }
}

// 12.1.11: a new satp is a new world.
TEST_F(MmuTest, WritingSatpSwitchesTables) {
  b.poke(data, 1), b.poke(data + 0x2000, 2);
  pages.map(there, data);
  const auto first = s.satp;
  b.poke(tables + 0x80'0000 + (there >> 30 & 511) * 8, 0);
  for (unsigned n = 0; n < 512; n++) b.poke(tables + 0x80'0000 + n * 8, b.peek(pages.root() + n * 8));
  b.poke(tables + 0x80'0000 + (there >> 30 & 511) * 8, Pages::entry(ram & ~0x3fff'ffffULL, rwx));
  const U64 second = U64(Paging::sv39) << 60 | 1ULL << 44 | (tables + 0x80'0000) >> 12;
  ASSERT_NE(there >> 30 & 511, text >> 30 & 511);
  const U64 address = (there & ~0x3fff'ffffULL) + (data + 0x2000 - ram);
  pages.map(address, data);
  b.x(6) = address, b.x(7) = second, b.x(8) = first;
  b.put(code, {load(Opcode::ld, 9, 0, 6), csr(Opcode::csrrw, 0, 0x180, 7), load(Opcode::ld, 10, 0, 6),
               csr(Opcode::csrrw, 0, 0x180, 8), load(Opcode::ld, 11, 0, 6)});
  s.pc = text, s.privilege = std::uint8_t(supervisor);
  b.hart().restore();
  b.run(5);
  EXPECT_EQ(b.x(9), 1u);
  EXPECT_EQ(b.x(10), 2u);
  EXPECT_EQ(b.x(11), 1u);
}

// Misaligned accesses work, across pages too; when the second page is missing its address is told, and nothing is half
// done.
TEST_F(MmuTest, AccessesAcrossPages) {
  pages.map(there, data);
  pages.map(there + 0x1000, data + 0x5000);  // not the next page physically
  b.poke(data + 0xffb, 0x0000'0005'0403'0201, 5);
  b.poke(data + 0x5000, 0x080706, 3);
  EXPECT_FALSE(read(there + 0xffb).trapped);
  EXPECT_EQ(b.x(5), 0x0807'0605'0403'0201u);
  EXPECT_FALSE(write(there + 0xffe, supervisor, 0x1122'3344'5566'7788).trapped);
  EXPECT_EQ(b.peek(data + 0xffe, 2), 0x7788u);
  EXPECT_EQ(b.peek(data + 0x5000, 6), 0x1122'3344'5566u);
  b.poke(data + 0xff8, 0);
  for (const U64 second : {U64{0}, Pages::entry(data + 0x5000, rwx & ~pte::w)}) {
    b.poke(pages.slot(there + 0x1000, 0), second);
    const auto out = write(there + 0xffc);
    EXPECT_TRUE(out.is(Cause::store_page_fault));
    EXPECT_EQ(out.tval, there + 0x1000);
    EXPECT_EQ(b.peek(data + 0xff8), 0u);
  }
  b.poke(pages.slot(there + 0x1000, 0), 0);
  const auto out = read(there + 0xffc);
  EXPECT_TRUE(out.is(Cause::load_page_fault));
  EXPECT_EQ(out.tval, there + 0x1000);
  b.poke(pages.slot(there, 0), 0);
  EXPECT_EQ(read(there + 0xffc).tval, there + 0xffc);
}

// An instruction on two pages: if the second is missing, epc is the instruction's and tval the second page's (3.1.16).
TEST_F(MmuTest, InstructionsAcrossPages) {
  pages.map(there, data), pages.map(there + 0x1000, data + 0x5000);
  const auto instruction = i(Opcode::addi, 5, 0, 123);
  b.poke(data + 0xffe, instruction & 0xffff, 2);
  b.poke(data + 0x5000, instruction >> 16, 2);
  EXPECT_FALSE(fetch(there + 0xffe).trapped);
  EXPECT_EQ(b.x(5), 123u);
  EXPECT_EQ(s.pc, there + 0x1002);
  pages.map(there + 0x1000, data + 0x5000, rwx & ~pte::x);
  const auto out = fetch(there + 0xffe);
  EXPECT_TRUE(out.is(Cause::instruction_page_fault));
  EXPECT_EQ(out.epc, there + 0xffe);
  EXPECT_EQ(out.tval, there + 0x1000);
}

// 12.1.11: mode 0 is physical for S and U too.
TEST_F(MmuTest, BareTranslatesNothing) {
  s.satp = 0;
  b.poke(data, 5);
  b.x(6) = data;
  EXPECT_FALSE(b.step(load(Opcode::ld, 5, 0, 6), supervisor).trapped);
  EXPECT_EQ(b.x(5), 5u);
  b.x(6) = 1ULL << 56;
  EXPECT_TRUE(b.step(load(Opcode::ld, 5, 0, 6), supervisor).is(Cause::load_access_fault));
}

}  // namespace
}  // namespace doppel::riscv64::bench
