// The disk as the guest sees it: what it wrote is there, what it flushed is durable, and nothing it sends goes astray.
#include "device/virtio/block.h"

#include <gtest/gtest.h>

#include "unit/device/virtio/driver.h"

namespace doppel::testing {
namespace {

enum : std::uint32_t { IN = 0, OUT = 1, FLUSH = 4, GET_ID = 8, DISCARD = 11, WRITE_ZEROES = 13 };
enum : int { OK = 0, IOERR = 1, UNSUPP = 2, untouched = 0xee };
constexpr std::uint64_t F_RO = 1 << 5, F_FLUSH = 1 << 9, F_MQ = 1 << 12, F_DISCARD = 1 << 13, F_WRITE_ZEROES = 1 << 14;
constexpr std::uint64_t disk_bytes = 8 << 20, sectors = disk_bytes / 512;

class VirtioBlockTest : public ::testing::Test {
 protected:
  void plug(unsigned queues = 1, bool read_only = false, std::string serial = "doppel-0") {
    disk = std::make_shared<MemoryDisk>(disk_bytes, read_only);
    attach(queues, serial);
  }
  void attach(unsigned queues, std::string serial = "doppel-0") {
    auto held = std::make_unique<HeldDisk>(disk);
    io = held.get();
    auto block = std::make_unique<VirtioBlock>(rig.host(), std::move(held), serial, queues);
    device = block.get();
    rig.plug(std::move(block));
  }
  void start(std::uint64_t without = 0, unsigned queues = 1) {
    plug(queues);
    rig.driver->start(rig.driver->offered() & ~without, queues, 64);
  }
  Driver& driver() { return *rig.driver; }

  struct Sent {
    std::uint64_t data, status;
  };
  std::uint64_t header(std::uint32_t type, std::uint64_t sector) {
    const auto at = driver().allocate(16);
    driver().poke(at, type);
    driver().poke(at + 4, 0u);
    driver().poke(at + 8, sector);
    return at;
  }
  std::uint64_t status_byte() {
    const auto at = driver().allocate(1);
    driver().poke<std::uint8_t>(at, untouched);
    return at;
  }
  /// One request with `length` bytes of data at `data` (0: some of its own).
  Sent request(std::uint32_t type, std::uint64_t sector, std::uint32_t length, std::uint64_t data = 0,
               unsigned queue = 0) {
    if (data == 0) data = driver().allocate(length + 1);
    Sent sent{data, status_byte()};
    std::vector<Buffer> buffers = {{header(type, sector), 16, false}};
    if (length) buffers.push_back({data, length, type == IN || type == GET_ID});
    buffers.push_back({sent.status, 1, true});
    driver().send(queue, buffers);
    return sent;
  }
  Sent write(std::uint64_t sector, std::string_view text) {
    std::string padded(text);
    padded.resize((text.size() + 511) / 512 * 512);
    return request(OUT, sector, padded.size(), driver().place(padded));
  }
  Sent segments(std::uint32_t type, const std::vector<std::array<std::uint64_t, 3>>& rows) {
    const auto at = driver().allocate(16 * rows.size() + 1);
    for (std::size_t i = 0; i < rows.size(); i++) {
      driver().poke(at + 16 * i, rows[i][0]);
      driver().poke(at + 16 * i + 8, static_cast<std::uint32_t>(rows[i][1]));
      driver().poke(at + 16 * i + 12, static_cast<std::uint32_t>(rows[i][2]));
    }
    return request(type, 0, 16 * rows.size(), at);
  }
  int status(const Sent& sent) { return driver().peek<std::uint8_t>(sent.status); }
  int finished(const Sent& sent) {
    io->complete_all();
    return status(sent);
  }
  std::string on_disk(std::uint64_t sector, std::size_t length) {
    return {reinterpret_cast<const char*>(disk->bytes.data()) + sector * 512, length};
  }

