// Many machines on few workers: each goes on as if it had one for itself.
#include "snapshot/time_sharing.h"

#include <gtest/gtest.h>

#include "unit/snapshot/counting_guest.h"

namespace doppel {
namespace {

using namespace test;

/// What machines printed, and a way to wait for it.
class Notebook {
 public:
  explicit Notebook(std::size_t machines) : text_(machines) {}
  TimeSharing::Printed writer() {
    return [this](std::size_t machine, std::string_view text) {
      std::lock_guard guard(lock_);
      text_[machine] += text;
      changed_.notify_all();
    };
  }
  /// Whether each has printed that much before half a minute is over.
  bool all_reach(std::size_t length) {
    std::unique_lock guard(lock_);
    return changed_.wait_for(guard, std::chrono::seconds(30), [&] {
      return std::ranges::all_of(text_, [&](const auto& text) { return text.size() >= length; });
    });
  }
  std::string of(std::size_t machine) {
    std::lock_guard guard(lock_);
    return text_[machine];
  }

 private:
  std::mutex lock_;
  std::condition_variable changed_;
  std::vector<std::string> text_;
};

/// Machines that look for keys without ever waiting.
class BusyMachines : public CountingGuest {};

TEST_F(BusyMachines, TakeTurns) {
  Notebook notebook(12);
  auto sharing = TimeSharing::create(config_, *base_, 2, notebook.writer());
  ASSERT_TRUE(sharing) << sharing.message();
  for (unsigned n = 0; n < 12; n++) EXPECT_EQ((*sharing)->add(*base_, std::to_string(n)), n);
  for (unsigned n = 0; n < 12; n++) (*sharing)->type(n, std::string(n % 3 + 1, 'x'));
  ASSERT_TRUE(notebook.all_reach(2));
  for (unsigned n = 0; n < 12; n++) (*sharing)->type(n, "xxx");
  ASSERT_TRUE(notebook.all_reach(5));
  for (unsigned n = 0; n < 12; n++) EXPECT_EQ(notebook.of(n).substr(0, 5), ">abcd") << n;
  EXPECT_GE((*sharing)->counters().turns, 24u);
}

TEST_F(BusyMachines, EndEachForItself) {
  Notebook notebook(3);
  auto sharing = TimeSharing::create(config_, *base_, 1, notebook.writer());
  ASSERT_TRUE(sharing) << sharing.message();
  for (unsigned n = 0; n < 3; n++) (*sharing)->add(*base_, std::to_string(n));
  (*sharing)->type(1, "Q");
  for (unsigned n = 0; n < 3; n++) (*sharing)->type(n, "x");
  while ((*sharing)->counters().ended == 0) std::this_thread::yield();
  (*sharing)->type(0, "xxx"), (*sharing)->type(1, "xxx"), (*sharing)->type(2, "xxx");
  while (notebook.of(0) != ">abcd" || notebook.of(2) != ">abcd") std::this_thread::yield();
  EXPECT_EQ(notebook.of(1), ">");
  EXPECT_EQ((*sharing)->counters().ended, 1u);
}

/// Prints a dot every two milliseconds and sleeps in between.
class SleepyMachines : public CountingGuest {
 protected:
  Program program() const override {
    Program p;
    p.li(s0, uart_map.base), p.li(t0, 1 << 5), p.csrs(csr::sie, t0);
    p.li(t1, '.'), p.li(s1, dram_base + 0x20'0000);
    const auto again = p.here();
    p.sd(s1, s1);
    p.csrr(a0, csr::time);
    p.li(t0, 20'000), p.add(a0, a0, t0);
    p.li(a6, 0), p.li(a7, 0x54494d45);
    p.ecall();
    p.wfi();
    p.sb(t1, s0);
    p.jump(again);
    return p;
  }
};

TEST_F(SleepyMachines, WakeByTheirTimers) {
  Notebook notebook(20);
  auto sharing = TimeSharing::create(config_, *base_, 2, notebook.writer());
  ASSERT_TRUE(sharing) << sharing.message();
  for (unsigned n = 0; n < 20; n++) (*sharing)->add(*base_, std::to_string(n));
  ASSERT_TRUE(notebook.all_reach(10));
  EXPECT_GE((*sharing)->counters().turns, 20u * 2);
}

// Machines that do the same have the same in their pages: sooner or later that is there once.
TEST_F(SleepyMachines, ShareWhatIsEqual) {
  Notebook notebook(20);
  auto sharing = TimeSharing::create(config_, *base_, 2, notebook.writer());
  ASSERT_TRUE(sharing) << sharing.message();
  for (unsigned n = 0; n < 20; n++) (*sharing)->add(*base_, std::to_string(n));
  for (unsigned times = 10; (*sharing)->counters().saved_pages == 0; times += 10) {
    ASSERT_TRUE(notebook.all_reach(times)) << "they go on as before";
    ASSERT_LT(times, 5000u);
  }
}

/// Answers keys as the others do, and sleeps until one comes, without a timer.
class ListeningMachines : public CountingGuest {
 protected:
  Program program() const override {
    Program p;
    p.li(s0, uart_map.base), p.li(s1, dram_base + 0x10'0000), p.li(t0, 1), p.sb(t0, s0, 1);  // IER: data is there
    p.li(s2, plic_map.base + 0x201000), p.li(t1, plic_map.base), p.sw(t0, t1, 4 * std::int32_t(uart_map.irq));
    p.li(t0, 1 << uart_map.irq), p.li(t1, plic_map.base + 0x2080), p.sw(t0, t1);
    p.li(t0, 1 << 9), p.csrs(csr::sie, t0);
    p.sw(zero, s2);
    const auto sleep = p.here();
    p.wfi();
    p.lw(s3, s2, 4);  // claim
    const auto again = p.here();
    p.lbu(t2, s0, 5);
    p.andi(t2, t2, 1);
    const auto more = p.bne_forward(t2, zero);
    p.sw(s3, s2, 4);
    p.jump(sleep);
    p.land(more);
    p.lbu(t2, s0);
    p.ld(t3, s1), p.addi(t3, t3, 1), p.sd(t3, s1);
    p.addi(t3, t3, 'a' - 1);
    p.sb(t3, s0);
    p.jump(again);
    return p;
  }
};

TEST_F(ListeningMachines, WakeWhenSomebodyTypes) {
  Notebook notebook(10);
  auto sharing = TimeSharing::create(config_, *base_, 2, notebook.writer());
  ASSERT_TRUE(sharing) << sharing.message();
  for (unsigned n = 0; n < 10; n++) (*sharing)->add(*base_, std::to_string(n));
  for (unsigned round = 1; round <= 5; round++) {
    for (unsigned n = 0; n < 10; n++) (*sharing)->type(n, "x");
    ASSERT_TRUE(notebook.all_reach(round));
  }
  for (unsigned n = 0; n < 10; n++) EXPECT_EQ(notebook.of(n), "abcde");
}

}  // namespace
}  // namespace doppel
