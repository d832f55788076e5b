#include "machine/loader.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "unit/machine/boot_files.h"

namespace doppel {
namespace {

using test::Bytes;
using testing::HasSubstr;
using testing::StartsWith;

constexpr std::uint64_t memory_size = 64 << 20;

Result<LoadedKernel> parse(Bytes file, std::uint64_t size = memory_size) {
  return parse_kernel(std::move(file), "vmlinuz", {.memory_size = size});
}

std::string message(Bytes file, std::uint64_t size = memory_size) {
  const auto kernel = parse(std::move(file), size);
  return kernel ? "no error" : kernel.message();
}

void expect_same_image(const Result<LoadedKernel>& kernel, const Bytes& image) {
  ASSERT_TRUE(kernel) << kernel.message();
  EXPECT_EQ(kernel->kind, KernelKind::image);
  EXPECT_EQ(kernel->contents, image);
  EXPECT_TRUE(kernel->relocatable);
  EXPECT_EQ(kernel->text_offset, 0x200000u);
  EXPECT_EQ(kernel->high(), 16384u);
}

TEST(Loader, KnowsEveryPackingOfAnImage) {
  const auto image = test::make_image();
  const auto efi = test::make_efi_image();
  expect_same_image(parse(image), image);
  expect_same_image(parse(efi), efi);
  expect_same_image(parse(test::gzip(image)), image);
  expect_same_image(parse(test::zstd(efi)), efi);
  expect_same_image(parse(test::zboot(test::gzip(efi), "gzip")), efi);
  expect_same_image(parse(test::zboot(test::zstd(efi), "zstd22")), efi);
}

// What came behind the packed kernel (a signature, padding) does not keep it from booting.
TEST(Loader, IgnoresWhatFollowsPackedData) {
  const auto image = test::make_image();
  for (auto packed : {test::gzip(image), test::zstd(image)}) {
    packed.insert(packed.end(), 100, std::byte{0});
    expect_same_image(parse(packed), image);
  }
}

TEST(Loader, JoinsMembersAndFrames) {
  const auto image = test::make_image();
  const Bytes head(image.begin(), image.begin() + 5000), tail(image.begin() + 5000, image.end());
  for (const auto pack : {test::gzip, test::zstd}) {
    auto file = pack(head);
    const auto second = pack(tail);
    file.insert(file.end(), second.begin(), second.end());
    expect_same_image(parse(file), image);
  }
}

TEST(Loader, SaysWhatIsNoKernel) {
  constexpr auto expected = "expected a RISC-V Image (plain, EFI, or packed by gzip or zstd) or a 64-bit RISC-V ELF";
  EXPECT_EQ(message(test::to_bytes("#!/bin/sh\necho hello\n")),
            std::string("vmlinuz is not a kernel that Doppel knows: ") + expected);
  Bytes qcow2(4096);
  std::memcpy(qcow2.data(), "QFI\xfb", 4);
  EXPECT_EQ(message(qcow2), std::string("vmlinuz is a qcow2 disk image (that would be --disk): ") + expected);
  Bytes arm(4096);
  std::memcpy(arm.data() + 56, "ARM\x64", 4);
  EXPECT_THAT(message(arm), StartsWith("vmlinuz is a kernel for AArch64"));
  EXPECT_THAT(message(test::to_bytes("070701000")), StartsWith("vmlinuz is a cpio archive (that would be --initrd)"));
  EXPECT_EQ(message({}), "the kernel vmlinuz is empty");
  EXPECT_EQ(message(test::gzip({})), "the kernel vmlinuz is empty");
  EXPECT_THAT(message(test::gzip(test::to_bytes("hello"))), HasSubstr("is not a kernel that Doppel knows"));
}

TEST(Loader, TakesUnknownBytesAsCodeOnlyBehindFirmware) {
  const auto code = test::to_bytes("sixteen by code!");
  EXPECT_FALSE(parse(code));
  const auto raw = parse_kernel(code, "u-boot.bin", {.memory_size = memory_size, .allow_raw = true});
  ASSERT_TRUE(raw);
  EXPECT_EQ(raw->kind, KernelKind::raw);
  EXPECT_EQ(raw->high(), 16u);
  EXPECT_FALSE(parse_kernel({}, "empty", {.memory_size = memory_size, .allow_raw = true}));
}

// A download that was cut off must be said to be one, wherever the cut is, and never be booted.
TEST(Loader, SaysThatAnImageIsTruncated) {
  const auto efi = test::make_efi_image();
  for (std::size_t size : {64u, 70u, 100u, 260u, 4096u, 8191u})
    EXPECT_THAT(message(Bytes(efi.begin(), efi.begin() + size)), StartsWith("vmlinuz is truncated: ")) << size;
  EXPECT_EQ(message(Bytes(efi.begin(), efi.begin() + 8191)), "vmlinuz is truncated: it has 8191 bytes of 8192");
  const auto image = test::make_image();
  EXPECT_EQ(message(Bytes(image.begin(), image.begin() + 60)),
            "vmlinuz is truncated: its Image header is not all there");
}

TEST(Loader, SaysThatPackedDataIsTruncatedOrCorrupt) {
  auto gz = test::gzip(test::make_image());
  auto zst = test::zstd(test::make_image());
  auto boot = test::zboot(gz, "gzip");
  for (std::size_t cut : {1u, 8u, 20u}) {
    EXPECT_EQ(message(Bytes(gz.begin(), gz.end() - cut)), "vmlinuz is truncated: its gzip data ends early");
    EXPECT_EQ(message(Bytes(zst.begin(), zst.end() - cut)), "vmlinuz is truncated: its zstd data ends early");
    EXPECT_THAT(message(Bytes(boot.begin(), boot.end() - cut)), StartsWith("vmlinuz is truncated: it has "));
  }
  gz[gz.size() - 8] ^= std::byte{1};  // the checksum
  EXPECT_EQ(message(gz), "vmlinuz is corrupt: its gzip data does not unpack (incorrect data check)");
  zst[4] ^= std::byte{0xff};  // the frame header
  EXPECT_FALSE(parse(zst));
  EXPECT_EQ(message(test::zboot(gz, "lzma")),
            "vmlinuz is packed by lzma, which Doppel does not unpack: expected gzip or zstd");
}

// A few kilobytes that unpack to gigabytes must not take the host's memory.
TEST(Loader, StopsAtABomb) {
  const Bytes zeros(8 << 20);
  constexpr auto sentence = "vmlinuz unpacks to more than 4 MiB of memory: give more with --memory";
  EXPECT_EQ(message(test::gzip(zeros), 4 << 20), sentence);
  EXPECT_EQ(message(test::zstd(zeros), 4 << 20), sentence);
  EXPECT_EQ(message(test::zboot(test::zstd(zeros), "zstd"), 4 << 20), sentence);
}

TEST(Loader, ChecksTheImageHeader) {
  EXPECT_EQ(
      message(test::make_image(8192, 100 << 20)),
      "the kernel vmlinuz needs 100 MiB at 0x200000 in memory, and the memory is 64 MiB: give more with --memory");
  EXPECT_THAT(message(test::make_image(8192, ~0ULL)), HasSubstr("and the memory is 64 MiB"));
  EXPECT_THAT(message(test::make_image(8192, 8192, ~0ULL - 4095)), HasSubstr("and the memory is 64 MiB"));
  EXPECT_THAT(message(test::make_image(8192, 8192, 0x200001)), HasSubstr("is not a multiple of 4096"));
  auto big_endian = test::make_image();
  test::put<std::uint64_t>(big_endian, 24, 1);
  EXPECT_THAT(message(big_endian), HasSubstr("big-endian"));
  auto future = test::make_image();
  test::put<std::uint32_t>(future, 32, 1 << 16);
  EXPECT_THAT(message(future), HasSubstr("version 1"));
}

TEST(Loader, ReadsAnElfWithItsSymbols) {
  test::ElfFile elf;
  elf.add_segment(0x80002000, 0x80002000, 0x300);
  elf.symbols = {{"_start", 0x80000000},   {"tohostile", 0x80000008},       {"tohost", 0x80001000},
                 {"fromhost", 0x80001040}, {"begin_signature", 0x80002000}, {"end_signature", 0x80002300}};
  const auto kernel = parse(elf.build());
  ASSERT_TRUE(kernel) << kernel.message();
  EXPECT_EQ(kernel->kind, KernelKind::elf);
  EXPECT_FALSE(kernel->relocatable);
  EXPECT_EQ(kernel->entry, 0x80000000u);
  ASSERT_EQ(kernel->segments.size(), 2u);
  EXPECT_EQ(kernel->bytes(kernel->segments[0]).size(), 256u);
  EXPECT_EQ(kernel->segments[0].memory_size, 4096u);
  EXPECT_EQ(kernel->symbols.tohost, 0x80001000u);
  EXPECT_EQ(kernel->symbols.fromhost, 0x80001040u);
  EXPECT_EQ(kernel->symbols.begin_signature, 0x80002000u);
  EXPECT_EQ(kernel->symbols.end_signature, 0x80002300u);
}

// Linux's vmlinux is linked in the upper half with physical addresses from 0; OpenSBI's ELF is position-independent.
TEST(Loader, TellsAnElfThatMayBeMoved) {
  test::ElfFile vmlinux(0xffffffff80000000);
  vmlinux.segments[0].p_paddr = 0;
  vmlinux.add_segment(0xffffffff80200000, 0x200000, 4096);
  vmlinux.header.e_entry += 0x10;
  const auto kernel = parse(vmlinux.build());
  ASSERT_TRUE(kernel) << kernel.message();
  EXPECT_TRUE(kernel->relocatable);
  EXPECT_EQ(kernel->entry, 0x10u);
  EXPECT_EQ(kernel->high(), 0x201000u);

  test::ElfFile pie(0);
  pie.header.e_type = ET_DYN;
  const auto opensbi = parse_firmware(pie.build(), "fw_dynamic.elf", memory_size);
  ASSERT_TRUE(opensbi) << opensbi.message();
  EXPECT_TRUE(opensbi->relocatable);

  const auto fixed = parse(test::ElfFile(0x1000).build());
  ASSERT_TRUE(fixed);
  EXPECT_FALSE(fixed->relocatable);
}

TEST(Loader, RefusesElfsThatCannotRunHere) {
  test::ElfFile x86;
  x86.header.e_machine = EM_X86_64;
  EXPECT_EQ(message(x86.build()), "vmlinuz is an ELF for another processor (machine 62): expected one for RISC-V");
  test::ElfFile narrow;
  narrow.header.e_ident[EI_CLASS] = ELFCLASS32;
  EXPECT_EQ(message(narrow.build()), "vmlinuz is a 32-bit RISC-V ELF: expected a 64-bit one");
  test::ElfFile big;
  big.header.e_ident[EI_DATA] = ELFDATA2MSB;
  EXPECT_THAT(message(big.build()), HasSubstr("big-endian"));
  test::ElfFile object;
  object.header.e_type = ET_REL;
  EXPECT_THAT(message(object.build()), HasSubstr("expected a linked program"));
  test::ElfFile lost;
  lost.header.e_entry = 0x80001000;
  EXPECT_THAT(message(lost.build()), HasSubstr("its entry 0x80001000 is not in its code"));
}

TEST(Loader, RefusesElfsThatPointOutsideTheFile) {
  test::ElfFile headers;
  headers.header.e_phoff = ~0ULL - 10;
  EXPECT_EQ(message(headers.build()), "vmlinuz is truncated: its program headers lie outside the file");
  test::ElfFile offset;
  offset.segments[0].p_offset = ~0ULL - 10;
  EXPECT_EQ(message(offset.build()), "vmlinuz is truncated: its segments lie outside the file");
  test::ElfFile sections;
  sections.header.e_shnum = 5;
  sections.header.e_shoff = ~0ULL;
  EXPECT_EQ(message(sections.build()), "vmlinuz is truncated: its section headers lie outside the file");
  test::ElfFile whole;
  whole.symbols = {{"tohost", 0x80000000}};
  const auto file = whole.build();
  for (std::size_t size = 0; size < file.size(); size++)
    EXPECT_FALSE(parse(Bytes(file.begin(), file.begin() + size))) << size;
}

TEST(Loader, RefusesElfSegmentsThatMakeNoSense) {
  test::ElfFile shrunk;
  shrunk.segments[0].p_memsz = 10;
  EXPECT_THAT(message(shrunk.build()), HasSubstr("more bytes in the file than in memory"));
  test::ElfFile huge;
  huge.segments[0].p_memsz = 1ULL << 40;
  EXPECT_EQ(message(huge.build()),
            "vmlinuz needs a segment of 1024 GiB, more than 64 MiB of memory: give more with --memory");
  test::ElfFile wrapping;
  wrapping.segments[0].p_paddr = ~0ULL - 100;
  EXPECT_THAT(message(wrapping.build()), HasSubstr("wraps around the address space"));
  test::ElfFile overlapping;
  overlapping.add_segment(0x80000800, 0x80000800, 4096);
  EXPECT_EQ(message(overlapping.build()), "vmlinuz is corrupt: its segments at 0x80000000 and 0x80000800 overlap");
  test::ElfFile wide;
  wide.add_segment(0x90000000, 0x90000000, 4096);
  EXPECT_THAT(message(wide.build()), HasSubstr("spans 257 MiB, more than 64 MiB of memory"));
  test::ElfFile empty;
  empty.segments[0].p_type = PT_NOTE;
  EXPECT_EQ(message(empty.build()), "vmlinuz is an ELF with nothing to load");
}

class BootFile : public testing::Test {
 protected:
  void SetUp() override {
    std::string name = testing::TempDir() + "/loader_test_XXXXXX";
    ASSERT_NE(mkdtemp(name.data()), nullptr);
    folder_ = name;
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }
  std::string path(const std::string& name) const { return folder_ + "/" + name; }
  std::string folder_;
};

TEST_F(BootFile, IsReadWhole) {
  std::ofstream(path("kernel")) << "some bytes";
  const auto bytes = read_boot_file("kernel", path("kernel"), 10);
  ASSERT_TRUE(bytes);
  EXPECT_EQ(*bytes, test::to_bytes("some bytes"));
}

TEST_F(BootFile, SaysWhyItCannotBeRead) {
  const auto why = [&](const std::string& name, std::uint64_t size = 4096) {
    const auto bytes = read_boot_file("initrd", path(name), size);
    return bytes ? "no error" : bytes.message();
  };
  EXPECT_EQ(why("missing"), "cannot read the initrd " + path("missing") + ": No such file or directory");
  EXPECT_EQ(why("."), "cannot read the initrd " + path(".") + ": it is a directory");
  ASSERT_EQ(mkfifo(path("pipe").c_str(), 0600), 0);
  EXPECT_EQ(why("pipe"), "cannot read the initrd " + path("pipe") + ": it is not a regular file");
  std::ofstream(path("empty"));
  EXPECT_EQ(why("empty"), "the initrd " + path("empty") + " is empty");
  std::ofstream(path("large")).close();
  std::filesystem::resize_file(path("large"), 300 << 20);
  EXPECT_EQ(why("large", 256 << 20),
            "the initrd " + path("large") + " of 300 MiB does not fit in 256 MiB of memory: give more with --memory");
}

}  // namespace
}  // namespace doppel
