// Disks as values: every copy of a machine has its own disk, as it was when it was copied, and nobody else's.
#include "storage/layered_disk.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <atomic>
#include <map>
#include <thread>

#include "storage/overlay.h"
#include "unit/storage/scratch.h"

namespace doppel {
namespace {

constexpr std::uint64_t block = 4096;

/// A disk in memory that is written to until it is frozen.
class Base final : public Disk {
 public:
  explicit Base(Bytes content, bool read_only = false) : bytes(std::move(content)), read_only_(read_only) {}
  std::uint64_t size() const override { return bytes.size(); }
  bool read_only() const override { return read_only_; }
  std::string_view format() const override { return "raw"; }
  Result<void> read(std::uint64_t offset, std::span<std::byte> out) override {
    if (offset + out.size() > bytes.size()) std::abort();
    std::memcpy(out.data(), bytes.data() + offset, out.size());
    return {};
  }
  Result<void> write(std::uint64_t offset, std::span<const std::byte> data) override {
    if (frozen) std::abort();
    if (read_only_) return error("the disk is read-only");
    std::memcpy(bytes.data() + offset, data.data(), data.size());
    return {};
  }
  Result<void> flush() override { return flushes++, Result<void>(); }
  Result<void> discard(std::uint64_t, std::uint64_t) override { return {}; }
  Result<void> write_zeroes(std::uint64_t offset, std::uint64_t length, bool) override {
    return write(offset, Bytes(length));
  }
  int direct_descriptor() const override { return 77; }
  std::string path() const override { return folder.path("base"); }
  std::vector<FileStamp> stamps() const override { return {FileStamp{.size = bytes.size(), .mtime_ns = 5}}; }
  Result<void> seal() override { return frozen = true, Result<void>(); }
  Scratch folder;
  Bytes bytes;
  std::atomic<bool> frozen = false;
  int flushes = 0;

