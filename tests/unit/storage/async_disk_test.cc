#include "storage/async_disk.h"

#include <gtest/gtest.h>
#include <liburing.h>
#include <sys/resource.h>

#include <condition_variable>
#include <cstring>
#include <thread>

#include "storage/uring_disk.h"
#include "unit/storage/scratch.h"

namespace doppel {
namespace {

using Kind = DiskRequest::Kind;

bool kernel_has_uring() {
  io_uring ring;
  if (io_uring_queue_init(4, &ring, 0) != 0) return false;
  io_uring_queue_exit(&ring);
  return true;
}

/// A loop on a thread of its own, as in a machine, and a disk on it; true: through io_uring where there is one.
/// Memory in three pieces, the second of one byte.
std::vector<iovec> pieces_of(std::span<std::byte> memory) {
  if (memory.size() < 512) return {};
  return {{memory.data(), 100}, {memory.data() + 100, 1}, {memory.data() + 101, memory.size() - 101}};
}

class AsyncDiskTest : public testing::TestWithParam<bool> {
 protected:
  void start(const DiskSpec& spec) {
    auto loop = EventLoop::create(lock_);
    ASSERT_TRUE(loop.ok());
    loop_ = std::move(*loop);
    auto disk = must_open(spec);
    ASSERT_TRUE(disk);
    std::lock_guard guard(lock_);
    disk_ = make_async_disk(std::move(disk), *loop_, GetParam());
    thread_ = std::thread([this] { loop_->run(); });
  }
  void end_disk() {
    std::lock_guard guard(lock_);
    disk_.reset();
  }
  ~AsyncDiskTest() override {
    if (!thread_.joinable()) return;
    end_disk();
    loop_->stop();
    thread_.join();
  }

  // Under the lock. `done` must not come from inside submit().
  void submit(DiskRequest request, std::function<void(bool)> then) {
    submitting_ = true;
    started_++;
    request.done = [this, then = std::move(then)](bool ok) {
      EXPECT_FALSE(submitting_);
      EXPECT_EQ(std::this_thread::get_id(), thread_.get_id()) << "done runs on the loop";
      finished_++;
      then(ok);
      changed_.notify_all();
    };
    disk_->submit(std::move(request));
    submitting_ = false;
  }
  void wait_for_all() {
    std::unique_lock guard(lock_);
    changed_.wait(guard, [this] { return finished_ == started_; });
  }
  bool now(Kind kind, std::uint64_t offset, std::uint64_t length, std::span<std::byte> buffer = {},
           bool unmap = false) {
    bool result = false;
    {
      std::lock_guard guard(lock_);
      submit({.kind = kind,
              .may_unmap = unmap,
              .offset = offset,
              .length = length,
              .pieces = pieces_of(buffer),
              .done = {}},
             [&](bool ok) { result = ok; });
    }
    wait_for_all();
    return result;
  }

