// The promise of the overlay: whatever instant the power goes or the process dies, what was flushed is there.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <csignal>
#include <cstring>
#include <functional>

#include "storage/overlay.h"
#include "unit/storage/scratch.h"

namespace {
std::function<void()> before_sync;
}
// Takes the C library's place in this program, to see the file as it is when it is about to become durable.
extern "C" int fdatasync(int fd) {
  if (before_sync) before_sync();
  return static_cast<int>(syscall(SYS_fdatasync, fd));
}

namespace doppel {
namespace {

constexpr std::size_t disk_size = 160 << 10, sector = 512, sectors = disk_size / sector;

/// A disk's sectors: what the last flush made durable, and everything that was written since and may be there or not.
struct Promise {
  std::vector<Bytes> durable = std::vector<Bytes>(sectors);
  std::vector<std::vector<Bytes>> since = std::vector<std::vector<Bytes>>(sectors);
  void write(std::size_t index, const Bytes& data) { since[index].push_back(data); }
  void flushed() {
    for (std::size_t i = 0; i < sectors; i++) {
      if (!since[i].empty()) durable[i] = since[i].back();
      since[i].clear();
    }
  }
  bool allows(std::size_t index, const Bytes& found) const {
    return found == durable[index] || std::ranges::find(since[index], found) != since[index].end();
  }
};

class PowerCut : public testing::Test {
 protected:
  PowerCut() : path_(scratch_.path("image")), overlay_(path_ + ".overlay"), random_(17) {
    const Bytes content = pattern(disk_size, 42);
    write_file(scratch_.path("raw"), content);
    EXPECT_EQ(scratch_.run("qemu-img convert -f raw -O qcow2 raw image && cp -p image copy"), 0) << scratch_.log();
    for (std::size_t i = 0; i < sectors; i++) {
      promise_.durable[i].assign(content.begin() + i * sector, content.begin() + (i + 1) * sector);
    }
  }
  ~PowerCut() override { before_sync = nullptr; }

  // Any sector that is not yet durable may have reached the storage device or not, in any order.
  void cut_power() {
    const Bytes now = read_file(overlay_);
    for (int variant = 0; variant < 6; variant++) {
      Bytes survived = durable_file_;
      const unsigned chance = random_() % 5;
      for (std::size_t at = 0; at < now.size(); at += sector) {
        if (random_() % 4 < chance) std::memcpy(survived.data() + at, now.data() + at, sector);
      }
      verify(survived);
    }
    durable_file_ = now;
  }

  void verify(const Bytes& file) {
    write_file(scratch_.path("copy.overlay"), file);
    auto disk = open_disk(spec_of(scratch_.path("copy"), "ro"));
    ASSERT_TRUE(disk.ok()) << disk.message();
    for (std::size_t i = 0; i < sectors; i++) {
      ASSERT_TRUE(promise_.allows(i, must_read(**disk, i * sector, sector))) << "sector " << i << ", cut " << cuts_;
    }
    cuts_++;
  }

  void random_write(Disk& disk) {
    const std::size_t at = random_() % sectors, count = std::min<std::size_t>(sectors - at, 1 + random_() % 20);
    const bool zeroes = random_() % 4 == 0;
    const Bytes data = zeroes ? Bytes(count * sector) : pattern(count * sector, random_());
    // Noted before it is done: it may be there from now on.
    for (std::size_t i = 0; i < count; i++) {
      promise_.write(at + i, Bytes(data.begin() + i * sector, data.begin() + (i + 1) * sector));
    }
    ASSERT_TRUE(zeroes ? disk.write_zeroes(at * sector, count * sector, true).ok()
                       : disk.write(at * sector, data).ok());
  }

  Scratch scratch_;
  std::string path_, overlay_;
  std::mt19937 random_;
  Promise promise_;
  Bytes durable_file_;
  int cuts_ = 0;
};

TEST_F(PowerCut, NothingFlushedIsEverLost) {
  for (int round = 0; round < 8; round++) {
    before_sync = nullptr;
    std::filesystem::remove(overlay_);
    auto disk = must_open(spec_of(path_));
    for (std::size_t i = 0; i < sectors; i++) {
      promise_.since[i].clear();
      promise_.durable[i] = must_read(*disk, i * sector, sector);
    }
    durable_file_ = read_file(overlay_);
    before_sync = [this] { cut_power(); };
    for (int flush = 0; flush < 5; flush++) {
      for (unsigned i = 0; i < 1 + random_() % 4; i++) random_write(*disk);
      ASSERT_TRUE(disk->flush().ok());
      promise_.flushed();
      if (HasFatalFailure()) return;
    }
  }
  before_sync = nullptr;
  EXPECT_GT(cuts_, 8 * 5 * 6) << "the sync of the data and of the map were both seen";
}

/// What the dying process tells through shared memory: the number of the last flush that was done, and of the next.
struct Progress {
  std::atomic<std::uint32_t> flushed, started;
};

// Flush n writes n into 16 places that move with n.
void write_generation(Disk& disk, std::uint32_t n) {
  for (std::uint32_t k = 0; k < 16; k++) {
    Bytes data(sector);
    std::memcpy(data.data(), &n, sizeof n);
    std::memcpy(data.data() + 508, &n, sizeof n);
    if (!disk.write(((n / 8 + k * 19) % sectors) * sector, data).ok()) _exit(3);
  }
}

TEST(Killed, WhatWasFlushedIsThereAfterKillNine) {
  const Scratch scratch;
  RUN(scratch, "qemu-img create -f qcow2 image 160k");
  auto* progress = static_cast<Progress*>(
      mmap(nullptr, sizeof(Progress), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
  ASSERT_NE(progress, MAP_FAILED);
  std::mt19937 random(3);
  for (int round = 0; round < 20; round++) {
    const std::uint32_t first = progress->flushed + 1;
    const pid_t child = fork();
    if (child == 0) {
      auto disk = open_disk(spec_of(scratch.path("image")));
      if (!disk) _exit(2);
      for (std::uint32_t n = first;; n++) {
        progress->started = n;
        write_generation(**disk, n);
        if (!(*disk)->flush().ok()) _exit(4);
        progress->flushed = n;
      }
    }
    const std::uint32_t target = first + random() % 30;
    int status = 0;
    while (progress->flushed < target && waitpid(child, &status, WNOHANG) == 0) usleep(random() % 300);
    kill(child, SIGKILL);
    if (status == 0) waitpid(child, &status, 0);
    ASSERT_TRUE(WIFSIGNALED(status)) << "the child ended by itself: " << WEXITSTATUS(status);
    const std::uint32_t flushed = progress->flushed;
    auto disk = must_open(spec_of(scratch.path("image")));
    ASSERT_TRUE(disk);
    for (std::uint32_t k = 0; k < 16; k++) {
      const Bytes found = must_read(*disk, ((flushed / 8 + k * 19) % sectors) * sector, sector);
      std::uint32_t n;
      std::memcpy(&n, found.data(), sizeof n);
      ASSERT_TRUE(n == flushed || n == progress->started) << "found " << n << ", flushed " << flushed;
    }
    progress->flushed = std::max<std::uint32_t>(flushed, progress->started);
  }
  munmap(progress, sizeof(Progress));
}

}  // namespace
}  // namespace doppel
