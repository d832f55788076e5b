// The thread that serves a machine's outside: descriptors, posted functions and timers, one at a time and under the
// lock.
#include "base/event_loop.h"

#include <gtest/gtest.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <thread>

#include "base/clock.h"

namespace doppel {
namespace {

class Loop : public testing::Test {
 protected:
  void SetUp() override {
    auto made = EventLoop::create(lock_);
    ASSERT_TRUE(made) << made.message();
    loop_ = std::move(*made);
  }
  std::function<void()> note(int what) {
    return [this, what] { seen_.push_back(what); };
  }
  std::function<void()> end() {
    return [this] { loop_->stop(); };
  }
  /// Everything that is posted and due.
  void serve() {
    loop_->post(end());
    loop_->run();
  }
  std::recursive_mutex lock_;
  std::unique_ptr<EventLoop> loop_;
  std::vector<int> seen_;
};

struct Pipe {
  Pipe() {
    int ends[2];
    EXPECT_EQ(pipe(ends), 0);
    reader = FileDescriptor(ends[0]), writer = FileDescriptor(ends[1]);
  }
  void send(char c = 'x') { EXPECT_EQ(write(writer.get(), &c, 1), 1); }
  FileDescriptor reader, writer;
};

TEST_F(Loop, RunsWhatIsPostedInOrder) {
  for (int i = 0; i < 5; i++) loop_->post(note(i));
  serve();
  EXPECT_EQ(seen_, (std::vector{0, 1, 2, 3, 4}));
}

// Harts' threads post while the loop sleeps; a lost wake-up is a guest whose disk never answers.
TEST_F(Loop, WakesForWhatOtherThreadsPost) {
  constexpr int posts = 2000;
  std::vector<std::thread> threads;
  int ran = 0;
  for (int t = 0; t < 2; t++)
    threads.emplace_back([&] {
      for (int i = 0; i < posts; i++)
        loop_->post([&] {
          if (++ran == 2 * posts) loop_->stop();
        });
    });
  loop_->run();
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(ran, 2 * posts);
}

TEST_F(Loop, RunsEverythingUnderTheLock) {
  const auto locked = [&] {
    bool free = true;
    std::thread([&] {
      free = lock_.try_lock();
      if (free) lock_.unlock();
    }).join();
    return !free;
  };
  Pipe pipe;
  int checked = 0;
  loop_->watch(pipe.reader.get(), EPOLLIN, [&](std::uint32_t) {
    checked += locked();
    loop_->unwatch(pipe.reader.get());
  });
  pipe.send();
  loop_->post([&] { checked += locked(); });
  loop_->at(monotonic_ns(), [&] { checked += locked(); });
  loop_->add_poll_hook([&] { return checked += 10 * locked(), std::int64_t{-1}; }, [&] { checked += 100 * locked(); });
  loop_->at(monotonic_ns() + 2'000'000, end());
  loop_->run();
  EXPECT_EQ(checked % 10, 3);
  EXPECT_GE(checked, 113);
}

TEST_F(Loop, AWaitDoesNotHoldTheLock) {
  loop_->at(monotonic_ns() + 60'000'000'000, note(1));
  std::thread other([&] {
    std::lock_guard guard(lock_);  // a hart that accesses a device
    loop_->stop();
  });
  loop_->run();
  other.join();
  EXPECT_TRUE(seen_.empty());
}

TEST_F(Loop, TimersAreNotEarlyAndCanBeCancelled) {
  const auto start = monotonic_ns();
  const auto cancelled = loop_->at(start + 1'000'000, note(1));
  std::int64_t when = 0;
  loop_->at(start + 3'000'000, [&] {
    when = monotonic_ns();
    loop_->stop();
  });
  loop_->cancel(cancelled);
  loop_->cancel(cancelled);
  loop_->run();
  EXPECT_GE(when, start + 3'000'000);
  EXPECT_TRUE(seen_.empty());
}

TEST_F(Loop, ATimerMayCancelAnotherThatIsDue) {
  const auto now = monotonic_ns();
  std::uint64_t other = 0;
  loop_->at(now, [&] { loop_->cancel(other); });
  other = loop_->at(now, note(1));
  loop_->at(now, note(2));
  serve();
  EXPECT_EQ(seen_, std::vector{2});
}

// A timer that sets itself again in the past must not shut everything else out.
TEST_F(Loop, ATimerThatIsAlwaysDueLetsOthersRun) {
  int rounds = 0;
  std::function<void()> again = [&] {
    if (++rounds == 1000) FAIL() << "nothing else ran";
    if (rounds < 1000) loop_->at(0, again);
  };
  loop_->at(0, again);
  loop_->post([&] { loop_->post(end()); });
  loop_->run();
  EXPECT_GE(rounds, 1);
}

TEST_F(Loop, CallsBackWhileADescriptorIsReady) {
  Pipe pipe;
  loop_->watch(pipe.reader.get(), EPOLLIN, [&](std::uint32_t events) {
    EXPECT_TRUE(events & EPOLLIN);
    char c;
    ASSERT_EQ(read(pipe.reader.get(), &c, 1), 1);
    seen_.push_back(c);
    if (seen_.size() == 3) loop_->stop();
  });
  for (const char c : {'a', 'b', 'c'}) pipe.send(c);
  loop_->run();
  EXPECT_EQ(seen_, (std::vector<int>{'a', 'b', 'c'}));
}

TEST_F(Loop, ASecondWatchReplacesTheFirst) {
  Pipe pipe;
  loop_->watch(pipe.reader.get(), EPOLLIN, [&](std::uint32_t) { seen_.push_back(1); });
  loop_->watch(pipe.reader.get(), EPOLLIN, [&](std::uint32_t) {
    seen_.push_back(2);
    loop_->stop();
  });
  pipe.send();
  loop_->run();
  EXPECT_EQ(seen_, std::vector{2});
}

TEST_F(Loop, ACallbackMayUnwatchItselfAndOthers) {
  Pipe one, other;
  const auto only = [&](Pipe& mine, Pipe& theirs) {
    loop_->watch(mine.reader.get(), EPOLLIN, [this, &mine, &theirs, big = std::string(100, 'x')](std::uint32_t) {
      loop_->unwatch(mine.reader.get());
      loop_->unwatch(theirs.reader.get());
      seen_.push_back(int(big.size()));  // what the callback owns is still there
    });
  };
  only(one, other), only(other, one);
  one.send(), other.send();
  loop_->at(monotonic_ns() + 1'000'000, end());
  loop_->run();
  EXPECT_EQ(seen_, std::vector{100});
  loop_->unwatch(one.reader.get());  // twice does nothing
}

TEST_F(Loop, AskHooksBeforeEachWaitAndTellThemAfter) {
  int waits = 0;
  loop_->add_poll_hook([&] { return seen_.push_back(1), std::int64_t{1'000'000}; },  // no longer than a millisecond
                       [&] {
                         seen_.push_back(2);
                         if (++waits == 3) loop_->stop();
                       });
  loop_->run();
  EXPECT_EQ(seen_, (std::vector{1, 2, 1, 2, 1, 2}));
}

TEST_F(Loop, StopBeforeRunIsNotLost) {
  loop_->stop();
  loop_->run();
}

}  // namespace
}  // namespace doppel