 private:
  bool read_only_;
};

class LayeredDisks : public testing::Test {
 protected:
  void SetUp() override {
    auto made = ScratchFile::create();
    ASSERT_TRUE(made) << made.message();
    scratch_ = std::move(*made);
  }
  std::unique_ptr<LayeredDisk> first(Bytes content) {
    base_ = std::make_shared<Base>(std::move(content));
    return std::make_unique<LayeredDisk>(base_, scratch_);
  }
  DiskImage frozen(LayeredDisk& disk) {
    auto image = disk.freeze();
    EXPECT_TRUE(image) << image.message();
    if (base_) base_->frozen = true;
    return std::move(*image);
  }
  std::unique_ptr<LayeredDisk> copy(const DiskImage& image) {
    return std::make_unique<LayeredDisk>(image, false, scratch_);
  }
  std::uint64_t occupied() const {
    struct stat status{};
    fstat(scratch_->fd(), &status);
    return std::uint64_t(status.st_blocks) * 512;
  }
  static unsigned depth(const DiskImage& image) {
    unsigned layers = 0;
    for (auto* layer = image.top.get(); layer; layer = layer->parent().get()) layers++;
    return layers;
  }
  std::shared_ptr<ScratchFile> scratch_;
  std::shared_ptr<Base> base_;
};

/// What a disk, or an image of one, must have.
struct Copy {
  std::unique_ptr<LayeredDisk> disk;
  Bytes model;
};

/// One request of any kind and alignment, to a disk and its model.
void use(Copy& copy, std::mt19937& random) {
  auto& model = copy.model;
  const std::uint64_t at = random() % model.size();
  const std::uint64_t length = 1 + random() % std::min<std::uint64_t>(model.size() - at, 1 << (random() % 17));
  const auto range = std::span(model).subspan(at, length);
  switch (random() % 6) {
    case 0:
      ASSERT_TRUE(copy.disk->write_zeroes(at, length, random() % 2));
      std::ranges::fill(range, std::byte{0});
      return;
    case 1: {
      ASSERT_TRUE(copy.disk->discard(at, length));
      const Bytes now = must_read(*copy.disk, at, length);
      for (std::size_t k = 0; k < length; k++) ASSERT_TRUE(now[k] == range[k] || now[k] == std::byte{0});
      std::ranges::copy(now, range.begin());
      return;
    }
    case 2:
      ASSERT_EQ(must_read(*copy.disk, at, length), Bytes(range.begin(), range.end()));
      return;
    default: {
      Bytes data = pattern(length, random());
      std::ranges::copy(data, range.begin());
      const auto cut = random() % (length + 1);
      const iovec pieces[] = {{data.data(), cut}, {data.data() + cut, length - cut}};
      ASSERT_TRUE(copy.disk->writev(at, pieces));
    }
  }
}

void expect_same(LayeredDisk& disk, const Bytes& model) {
  ASSERT_EQ(must_read(disk, 0, disk.size()), model);
  Bytes pieces(model.size());
  const iovec parts[] = {{pieces.data(), 1000}, {pieces.data() + 1000, 0}, {pieces.data() + 1000, model.size() - 1000}};
  ASSERT_TRUE(disk.readv(0, parts));
  ASSERT_EQ(pieces, model);
}

// Forks of forks that write, go back to what others were, and end, in any order.
TEST_F(LayeredDisks, ATreeOfForksBehavesLikeArraysOfBytes) {
  std::mt19937 random(7);
  for (int round = 0; round < 12; round++) {
    std::vector<Copy> copies;
    std::vector<std::pair<DiskImage, Bytes>> images;
    const Bytes content = disk_content((200 << 10) + 512 * (round % 9), unsigned(round));
    copies.push_back({first(content), content});
    for (int n = 0; n < 30; n++) use(copies[0], random);
    for (int n = 0; n < 600; n++) {
      auto& one = copies[random() % copies.size()];
      const auto what = random() % 20;
      if (what == 0) {
        images.emplace_back(frozen(*one.disk), one.model);
        if (copies.size() < 12) copies.push_back({copy(images.back().first), one.model});
      } else if (what == 1 && !images.empty()) {
        const auto& [image, model] = images[random() % images.size()];
        ASSERT_TRUE(one.disk->adopt(image));
        one.model = model;
      } else if (what == 2 && copies.size() > 1) {
        copies.erase(copies.begin() + long(random() % copies.size()));
      } else if (what == 3 && images.size() > 4) {
        images.erase(images.begin() + long(random() % images.size()));
      } else {
        use(one, random);
      }
      if (HasFatalFailure()) return;
    }
    for (auto& one : copies) expect_same(*one.disk, one.model);
    for (const auto& [image, model] : images) expect_same(*copy(image), model);
    copies.clear();
    images.clear();
    ASSERT_EQ(scratch_->used(), 0u) << "whoever ends gives back what only he had";
  }
}

TEST_F(LayeredDisks, UntilTheyAreFrozenAreTheDiskThatTheyWereGiven) {
  auto disk = first(Bytes(16 * block));
  EXPECT_EQ(disk->direct_descriptor(), 77);
  ASSERT_TRUE(disk->write(5, pattern(100, 1)));
  ASSERT_TRUE(disk->flush());
  EXPECT_EQ(Bytes(base_->bytes.begin() + 5, base_->bytes.begin() + 105), pattern(100, 1));
  EXPECT_EQ(base_->flushes, 1);
  const auto before = base_->bytes;
  const auto image = frozen(*disk);
  EXPECT_EQ(disk->direct_descriptor(), -1) << "io_uring must not go past the layers";
  ASSERT_TRUE(disk->write(0, pattern(16 * block, 2)));
  ASSERT_TRUE(disk->flush());
  EXPECT_EQ(base_->bytes, before);
  expect_same(*copy(image), before);
}

// Read-only disks are shared as they are, at their full speed.
TEST_F(LayeredDisks, ThatAreReadOnlyStayWhatTheyAre) {
  base_ = std::make_shared<Base>(pattern(4 * block, 1), true);
  LayeredDisk disk(base_, nullptr);
  const auto image = disk.freeze();
  ASSERT_TRUE(image);
  EXPECT_EQ(disk.direct_descriptor(), 77);
  EXPECT_FALSE(disk.write(0, pattern(10, 1)));
  LayeredDisk other(*image, true, nullptr);
  EXPECT_EQ(other.direct_descriptor(), 77);
  EXPECT_FALSE(other.write(0, pattern(10, 1)));
  expect_same(other, base_->bytes);
}

TEST_F(LayeredDisks, AThousandForksOfForksAreTenLayersDeep) {
  Bytes model(600 * block);
  auto disk = first(model);
  frozen(*disk);
  std::mt19937 random(3);
  std::vector<std::unique_ptr<LayeredDisk>> ancestors;
  for (int n = 0; n < 1000; n++) {
    const auto image = frozen(*disk);
    EXPECT_LE(depth(image), 12u) << n;
    ancestors.push_back(std::exchange(disk, copy(image)));
    const auto at = random() % (model.size() - 100);
    const auto data = pattern(100, random());
    ASSERT_TRUE(disk->write(at, data));
    std::ranges::copy(data, model.begin() + long(at));
  }
  expect_same(*disk, model);
}

// A million copies are parked: one that writes nothing has nothing.
TEST_F(LayeredDisks, ThatWriteNothingTakeNoSlotAndNoLayer) {
  auto disk = first(pattern(100 * block, 1));
  const auto image = frozen(*disk);
  for (int n = 0; n < 100; n++) {
    const auto other = copy(image);
    must_read(*other, 0, other->size());
    const auto again = frozen(*other);
    EXPECT_EQ(again.top, image.top);
    EXPECT_EQ(again.base, image.base);
  }
  EXPECT_EQ(scratch_->used(), 0u);
  EXPECT_EQ(occupied(), 0u);
}

TEST_F(LayeredDisks, ShareSlotsUntilTheLastIsGone) {
  auto disk = first(Bytes(1000 * block));
  frozen(*disk);
  ASSERT_TRUE(disk->write(0, pattern(10 * block, 1)));
  auto image = frozen(*disk);
  auto other = copy(image);
  EXPECT_EQ(scratch_->used(), 10u);
  ASSERT_TRUE(other->write(0, pattern(1, 2)));
  EXPECT_EQ(scratch_->used(), 11u) << "only the block that it wrote";
  ASSERT_TRUE(other->write_zeroes(0, 5 * block, true));
  EXPECT_EQ(scratch_->used(), 10u) << "zeros need no slot";
  disk.reset();
  image = {};
  EXPECT_EQ(scratch_->used(), 10u);
  other.reset();
  EXPECT_EQ(scratch_->used(), 0u);
}

// A copy that wrote much and ended must not keep the host's disk full.
TEST_F(LayeredDisks, GiveSpaceBackAndUseItAgain) {
  auto disk = first(Bytes(64 << 20));
  const auto image = frozen(*disk);
  for (int n = 0; n < 4; n++) {
    auto other = copy(image);
    ASSERT_TRUE(other->write(0, pattern(32 << 20, 1)));
    EXPECT_GE(occupied(), 32u << 20);
    EXPECT_LE(occupied(), 50u << 20);
    other.reset();
    EXPECT_LT(occupied(), 20u << 20);
  }
}

// Old bytes of a slot are somebody else's secret.
TEST_F(LayeredDisks, NeverSeeWhatASlotHeldBefore) {
  auto disk = first(Bytes(64 * block));
  const auto image = frozen(*disk);
  const std::string secret = "the other machine's key";
  auto other = copy(image);
  for (std::uint64_t n = 0; n < 64; n++) ASSERT_TRUE(other->write(n * block + 99, std::as_bytes(std::span(secret))));
  other.reset();
  ASSERT_TRUE(disk->write(5, pattern(3, 1)));
  ASSERT_TRUE(disk->write(9 * block - 7, pattern(30, 1)));
  const auto all = must_read(*disk, 0, disk->size());
  const std::string_view text(reinterpret_cast<const char*>(all.data()), all.size());
  EXPECT_EQ(text.find(secret), text.npos);
}

/// Holds the process to files of so many bytes while it lives.
class FileSizeLimit {
 public:
  explicit FileSizeLimit(std::uint64_t bytes) {
    getrlimit(RLIMIT_FSIZE, &old_);
    const rlimit now{bytes, old_.rlim_max};
    setrlimit(RLIMIT_FSIZE, &now);
  }
  ~FileSizeLimit() { setrlimit(RLIMIT_FSIZE, &old_); }

