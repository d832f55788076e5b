#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "unit/storage/scratch.h"

namespace doppel {
namespace {

Result<void> convert(const Scratch& scratch, const std::string& from, const std::string& to,
                     const std::string& format) {
  return convert_disk(spec_of(scratch.path(from)), scratch.path(to), format, nullptr);
}

TEST(Convert, QemuAcceptsAndReadsOurQcow2) {
  const Scratch scratch;
  for (const std::size_t size : {std::size_t{512}, std::size_t{65536}, std::size_t{(9 << 20) + 1536}}) {
    SCOPED_TRACE(size);
    write_file(scratch.path("raw"), disk_content(size, 1));
    RUN(scratch, "rm -f image back");
    auto done = convert(scratch, "raw", "image", "qcow2");
    ASSERT_TRUE(done.ok()) << done.message();
    RUN(scratch, "qemu-img check -f qcow2 image && qemu-img compare -f raw -F qcow2 raw image");
    ASSERT_TRUE(convert(scratch, "image", "back", "raw").ok());
    EXPECT_EQ(read_file(scratch.path("back")), read_file(scratch.path("raw")));
  }
}

// More clusters than one block of reference counts, and more than one L2 table: at the two places where tables end.
TEST(Convert, LargeImagesGetAllTheirTables) {
  const Scratch scratch;
  RUN(scratch,
      "truncate -s 3G raw && for at in 0 8191 8192 8193 40000 49151; do "
      "head -c 65536 /dev/urandom | dd of=raw bs=64k seek=$at conv=notrunc status=none; done");
  ASSERT_TRUE(convert(scratch, "raw", "image", "qcow2").ok());
  RUN(scratch, "qemu-img check -f qcow2 image && qemu-img compare -f raw -F qcow2 raw image");
}

TEST(Convert, EmptySpaceCostsNeitherTimeNorRoom) {
  const Scratch scratch;
  RUN(scratch, "truncate -s 8T raw && printf x | dd of=raw bs=1 seek=5000000000000 conv=notrunc status=none");
  std::uint64_t last = 0, calls = 0;
  auto done = convert_disk(spec_of(scratch.path("raw")), scratch.path("image"), "qcow2",
                           [&](std::uint64_t part, std::uint64_t all) {
                             EXPECT_GE(part, last);
                             EXPECT_EQ(all, 8ULL << 40);
                             last = part;
                             calls++;
                           });
  ASSERT_TRUE(done.ok()) << done.message();
  EXPECT_EQ(last, 8ULL << 40) << "progress ends at the end";
  EXPECT_LT(calls, 1000u);
  ASSERT_TRUE(convert(scratch, "image", "raw2", "raw").ok());
  struct stat status{};
  ASSERT_EQ(stat(scratch.path("raw2").c_str(), &status), 0);
  EXPECT_EQ(status.st_size, 8LL << 40);
  EXPECT_LT(status.st_blocks * 512, 1 << 20);
}

TEST(Convert, TakesWhatTheOverlayHas) {
  const Scratch scratch;
  RUN(scratch, "qemu-img create -f qcow2 image 2M");
  ASSERT_TRUE(must_open(spec_of(scratch.path("image")))->write(1 << 20, pattern(512, 9)).ok());
  ASSERT_TRUE(convert(scratch, "image", "raw", "raw").ok());
  const Bytes raw = read_file(scratch.path("raw"));
  ASSERT_EQ(raw.size(), 2u << 20);
  EXPECT_EQ(Bytes(raw.begin() + (1 << 20), raw.begin() + (1 << 20) + 512), pattern(512, 9));
}

TEST(Convert, AFailureLeavesNoFile) {
  const Scratch scratch;
  write_file(scratch.path("raw"), pattern(4 << 20, 2));
  auto unknown = convert(scratch, "raw", "out", "vmdk");
  ASSERT_FALSE(unknown.ok());
  expect_sentence(unknown.message());
  ASSERT_FALSE(convert(scratch, "missing", "out", "raw").ok());
  ASSERT_FALSE(convert(scratch, "raw", "no/such/folder", "raw").ok());
  auto same = convert(scratch, "raw", "raw", "raw");
  ASSERT_FALSE(same.ok());
  EXPECT_NE(same.message().find("exists"), std::string::npos);

  rlimit old{};
  getrlimit(RLIMIT_FSIZE, &old);
  const rlimit small{2 << 20, old.rlim_max};
  setrlimit(RLIMIT_FSIZE, &small);
  auto full = convert(scratch, "raw", "out", "qcow2");
  setrlimit(RLIMIT_FSIZE, &old);
  ASSERT_FALSE(full.ok());
  expect_sentence(full.message());
  std::size_t files = 0;
  for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator(scratch.folder())) files++;
  EXPECT_EQ(files, 1u) << "only the source";
}

}  // namespace
}  // namespace doppel
