#include "base/result.h"

#include <fcntl.h>
#include <gtest/gtest.h>

#include <memory>

#include "base/file_descriptor.h"

namespace doppel {
namespace {

Result<int> half(int number) {
  if (number % 2 != 0) return error("{} is odd", number);
  return number / 2;
}

TEST(Result, IsAValueOrASentence) {
  EXPECT_TRUE(half(4));
  EXPECT_EQ(*half(4), 2);
  EXPECT_FALSE(half(3));
  EXPECT_EQ(half(3).message(), "3 is odd");
  EXPECT_EQ(half(3).failure().message, "3 is odd");
}

TEST(Result, HandsOnWhatCannotBeCopied) {
  Result<std::unique_ptr<int>> made(std::make_unique<int>(5));
  ASSERT_TRUE(made);
  EXPECT_EQ(**made, 5);
  const auto taken = *std::move(made);
  EXPECT_EQ(*taken, 5);
}

// An Error in a Result<Error-like> must not be taken for a value, nor a text for an error.
TEST(Result, KeepsTextsAndErrorsApart) {
  const Result<std::string> text(std::string("fine")), failed(Error{"not fine"});
  EXPECT_TRUE(text);
  EXPECT_FALSE(failed);
  EXPECT_EQ(failed.message(), "not fine");
}

TEST(Result, OfNothingIsSuccessUnlessItFailed) {
  const Result<void> done, failed(error("no"));
  EXPECT_TRUE(done);
  EXPECT_TRUE(done.ok());
  EXPECT_FALSE(failed);
  EXPECT_EQ(failed.message(), "no");
}

TEST(ResultDeathTest, ReadingWhatIsNotThereDoesNotGoOn) {
  EXPECT_DEATH([]() noexcept { (void)half(3).value(); }(), "");
}

bool is_open(int fd) { return fcntl(fd, F_GETFD) >= 0; }

// A leaked descriptor is a disk that stays locked; one that is closed twice is somebody else's file.
TEST(FileDescriptor, ClosesOnceWhoeverOwnsIt) {
  int number;
  {
    FileDescriptor first(open("/dev/null", O_RDONLY | O_CLOEXEC));
    number = first.get();
    ASSERT_TRUE(first);
    FileDescriptor second(std::move(first));
    EXPECT_FALSE(first);
    FileDescriptor third;
    EXPECT_FALSE(third);
    third = std::move(second);
    EXPECT_EQ(third.get(), number);
    EXPECT_TRUE(is_open(number));
  }
  EXPECT_FALSE(is_open(number));
}

}  // namespace
}  // namespace doppel
