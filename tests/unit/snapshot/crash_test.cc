// Whatever instant a process ends at, and whenever the disk is full, the snapshots that were there are there.
#include <gmock/gmock.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include <csignal>
#include <random>

#include "unit/snapshot/sample_machine.h"

namespace doppel {
namespace {

using testing::ElementsAre;

class CrashTest : public testing::Test {
 protected:
  CrashTest() { must_save(store_, "first", sample_content(pages_)); }
  SnapshotFolder folder_;
  SnapshotStore store_ = must_open(folder_.path());
  Pages pages_ = sample_pages(60, 1);
};

Pages pages_of_round(unsigned round) { return sample_pages(90, 1000 + 45 * round); }

/// Saves one after the other, replaces and removes, and says before and after each what it does.
[[noreturn]] void save_for_ever(const std::string& folder, int report) {
  const auto store = must_open(folder);
  for (unsigned round = 0;; round++) {
    if (!store.save(fmt::format("s{}", round % 5), sample_content(pages_of_round(round)), true)) _exit(1);
    if (write(report, &round, sizeof round) != sizeof round) _exit(1);
    if (round % 7 == 6 && !store.remove(fmt::format("s{}", round % 5))) _exit(1);
  }
}

/// What a snapshot of the child holds must be what it saved in one of its rounds, all of it.
testing::AssertionResult is_whole(const SnapshotStore& store, const std::string& name, unsigned rounds) {
  const unsigned place = unsigned(name[1] - '0');
  for (unsigned round = place; round < rounds + 5; round += 5)
    if (holds(store, name, pages_of_round(round))) return testing::AssertionSuccess();
  return holds(store, name, pages_of_round(place)) << " (" << name << ")";
}

TEST_F(CrashTest, KilledAtAnyInstant) {
  std::mt19937 random(7);
  unsigned finished = 0;
  for (unsigned kill_after = 0; kill_after < 40; kill_after++) {
    int ends[2];
    ASSERT_EQ(pipe(ends), 0);
    const auto child = fork();
    if (child == 0) save_for_ever(folder_.path(), ends[1]);
    close(ends[1]);
    // After some rounds, and at some instant of the next one.
    unsigned round = 0, rounds = 0;
    for (unsigned n = 0; n < random() % 4; n++) rounds += read(ends[0], &round, sizeof round) == sizeof round;
    usleep(useconds_t(random() % 20'000));
    kill(child, SIGKILL);
    int status = 0;
    waitpid(child, &status, 0);
    EXPECT_TRUE(WIFSIGNALED(status)) << "it failed";
    while (read(ends[0], &round, sizeof round) == sizeof round) rounds++;
    close(ends[0]);
    finished += rounds;
    ASSERT_TRUE(holds(store_, "first", pages_));
    for (const auto& summary : store_.list()) {
      ASSERT_EQ(summary.problem, "");
      if (summary.name != "first") ASSERT_TRUE(is_whole(store_, summary.name, 5 + rounds)) << kill_after;
    }
  }
  EXPECT_GT(finished, 10u);
  // The next one at work clears up.
  must_save(store_, "last", sample_content(pages_));
  EXPECT_THAT(folder_.files(".new"), ElementsAre());
  for (const auto& summary : store_.list())
    if (summary.name != "first") ASSERT_TRUE(store_.remove(summary.name).ok());
  EXPECT_EQ(folder_.files(".pack").size(), 1u);
}

/// One more snapshot where no file may become larger than `limit`; whether that went well.
bool save_with_limit(const std::string& folder, std::uint64_t limit, std::string& message) {
  int ends[2];
  if (pipe(ends) != 0) return false;
  const auto child = fork();
  if (child == 0) {
    const auto store = must_open(folder);
    const rlimit most{limit, limit};
    setrlimit(RLIMIT_FSIZE, &most);
    const auto saved = store.save("second", sample_content(sample_pages(80, 4000)));
    if (!saved && write(ends[1], saved.message().data(), saved.message().size()) < 0) _exit(2);
    _exit(saved.ok() ? 0 : 1);
  }
  close(ends[1]);
  char text[512];
  const auto length = read(ends[0], text, sizeof text);
  message.assign(text, length > 0 ? std::size_t(length) : 0);
  close(ends[0]);
  int status = 0;
  waitpid(child, &status, 0);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) <= 1);
  return status == 0;
}

TEST_F(CrashTest, AFullDiskIsASentenceAndLeavesNothingBehind) {
  const auto before = folder_.files("");
  bool fits = false;
  unsigned refused = 0;
  // A pack of some 200 KB: within its header, its frames, its table, and at last all of it.
  for (std::uint64_t limit = 0; !fits && limit < 1'000'000; limit = limit * 5 / 4 + 1) {
    SCOPED_TRACE(limit);
    std::string message;
    fits = save_with_limit(folder_.path(), limit, message);
    ASSERT_TRUE(holds(store_, "first", pages_));
    if (fits) break;
    refused++;
    expect_sentence(message);
    EXPECT_THAT(message, testing::HasSubstr("File too large"));
    ASSERT_EQ(folder_.files(""), before);
  }
  EXPECT_TRUE(fits);
  EXPECT_GT(refused, 30u);
  EXPECT_TRUE(holds(store_, "second", sample_pages(80, 4000)));
}

}  // namespace
}  // namespace doppel