  Rig rig;
  std::shared_ptr<MemoryDisk> disk;
  HeldDisk* io = nullptr;
  VirtioBlock* device = nullptr;
};

TEST_F(VirtioBlockTest, TellsItsShape) {
  plug(4);
  auto& d = driver();
  EXPECT_EQ(d.get(reg::DeviceID), 2u);
  EXPECT_EQ(d.get(reg::Config), sectors);
  EXPECT_EQ(d.get(reg::Config + 4), 0u);
  EXPECT_EQ(d.get(reg::Config + 20), 512u);
  EXPECT_EQ(d.get(reg::Config + 32) >> 16, 4u);  // num_queues
  EXPECT_EQ(d.get(reg::QueueNumMax), 256u);
  d.set(reg::QueueSel, 3);
  EXPECT_EQ(d.get(reg::QueueNumMax), 256u);
  d.set(reg::QueueSel, 4);
  EXPECT_EQ(d.get(reg::QueueNumMax), 0u);
  std::uint64_t value = 0;
  ASSERT_TRUE(rig.mmio->read(reg::Config + 34, 2, value));  // drivers read the field by its own size
  EXPECT_EQ(value, 4u);
  EXPECT_TRUE(d.offered() & F_MQ);
  EXPECT_FALSE(d.offered() & F_RO);
}

TEST_F(VirtioBlockTest, WritesAndReadsBack) {
  start();
  const auto written = write(3, "hello, disk");
  EXPECT_EQ(status(written), untouched);  // not complete before the disk is
  EXPECT_TRUE(driver().used(0).empty());
  EXPECT_EQ(finished(written), OK);
  EXPECT_EQ(on_disk(3, 11), "hello, disk");
  EXPECT_TRUE(rig.take_interrupt());
  EXPECT_EQ(driver().used(0).at(0).length, 1u);
  const auto read = request(IN, 3, 1024);
  EXPECT_EQ(finished(read), OK);
  EXPECT_EQ(driver().text(read.data, 11), "hello, disk");
  EXPECT_EQ(driver().used(0).at(0).length, 1025u);
}

TEST_F(VirtioBlockTest, BuffersMayBeCutAnyWhere) {
  start();
  // The header in two parts, the data in odd parts, and the status in one buffer with data (2.7.4.2: no assumptions).
  disk->bytes[5 * 512] = std::byte{'x'};
  disk->bytes[5 * 512 + 511] = std::byte{'y'};
  const auto at = driver().allocate(4096), head = header(IN, 5);
  driver().send(0, {{head, 5, false}, {head + 5, 11, false}, {at, 100, true}, {at + 100, 413, true}});
  io->complete_all();
  EXPECT_EQ(driver().text(at, 1), "x");
  EXPECT_EQ(driver().text(at + 511, 2), std::string("y\0", 2));
  EXPECT_EQ(driver().used(0).at(0).length, 513u);
}

TEST_F(VirtioBlockTest, RequestsCompleteInAnyOrder) {
  start();
  const auto first = write(0, "first"), second = write(1, "second");
  io->complete(1);
  EXPECT_EQ(status(first), untouched);
  EXPECT_EQ(status(second), OK);
  io->complete(0);
  EXPECT_EQ(status(first), OK);
}

TEST_F(VirtioBlockTest, AFailingDiskIsAnErrorForTheGuest) {
  start();
  const auto sent = write(0, "x");
  io->complete(0, false);
  EXPECT_EQ(status(sent), IOERR);
  EXPECT_EQ(device->in_flight(), 0u);
}

TEST_F(VirtioBlockTest, FlushReachesTheDisk) {
  start();
  EXPECT_EQ(finished(request(FLUSH, 0, 0)), OK);
  EXPECT_EQ(disk->flushes, 1u);
}

TEST_F(VirtioBlockTest, ADriverThatCannotFlushGetsDurableWrites) {  // firmware such as U-Boot; 5.2.6.2
  start(F_FLUSH);
  const auto sent = write(0, "x");
  io->complete();
  EXPECT_EQ(status(sent), untouched);
  io->complete();
  EXPECT_EQ(disk->flushes, 1u);
  EXPECT_EQ(status(sent), OK);
  EXPECT_EQ(status(request(FLUSH, 0, 0)), UNSUPP);
}

TEST_F(VirtioBlockTest, GivesItsSerialNumber) {
  plug(1, false, "a serial number of more than twenty bytes");
  driver().start(driver().offered(), 1, 64);
  const auto sent = request(GET_ID, 0, 20);
  EXPECT_EQ(status(sent), OK);
  EXPECT_EQ(driver().text(sent.data, 20), "a serial number of m");
  EXPECT_EQ(driver().used(0).at(0).length, 21u);
  EXPECT_EQ(status(request(GET_ID, 0, 19)), IOERR);
}

TEST_F(VirtioBlockTest, DiscardAndWriteZeroesTakeSeveralSegments) {
  start();
  std::fill(disk->bytes.begin(), disk->bytes.end(), std::byte{1});
  EXPECT_EQ(finished(segments(DISCARD, {{8, 8, 0}, {32, 8, 0}})), OK);
  EXPECT_EQ(disk->discards, 2u);
  EXPECT_EQ(on_disk(32, 1), std::string(1, 0));
  EXPECT_EQ(finished(segments(WRITE_ZEROES, {{100, 1, 0}, {200, 1, 1}})), OK);
  EXPECT_EQ(on_disk(100, 513), std::string(512, 0) + "\1");
  EXPECT_EQ(on_disk(200, 513), std::string(512, 0) + "\1");
}

TEST_F(VirtioBlockTest, DiscardAndWriteZeroesAreChecked) {
  start();
  EXPECT_EQ(status(segments(DISCARD, {{sectors, 1, 0}})), IOERR);
  EXPECT_EQ(status(segments(DISCARD, {{~0ull, 8, 0}})), IOERR);
  EXPECT_EQ(status(segments(DISCARD, {{0, 0, 0}})), IOERR);
  EXPECT_EQ(status(segments(DISCARD, {{0, 8, 1}})), UNSUPP);       // unmap is for write zeroes (5.2.6.2)
  EXPECT_EQ(status(segments(WRITE_ZEROES, {{0, 8, 2}})), UNSUPP);  // an unknown flag
  EXPECT_EQ(status(segments(DISCARD, {})), IOERR);
  EXPECT_EQ(status(segments(WRITE_ZEROES, std::vector<std::array<std::uint64_t, 3>>(5, {0, 1, 0}))), IOERR);
  EXPECT_EQ(status(request(DISCARD, 0, 15)), IOERR);
  EXPECT_TRUE(io->held.empty());
}

TEST_F(VirtioBlockTest, AReadOnlyDiskRefusesEveryKindOfWrite) {
  plug(1, true);
  EXPECT_TRUE(driver().offered() & F_RO);
  EXPECT_FALSE(driver().offered() & (F_DISCARD | F_WRITE_ZEROES));
  driver().start(driver().offered(), 1, 64);
  EXPECT_EQ(status(write(0, "x")), IOERR);
  EXPECT_EQ(status(segments(DISCARD, {{0, 8, 0}})), UNSUPP);
  EXPECT_EQ(finished(request(IN, 0, 512)), OK);
}

TEST_F(VirtioBlockTest, RequestsOutsideTheDiskFail) {
  start();
  struct Row {
    std::uint64_t sector;
    std::uint32_t length;
  };
  for (auto [sector, length] :
       {Row{sectors, 512}, {sectors - 1, 1024}, {~0ull, 512}, {1ull << 55, 512}, {0, disk_bytes + 512}}) {
    const std::uint64_t data = ram_base + (32 << 20);
    EXPECT_EQ(status(request(IN, sector, length, data)), IOERR) << sector;
    EXPECT_EQ(status(request(OUT, sector, length, data)), IOERR) << sector;
  }
  EXPECT_EQ(finished(request(IN, sectors - 1, 512)), OK);
  EXPECT_FALSE(disk->strayed);
}

TEST_F(VirtioBlockTest, PartsOfSectorsAndUnknownTypesFail) {
  start();
  EXPECT_EQ(status(request(IN, 0, 511)), IOERR);
  EXPECT_EQ(status(request(OUT, 0, 513)), IOERR);
  EXPECT_EQ(status(request(2, 0, 0)), UNSUPP);
  EXPECT_EQ(status(request(0xffff'ffff, 0, 512)), UNSUPP);
  EXPECT_FALSE(driver().needs_reset());
}

TEST_F(VirtioBlockTest, AShortHeaderNeedsReset) {
  start();
  driver().send(0, {{header(IN, 0), 15, false}, {status_byte(), 1, true}});
  EXPECT_TRUE(driver().needs_reset());
}

TEST_F(VirtioBlockTest, OfferingABufferAgainBeforeItCameBackCannotPileUpRequests) {
  start();
  const auto head = driver().add(0, {{header(FLUSH, 0), 16, false}, {status_byte(), 1, true}});
  driver().notify(0);
  for (int i = 0; i < 64; i++) {
    driver().make_available(driver().rings[0], head);
    driver().notify(0);
  }
  EXPECT_TRUE(driver().needs_reset());
  EXPECT_EQ(io->held.size(), 64u);
}

TEST_F(VirtioBlockTest, NoPlaceForTheStatusNeedsReset) {
  start();
  driver().send(0, {{header(FLUSH, 0), 16, false}});
  EXPECT_TRUE(driver().needs_reset());
}

TEST_F(VirtioBlockTest, ALargeRequestGoesInPiecesOfBoundedSize) {
  start();
  for (std::uint64_t i = 0; i < disk_bytes; i += 4096) disk->bytes[i] = std::byte(i >> 12);
  const std::uint64_t data = ram_base + (32 << 20);
  const auto sent = request(IN, 0, disk_bytes, data);
  ASSERT_EQ(io->held.size(), 1u);
  EXPECT_EQ(io->held[0].length, VirtioBlock::piece_bytes);
  EXPECT_EQ(finished(sent), OK);
  std::string expected(reinterpret_cast<const char*>(disk->bytes.data()), disk_bytes);
  EXPECT_TRUE(driver().text(data, disk_bytes) == expected);
  EXPECT_EQ(device->bytes_in_flight(), 0u);
}

TEST_F(VirtioBlockTest, BytesInFlightAreLimitedAndNothingIsForgotten) {
  start(VIRTIO_F_EVENT_IDX, 2);
  const std::uint64_t data = ram_base + (32 << 20);
  std::vector<Sent> sent;
  for (unsigned i = 0; i < 40; i++) sent.push_back(request(IN, 0, 1 << 20, data, i % 2));
  EXPECT_EQ(device->bytes_in_flight(), VirtioBlock::max_bytes_in_flight);
  EXPECT_EQ(io->held.size(), 16u);
  while (!io->held.empty()) {
    EXPECT_LE(device->bytes_in_flight(), VirtioBlock::max_bytes_in_flight);
    io->complete();
  }
  for (const auto& one : sent) EXPECT_EQ(status(one), OK);
}

TEST_F(VirtioBlockTest, QueuesAreIndependent) {
  start(0, 4);
  const auto third = request(OUT, 7, 512, driver().place(std::string(512, 'q')), 3);
  EXPECT_EQ(finished(third), OK);
  EXPECT_EQ(driver().used(3).size(), 1u);
  EXPECT_TRUE(driver().used(0).empty());
  EXPECT_EQ(on_disk(7, 1), "q");
}

TEST_F(VirtioBlockTest, OldWritesNeverLandOnNewOnesAfterAReset) {
  start();
  write(0, "old");
  driver().start(driver().offered(), 1, 64);  // a warm reboot: reset, then a new driver
  EXPECT_EQ(on_disk(0, 3), "old");            // the reset waited for it
  const auto fresh = write(0, "new");
  io->complete_all();
  EXPECT_EQ(status(fresh), OK);
  EXPECT_EQ(on_disk(0, 3), "new");
  EXPECT_EQ(driver().used(0).size(), 1u);  // the old one's completion went nowhere
}

TEST_F(VirtioBlockTest, WhatAnOldDriverReadNeverLandsInANewOnesMemory) {
  start();
  disk->bytes[0] = std::byte{'o'};
  const std::uint64_t data = ram_base + (32 << 20);
  request(IN, 0, 1 << 20, data);
  driver().start(driver().offered(), 1, 64);
  ASSERT_TRUE(rig.memory->fill(data, 'n', 1 << 20));
  io->complete_all();
  EXPECT_EQ(driver().text(data, 1), "n");
  EXPECT_TRUE(driver().used(0).empty());
  request(IN, 0, 1 << 20, data);
  driver().set(reg::QueueSel, 0);
  driver().set(reg::QueueReady, 0);
  ASSERT_TRUE(rig.memory->fill(data, 'm', 1 << 20));
  io->complete_all();
  EXPECT_EQ(driver().text(data, 1), "m");
}

// A fork may come while the disk fills the memory of a driver.
TEST_F(VirtioBlockTest, WhatIsReadDuringAForkReachesTheParentOnly) {
  start();
  disk->bytes[0] = std::byte{'r'};
  const std::uint64_t data = ram_base + (32 << 20);
  const auto sent = request(IN, 0, 512, data);
  const auto child = GuestMemory::create(rig.memory->freeze());
  EXPECT_EQ(finished(sent), OK);
  EXPECT_EQ(driver().text(data, 1), "r");
  char byte;
  ASSERT_TRUE(child->read(data, &byte, 1));
  EXPECT_EQ(byte, 0);
}

TEST_F(VirtioBlockTest, ResettingAgainAndAgainHoldsNoMoreMemory) {
  start();
  for (int i = 0; i < 100; i++) {
    request(IN, 0, 1 << 20, ram_base + (32 << 20));
    driver().start(driver().offered(), 1, 4);
  }
  EXPECT_LE(device->bytes_in_flight(), VirtioBlock::max_bytes_in_flight);
  io->complete_all();
  EXPECT_EQ(device->bytes_in_flight(), 0u);
}

TEST_F(VirtioBlockTest, AStoppedQueueGetsNoCompletions) {
  start();
  const auto sent = write(0, "x");
  driver().set(reg::QueueSel, 0);
  driver().set(reg::QueueReady, 0);
  io->complete_all();
  EXPECT_EQ(status(sent), untouched);
  EXPECT_FALSE(driver().needs_reset());
}

TEST_F(VirtioBlockTest, RequestsInFlightAreDoneAgainByARestoredCopy) {
  start();
  const auto written = write(9, "survives");
  disk->bytes[512] = std::byte{'r'};
  const auto read = request(IN, 1, 512);
  const auto flushed = request(FLUSH, 0, 0);
  const auto saved = rig.save();
  ASSERT_EQ(device->in_flight(), 3u);

  // The machine ends here; a copy starts from the snapshot with the same disk and memory.
  auto old_driver = std::move(rig.driver);
  attach(1);
  Reader in{saved};
  ASSERT_TRUE(rig.mmio->restore(in).ok());
  EXPECT_EQ(rig.save(), saved);   // also before it went on
  EXPECT_TRUE(io->held.empty());  // memory may not be restored yet
  rig.resume();
  EXPECT_EQ(rig.save(), saved);
  EXPECT_EQ(io->held.size(), 3u);
  io->complete_all();
  rig.driver = std::move(old_driver);
  for (const auto& sent : {written, read, flushed}) EXPECT_EQ(rig.driver->peek<std::uint8_t>(sent.status), OK);
  EXPECT_EQ(on_disk(9, 8), "survives");
  EXPECT_EQ(rig.driver->text(read.data, 1), "r");
  EXPECT_EQ(rig.driver->used(0).size(), 3u);
  EXPECT_EQ(disk->flushes, 1u);
}

// What was done of it is on the copy's disk.
TEST_F(VirtioBlockTest, ASnapshotInTheMiddleOfALargeRequestDoesTheRestOfIt) {
  start();
  const std::uint64_t data = ram_base + (32 << 20);
  const auto sent = request(OUT, 0, 4 << 20, data);
  ASSERT_TRUE(rig.memory->fill(data, 'z', 4 << 20));
  io->complete();
  const auto saved = rig.save();
  auto old_driver = std::move(rig.driver);
  disk = std::make_shared<MemoryDisk>(disk_bytes);
  attach(1);
  Reader in{saved};
  ASSERT_TRUE(rig.mmio->restore(in).ok());
  rig.resume();
  io->complete_all();
  EXPECT_EQ(old_driver->peek<std::uint8_t>(sent.status), OK);
  EXPECT_EQ(on_disk((1 << 20) / 512 - 1, 1), std::string(1, '\0'));
  EXPECT_EQ(on_disk((1 << 20) / 512, 1), "z");
  EXPECT_EQ(on_disk((4 << 20) / 512 - 1, 1), "z");
}

// A driver that cannot flush has its writes flushed, also by a copy that begins there.
TEST_F(VirtioBlockTest, ACopyFlushesWhatWasWrittenAndNotYetFlushed) {
  start(F_FLUSH);
  const auto sent = write(9, "durable");
  io->complete();
  const auto saved = rig.save();
  auto old_driver = std::move(rig.driver);
  attach(1);
  Reader in{saved};
  ASSERT_TRUE(rig.mmio->restore(in).ok());
  rig.resume();
  ASSERT_EQ(io->held.size(), 1u);
  EXPECT_EQ(io->held[0].kind, DiskRequest::Kind::flush);
  io->complete_all();
  EXPECT_EQ(old_driver->peek<std::uint8_t>(sent.status), OK);
  EXPECT_EQ(disk->flushes, 1u);
}

// What the driver has put in the queue and not yet told of is not taken before it does: then a copy would be ahead.
TEST_F(VirtioBlockTest, ACopyWaitsToBeNotifiedToo) {
  start();
  const auto status = status_byte();
  driver().add(0, {{header(FLUSH, 0), 16, false}, {status, 1, true}});
  const auto saved = rig.save();
  auto old_driver = std::move(rig.driver);
  attach(1);
  Reader in{saved};
  ASSERT_TRUE(rig.mmio->restore(in).ok());
  rig.resume();
  EXPECT_TRUE(io->held.empty());
  rig.driver->notify(0);
  EXPECT_EQ(io->held.size(), 1u);
}

TEST_F(VirtioBlockTest, RequestsBeyondTheLimitSurviveARestoreToo) {
  start();
  std::vector<Sent> sent;
  for (unsigned i = 0; i < 20; i++) sent.push_back(request(IN, 0, 1 << 20, ram_base + (32 << 20)));
  const auto saved = rig.save();
  auto old_driver = std::move(rig.driver);
  attach(1);
  Reader in{saved};
  ASSERT_TRUE(rig.mmio->restore(in).ok());
  rig.resume();
  io->complete_all();
  for (const auto& one : sent) EXPECT_EQ(old_driver->peek<std::uint8_t>(one.status), OK);
}

TEST_F(VirtioBlockTest, AHostileSnapshotIsRefusedOrHarmless) {
  start();
  write(9, "x");
  request(IN, 1, 512);
  const auto good = rig.save();
  for (std::size_t i = 0; i < good.size(); i++) {
    Reader cut{std::span(good).first(i)};
    EXPECT_FALSE(rig.mmio->restore(cut).ok()) << i;
    for (int bit = 0; bit < 8; bit++) {
      auto bad = good;
      bad[i] ^= std::byte(1 << bit);
      Reader in{bad};
      (void)rig.mmio->restore(in).ok();
      rig.resume();
      io->complete_all();
    }
  }
  EXPECT_FALSE(disk->strayed);
  EXPECT_EQ(device->bytes_in_flight(), 0u);
}

}  // namespace
}  // namespace doppel::testing
