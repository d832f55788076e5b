// What a machine printed last can be read, in order, however much it prints and whoever reads meanwhile.
#include "api/console_log.h"

#include <fcntl.h>
#include <sys/stat.h>

#include "unit/api/api_rig.h"

namespace doppel {
namespace {

using namespace test;

constexpr std::uint64_t half = 1000;

class ConsoleLogs : public InFolder {
 protected:
  void SetUp() override {
    InFolder::SetUp();
    folder_ = FileDescriptor(::open(top_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    const auto make = [&](const char* name) {
      return FileDescriptor(::openat(folder_.get(), name, O_RDWR | O_CREAT | O_CLOEXEC, 0600));
    };
    log_.emplace(make(console_log_names[0]), make(console_log_names[1]), half);
  }
  void print(std::string_view text) {
    log_->write(bytes(text));
    printed_ += text;
  }
  ConsoleLogReader reader() {
    auto reader = ConsoleLogReader::open(folder_.get(), half);
    EXPECT_TRUE(reader) << reader.message();
    return *std::move(reader);
  }
  static std::string read(ConsoleLogReader& reader) {
    std::string text;
    reader.read([&](auto piece) { text.append(reinterpret_cast<const char*>(piece.data()), piece.size()); });
    return text;
  }
  std::string last(std::size_t count) const {
    return printed_.substr(printed_.size() - std::min(count, printed_.size()));
  }

  FileDescriptor folder_;
  std::optional<ConsoleLog> log_;
  std::string printed_;
};

TEST_F(ConsoleLogs, KeepAtLeastAHalfAndAtMostTwo) {
  for (std::size_t n = 0; n < 2000; n++) {
    print(std::to_string(n * n) + "\n");
    auto all = reader();
    const auto kept = read(all);
    ASSERT_EQ(kept, last(kept.size())) << n;
    ASSERT_GE(kept.size(), std::min<std::size_t>(printed_.size(), half));
    ASSERT_LE(kept.size(), 2 * half);
  }
}

TEST_F(ConsoleLogs, TakeWhatIsLargerThanTheyAre) {
  std::string large;
  for (int n = 0; n < 1000; n++) large += std::to_string(n) + ",";
  print(large);
  auto all = reader();
  const auto kept = read(all);
  EXPECT_GE(kept.size(), half);
  EXPECT_EQ(kept, last(kept.size()));
  print(std::string(half - printed_.size() % half, 'x'));  // to the very end of a file
  auto full = reader();
  const auto text = read(full);
  EXPECT_EQ(text, last(text.size()));
  EXPECT_GE(text.size(), half);
}

TEST_F(ConsoleLogs, AreFollowedOverTheEndOfAFile) {
  auto follower = reader();
  std::string followed;
  for (int n = 0; n < 3000; n++) {
    print("line " + std::to_string(n) + "\n");
    if (n % 7 == 0) followed += read(follower);
  }
  followed += read(follower);
  EXPECT_EQ(followed, printed_);
}

TEST_F(ConsoleLogs, AFollowerThatSleptGoesOn) {
  auto follower = reader();
  print("first\n");
  EXPECT_EQ(read(follower), "first\n");
  for (int n = 0; n < 1000; n++) print("line " + std::to_string(n) + "\n");
  const auto late = read(follower);
  EXPECT_LE(late.size(), 3 * half);
  print("last\n");
  EXPECT_TRUE((late + read(follower)).ends_with("last\n"));
}

TEST_F(ConsoleLogs, ThatAreNoFilesAreErrors) {
  std::filesystem::remove(top_ / console_log_names[1]);
  EXPECT_FALSE(ConsoleLogReader::open(folder_.get()));
  ASSERT_EQ(::mkfifo((top_ / console_log_names[1]).c_str(), 0600), 0);
  EXPECT_FALSE(ConsoleLogReader::open(folder_.get()));
}

TEST(LastLines, AreCountedFromTheEnd) {
  EXPECT_EQ(last_lines("a\nb\nc\n", 2), "b\nc\n");
  EXPECT_EQ(last_lines("a\nb\nc", 2), "b\nc");
  EXPECT_EQ(last_lines("a\nb\n", 9), "a\nb\n");
  EXPECT_EQ(last_lines("a\n\n\n", 2), "\n\n");
  EXPECT_EQ(last_lines("a\n", 0), "");
  EXPECT_EQ(last_lines("", 3), "");
}

}  // namespace
}  // namespace doppel
