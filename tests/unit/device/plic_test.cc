#include "device/plic.h"

#include <gtest/gtest.h>

#include "unit/device/interrupt_probe.h"

namespace doppel {
namespace {

constexpr unsigned context_count = 4;

struct Machine {
  InterruptProbe probe;
  Plic plic{[this] {
    std::vector<InterruptLine> lines;
    for (unsigned i = 0; i < context_count; i++) lines.push_back({&probe, i});
    return lines;
  }()};
  std::uint64_t get(std::uint64_t at) { return peek(plic, at, 4); }
  void put(std::uint64_t at, std::uint64_t value) { EXPECT_TRUE(plic.write(at, 4, value)); }
  void priority(unsigned source, unsigned value) { put(4 * source, value); }
  void enable(unsigned context, unsigned source) {
    const auto at = 0x2000 + 0x80 * context + source / 32 * 4;
    put(at, get(at) | 1u << source % 32);
  }
  void threshold(unsigned context, unsigned value) { put(0x200000 + 0x1000 * context, value); }
  unsigned claim(unsigned context) { return static_cast<unsigned>(get(0x200004 + 0x1000 * context)); }
  void complete(unsigned context, unsigned source) { put(0x200004 + 0x1000 * context, source); }
  bool pending(unsigned source) { return get(0x1000 + source / 32 * 4) >> source % 32 & 1; }
  bool line(unsigned context) { return probe.level[context]; }
  /// Source with priority 1, enabled for context 1.
  void use(unsigned source, unsigned level = 1) {
    priority(source, level);
    enable(1, source);
  }
};

// No device's interrupt would reach the guest, or it would come for ever.
TEST(Plic, LevelIsClaimedOnceAndComesAgainOnlyAfterCompletionIfStillHigh) {
  Machine m;
  m.use(10);
  m.plic.set_level(10, true);
  EXPECT_TRUE(m.line(1));
  EXPECT_FALSE(m.line(0));
  EXPECT_TRUE(m.pending(10));
  EXPECT_EQ(m.claim(1), 10u);
  EXPECT_FALSE(m.line(1));
  EXPECT_FALSE(m.pending(10));
  EXPECT_EQ(m.claim(1), 0u);
  m.complete(1, 10);
  EXPECT_TRUE(m.line(1)) << "still high";
  EXPECT_EQ(m.claim(1), 10u);
  m.plic.set_level(10, false);
  m.complete(1, 10);
  EXPECT_FALSE(m.line(1));
}

// Chapter 1.2: what the gateway passed on stays until it is claimed.
TEST(Plic, RequestStaysWhenTheLevelFallsBeforeTheClaim) {
  Machine m;
  m.use(5);
  m.plic.set_level(5, true);
  m.plic.set_level(5, false);
  EXPECT_TRUE(m.line(1));
  EXPECT_EQ(m.claim(1), 5u);
  m.plic.set_level(5, true);
  EXPECT_FALSE(m.pending(5)) << "one request at a time";
  m.plic.set_level(5, false);
  m.complete(1, 5);
  EXPECT_FALSE(m.pending(5));
}

TEST(Plic, HighestPriorityFirstThenLowestNumber) {
  Machine m;
  for (const auto& [source, priority] : {std::pair{3u, 2u}, {40u, 7u}, {41u, 7u}, {95u, 5u}, {1u, 0u}}) {
    m.use(source, priority);
    m.plic.set_level(source, true);
  }
  for (const unsigned expected : {40u, 41u, 95u, 3u, 0u}) EXPECT_EQ(m.claim(1), expected);
  EXPECT_TRUE(m.pending(1)) << "priority 0 never interrupts";
}

TEST(Plic, ThresholdMasksTheLineButNotTheClaim) {
  Machine m;
  m.use(7, 3);
  m.threshold(1, 3);
  m.plic.set_level(7, true);
  EXPECT_FALSE(m.line(1));
  m.threshold(1, 2);
  EXPECT_TRUE(m.line(1));
  m.threshold(1, 7);
  EXPECT_FALSE(m.line(1));
  EXPECT_EQ(m.claim(1), 7u);
}

// Linux disables interrupts that threads handle; a completion that is not ignored would let them in too early.
TEST(Plic, CompletionForADisabledSourceIsIgnored) {
  Machine m;
  m.use(9);
  m.plic.set_level(9, true);
  EXPECT_EQ(m.claim(1), 9u);
  m.put(0x2080, 0);
  m.complete(1, 9);
  m.enable(1, 9);
  EXPECT_FALSE(m.line(1)) << "still claimed";
  for (const unsigned source : {0u, 8u, 96u, 1000u, 0xffffffffu}) m.complete(1, source);
  EXPECT_FALSE(m.line(1));
  m.complete(0, 9);
  EXPECT_FALSE(m.line(1)) << "not enabled for context 0";
  m.complete(1, 9);
  EXPECT_TRUE(m.line(1));
}

// Two harts would both handle one interrupt.
TEST(Plic, OneClaimantAmongContexts) {
  Machine m;
  m.priority(4, 1);
  m.enable(1, 4);
  m.enable(3, 4);
  m.plic.set_level(4, true);
  EXPECT_TRUE(m.line(1) && m.line(3));
  EXPECT_EQ(m.claim(3), 4u);
  EXPECT_FALSE(m.line(1) || m.line(3));
  EXPECT_EQ(m.claim(1), 0u);
  m.complete(1, 4);
  EXPECT_TRUE(m.line(3)) << "any context with the source enabled may complete it";
}

TEST(Plic, RegistersKeepOnlyTheirBits) {
  Machine m;
  m.priority(2, 0xffffffff);
  m.priority(0, 7);
  m.put(0x2000, 0xffffffff);
  m.threshold(0, 0xff);
  m.put(0x1000, 0xffffffff);
  EXPECT_EQ(m.get(8), 7u);
  EXPECT_EQ(m.get(0), 0u);
  EXPECT_EQ(m.get(0x2000), 0xfffffffeu);
  EXPECT_EQ(m.get(0x200000), 7u);
  EXPECT_EQ(m.get(0x1000), 0u) << "pending is read-only";
}

TEST(Plic, AccessesAreWordsAndDoubleWords) {
  Machine m;
  std::uint64_t value = 0;
  for (const auto& [offset, size] : {std::pair{0ull, 1u}, {4ull, 2u}, {2ull, 4u}, {4ull, 8u}, {5ull, 1u}}) {
    EXPECT_FALSE(m.plic.read(offset, size, value));
    EXPECT_FALSE(m.plic.write(offset, size, 1));
  }
  EXPECT_TRUE(m.plic.write(8, 8, 0x0000000500000006));
  EXPECT_EQ(m.get(8), 6u);
  EXPECT_EQ(m.get(12), 5u);
  EXPECT_EQ(peek(m.plic, 8, 8), 0x0000000500000006u);
}

TEST(Plic, EveryOffsetAndSourceIsHarmless) {
  Machine m;
  for (std::uint64_t at = 0; at < m.plic.window(); at += 4) {
    m.put(at, 0xffffffff);
    m.get(at);
  }
  for (const unsigned source : {0u, 96u, 97u, 0xffffffffu}) m.plic.set_level(source, true);
  EXPECT_EQ(m.get(0x1000), 0u);
}

// Harts would be woken for nothing by every interrupt of another.
TEST(Plic, DrivesOnlyLinesThatChange) {
  Machine m;
  m.use(10);
  m.probe.driven.clear();
  m.plic.set_level(10, true);
  m.plic.set_level(10, true);
  EXPECT_EQ(m.probe.driven[1], 1);
  EXPECT_EQ(m.probe.driven[0], 0);
}

TEST(Plic, ResetKeepsTheWiresOfTheDevices) {
  Machine m;
  m.use(10);
  m.plic.set_level(10, true);
  EXPECT_EQ(m.claim(1), 10u);
  m.plic.reset();
  EXPECT_FALSE(m.line(1));
  m.use(10);
  EXPECT_TRUE(m.line(1));
}

// A machine restored in the middle of an interrupt handler would lose that interrupt or see it twice.
TEST(Plic, SavedStateContinuesInTheMiddleOfAHandler) {
  Machine a, b;
  a.use(10, 2);
  a.use(70, 1);
  a.threshold(3, 4);
  a.plic.set_level(10, true);
  a.plic.set_level(70, true);
  EXPECT_EQ(a.claim(1), 10u);
  ASSERT_TRUE(restored(b.plic, saved(a.plic)));
  EXPECT_EQ(saved(b.plic), saved(a.plic));
  EXPECT_TRUE(b.line(1));
  EXPECT_EQ(b.claim(1), 70u);
  EXPECT_EQ(b.claim(1), 0u);
  b.complete(1, 10);
  EXPECT_EQ(b.claim(1), 10u) << "its level was saved as high";
}

TEST(Plic, HostileStatesAreRefused) {
  Machine m;
  EXPECT_TRUE(refuses_truncation(m.plic));
  const auto good = saved(m.plic);
  EXPECT_FALSE(restored(m.plic, std::vector<std::byte>(good.size(), std::byte{0xff})));
  Plic other({{&m.probe, 0}});
  EXPECT_FALSE(restored(other, good)) << "another number of contexts";
}

}  // namespace
}  // namespace doppel
