// Copies that are written while the machine runs on: all of them come, none has to wait for those in front of it, and
// there are not more than fit.
#include "api/image_sender.h"

#include <gtest/gtest.h>

#include <latch>

namespace doppel {
namespace {

constexpr std::uint64_t base = 0x8000'0000, pages = 10'000;

/// A memory of which every page is there at once, or only when it is let go.
class Gate final : public PageSource {
 public:
  explicit Gate(bool open) {
    if (open) opened_.count_down();
  }
  std::uint64_t pages() const override { return doppel::pages; }
  bool holds(std::uint64_t) const override { return true; }
  const std::byte* bring(std::uint64_t) override {
    opened_.wait();
    return page_;
  }
  std::string failure() const override { return {}; }
  void open() { opened_.count_down(); }

 private:
  std::latch opened_{1};
  std::byte page_[page_size] = {std::byte{'p'}};
};

struct Copy {
  explicit Copy(std::shared_ptr<PageSource> source) : file(std::move(make_transfer_file()).value()) {
    MachineImage image;
    image.memory = MemoryImage::of(base, pages * page_size, std::move(source));
    writer = std::move(TransferWriter::begin(file, std::move(image), "")).value();
  }
  ReceivedImage receive() { return std::move(receive_transfer(file, std::chrono::hours(1))).value(); }
  FileDescriptor file;
  std::unique_ptr<TransferWriter> writer;
};

TEST(ImageSender, SendsAllThatWasBegunBeforeItGoes) {
  std::vector<std::unique_ptr<Copy>> copies;
  {
    ImageSender sender;
    for (unsigned n = 0; n < 3; n++) {
      copies.push_back(std::make_unique<Copy>(std::make_shared<Gate>(true)));
      sender.send(std::move(copies.back()->writer));  // also what comes before its thread
    }
    sender.start();
  }
  for (const auto& copy : copies) {
    const auto received = copy->receive();
    EXPECT_NE(received.spaces[0].source->bring(pages - 1), nullptr);
  }
}

TEST(ImageSender, SendsNothingAndGoes) {
  ImageSender never_started, idle;
  idle.start();
}

// The second one's first page is there before the first one's last.
TEST(ImageSender, LetsNobodyWaitForThoseInFrontOfIt) {
  /// Whose last page comes when the other's first has.
  class Patient final : public PageSource {
   public:
    explicit Patient(std::latch& other) : other_(other) {}
    std::uint64_t pages() const override { return doppel::pages; }
    bool holds(std::uint64_t) const override { return true; }
    const std::byte* bring(std::uint64_t page) override {
      if (page + 1 == pages()) other_.wait();
      return page_;
    }
    std::string failure() const override { return {}; }

   private:
    std::latch& other_;
    std::byte page_[page_size] = {};
  };
  std::latch came{1};
  Copy first(std::make_shared<Patient>(came)), second(std::make_shared<Gate>(true));
  ImageSender sender;
  sender.send(std::move(first.writer)), sender.send(std::move(second.writer));
  sender.start();
  const auto received = second.receive();
  EXPECT_NE(received.spaces[0].source->bring(0), nullptr);
  came.count_down();
  const auto other = first.receive();
  EXPECT_NE(other.spaces[0].source->bring(pages - 1), nullptr);
}

TEST(ImageSender, IsFullAtSomeTime) {
  const auto gate = std::make_shared<Gate>(false);
  std::vector<std::unique_ptr<Copy>> copies;
  {
    ImageSender sender;
    sender.start();
    for (std::size_t n = 0; n < ImageSender::most; n++) {
      EXPECT_FALSE(sender.full()) << n;
      copies.push_back(std::make_unique<Copy>(gate));
      sender.send(std::move(copies.back()->writer));
    }
    EXPECT_TRUE(sender.full());
    gate->open();
    while (sender.full()) std::this_thread::yield();
  }
}

}  // namespace
}  // namespace doppel
