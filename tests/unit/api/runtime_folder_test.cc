// Who finds a machine by its name must find that machine, alive or dead, and nobody else may put one there.
#include "api/runtime_folder.h"

#include <sys/stat.h>

#include <array>
#include <csignal>
#include <cstdlib>

#include "api/control_client.h"
#include "unit/api/api_rig.h"

namespace doppel {
namespace {

using namespace test;
using testing::HasSubstr;
namespace fs = std::filesystem;

MachineRecord record(const std::string& name) {
  return {.name = name, .created_ns = 5, .what = "kernel", .memory = 1 << 20, .cpus = 2};
}

class RuntimeFolders : public InFolder {
 protected:
  std::string open_error(const fs::path& path) {
    const auto folder = RuntimeFolder::open(path.string());
    return folder ? "" : folder.message();
  }
  /// The name of a process that holds the machine until it is killed.
  pid_t hold(const std::string& name) {
    int ends[2];
    EXPECT_EQ(::pipe(ends), 0);
    const pid_t child = in_child([&] {
      const auto folder = runtime();
      const auto entry = folder.claim(record(name));
      if (!entry || ::write(ends[1], "x", 1) != 1) return 1;
      ::pause();
      return 0;
    });
    ::close(ends[1]);
    char byte;
    EXPECT_EQ(::read(ends[0], &byte, 1), 1);
    ::close(ends[0]);
    return child;
  }
};

TEST_F(RuntimeFolders, IsWhereTheUserSays) {
  ::setenv("DOPPEL_RUNTIME_DIR", "/somewhere", 1);
  EXPECT_EQ(RuntimeFolder::place(), "/somewhere");
  ::unsetenv("DOPPEL_RUNTIME_DIR");
  ::setenv("XDG_RUNTIME_DIR", "/run/mine", 1);
  EXPECT_EQ(RuntimeFolder::place(), "/run/mine/doppel");
  ::setenv("XDG_RUNTIME_DIR", "relative", 1);
  EXPECT_EQ(RuntimeFolder::place().front(), '/');
  ::unsetenv("XDG_RUNTIME_DIR");
}

TEST_F(RuntimeFolders, BelongsToTheUserAlone) {
  EXPECT_EQ(open_error(top_ / "new///"), "");
  struct stat status{};
  ASSERT_EQ(::stat((top_ / "new").c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0700u);

  fs::create_directory(top_ / "open");
  fs::permissions(top_ / "open", fs::perms::all);
  EXPECT_THAT(open_error(top_ / "open"), HasSubstr("written by others"));
  fs::create_directory_symlink(top_ / "new", top_ / "link");
  EXPECT_THAT(open_error(top_ / "link"), HasSubstr("symbolic link"));
  EXPECT_THAT(open_error(top_ / "link/"), HasSubstr("symbolic link"));
  write(top_ / "file", "");
  EXPECT_THAT(open_error(top_ / "file"), HasSubstr("no folder"));
  EXPECT_THAT(open_error(top_ / "no/where"), HasSubstr("No such file"));
  if (::geteuid() == 0) {
    fs::create_directory(top_ / "theirs");
    ASSERT_EQ(::chown((top_ / "theirs").c_str(), 65534, 65534), 0);
    EXPECT_THAT(open_error(top_ / "theirs"), HasSubstr("somebody else"));
  }
}

TEST_F(RuntimeFolders, NamesAreNamesOfFiles) {
  for (const auto* name : {"a", "A-1_b.c", "0", "x."}) EXPECT_TRUE(sound_machine_name(name)) << name;
  EXPECT_TRUE(sound_machine_name(std::string(64, 'x')));
  for (const auto* name : {"", ".", "..", ".a", "-a", "a/b", "a b", "ä", "a\n"})
    EXPECT_FALSE(sound_machine_name(name)) << name;
  EXPECT_FALSE(sound_machine_name(std::string(65, 'x')));
  EXPECT_FALSE(runtime().claim(record("../x")));
  EXPECT_FALSE(runtime().find("../run"));
}

TEST_F(RuntimeFolders, AMachineIsThereUntilItIsRemoved) {
  const auto folder = runtime();
  {
    auto claimed = folder.claim(record("a"));
    ASSERT_TRUE(claimed) << claimed.message();
    const auto found = folder.find("a");
    ASSERT_TRUE(found) << found.message();
    EXPECT_TRUE(found->alive());
    EXPECT_EQ(found->record()->process, ::getpid());
    EXPECT_EQ(found->record()->memory, 1u << 20);
    EXPECT_EQ(describe(found->status()), "starting");
    claimed->set_status({.state = MachineState::paused});
    EXPECT_EQ(describe(found->status()), "paused");
    EXPECT_THAT(folder.claim(record("a")).message(), HasSubstr("runs already"));
    EXPECT_THAT(folder.remove(*found).message(), HasSubstr("runs"));
    claimed->set_status({.state = MachineState::exited, .exit_status = 3});
  }
  const auto found = folder.find("a");
  ASSERT_TRUE(found);
  EXPECT_EQ(describe(found->status()), "exited (3)");
  EXPECT_THAT(found->process().message(), HasSubstr("exited (3)"));
  EXPECT_THAT(found->connect().message(), HasSubstr("exited (3)"));
  EXPECT_THAT(folder.claim(record("a")).message(), HasSubstr("doppel rm a"));
  EXPECT_TRUE(folder.remove(*found));
  EXPECT_THAT(folder.find("a").message(), HasSubstr("no machine named 'a'"));
  EXPECT_FALSE(fs::exists(machine("a")));
}

TEST_F(RuntimeFolders, WhoRemovesWhatIsNotThereAnyMoreSparesTheNewOne) {
  const auto folder = runtime();
  ASSERT_TRUE(folder.claim(record("a")));
  const auto old = folder.find("a");
  ASSERT_TRUE(folder.remove(*old));
  const auto again = folder.claim(record("a"));
  ASSERT_TRUE(again);
  EXPECT_TRUE(folder.remove(*old));
  EXPECT_TRUE(folder.find("a")->alive());
}

TEST_F(RuntimeFolders, AKilledProcessLeavesADeadMachine) {
  const pid_t child = hold("a");
  const auto found = runtime().find("a");
  ASSERT_TRUE(found);
  EXPECT_TRUE(found->alive());
  const auto process = found->process();
  ASSERT_TRUE(process) << process.message();
  EXPECT_EQ(wait_for_end(process->get(), 0), ProcessEnd::still_there);
  ASSERT_TRUE(end_process(process->get()));
  EXPECT_EQ(wait_for_end(process->get(), deadline_ms), ProcessEnd::ended);
  EXPECT_EQ(status_of(child), -SIGKILL);
  EXPECT_FALSE(found->alive());
  EXPECT_EQ(describe(found->status()), "died");
  EXPECT_TRUE(end_process(process->get())) << "that it has ended already is no error";
}

TEST_F(RuntimeFolders, OneOfManyGetsTheName) {
  constexpr int racers = 16, rounds = 20;
  for (int round = 0; round < rounds; round++) {
    const auto name = "race" + std::to_string(round);
    int start[2];
    ASSERT_EQ(::pipe(start), 0);
    std::vector<pid_t> children;
    std::vector<FileDescriptor> held;
    for (int n = 0; n < racers; n++)
      children.push_back(in_child([&] {
        const auto folder = runtime();
        ::close(start[1]);
        char byte;
        [[maybe_unused]] const auto waited = ::read(start[0], &byte, 1);
        auto entry = folder.claim(record(name));
        if (!entry)
          return entry.message().find("taken") != std::string::npos || entry.message().find("runs") != std::string::npos
                     ? 1
                     : 2;
        entry->set_status({.state = MachineState::exited});
        return 0;
      }));
    ::close(start[0]), ::close(start[1]);
    std::array<int, 3> count{};
    for (const auto child : children) count.at(std::size_t(std::max(0, status_of(child))))++;
    EXPECT_EQ(count, (std::array<int, 3>{1, racers - 1, 0}));
  }
}

TEST_F(RuntimeFolders, MachinesThatAreToBeRemovedAreWhenTheyAreSeenDead) {
  const auto folder = runtime();
  auto kept = record("a");
  kept.remove = true;
  {
    const auto claimed = folder.claim(kept);
    ASSERT_TRUE(claimed);
    EXPECT_EQ(folder.list()->size(), 1u);
    claimed->set_status({.state = MachineState::exited});
  }
  EXPECT_EQ(folder.list()->size(), 0u);
  EXPECT_FALSE(fs::exists(machine("a")));
  ASSERT_TRUE(folder.claim(kept));  // died without a word
  EXPECT_EQ(folder.list()->size(), 0u);
  ASSERT_TRUE(folder.claim(kept));
  EXPECT_TRUE(folder.claim(kept)) << "its name is free";
}

TEST_F(RuntimeFolders, SuggestsNames) {
  const auto folder = runtime();
  ASSERT_TRUE(folder.claim(record("laboratory")));
  EXPECT_THAT(folder.find("labratory").message(), HasSubstr("'laboratory'"));
}

// Whatever is in the folder, listing it comes to an end, and removing a machine stays inside its folder.
TEST_F(RuntimeFolders, StrangeThingsInIt) {
  const auto folder = runtime();
  ASSERT_TRUE(folder.claim(record("a")));
  write(top_ / "secret", "secret");
  write(machine("file"), "x");
  fs::create_directory_symlink(machine("a"), machine("link"));
  fs::create_directory(machine(".hidden"));
  fs::create_directory(machine("empty"));
  fs::remove(machine("a") / "machine.json");
  fs::create_symlink(top_ / "secret", machine("a") / "machine.json");
  fs::remove(machine("a") / "status");
  ASSERT_EQ(::mkfifo((machine("a") / "status").c_str(), 0600), 0);
  const auto list = folder.list();
  ASSERT_TRUE(list);
  ASSERT_EQ(list->size(), 2u);
  EXPECT_EQ(list->at(0).name(), "a");
  EXPECT_THAT(list->at(0).record().message(), HasSubstr("damaged"));
  EXPECT_EQ(describe(list->at(0).status()), "died");
  EXPECT_EQ(list->at(1).name(), "empty");
  for (const auto& entry : *list) EXPECT_TRUE(folder.remove(entry));
  EXPECT_TRUE(fs::exists(top_ / "secret"));
}

TEST(MachineRecords, ComeBackAsTheyWere) {
  MachineRecord r{.name = "a",
                  .created_ns = 1234567890123456789,
                  .process = 77,
                  .what = "x\ny\x1b\xff",
                  .memory = 1ULL << 40,
                  .cpus = 32,
                  .background = true,
                  .remove = true};
  const auto back = parse_record(record_text(r));
  ASSERT_TRUE(back) << back.message();
  EXPECT_EQ(back->created_ns, r.created_ns);
  EXPECT_EQ(back->what, "x?y??");
  EXPECT_EQ(back->memory, r.memory);
  EXPECT_TRUE(back->background && back->remove);
}

TEST(MachineRecords, HostileOnesAreErrors) {
  const auto good = record_text(record("a"));
  const auto with = [&](const std::string& old, const std::string& text) {
    auto copy = good;
    const auto at = copy.find(old);
    EXPECT_NE(at, copy.npos) << old;
    return copy.replace(at, old.size(), text);
  };
  for (std::size_t length = 0; length + 2 < good.size(); length++) EXPECT_FALSE(parse_record(good.substr(0, length)));
  EXPECT_FALSE(parse_record(with("\"cpus\":2", "\"cpus\":-2")));
  EXPECT_FALSE(parse_record(with("\"cpus\":2", "\"cpus\":99999999999")));
  EXPECT_FALSE(parse_record(with("\"created\":5", "\"created\":18446744073709551615")));
  EXPECT_FALSE(parse_record(with("\"name\":\"a\"", "\"name\":\"../a\"")));
  EXPECT_FALSE(parse_record(with("\"what\":\"kernel\"", "\"what\":[]")));
  EXPECT_THAT(parse_record(with("\"version\":1", "\"version\":2")).message(), HasSubstr("version 2"));
  EXPECT_FALSE(parse_record(std::string(60'000, '[')));
}

TEST(MachineRecords, TheLockKnowsBetterThanTheStatus) {
  const auto state = [](std::string_view text, bool alive) { return describe(parse_status(text, alive)); };
  EXPECT_EQ(state(status_text({.state = MachineState::paused}), true), "paused");
  EXPECT_EQ(state(status_text({.state = MachineState::paused}), false), "died");
  EXPECT_EQ(state(status_text({.state = MachineState::exited, .exit_status = 9}), false), "exited (9)");
  EXPECT_EQ(state(status_text({.state = MachineState::exited, .exit_status = 9}), true), "running");
  for (const auto* text : {"", "exited", "exited ", "exited x", "exited -1", "exited 256", "gone", "\xff", "running"}) {
    EXPECT_EQ(state(text, false), "died") << text;
    EXPECT_EQ(state(text, true), "running") << text;
  }
  EXPECT_TRUE(parse_status(status_text({.state = MachineState::exited, .gone = true}), false).gone);
}

}  // namespace
}  // namespace doppel