 private:
  rlimit old_{};
};

TEST_F(LayeredDisks, AFullScratchFileFailsTheRequestAndNothingElse) {
  Bytes model(100 * block);
  auto disk = first(model);
  frozen(*disk);
  const auto write = [&](std::uint64_t at, const Bytes& data) {
    if (!disk->write(at, data)) return false;
    std::ranges::copy(data, model.begin() + long(at));
    return true;
  };
  ASSERT_TRUE(write(0, pattern(10 * block, 1)));
  {
    const FileSizeLimit limit(12 * block);
    EXPECT_TRUE(write(block, pattern(100, 2))) << "what has its slot goes on";
    const auto failed = disk->write(20 * block, pattern(10 * block, 3));
    ASSERT_FALSE(failed);
    expect_sentence(failed.message());
    EXPECT_EQ(scratch_->used(), 10u);
    expect_same(*disk, model);
    EXPECT_TRUE(write(50 * block, pattern(2 * block, 4)));
    EXPECT_FALSE(write(60 * block + 5, pattern(1, 5)));
    expect_same(*disk, model);
    expect_same(*copy(frozen(*disk)), model);
  }
  EXPECT_TRUE(write(20 * block, pattern(10 * block, 3)));
  expect_same(*disk, model);
}

TEST_F(LayeredDisks, WithoutAScratchFileCannotBeFrozen) {
  LayeredDisk disk(std::make_shared<Base>(Bytes(block)), nullptr);
  const auto image = disk.freeze();
  ASSERT_FALSE(image);
  expect_sentence(image.message());
  EXPECT_TRUE(disk.write(0, pattern(10, 1))) << "and goes on";
}

TEST_F(LayeredDisks, DoNotTakeOverADiskOfAnotherSize) {
  auto disk = first(Bytes(4 * block));
  const auto image = frozen(*disk);
  LayeredDisk other(std::make_shared<Base>(Bytes(5 * block)), scratch_);
  const auto taken = other.adopt(image);
  ASSERT_FALSE(taken);
  expect_sentence(taken.message());
}

// Requests of one machine come from several threads, its siblings run meanwhile, and one of them is copied.
TEST_F(LayeredDisks, ServeManyThreadsAtOnce) {
  constexpr unsigned machines = 3, threads = 3, blocks = 200;
  const auto content = pattern((blocks + threads) * block, 9);
  auto original = first(content);
  const auto image = frozen(*original);
  std::vector<std::unique_ptr<LayeredDisk>> disks;
  for (unsigned n = 0; n < machines; n++) disks.push_back(copy(image));
  // A sector of its own in each block that others write to at the same time, and a block that it discards.
  const auto use_sectors = [&](LayeredDisk& disk, unsigned whose) {
    std::mt19937 random(whose);
    std::map<std::uint64_t, Bytes> wrote;
    for (int n = 0; n < 400; n++) {
      const auto at = random() % blocks * block + whose * 1024;
      const auto data = random() % 9 ? pattern(1024, random()) : Bytes(1024);
      ASSERT_TRUE(data[0] != std::byte{0} ? disk.write(at, data) : disk.write_zeroes(at, 1024, true));
      wrote[at] = data;
      const auto own = (blocks + whose) * block;
      if (n % 20 == 0) ASSERT_TRUE(n % 40 ? disk.discard(own, block) : disk.write(own, data));
      ASSERT_EQ(must_read(disk, at, 1024), data);
      must_read(disk, at - at % block, 2 * block);
    }
    for (const auto& [at, data] : wrote) ASSERT_EQ(must_read(disk, at, 1024), data);
  };
  std::vector<std::thread> running;
  for (unsigned n = 0; n < machines * threads; n++)
    running.emplace_back([&, n] { use_sectors(*disks[n % machines], n / machines); });
  for (unsigned n = 0; n < blocks; n++) {
    const auto another = copy(frozen(*original));
    ASSERT_TRUE(original->write(n * block, pattern(10, n)));
    ASSERT_EQ(must_read(*another, n * block, block),
              Bytes(content.begin() + n * long(block), content.begin() + (n + 1) * long(block)));
  }
  for (auto& thread : running) thread.join();
  expect_same(*copy(image), content);
}

/// Keeps the blocks of a snapshot, some of which cannot be had.
class Source final : public BlockSource {
 public:
  bool holds(std::uint64_t number) const override { return blocks.contains(number); }
  const std::byte* bring(std::uint64_t number) override {
    brought++;
    auto& bytes = blocks.at(number);
    return bytes.empty() ? nullptr : bytes.data();
  }
  std::map<std::uint64_t, Bytes> blocks;
  int brought = 0;
};

TEST_F(LayeredDisks, LieOverBlocksThatAreBroughtWhenTheyAreRead) {
  auto source = std::make_shared<Source>();
  const auto base = std::make_shared<Base>(disk_content(20 * block, 1));
  Bytes model = base->bytes;
  for (const auto number : {2, 3, 7, 19}) {
    source->blocks[std::uint64_t(number)] = pattern(block, unsigned(number));
    std::ranges::copy(source->blocks[std::uint64_t(number)], model.begin() + number * long(block));
  }
  const auto disk = copy(DiskImage::over(base, source));
  EXPECT_EQ(source->brought, 0);
  ASSERT_TRUE(disk->write(2 * block, pattern(block, 50)));
  ASSERT_TRUE(disk->write(7 * block + 10, pattern(10, 51)));
  std::ranges::copy(pattern(block, 50), model.begin() + 2 * block);
  std::ranges::copy(pattern(10, 51), model.begin() + 7 * block + 10);
  EXPECT_EQ(source->brought, 1) << "a block that is written as a whole is not asked for";
  for (int n = 0; n < 5; n++) {
    ASSERT_TRUE(disk->write(n * block, pattern(20, 60)));
    std::ranges::copy(pattern(20, 60), model.begin() + n * long(block));
    expect_same(*copy(frozen(*disk)), model);
  }
  source->blocks[19].clear();
  Bytes out(block);
  const auto got = disk->read(19 * block, out);
  ASSERT_FALSE(got);
  expect_sentence(got.message());
  ASSERT_TRUE(disk->read(3 * block, out)) << "other blocks are there";
}

using Shown = std::map<std::uint64_t, Bytes>;
DiskImage::Visitor keep(Shown& shown) {
  return [&shown](std::uint64_t number, std::span<const std::byte> bytes) -> Result<void> {
    EXPECT_TRUE(shown.empty() || shown.rbegin()->first < number) << "in ascending order";
    EXPECT_TRUE(bytes.empty() || bytes.size() == block);
    shown[number].assign(bytes.begin(), bytes.end());
    return {};
  };
}

// What a snapshot keeps of a disk: what is not in the file below.
TEST_F(LayeredDisks, ShowWhatLiesOverTheBase) {
  auto disk = first(pattern(10 * block + 512, 1));
  Shown shown;
  ASSERT_TRUE(frozen(*disk).for_each_block(keep(shown)));
  EXPECT_TRUE(shown.empty());
  ASSERT_TRUE(disk->write(10 * block, pattern(512, 2)));
  ASSERT_TRUE(disk->write(3 * block, pattern(2 * block, 3)));
  const auto before = frozen(*disk);
  ASSERT_TRUE(disk->write_zeroes(4 * block, block, true));
  ASSERT_TRUE(disk->write(block, pattern(block, 4)));
  const auto after = frozen(*disk);
  ASSERT_TRUE(after.for_each_block(keep(shown)));
  Bytes end = pattern(512, 2), fourth = pattern(2 * block, 3);
  end.resize(block);
  fourth.resize(block);
  EXPECT_EQ(shown, (Shown{{1, pattern(block, 4)}, {3, fourth}, {4, {}}, {10, end}}));
  const auto stopped = after.for_each_block([](std::uint64_t, std::span<const std::byte>) { return error("enough"); });
  ASSERT_FALSE(stopped);
  EXPECT_EQ(stopped.message(), "enough");
}

TEST_F(LayeredDisks, ShowHowTheyDiffer) {
  auto disk = first(pattern(400 * block, 1));
  frozen(*disk);
  ASSERT_TRUE(disk->write(0, pattern(300 * block, 2)));
  for (std::uint64_t n = 0; n < 100; n++) {
    ASSERT_TRUE(disk->write(2 * n * block, pattern(block, 3)));
    frozen(*disk);
  }
  const auto before = frozen(*disk);
  const auto other = copy(before);
  ASSERT_TRUE(disk->write(350 * block, pattern(block, 4)));
  ASSERT_TRUE(other->write(7 * block, pattern(block, 5)));
  Shown shown;
  ASSERT_TRUE(frozen(*disk).for_each_difference(frozen(*other), keep(shown)));
  const auto now = must_read(*disk, 0, disk->size());
  for (const auto number : {7, 350}) {
    ASSERT_TRUE(shown.contains(std::uint64_t(number)));
    EXPECT_EQ(shown[std::uint64_t(number)],
              Bytes(now.begin() + number * long(block), now.begin() + (number + 1) * long(block)));
  }
  shown.clear();
  ASSERT_TRUE(before.for_each_difference(before, keep(shown)));
  EXPECT_TRUE(shown.empty());
}

class KeptDisks : public LayeredDisks {
 protected:
  std::string overlay() const { return base_->folder.path("base.anna.overlay"); }
  Result<void> keep(LayeredDisk& disk) const {
    auto file = make_overlay_file(overlay(), base_->path());
    return file ? disk.keep_in(*std::move(file), overlay()) : file.failure();
  }
  /// What a power cut would leave: the overlay as it is now, read by somebody else.
  Bytes kept() const {
    FileDescriptor fd(::open(overlay().c_str(), O_RDONLY | O_CLOEXEC));
    auto file = ImageFile::adopt(std::move(fd), overlay(), false);
    auto disk = OverlayDisk::open(std::move(*file), std::make_unique<Base>(base_->bytes, true), base_->stamps());
    EXPECT_TRUE(disk) << disk.message();
    return disk ? must_read(**disk, 0, base_->bytes.size()) : Bytes();
  }
};

// A fork must not take from the guest that what it flushed is there after a power cut.
TEST_F(KeptDisks, HaveWhatWasFlushedInTheirOverlay) {
  std::mt19937 random(17);
  for (int round = 0; round < 8; round++) {
    const Bytes content = disk_content((300 << 10) + 512 * std::size_t(round), unsigned(round));
    Copy one{first(content), content};
    for (int n = 0; n < 20; n++) use(one, random);
    ASSERT_TRUE(one.disk->needs_overlay());
    ASSERT_TRUE(keep(*one.disk));
    EXPECT_TRUE(base_->frozen);
    EXPECT_FALSE(one.disk->needs_overlay());
    Bytes flushed = one.model;
    std::vector<std::pair<DiskImage, Bytes>> images;
    for (int n = 0; n < 300; n++) {
      const auto what = random() % 12;
      if (what == 0) {
        ASSERT_TRUE(one.disk->flush());
        flushed = one.model;
      } else if (what == 1) {
        images.emplace_back(frozen(*one.disk), one.model);
      } else if (what == 2 && !images.empty()) {
        const auto& [image, model] = images[random() % images.size()];
        ASSERT_TRUE(one.disk->adopt(image));
        one.model = model;
      } else {
        use(one, random);
      }
      if (HasFatalFailure()) return;
      if (n % 25 == 0) ASSERT_EQ(kept(), flushed);
    }
    for (const auto& [image, model] : images) expect_same(*copy(image), model);
    images.clear();
    one.disk.reset();
    ASSERT_EQ(kept(), one.model) << "an orderly end loses nothing";
    ASSERT_EQ(scratch_->used(), 0u);
  }
}

// What a copy has of its original is in its overlay with the first flush.
TEST_F(KeptDisks, OfCopiesHaveAllThatIsOverTheBase) {
  Bytes model = pattern(100 * block, 1);
  auto disk = first(model);
  frozen(*disk);
  ASSERT_TRUE(disk->write(5 * block + 7, pattern(3 * block, 2)));
  ASSERT_TRUE(disk->discard(50 * block, 10 * block));
  std::ranges::copy(pattern(3 * block, 2), model.begin() + 5 * block + 7);
  std::fill_n(model.begin() + 50 * block, 10 * block, std::byte{0});
  const auto other = copy(frozen(*disk));
  ASSERT_TRUE(keep(*other));
  EXPECT_EQ(kept(), base_->bytes) << "nothing was flushed";
  ASSERT_TRUE(other->flush());
  EXPECT_EQ(kept(), model);
}

TEST_F(KeptDisks, ThatCannotBeKeptFailTheFlushAndAreKeptWhenTheyCan) {
  Bytes model(200 * block);
  auto disk = first(model);
  ASSERT_TRUE(keep(*disk));
  ASSERT_TRUE(disk->write(0, pattern(20 * block, 1)));
  ASSERT_TRUE(disk->flush());
  std::ranges::copy(pattern(20 * block, 1), model.begin());
  ASSERT_TRUE(disk->write(150 * block, pattern(30 * block, 2)));
  {
    const FileSizeLimit limit((1 << 20) + 100 * block);  // the overlay's data begins after 1 MiB
    const auto failed = disk->flush();
    ASSERT_FALSE(failed);
    expect_sentence(failed.message());
    EXPECT_EQ(kept(), model);
  }
  std::ranges::copy(pattern(30 * block, 2), model.begin() + 150 * block);
  expect_same(*disk, model);
  ASSERT_TRUE(disk->flush());
  EXPECT_EQ(kept(), model);
}

// A host's disk that is full when a machine is first copied must not cost the original its own.
TEST_F(KeptDisks, ThatGetNoOverlayGoOnAsTheyWere) {
  const Scratch folder;
  write_file(folder.path("raw"), Bytes(64 * block));
  std::shared_ptr<Disk> raw = must_open(spec_of(folder.path("raw"), "format=raw"));
  LayeredDisk disk(raw, scratch_);
  {
    const FileSizeLimit limit(1000);
    auto file = make_overlay_file(folder.path("raw.anna.overlay"), folder.path("raw"));
    ASSERT_TRUE(file) << file.message();
    const auto kept = disk.keep_in(*std::move(file), folder.path("raw.anna.overlay"));
    ASSERT_FALSE(kept);
    expect_sentence(kept.message());
  }
  EXPECT_TRUE(disk.needs_overlay());
  EXPECT_TRUE(disk.write(0, pattern(block, 1)));
  EXPECT_TRUE(disk.flush());
  EXPECT_EQ(must_read(*raw, 0, block), pattern(block, 1));
  EXPECT_FALSE(open_disk(spec_of(folder.path("raw"), "format=raw"))) << "it is its only writer";
}

TEST_F(KeptDisks, DoNotTakeOverWhatLiesOverAnotherImage) {
  auto other = first(Bytes(4 * block));
  const auto image = frozen(*other);
  auto disk = first(Bytes(4 * block));
  ASSERT_TRUE(keep(*disk));
  const auto taken = disk->adopt(image);
  ASSERT_FALSE(taken);
  expect_sentence(taken.message());
}

TEST_F(KeptDisks, FindNoOverlayOfAnother) {
  auto disk = first(Bytes(4 * block));
  write_file(overlay(), pattern(10, 1));
  const auto made = make_overlay_file(overlay(), base_->path());
  ASSERT_FALSE(made);
  expect_sentence(made.message());
  drop_overlay_file(overlay());
  EXPECT_EQ(read_file(overlay()), pattern(10, 1)) << "what is not empty is somebody's";
  write_file(overlay(), {});
  {
    const auto file = make_overlay_file(overlay(), base_->path());
    ASSERT_TRUE(file) << file.message();
    EXPECT_FALSE(make_overlay_file(overlay(), base_->path())) << "it is another's already";
  }
  drop_overlay_file(overlay());
  EXPECT_FALSE(std::filesystem::exists(overlay()));
}

// The guest's queues flush and write at the same time, and the machine is copied meanwhile.
TEST_F(KeptDisks, ServeManyThreadsAtOnce) {
  constexpr unsigned threads = 3, blocks = 50;
  auto disk = first(Bytes(threads * blocks * block));
  ASSERT_TRUE(keep(*disk));
  std::vector<std::thread> running;
  for (unsigned whose = 0; whose < threads; whose++)
    running.emplace_back([&, whose] {
      std::mt19937 random(whose);
      for (int n = 0; n < 150; n++) {
        const auto at = (whose * blocks + random() % blocks) * block;
        ASSERT_TRUE(disk->write(at, pattern(block, random())));
        if (unsigned(n) % 10 == whose) ASSERT_TRUE(disk->flush());
      }
    });
  std::vector<DiskImage> images;
  for (int n = 0; n < 30; n++) images.push_back(frozen(*disk));
  for (auto& thread : running) thread.join();
  ASSERT_TRUE(disk->flush());
  EXPECT_EQ(kept(), must_read(*disk, 0, disk->size()));
}

}  // namespace
}  // namespace doppel
