// What qemu-img writes must read here byte for byte as it does in QEMU, and what nobody should write must be an error.
#include "storage/qcow2.h"

#include <gtest/gtest.h>

#include <cstring>

#include "storage/big_endian.h"
#include "unit/storage/scratch.h"

namespace doppel {
namespace {

void expect_same(const std::string& image, const Bytes& expected) {
  auto disk = must_open(spec_of(image, "ro"));
  ASSERT_TRUE(disk);
  ASSERT_EQ(disk->format(), "qcow2");
  ASSERT_EQ(disk->size(), expected.size());
  EXPECT_TRUE(must_read(*disk, 0, disk->size()) == expected) << image << ": as a whole";
  std::mt19937 random(7);
  for (int i = 0; i < 60; i++) {  // requests that begin and end within clusters
    const std::uint64_t at = random() % expected.size(),
                        length = random() % std::min<std::uint64_t>(expected.size() - at, 90000);
    const Bytes part(expected.begin() + at, expected.begin() + at + length);
    ASSERT_TRUE(must_read(*disk, at, length) == part) << image << ": " << length << " bytes at " << at;
  }
}

class Qcow2ClusterSize : public testing::TestWithParam<unsigned> {};

TEST_P(Qcow2ClusterSize, ReadsEveryKindOfImage) {
  const Scratch scratch;
  // Several clusters, and for the smaller sizes several L2 tables.
  const Bytes content = disk_content((GetParam() > 16 ? 5 << 20 : 3 << 19) + 512 * 3, GetParam());
  write_file(scratch.path("raw"), content);
  const std::string size = std::to_string(1u << GetParam());
  const std::string convert = "qemu-img convert -f raw -O qcow2 -o cluster_size=" + size;
  RUN(scratch, convert + ",compat=1.1 raw v3");
  RUN(scratch, convert + ",compat=0.10 raw v2");
  RUN(scratch, convert + ",compat=1.1 -c raw zlib");
  RUN(scratch, convert + ",compat=0.10 -c raw zlib2");
  RUN(scratch, convert + ",compat=1.1,compression_type=zstd -c raw zstd");
  for (const char* name : {"v3", "v2", "zlib", "zlib2", "zstd"}) expect_same(scratch.path(name), content);
}

INSTANTIATE_TEST_SUITE_P(All, Qcow2ClusterSize, testing::Range(9u, 22u));

TEST(Qcow2, PreallocatedImagesEndWithinTheirLastCluster) {
  const Scratch scratch;
  RUN(scratch, "qemu-img create -f qcow2 -o preallocation=metadata image 3000k");
  expect_same(scratch.path("image"), Bytes(3000 << 10));
}

TEST(Qcow2, ReadsChainsWithZeroClustersAndRelativeNames) {
  const Scratch scratch;
  std::filesystem::create_directory(scratch.path("base"));
  write_file(scratch.path("base/raw"), disk_content(3 << 20, 1));
  RUN(scratch, "qemu-img create -f qcow2 -F raw -b raw base/middle 5M");
  RUN(scratch, "qemu-img create -f qcow2 -F qcow2 -b base/middle -o cluster_size=4k top 8M");
  RUN(scratch,
      "qemu-io -f qcow2 -c 'write -P 0x11 1M 200k' -c 'write -P 0x12 4500k 30k' base/middle && "
      "qemu-io -f qcow2 -c 'write -z 300k 500k' -c 'write -P 0x21 2M 77k' -c 'write -P 0x22 6M 1k' -c 'discard 100k "
      "64k' top");
  RUN(scratch, "qemu-img convert -O raw top flat");
  expect_same(scratch.path("top"), read_file(scratch.path("flat")));
}

TEST(Qcow2, BackingFileWithoutRecordedFormatIsProbed) {
  const Scratch scratch;
  const Bytes content = disk_content(1 << 20, 2);
  write_file(scratch.path("raw"), content);
  RUN(scratch, "qemu-img convert -f raw -O qcow2 raw base && qemu-img create -f qcow2 -F qcow2 -b base top");
  // The format extension's type becomes one that readers ignore.
  Bytes top = read_file(scratch.path("top"));
  store_be32(top.data() + 104 + 8, 0x12345678);
  const std::size_t at = load_be32(top.data() + 100);
  store_be32(top.data() + at, 0x12345678);
  write_file(scratch.path("top"), top);
  expect_same(scratch.path("top"), content);
}

TEST(Qcow2, ImagesLeftDirtyByACrashAreReadable) {
  const Scratch scratch;
  const Bytes content = disk_content(1 << 20, 3);
  write_file(scratch.path("raw"), content);
  RUN(scratch, "qemu-img convert -f raw -O qcow2 -o lazy_refcounts=on raw image");
  Bytes image = read_file(scratch.path("image"));
  store_be64(image.data() + qcow2::incompatible_at, qcow2::dirty);
  write_file(scratch.path("image"), image);
  expect_same(scratch.path("image"), content);
}

TEST(Qcow2, BackingLoopsAndEndlessChainsAreRefused) {
  const Scratch scratch;
  RUN(scratch,
      "qemu-img create -f qcow2 a 1M && qemu-img create -f qcow2 -F qcow2 -b a b && "
      "qemu-img rebase -u -f qcow2 -F qcow2 -b b a");
  expect_refused(spec_of(scratch.path("a"), "ro"), "its own backing file");
  RUN(scratch, "qemu-img rebase -u -f qcow2 -F qcow2 -b a a");
  expect_refused(spec_of(scratch.path("a"), "ro"), "its own backing file");
  RUN(scratch,
      "qemu-img create -f qcow2 i0 1M; for i in $(seq 40); do "
      "qemu-img create -u -f qcow2 -F qcow2 -b i$((i - 1)) i$i 1M || exit 1; done");
  expect_refused(spec_of(scratch.path("i40"), "ro"), "backing files; join them");
  EXPECT_TRUE(open_disk(spec_of(scratch.path("i31"), "ro")).ok());
}

TEST(Qcow2, BackingFilesThatAreMissingOrNoFilesAreRefused) {
  const Scratch scratch;
  RUN(scratch, "qemu-img create -u -f qcow2 -F raw -b gone top 1M");
  expect_refused(spec_of(scratch.path("top"), "ro"), "gone");
  RUN(scratch, "qemu-img create -u -f qcow2 -F raw -b nbd://host/x top2 1M");
  expect_refused(spec_of(scratch.path("top2"), "ro"), "not a file on this computer");
}

TEST(Qcow2, FormatsBeyondOursAreNamed) {
  const Scratch scratch;
  RUN(scratch, "qemu-img create -f qcow2 -o extended_l2=on,cluster_size=128k extended 1M");
  expect_refused(spec_of(scratch.path("extended"), "ro"), "extended L2");
  RUN(scratch, "qemu-img create -f qcow2 -o data_file=data external 1M");
  expect_refused(spec_of(scratch.path("external"), "ro"), "external file");
}

struct Damage {
  const char* name;
  void (*apply)(Bytes& image);
  const char* says;
};

template <std::size_t at>
void set32(Bytes& image, std::uint32_t value) {
  store_be32(image.data() + at, value);
}
template <std::size_t at>
void set64(Bytes& image, std::uint64_t value) {
  store_be64(image.data() + at, value);
}

const Damage damages[] = {
    {"magic only", [](Bytes& i) { i.resize(4); }, "cut off"},
    {"half a header", [](Bytes& i) { i.resize(80); }, "cut off"},
    {"version 1", [](Bytes& i) { set32<qcow2::version_at>(i, 1); }, "version 1"},
    {"version 4", [](Bytes& i) { set32<qcow2::version_at>(i, 4); }, "version 4"},
    {"tiny clusters", [](Bytes& i) { set32<qcow2::cluster_bits_at>(i, 8); }, "cluster size"},
    {"huge clusters", [](Bytes& i) { set32<qcow2::cluster_bits_at>(i, 22); }, "cluster size"},
    {"absurd clusters", [](Bytes& i) { set32<qcow2::cluster_bits_at>(i, 0xffffffff); }, "cluster size"},
    {"zero size", [](Bytes& i) { set64<qcow2::size_at>(i, 0); }, "zero bytes"},
    {"huge size", [](Bytes& i) { set64<qcow2::size_at>(i, ~0ULL); }, "too large"},
    {"size beyond L1", [](Bytes& i) { set64<qcow2::size_at>(i, 1ULL << 50); }, "too short"},
    {"encrypted", [](Bytes& i) { set32<qcow2::encryption_at>(i, 2); }, "encrypted"},
    {"corrupt", [](Bytes& i) { set64<qcow2::incompatible_at>(i, qcow2::corrupt); }, "marked as corrupt"},
    {"unknown feature", [](Bytes& i) { set64<qcow2::incompatible_at>(i, 1ULL << 40); }, "bit 40"},
    {"compression unannounced", [](Bytes& i) { i[qcow2::compression_at] = std::byte{1}; }, "compression type"},
    {"compression unknown",
     [](Bytes& i) {
       i[qcow2::compression_at] = std::byte{9};
       set64<qcow2::incompatible_at>(i, qcow2::compression_type);
     },
     "compression type 9"},
    {"L1 outside", [](Bytes& i) { set64<qcow2::l1_offset_at>(i, 1ULL << 40); }, "L1 table"},
    {"L1 at the end of numbers", [](Bytes& i) { set64<qcow2::l1_offset_at>(i, ~0xffffULL); }, "L1 table"},
    {"L1 unaligned", [](Bytes& i) { set64<qcow2::l1_offset_at>(i, 0x30008); }, "L1 table"},
    {"L1 endless", [](Bytes& i) { set32<qcow2::l1_entries_at>(i, 0xffffffff); }, "too long"},
    {"L1 longer than the file", [](Bytes& i) { set32<qcow2::l1_entries_at>(i, 1 << 21); }, "L1 table"},
    {"reference counts outside", [](Bytes& i) { set64<qcow2::refcount_table_at>(i, 1ULL << 50); }, "reference count"},
    {"header length short", [](Bytes& i) { set32<qcow2::header_length_at>(i, 8); }, "header length"},
    {"header length long", [](Bytes& i) { set32<qcow2::header_length_at>(i, 0x7fffffff); }, "header length"},
    {"extension too long", [](Bytes& i) { store_be32(i.data() + load_be32(i.data() + 100) + 4, 0xfffffff8); },
     "extension"},
    {"backing name outside",
     [](Bytes& i) {
       set64<qcow2::backing_offset_at>(i, 1ULL << 60);
       set32<qcow2::backing_length_at>(i, 5);
     },
     "backing file"},
    {"backing name too long",
     [](Bytes& i) {
       set64<qcow2::backing_offset_at>(i, 1024);
       set32<qcow2::backing_length_at>(i, 4000);
     },
     "backing file"},
    {"L2 table outside", [](Bytes& i) { store_be64(i.data() + load_be64(i.data() + 40), 1ULL << 50 | qcow2::copied); },
     "L1 entry 0"},
    {"L2 table unaligned", [](Bytes& i) { store_be64(i.data() + load_be64(i.data() + 40), 0x40200); }, "L1 entry 0"},
    {"file cut off before its L1 table", [](Bytes& i) { i.resize(3 << 16); }, "L1 table"},
};

TEST(Qcow2, DamagedHeadersAreOneSentenceEach) {
  const Scratch scratch;
  write_file(scratch.path("raw"), pattern(1 << 20, 4));
  RUN(scratch, "qemu-img convert -f raw -O qcow2 raw image");
  const Bytes image = read_file(scratch.path("image"));
  for (const auto& damage : damages) {
    SCOPED_TRACE(damage.name);
    Bytes damaged = image;
    damage.apply(damaged);
    write_file(scratch.path("damaged"), damaged);
    expect_refused(spec_of(scratch.path("damaged"), "ro"), damage.says);
  }
}

TEST(Qcow2, DamagedL2EntriesFailTheReadAndNothingElse) {
  const Scratch scratch;
  write_file(scratch.path("raw"), pattern(1 << 20, 5));
  RUN(scratch, "qemu-img convert -f raw -O qcow2 raw image");
  Bytes image = read_file(scratch.path("image"));
  const std::uint64_t l2 = load_be64(image.data() + load_be64(image.data() + qcow2::l1_offset_at)) & qcow2::offset_mask;
  const std::uint64_t entries[] = {1ULL << 50, 0x50200, qcow2::compressed | 1ULL << 40, qcow2::compressed | 0x50000};
  for (std::size_t i = 0; i < std::size(entries); i++) store_be64(image.data() + l2 + i * 8, entries[i]);
  write_file(scratch.path("image"), image);
  auto disk = must_open(spec_of(scratch.path("image"), "ro"));
  ASSERT_TRUE(disk);
  Bytes sector(512);
  for (std::size_t i = 0; i < std::size(entries); i++) {
    auto got = disk->read(i << 16, sector);
    ASSERT_FALSE(got.ok()) << i;
    expect_sentence(got.message());
  }
  EXPECT_TRUE(disk->read(std::size(entries) << 16, sector).ok());
  EXPECT_FALSE(disk->read(disk->size(), sector).ok());
}

TEST(LruCache, ForgetsWhatWasNotAskedForLongest) {
  LruCache<int, int> cache(2);
  cache.insert(1, std::make_shared<int>(10));
  cache.insert(2, std::make_shared<int>(20));
  ASSERT_TRUE(cache.find(1));
  cache.insert(3, std::make_shared<int>(30));
  EXPECT_EQ(cache.size(), 2u);
  EXPECT_TRUE(cache.find(1));
  EXPECT_FALSE(cache.find(2));
}

}  // namespace
}  // namespace doppel
