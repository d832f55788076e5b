#include "storage/raw.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cstring>

#include "unit/storage/scratch.h"

namespace doppel {
namespace {

std::uint64_t allocated(const std::string& path) {
  struct stat status{};
  return stat(path.c_str(), &status) == 0 ? static_cast<std::uint64_t>(status.st_blocks) * 512 : ~0ULL;
}

TEST(Raw, KeepsWhatIsWritten) {
  const Scratch scratch;
  write_file(scratch.path("disk"), Bytes(1 << 20));
  const Bytes data = pattern(5000, 1);
  {
    auto disk = must_open(spec_of(scratch.path("disk")));
    ASSERT_TRUE(disk->write(12345, data).ok());
    ASSERT_TRUE(disk->flush().ok());
    EXPECT_FALSE(disk->write((1 << 20) - 100, data).ok()) << "past the end of the disk";
  }
  auto disk = must_open(spec_of(scratch.path("disk"), "ro"));
  EXPECT_EQ(must_read(*disk, 12345, 5000), data);
  EXPECT_FALSE(disk->write(0, data).ok()) << "the user asked for read-only";
}

TEST(Raw, ASecondWriterIsRefusedSoThatTheFileSystemInsideSurvives) {
  const Scratch scratch;
  write_file(scratch.path("disk"), Bytes(1 << 20));
  auto writer = must_open(spec_of(scratch.path("disk")));
  expect_refused(spec_of(scratch.path("disk")), "another program");
  expect_refused(spec_of(scratch.path("disk"), "ro"), "another program");
  EXPECT_NE(scratch.run("qemu-io -f raw -c 'write 0 512' disk"), 0) << "QEMU sees the lock too";
  writer.reset();
  auto first = must_open(spec_of(scratch.path("disk"), "ro"));
  auto second = must_open(spec_of(scratch.path("disk"), "snapshot"));
  EXPECT_TRUE(first && second) << "any number of readers";
  expect_refused(spec_of(scratch.path("disk")), "another program");
}

TEST(Raw, AnOddSizeIsRoundedUpToASectorThatCanBeWritten) {
  const Scratch scratch;
  const Bytes content = pattern(1000, 2);
  write_file(scratch.path("disk"), content);
  auto disk = must_open(spec_of(scratch.path("disk")));
  ASSERT_EQ(disk->size(), 1024u);
  EXPECT_EQ(disk->direct_descriptor(), -1) << "the kernel would stop at the file's end";
  Bytes expected = content;
  expected.resize(1024);
  EXPECT_EQ(must_read(*disk, 0, 1024), expected);
  ASSERT_TRUE(disk->write(512, pattern(512, 3)).ok());
  EXPECT_EQ(must_read(*disk, 512, 512), pattern(512, 3));
}

TEST(Raw, BadFilesAreOneSentenceEach) {
  const Scratch scratch;
  write_file(scratch.path("empty"), {});
  RUN(scratch, "mkfifo fifo && printf 'KDMV%01000d' 0 > vmdk");
  expect_refused(spec_of(scratch.path("empty")), "no bytes");
  expect_refused(spec_of(scratch.path("missing")), "No such file");
  expect_refused(spec_of(scratch.folder()), "directory");
  expect_refused(spec_of(scratch.path("fifo")), "neither a file nor");
  expect_refused(spec_of("/dev/null"), "neither a file nor");
  expect_refused(spec_of(scratch.path("vmdk")), "VMDK");
  EXPECT_TRUE(open_disk(spec_of(scratch.path("vmdk"), "format=raw")).ok());
}

TEST(Raw, DiscardGivesSpaceBackAndZeroesAreZeros) {
  const Scratch scratch;
  write_file(scratch.path("disk"), pattern(4 << 20, 4));
  auto disk = must_open(spec_of(scratch.path("disk")));
  const auto before = allocated(scratch.path("disk"));
  ASSERT_TRUE(disk->discard(1 << 20, 2 << 20).ok());
  EXPECT_LE(allocated(scratch.path("disk")) + (2 << 20) - 8192, before);
  for (const bool may_unmap : {false, true}) {
    ASSERT_TRUE(disk->write(4096, pattern(3000, 5)).ok());
    ASSERT_TRUE(disk->write_zeroes(4608, 1024, may_unmap).ok());
    Bytes expected = pattern(3000, 5);
    std::fill(expected.begin() + 512, expected.begin() + 1536, std::byte{0});
    EXPECT_EQ(must_read(*disk, 4096, 3000), expected);
  }
}

// A guest that writes a qcow2 header to its raw disk would, at the next start, be given any file of the host that it
// names.
TEST(Raw, AGuestCannotTurnAGuessedRawImageIntoAnotherFormat) {
  const Scratch scratch;
  write_file(scratch.path("disk"), Bytes(1 << 20));
  Bytes header(1024);
  std::memcpy(header.data(), "QFI\xfb", 4);
  {
    auto disk = must_open(spec_of(scratch.path("disk")));
    auto written = disk->write(0, header);
    ASSERT_FALSE(written.ok());
    expect_sentence(written.message());
    ASSERT_TRUE(disk->write(0, std::span(header).first(2)).ok());
    EXPECT_FALSE(disk->write(2, std::span(header).subspan(2, 2)).ok()) << "in two pieces";
    std::memcpy(header.data(), "DOPPELOV", 8);
    EXPECT_FALSE(disk->write(0, header).ok());
    EXPECT_TRUE(disk->write(512, header).ok()) << "only the first sector decides";
  }
  auto trusted = must_open(spec_of(scratch.path("disk"), "format=raw"));
  EXPECT_TRUE(trusted->write(0, header).ok()) << "the user said what it is";
}

TEST(DiskSpec, IsParsedAsDocumented) {
  const auto spec = [](const char* text) {
    auto parsed = parse_disk_spec(text);
    EXPECT_TRUE(parsed.ok()) << text;
    return parsed ? *parsed : DiskSpec{};
  };
  EXPECT_EQ(spec("disk.img").path, "disk.img");
  EXPECT_EQ(spec("a,,b,ro").path, "a,b");
  EXPECT_TRUE(spec("a,,b,ro").read_only);
  EXPECT_TRUE(spec("x,snapshot,format=qcow2").snapshot);
  EXPECT_EQ(spec("x,snapshot,format=qcow2").format, "qcow2");
  EXPECT_EQ(spec("x,format=raw").format, "raw");
  for (const char* wrong : {"", ",ro", "x,rw", "x,", "x,format=vmdk", "x,ro=1"}) {
    auto parsed = parse_disk_spec(wrong);
    ASSERT_FALSE(parsed.ok()) << wrong;
    expect_sentence(parsed.message());
  }
}

}  // namespace
}  // namespace doppel
