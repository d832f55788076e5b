// A machine on its way to another process: what arrives is what was sent, in time or not at all, and a sender that is
// hostile is told of in a sentence.
#include "snapshot/transfer.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <functional>
#include <thread>

#include "base/archive.h"
#include "snapshot/transfer_format.h"
#include "unit/snapshot/captured_sample.h"

namespace doppel {
namespace {

using namespace test;

FileDescriptor must_make_file() {
  auto file = make_transfer_file();
  EXPECT_TRUE(file) << file.message();
  return std::move(*file);
}

class Transfers : public CapturedSample {
 protected:
  std::unique_ptr<TransferWriter> begin(const FileDescriptor& file) {
    const std::vector<std::uint32_t> hot = {7, 3};
    auto writer = TransferWriter::begin(file, capture(), "description", hot);
    EXPECT_TRUE(writer) << writer.message();
    return std::move(*writer);
  }
};

TEST_F(Transfers, ArriveAsTheyWereSent) {
  const auto file = must_make_file();
  begin(file)->write_pages();
  auto received = receive_transfer(file);
  ASSERT_TRUE(received) << received.message();
  EXPECT_TRUE(await_pages(*received));
  EXPECT_EQ(received->description, "description");
  EXPECT_EQ(received->state, sample_page(77));
  EXPECT_EQ(received->hot, (std::vector<std::uint32_t>{7, 3}));
  ASSERT_EQ(received->spaces.size(), 2u);
  const auto image = assemble_image(config(), received->state, received->spaces);
  ASSERT_TRUE(image) << image.message();
  EXPECT_EQ(GuestMemory::create(image->memory)->hash(), memory_->hash());
  EXPECT_EQ(image->memory.held(), (std::vector<std::uint32_t>{3, 7, 200}));
  LayeredDisk copy(image->disks[0], false, nullptr);
  for (std::uint64_t at = 0; at < sample_disk; at += 4096) {
    const auto length = std::min<std::uint64_t>(4096, sample_disk - at);
    std::vector<std::byte> ours(length), theirs(length);
    ASSERT_TRUE(disk_->read(at, ours) && copy.read(at, theirs));
    EXPECT_EQ(ours, theirs) << at;
  }
}

// A copy of a copy is sent on while its own pages are still coming.
TEST_F(Transfers, AreSentOn) {
  const auto file = must_make_file(), next = must_make_file();
  auto writer = begin(file);
  auto received = receive_transfer(file);
  ASSERT_TRUE(received) << received.message();
  auto image = assemble_image(config(), received->state, received->spaces);
  ASSERT_TRUE(image) << image.message();
  std::thread sender([&] {
    while (writer->write_pages(1)) std::this_thread::yield();
    writer.reset();
  });
  auto second = TransferWriter::begin(next, *image, "again");
  ASSERT_TRUE(second) << second.message();
  (*second)->write_pages();
  sender.join();
  auto again = receive_transfer(next);
  ASSERT_TRUE(again) << again.message();
  image = assemble_image(config(), again->state, again->spaces);
  ASSERT_TRUE(image) << image.message();
  EXPECT_EQ(GuestMemory::create(image->memory)->hash(), memory_->hash());
}

TEST_F(Transfers, AreWaitedForPageByPage) {
  const auto file = must_make_file();
  auto writer = begin(file);
  const auto received = receive_transfer(file);
  ASSERT_TRUE(received) << received.message();
  auto& pages = *received->spaces[0].source;
  std::array<const std::byte*, 2> got{};
  std::thread late([&] { got[0] = pages.bring(200); }), early([&] { got[1] = pages.bring(3); });
  EXPECT_TRUE(writer->write_pages(1));
  early.join();  // the other one is not there yet
  writer->write_pages();
  late.join();
  ASSERT_TRUE(got[0] && got[1]);
  EXPECT_EQ(std::uint8_t(got[0][99]), char_of(200));
  EXPECT_EQ(std::uint8_t(got[1][99]), char_of(3));
  EXPECT_EQ(pages.failure(), "");
}

TEST_F(Transfers, EndWithTheirSender) {
  const auto file = must_make_file();
  auto writer = begin(file);
  const auto received = receive_transfer(file);
  ASSERT_TRUE(received) << received.message();
  auto& pages = *received->spaces[0].source;
  const std::byte* got = lost_page;
  std::thread waiting([&] { got = pages.bring(200); });
  writer->write_pages(1);
  writer.reset();
  waiting.join();
  EXPECT_EQ(got, nullptr);
  expect_sentence(pages.failure());
  EXPECT_EQ(received->spaces[1].source->bring(2), nullptr);
  ASSERT_NE(pages.bring(3), nullptr) << "what came is there";
}

// Blocks that a guest discarded are zeros of the file: no bytes of the host's.
TEST_F(Transfers, TakeNoRoomForWhatWasDiscarded) {
  ASSERT_TRUE(disk_->write_zeroes(4096, 99 * 4096, true));
  const auto file = must_make_file();
  begin(file)->write_pages();
  struct stat status{};
  ASSERT_EQ(::fstat(file.get(), &status), 0);
  EXPECT_GT(status.st_size, 99 * 4096);
  EXPECT_LT(status.st_blocks * 512, 20 * 4096);
}

// Who could take the file's bytes away while they are written would end the machine.
TEST_F(Transfers, ArePutIntoFilesOnlyThatStay) {
  const FileDescriptor loose(::memfd_create("loose", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  const FileDescriptor plain(::open(folder_.path("plain").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  const FileDescriptor null(::open("/dev/null", O_RDWR | O_CLOEXEC));
  for (const auto* file : {&loose, &plain, &null}) {
    const auto writer = TransferWriter::begin(*file, capture(), "");
    ASSERT_FALSE(writer);
    expect_sentence(writer.message());
  }
  const auto full = must_make_file();
  ASSERT_EQ(::fcntl(full.get(), F_ADD_SEALS, F_SEAL_GROW), 0);
  const auto writer = TransferWriter::begin(full, capture(), "");
  ASSERT_FALSE(writer);
  expect_sentence(writer.message());
}

TEST_F(Transfers, CannotBeCutShortByTheirReceiver) {
  const auto file = must_make_file();
  const auto writer = begin(file);
  EXPECT_NE(::ftruncate(file.get(), 0), 0);
  EXPECT_TRUE(receive_transfer(file));
  EXPECT_NE(::ftruncate(file.get(), 1 << 30), 0);
}

/// What a compromised process could write.
class HostileTransfers : public Transfers {
 protected:
  struct Space {
    std::string name = "memory";
    std::uint64_t base = dram_base, bytes = sample_memory;
    std::vector<std::uint32_t> numbers = {1, 2, 3};
  };
  /// A record with its spaces, and a file with room for so many pages.
  static FileDescriptor file_of(const Writer& record, const std::function<void(TransferHead&)>& change = {},
                                std::uint64_t pages = 3) {
    auto file = must_make_file();
    const auto pages_at = whole_pages(sizeof(TransferHead) + record.data().size());
    const auto bytes = pages_at + pages * page_size;
    EXPECT_EQ(::ftruncate(file.get(), off_t(bytes)), 0);
    auto* data = static_cast<std::byte*>(::mmap(nullptr, bytes, PROT_WRITE | PROT_READ, MAP_SHARED, file.get(), 0));
    EXPECT_NE(data, MAP_FAILED);
    std::ranges::copy(record.data(), data + sizeof(TransferHead));
    auto& head = *new (data) TransferHead;
    head.record_at = sizeof(TransferHead), head.record_bytes = record.data().size(), head.pages_at = pages_at;
    head.written = pages, head.ended = 1;
    if (change) change(head);
    ::munmap(data, bytes);
    return file;
  }
  static Writer record_of(const std::vector<Space>& spaces, const std::vector<std::uint32_t>& hot = {}) {
    Writer record;
    record.blob(std::as_bytes(std::span(std::string_view("description"))));
    record.blob(sample_page(1));
    record.blob(std::as_bytes(std::span(hot)));
    for (const auto& space : spaces) {
      record.blob(std::as_bytes(std::span(space.name)));
      record.put(space.base), record.put(space.bytes);
      record.blob(std::as_bytes(std::span(space.numbers)));
    }
    return record;
  }
  static void expect_refused(const FileDescriptor& file) {
    const auto received = receive_transfer(file);
    ASSERT_FALSE(received);
    expect_sentence(received.message());
  }
};

TEST_F(HostileTransfers, AreOtherwiseTaken) { EXPECT_TRUE(receive_transfer(file_of(record_of({{}}, {0, 255})))); }

TEST_F(HostileTransfers, WithAHeadThatMakesNoSenseAreRefused) {
  const auto record = record_of({{}});
  const std::function<void(TransferHead&)> changes[] = {
      [](auto& head) { head.magic++; },
      [](auto& head) { head.record_at = UINT64_MAX; },
      [](auto& head) { head.record_at = 0; },
      [](auto& head) { head.record_at += page_size * 100; },
      [](auto& head) { head.record_bytes = UINT64_MAX; },
      [](auto& head) { head.record_bytes = 0; },
      [](auto& head) { head.record_bytes--; },
      [](auto& head) { head.record_bytes++; },
      [](auto& head) { head.pages_at = UINT64_MAX & ~page_mask; },
      [](auto& head) { head.pages_at = 0; },
      [](auto& head) { head.pages_at--; },
      [](auto& head) { head.pages_at += page_size; },
  };
  for (const auto& change : changes) expect_refused(file_of(record, change));
}

TEST_F(HostileTransfers, WithSpacesThatMakeNoSenseAreRefused) {
  const std::vector<std::vector<Space>> all = {{{.numbers = {1, 2, 3, 4}}},  // more pages than the file has
                                               {{.numbers = {1, 1}}},        // not in order
                                               {{.numbers = {2, 1}}},
                                               {{.numbers = {sample_memory / page_size}}},  // outside
                                               {{.bytes = 0, .numbers = {0}}},
                                               {{.bytes = UINT64_MAX}},
                                               {{.bytes = (1ULL << 46) + 1}},
                                               {{.name = std::string(65, 'm')}},
                                               {{.numbers = {1, 2}}, {.name = "disk 0", .numbers = {1, 2}}},
                                               {{.numbers = {}}, {.numbers = {}}},  // two of one name
                                               std::vector<Space>(65, Space{.numbers = {}})};
  for (const auto& spaces : all) expect_refused(file_of(record_of(spaces)));
  expect_refused(file_of(record_of({{}}, {256})));  // a hot page outside
  expect_refused(file_of(record_of({}, {0})));
}

TEST_F(HostileTransfers, ThatAreCutShortAreRefused) {
  const auto whole = record_of({{}}).data();
  for (std::size_t length = 0; length < whole.size(); length += length < 40 ? 1 : 7) {
    Writer record;
    record.bytes(std::span(whole).first(length));
    const auto received = receive_transfer(file_of(record));
    if (received) EXPECT_TRUE(received->spaces.empty()) << length;
  }
  for (const off_t length : {off_t(0), off_t(sizeof(TransferHead) - 1)}) {
    const auto file = must_make_file();
    ASSERT_EQ(::ftruncate(file.get(), length), 0);
    expect_refused(file);
  }
}

TEST_F(HostileTransfers, InFilesThatWereSealedBeforeAreRefused) {
  const auto file = file_of(record_of({{}}));
  ASSERT_EQ(::fcntl(file.get(), F_ADD_SEALS, F_SEAL_SEAL), 0);
  expect_refused(file);
}

// A machine that looks at many pages that do not come waits once.
TEST_F(HostileTransfers, ThatHaveEndedWithoutSayingSoAreWaitedForOnce) {
  const auto file = file_of(record_of({{}}), [](auto& head) { head.written = 0, head.ended = 0; });
  const auto received = receive_transfer(file, std::chrono::hours(1));
  ASSERT_TRUE(received) << received.message();
  auto* data = ::mmap(nullptr, page_size, PROT_WRITE | PROT_READ, MAP_SHARED, file.get(), 0);
  ASSERT_NE(data, MAP_FAILED);
  auto& head = *static_cast<TransferHead*>(data);
  head.ended = 1;
  EXPECT_EQ(received->spaces[0].source->bring(1), nullptr);
  head.ended = 0;
  EXPECT_EQ(received->spaces[0].source->bring(2), nullptr);  // not after an hour
  head.written = 3;
  EXPECT_NE(received->spaces[0].source->bring(3), nullptr);
  ::munmap(data, page_size);
}

// A sender that takes back what it wrote and writes it again makes no progress, and holds nobody up for ever.
TEST_F(HostileTransfers, ThatSayThisAndThatEnd) {
  const auto file = file_of(record_of({{}}), [](auto& head) { head.written = 1, head.ended = 0; });
  auto* data = ::mmap(nullptr, page_size, PROT_WRITE | PROT_READ, MAP_SHARED, file.get(), 0);
  ASSERT_NE(data, MAP_FAILED);
  auto& head = *static_cast<TransferHead*>(data);
  const auto received = receive_transfer(file, std::chrono::milliseconds(50));
  ASSERT_TRUE(received) << received.message();
  std::atomic<bool> over = false;
  std::thread hostile([&] {
    for (std::uint64_t n = 0; !over; n++) head.written = n % 2;
  });
  EXPECT_EQ(received->spaces[0].source->bring(3), nullptr);
  over = true;
  hostile.join();
  ::munmap(data, page_size);
}

// Who waits for all of them waits for the last one, or hears that there will be no more.
TEST_F(Transfers, AreWaitedFor) {
  for (const bool ends : {true, false}) {
    const auto file = must_make_file();
    auto writer = begin(file);
    const auto received = receive_transfer(file);
    ASSERT_TRUE(received) << received.message();
    std::thread rest([&] {
      writer->write_pages(2);
      std::this_thread::yield();
      if (ends) writer->write_pages();
      writer.reset();
    });
    const auto all = await_pages(*received);
    rest.join();
    EXPECT_EQ(all.ok(), ends);
    if (!ends) expect_sentence(all.message());
  }
}

// A guest that uses all its memory and frees it again must not cost its copies as much.
TEST_F(Transfers, TakeNoMemoryForZeros) {
  constexpr std::uint64_t pages = 4096;
  const auto memory = std::move(GuestMemory::create(0x8000'0000, pages * page_size)).value();
  ASSERT_TRUE(memory->fill(memory->base(), 'a', pages * page_size));
  ASSERT_TRUE(memory->fill(memory->base(), 0, (pages - 1) * page_size));
  const auto file = must_make_file();
  auto writer = TransferWriter::begin(file, {.memory = memory->freeze(), .disks = {}, .state = {}}, "");
  ASSERT_TRUE(writer) << writer.message();
  (*writer)->write_pages();
  const auto received = receive_transfer(file);
  ASSERT_TRUE(received) << received.message();
  auto& source = *received->spaces.at(0).source;
  EXPECT_EQ(*source.bring(pages - 1), std::byte{'a'});
  EXPECT_EQ(*source.bring(5), std::byte{0});
  struct stat status{};
  ASSERT_EQ(::fstat(file.get(), &status), 0);
  EXPECT_LT(status.st_blocks * 512, std::int64_t(64 * page_size));
}

}  // namespace
}  // namespace doppel