  Scratch scratch_;
  std::recursive_mutex lock_;
  std::condition_variable_any changed_;
  std::unique_ptr<EventLoop> loop_;
  std::unique_ptr<AsyncDisk> disk_;
  std::thread thread_;
  bool submitting_ = false;
  int started_ = 0, finished_ = 0;
};

INSTANTIATE_TEST_SUITE_P(Backend, AsyncDiskTest, testing::Bool(),
                         [](const auto& info) { return info.param ? "Uring" : "Threads"; });

TEST_P(AsyncDiskTest, UsesIoUringExactlyWhereItIsAllowedAndThere) {
  write_file(scratch_.path("disk"), Bytes(1 << 20));
  start(spec_of(scratch_.path("disk")));
  EXPECT_EQ(dynamic_cast<UringDisk*>(disk_.get()) != nullptr, GetParam() && kernel_has_uring());
}

TEST_P(AsyncDiskTest, ManyMoreRequestsThanTheQueueHoldsAllArrive) {
  constexpr int count = 1000;
  write_file(scratch_.path("disk"), Bytes(count * 4096));
  start(spec_of(scratch_.path("disk")));
  Bytes data = pattern(count * 4096, 1), back(count * 4096);
  for (const Kind kind : {Kind::write, Kind::read}) {
    int good = 0;
    Bytes& buffer = kind == Kind::write ? data : back;
    {
      std::lock_guard guard(lock_);
      for (int i = 0; i < count; i++) {
        const std::uint64_t at = 4096ULL * ((i * 7) % count);
        submit({.kind = kind,
                .offset = at,
                .length = 4096,
                .pieces = pieces_of(std::span(buffer).subspan(at, 4096)),
                .done = {}},
               [&](bool ok) { good += ok; });
      }
    }
    wait_for_all();
    EXPECT_EQ(good, count);
  }
  EXPECT_TRUE(back == data);
  EXPECT_TRUE(now(Kind::flush, 0, 0));
  EXPECT_TRUE(read_file(scratch_.path("disk")) == data);
}

TEST_P(AsyncDiskTest, RequestsFromDoneWork) {
  write_file(scratch_.path("disk"), pattern(64 << 10, 2));
  start(spec_of(scratch_.path("disk")));
  Bytes sector(512);
  int steps = 0;
  std::function<void(bool)> next = [&](bool ok) {
    EXPECT_TRUE(ok);
    if (++steps < 50) {
      submit({.kind = Kind::read, .offset = 512ULL * steps, .length = 512, .pieces = pieces_of(sector), .done = {}},
             next);
    }
  };
  {
    std::lock_guard guard(lock_);
    submit({.kind = Kind::flush, .pieces = {}, .done = {}}, next);
  }
  wait_for_all();
  EXPECT_EQ(steps, 50);
}

TEST_P(AsyncDiskTest, DiscardAndZeroesReadAsZeros) {
  write_file(scratch_.path("disk"), pattern(1 << 20, 3));
  start(spec_of(scratch_.path("disk")));
  EXPECT_TRUE(now(Kind::discard, 64 << 10, 64 << 10));
  EXPECT_TRUE(now(Kind::write_zeroes, 256 << 10, 64 << 10));
  EXPECT_TRUE(now(Kind::write_zeroes, 512 << 10, 1536, {}, true));
  Bytes expected = pattern(1 << 20, 3), back(1 << 20);
  for (auto [at, length] : {std::pair{64 << 10, 64 << 10}, {256 << 10, 64 << 10}, {512 << 10, 1536}}) {
    std::fill_n(expected.begin() + at, length, std::byte{0});
  }
  EXPECT_TRUE(now(Kind::read, 0, 1 << 20, back));
  EXPECT_TRUE(back == expected);
}

TEST_P(AsyncDiskTest, WrongRequestsFailAndHarmNothing) {
  write_file(scratch_.path("disk"), Bytes(1 << 20));
  start(spec_of(scratch_.path("disk")));
  Bytes buffer(4096);
  EXPECT_FALSE(now(Kind::read, (1 << 20) - 512, 4096, buffer));
  EXPECT_FALSE(now(Kind::write, ~0ULL - 100, 4096, buffer));
  EXPECT_FALSE(now(Kind::read, 0, 8192, buffer)) << "longer than its buffer";
  EXPECT_FALSE(now(Kind::discard, 1 << 20, 512));
  EXPECT_TRUE(now(Kind::read, 0, 0));
  EXPECT_TRUE(now(Kind::read, 0, 4096, buffer));
}

TEST_P(AsyncDiskTest, AReadOnlyDiskRefusesWritesAndAcceptsFlushes) {
  write_file(scratch_.path("disk"), Bytes(1 << 20));
  start(spec_of(scratch_.path("disk"), "ro"));
  Bytes buffer(4096);
  EXPECT_FALSE(now(Kind::write, 4096, 4096, buffer));
  EXPECT_TRUE(now(Kind::flush, 0, 0));
}

TEST_P(AsyncDiskTest, TheFormatGuardHoldsOnTheFastPathToo) {
  write_file(scratch_.path("disk"), Bytes(1 << 20));
  start(spec_of(scratch_.path("disk")));
  Bytes header(4096);
  std::memcpy(header.data(), "QFI\xfb", 4);
  EXPECT_FALSE(now(Kind::write, 0, 4096, header));
  EXPECT_TRUE(now(Kind::write, 512, 4096, header));
}

TEST_P(AsyncDiskTest, AFullHostIsAFailedRequestAndLaterOnesWork) {
  write_file(scratch_.path("raw"), Bytes(64 << 10));
  RUN(scratch_, "truncate -s 64M raw && qemu-img create -f qcow2 image 64M");
  for (const char* name : {"raw", "image"}) {
    SCOPED_TRACE(name);
    start(spec_of(scratch_.path(name)));
    Bytes data = pattern(1 << 20, 4);
    // A limit on the size of files fails as a full disk does; SIGXFSZ, which would end the process, comes with it.
    rlimit old{};
    getrlimit(RLIMIT_FSIZE, &old);
    const rlimit small{8 << 20, old.rlim_max};
    setrlimit(RLIMIT_FSIZE, &small);
    EXPECT_FALSE(now(Kind::write, 32 << 20, 1 << 20, data));
    EXPECT_FALSE(now(Kind::write, (7 << 20) + (1 << 19), 1 << 20, data)) << "the first half fits";
    EXPECT_TRUE(now(Kind::write, 1 << 20, 1 << 20, data));
    setrlimit(RLIMIT_FSIZE, &old);
    EXPECT_TRUE(now(Kind::write, 32 << 20, 1 << 20, data));
    EXPECT_TRUE(now(Kind::flush, 0, 0));
    Bytes back(1 << 20);
    EXPECT_TRUE(now(Kind::read, 32 << 20, 1 << 20, back));
    EXPECT_TRUE(back == data);
    end_disk();
    loop_->stop();
    thread_.join();
  }
}

TEST_P(AsyncDiskTest, EndingADiskFinishesItsWritesAndTellsNobody) {
  constexpr int count = 400;
  write_file(scratch_.path("disk"), Bytes(count * 4096));
  start(spec_of(scratch_.path("disk")));
  Bytes data = pattern(count * 4096, 5);
  {
    std::lock_guard guard(lock_);
    for (int i = 0; i < count; i++) {
      const std::uint64_t at = 4096ULL * i;
      disk_->submit({.kind = Kind::write,
                     .offset = at,
                     .length = 4096,
                     .pieces = pieces_of(std::span(data).subspan(at, 4096)),
                     .done = [](bool) { ADD_FAILURE() << "done after the end"; }});
    }
    disk_.reset();
  }
  EXPECT_TRUE(read_file(scratch_.path("disk")) == data);
  // The loop runs what was posted before this.
  bool later = false;
  loop_->post([&] {
    later = true;
    changed_.notify_all();
  });
  std::unique_lock guard(lock_);
  changed_.wait(guard, [&] { return later; });
}

// A device that is reset gives the memory back to whoever comes next, so nothing may reach it afterwards.
TEST_P(AsyncDiskTest, NothingReachesMemoryOrDiskAfterADrainAndAllAreStillTold) {
  constexpr int count = 400;
  Bytes data = pattern(count * 4096, 7), back(count * 4096);
  write_file(scratch_.path("disk"), data);
  start(spec_of(scratch_.path("disk")));
  int good = 0;
  {
    std::lock_guard guard(lock_);
    for (int i = 0; i < count; i++) {
      const std::uint64_t at = 4096ULL * i;
      submit({.kind = Kind::read,
              .offset = at,
              .length = 4096,
              .pieces = pieces_of(std::span(back).subspan(at, 4096)),
              .done = {}},
             [&](bool ok) { good += ok; });
    }
    disk_->drain();
    EXPECT_TRUE(back == data);
    back.assign(back.size(), std::byte{1});
    EXPECT_LT(finished_, started_) << "told from inside drain()";
  }
  wait_for_all();
  EXPECT_EQ(good, count);
  EXPECT_TRUE(back == Bytes(back.size(), std::byte{1}));
  std::lock_guard guard(lock_);
  disk_->drain();  // of nothing
}

// Half of the pieces more than one system call takes, and a part of the range only in the overlay.
TEST_P(AsyncDiskTest, ManyPiecesAreOneRequest) {
  write_file(scratch_.path("disk"), pattern(1 << 20, 8));
  auto spec = spec_of(scratch_.path("disk"));
  spec.snapshot = !GetParam();
  start(spec);
  Bytes data = pattern(768 << 10, 9), back(1 << 20);
  const auto many = [](Bytes& bytes) {
    std::vector<iovec> pieces;
    for (std::size_t at = 0; at < bytes.size(); at += 512) pieces.push_back({bytes.data() + at, 512});
    return pieces;
  };
  const auto run = [&](Kind kind, std::uint64_t offset, Bytes& bytes) {
    bool result = false;
    {
      std::lock_guard guard(lock_);
      submit({.kind = kind, .offset = offset, .length = bytes.size(), .pieces = many(bytes), .done = {}},
             [&](bool ok) { result = ok; });
    }
    wait_for_all();
    return result;
  };
  for (int turn = 0; turn < 2; turn++) {  // the second time all blocks are in the overlay
    EXPECT_TRUE(run(Kind::write, 128 << 10, data));
    EXPECT_TRUE(run(Kind::read, 0, back));
    Bytes expected = pattern(1 << 20, 8);
    std::ranges::copy(data, expected.begin() + (128 << 10));
    EXPECT_TRUE(back == expected);
    data = pattern(768 << 10, 10);
  }
}

// The kernel cancels what an ending thread submitted; a guest must not see an error for that.
TEST_P(AsyncDiskTest, RequestsOutliveTheThreadThatSubmittedThem) {
  constexpr int count = 200;
  write_file(scratch_.path("disk"), Bytes(count * 65536));
  start(spec_of(scratch_.path("disk")));
  Bytes data = pattern(count * 65536, 6);
  int good = 0;
  std::thread hart([&] {
    std::lock_guard guard(lock_);
    for (int i = 0; i < count; i++) {
      const std::uint64_t at = 65536ULL * i;
      submit({.kind = Kind::write,
              .offset = at,
              .length = 65536,
              .pieces = pieces_of(std::span(data).subspan(at, 65536)),
              .done = {}},
             [&](bool ok) { good += ok; });
    }
  });
  hart.join();
  wait_for_all();
  EXPECT_EQ(good, count);
  EXPECT_TRUE(read_file(scratch_.path("disk")) == data);
}

/// Has everything in memory, and sees how many read at once.
class CountingDisk : public Disk {
 public:
  std::uint64_t size() const override { return 1 << 20; }
  bool read_only() const override { return true; }
  std::string_view format() const override { return "counting"; }
  Result<void> read(std::uint64_t, std::span<std::byte>) override {
    const auto now = ++reading_;
    for (auto seen = most.load(); seen < now && !most.compare_exchange_weak(seen, now);) {
    }
    for (int turn = 0; turn < 1000; turn++) std::this_thread::yield();
    reading_--;
    return {};
  }
  Result<void> write(std::uint64_t, std::span<const std::byte>) override { return error("read-only"); }
  Result<void> flush() override { return {}; }
  Result<void> discard(std::uint64_t, std::uint64_t) override { return {}; }
  Result<void> write_zeroes(std::uint64_t, std::uint64_t, bool) override { return {}; }

  std::atomic<unsigned> most = 0;

 private:
  std::atomic<unsigned> reading_ = 0;
};

// A guest that reads what its host has in memory gets half of the speed when all threads are at it.
TEST(DiskWorkers, WithoutTheDiskToWaitForNoMoreWorkThanThereAreProcessors) {
  std::recursive_mutex lock;
  const auto loop = std::move(EventLoop::create(lock)).value();
  CountingDisk disk;
  constexpr unsigned threads = 8;
  unsigned good = 0;
  std::array<std::byte, 512> memory;
  {
    DiskWorkers workers(disk, *loop, threads);
    for (int i = 0; i < 100; i++)
      workers.submit({.kind = Kind::read,
                      .offset = 0,
                      .length = memory.size(),
                      .pieces = {{memory.data(), memory.size()}},
                      .done = [&](bool ok) { good += ok; }});
    workers.drain();
    loop->post([&] { loop->stop(); });
    loop->run();
  }
  EXPECT_EQ(good, 100u);
  EXPECT_GE(disk.most, 1u);
  EXPECT_LE(disk.most, std::max(2u, std::thread::hardware_concurrency()));
}

}  // namespace
}  // namespace doppel
