#include "machine/boot.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "machine/device_tree.h"
#include "machine/memory_map.h"
#include "unit/machine/boot_files.h"

namespace doppel {
namespace {

using test::Bytes;
using testing::HasSubstr;

constexpr std::uint64_t mib = 1 << 20;

class Boot : public testing::Test {
 protected:
  void make_memory(std::uint64_t size) { memory_ = std::move(GuestMemory::create(dram_base, size)).value(); }
  LoadedKernel kernel(Bytes file, bool raw = false) {
    return std::move(parse_kernel(std::move(file), "vmlinuz", {.memory_size = memory_->size(), .allow_raw = raw}))
        .value();
  }
  Result<BootPlan> place_it(const LoadedKernel* kernel, const LoadedKernel* firmware = nullptr,
                            const Bytes& initrd = {}) {
    BootRequest request{.kernel = kernel,
                        .firmware = firmware,
                        .initrd = initrd,
                        .initrd_path = "initrd.zst",
                        .make_device_tree = [this](std::optional<AddressRange> range) -> Result<Bytes> {
                          seen_initrd_ = range;
                          return Bytes(tree_size_, std::byte{0xdb});
                        }};
    return place(request, *memory_);
  }
  template <typename T>
  T at(std::uint64_t address) {
    T value{};
    EXPECT_TRUE(memory_->read(address, &value, sizeof value));
    return value;
  }
  std::unique_ptr<GuestMemory> memory_;
  std::optional<AddressRange> seen_initrd_;
  std::size_t tree_size_ = 6000;
};

// Where QEMU puts them: U-Boot scripts and kernels' own checks know these addresses.
TEST_F(Boot, PutsAnImageTwoMebibytesInAndStartsItInSupervisorMode) {
  make_memory(256 * mib);
  const auto image = kernel(test::make_image());
  const Bytes initrd(5 * mib + 17, std::byte{0x55});
  const auto plan = place_it(&image, nullptr, initrd);
  ASSERT_TRUE(plan) << plan.message();
  EXPECT_FALSE(plan->machine_mode);
  EXPECT_EQ(plan->entry, 0x80200000u);
  EXPECT_EQ(plan->kernel, (AddressRange{0x80200000, 0x80200000 + 16384}));
  EXPECT_EQ(plan->device_tree, 0x8fe00000u);
  EXPECT_EQ(plan->dynamic_info, 0u);
  EXPECT_EQ(plan->initrd.size(), initrd.size());
  EXPECT_EQ(plan->initrd.start % page_size, 0u);
  EXPECT_LE(plan->initrd.end, plan->device_tree);
  EXPECT_EQ(seen_initrd_, plan->initrd);
  EXPECT_EQ(at<std::uint64_t>(plan->entry), 0x0000006f'00000013u);
  EXPECT_EQ(at<std::uint8_t>(plan->initrd.end - 1), 0x55);
  EXPECT_EQ(at<std::uint8_t>(plan->initrd.end), 0);
  EXPECT_EQ(at<std::uint8_t>(plan->device_tree), 0xdb);
}

// What nothing packs stays in its file until it is placed; a file that changes meanwhile is an error, not half a
// kernel.
TEST_F(Boot, CopiesAnImageFromItsFile) {
  make_memory(64 * mib);
  const auto path = testing::TempDir() + "image-" + std::to_string(getpid());
  const auto bytes = test::make_image(3 * mib + 5, 4 * mib);
  std::ofstream(path, std::ios::binary)
      .write(reinterpret_cast<const char*>(bytes.data()), std::streamsize(bytes.size()));
  const auto image = read_kernel(path, {.memory_size = memory_->size()});
  ASSERT_TRUE(image) << image.message();
  EXPECT_TRUE(image->contents.empty());
  const auto plan = place_it(&*image);
  ASSERT_TRUE(plan) << plan.message();
  Bytes placed(4 * mib);
  ASSERT_TRUE(memory_->read(plan->kernel.start, placed.data(), placed.size()));
  EXPECT_TRUE(std::equal(bytes.begin(), bytes.end(), placed.begin()));
  EXPECT_TRUE(std::all_of(placed.begin() + std::ptrdiff_t(bytes.size()), placed.end(),
                          [](auto b) { return b == std::byte{0}; }));
  std::filesystem::resize_file(path, 2 * mib);
  const auto again = place_it(&*image);
  EXPECT_TRUE(!again && again.message() == "cannot read the kernel " + path + ": it became shorter meanwhile");
  std::filesystem::remove(path);
}

// A reboot places again into memory that the last kernel left full.
TEST_F(Boot, ClearsWhatTheKernelExpectsToBeZero) {
  make_memory(64 * mib);
  ASSERT_TRUE(memory_->fill(dram_base, 0xff, 64 * mib));
  const auto image = kernel(test::make_image(8192, 3 * mib));
  const auto plan = place_it(&image);
  ASSERT_TRUE(plan);
  EXPECT_EQ(at<std::uint8_t>(plan->kernel.start + 8191), 0x13);
  EXPECT_EQ(at<std::uint8_t>(plan->kernel.start + 8192), 0);
  EXPECT_EQ(at<std::uint8_t>(plan->kernel.end - 1), 0);
  EXPECT_EQ(at<std::uint8_t>(plan->kernel.end), 0xff);
}

TEST_F(Boot, KeepsTheDeviceTreeBelowThreeGibibytes) {
  make_memory(4096 * mib);
  const auto image = kernel(test::make_image());
  const auto plan = place_it(&image, nullptr, Bytes(1000));
  ASSERT_TRUE(plan);
  EXPECT_EQ(plan->device_tree, 0xbfe00000u);
  EXPECT_LE(plan->initrd.end, 0xc0000000u);
}

// An initrd that does not fit in the gigabyte below the device tree still has the memory above it.
TEST_F(Boot, PutsALargeInitrdAboveTheDeviceTree) {
  make_memory(4096 * mib);
  const auto image = kernel(test::make_image(8192, 900 * mib));
  const auto plan = place_it(&image, nullptr, Bytes(200 * mib));
  ASSERT_TRUE(plan) << plan.message();
  EXPECT_GE(plan->initrd.start, 0xc0000000u);
}

TEST_F(Boot, StartsFirmwareInMachineModeWithTheNextStage) {
  make_memory(128 * mib);
  const auto firmware =
      std::move(parse_firmware(Bytes(270000, std::byte{1}), "fw_dynamic.bin", memory_->size())).value();
  for (const auto& next : {kernel(test::make_image()), kernel(Bytes(5000, std::byte{2}), true)}) {
    const auto plan = place_it(&next, &firmware);
    ASSERT_TRUE(plan) << plan.message();
    EXPECT_TRUE(plan->machine_mode);
    EXPECT_EQ(plan->entry, dram_base);
    EXPECT_EQ(plan->firmware, (AddressRange{dram_base, dram_base + 270000}));
    EXPECT_EQ(plan->kernel.start, 0x80200000u);
    // OpenSBI refuses to boot when one of these is wrong (fw_dynamic.h).
    EXPECT_EQ(at<std::uint64_t>(plan->dynamic_info), 0x4942534fu);
    EXPECT_EQ(at<std::uint64_t>(plan->dynamic_info + 8), 2u);
    EXPECT_EQ(at<std::uint64_t>(plan->dynamic_info + 16), 0x80200000u);
    EXPECT_EQ(at<std::uint64_t>(plan->dynamic_info + 24), 1u);
    EXPECT_EQ(at<std::uint64_t>(plan->dynamic_info + 40), 0u);
    EXPECT_FALSE((AddressRange{plan->device_tree, plan->device_tree + tree_size_})
                     .overlaps({plan->dynamic_info, plan->dynamic_info + 48}));
  }
}

// OpenSBI's heap is behind its image: a device tree there would be overwritten before Linux reads it.
TEST_F(Boot, KeepsTheFirstTwoMebibytesForFirmware) {
  make_memory(4 * mib);
  const auto firmware = std::move(parse_firmware(Bytes(270000), "fw_dynamic.bin", memory_->size())).value();
  const auto next = kernel(Bytes(1 * mib), true);
  const auto plan = place_it(&next, &firmware);
  ASSERT_TRUE(plan) << plan.message();
  EXPECT_GE(plan->device_tree, plan->kernel.end);
  EXPECT_GE(plan->dynamic_info, plan->kernel.end);
  const auto full = kernel(Bytes(2 * mib), true);
  EXPECT_FALSE(place_it(&full, &firmware));
}

TEST_F(Boot, PutsTheNextStageBehindLargeFirmware) {
  make_memory(128 * mib);
  const auto firmware = std::move(parse_firmware(Bytes(3 * mib), "edk2", memory_->size())).value();
  const auto image = kernel(test::make_image());
  const auto plan = place_it(&image, &firmware);
  ASSERT_TRUE(plan);
  EXPECT_EQ(plan->entry, dram_base);
  EXPECT_EQ(plan->kernel.start, dram_base + 4 * mib);
}

TEST_F(Boot, StartsABareMetalElfInMachineModeAtItsEntry) {
  make_memory(16 * mib);
  test::ElfFile elf;
  elf.header.e_entry = 0x80000040;
  elf.symbols = {{"tohost", 0x80000800}};
  const auto program = kernel(elf.build());
  const auto plan = place_it(&program);
  ASSERT_TRUE(plan) << plan.message();
  EXPECT_TRUE(plan->machine_mode);
  EXPECT_EQ(plan->entry, 0x80000040u);
  EXPECT_EQ(plan->symbols.tohost, 0x80000800u);
  EXPECT_EQ(plan->dynamic_info, 0u);
  EXPECT_EQ(at<std::uint8_t>(0x800000ff), 0x13);
}

TEST_F(Boot, MovesAKernelElfToWhereAnImageWouldBe) {
  make_memory(16 * mib);
  test::ElfFile elf(0xffffffff80000000);
  elf.segments[0].p_paddr = 0;
  const auto vmlinux = kernel(elf.build());
  const auto plan = place_it(&vmlinux);
  ASSERT_TRUE(plan) << plan.message();
  EXPECT_FALSE(plan->machine_mode);
  EXPECT_EQ(plan->entry, 0x80200000u);
}

TEST_F(Boot, SaysWhatDoesNotFit) {
  make_memory(256 * mib);
  const auto image = kernel(test::make_image());
  auto plan = place_it(&image, nullptr, Bytes(300 * mib));
  ASSERT_FALSE(plan);
  EXPECT_EQ(plan.message(),
            "the initrd initrd.zst of 300 MiB does not fit in 256 MiB of memory: give more with --memory");
  plan = place_it(&image, nullptr, Bytes(255 * mib));
  ASSERT_FALSE(plan);
  EXPECT_THAT(plan.message(), HasSubstr("of 255 MiB does not fit in 256 MiB"));

  const auto large = kernel(test::make_image(8192, 254 * mib));
  plan = place_it(&large);
  ASSERT_FALSE(plan);
  EXPECT_THAT(plan.message(), HasSubstr("the device tree of 70 KiB does not fit in 256 MiB of memory"));
  make_memory(2 * mib);
  plan = place_it(&image);
  ASSERT_FALSE(plan);
  EXPECT_EQ(plan.message(), "the kernel vmlinuz of 16 KiB does not fit in 2 MiB of memory: give more with --memory");
}

TEST_F(Boot, SaysWhatBelongsElsewhere) {
  make_memory(16 * mib);
  const auto low = kernel(test::ElfFile(0x1000).build());
  const auto plan = place_it(&low);
  ASSERT_FALSE(plan);
  EXPECT_EQ(plan.message(),
            "the kernel vmlinuz belongs at 0x1000 to 0x2000, and the memory is from 0x80000000 to 0x81000000");
  const auto firmware = std::move(parse_firmware(Bytes(5000), "firmware.bin", memory_->size())).value();
  const auto same = kernel(test::ElfFile().build());
  const auto overlapping = place_it(&same, &firmware);
  ASSERT_FALSE(overlapping);
  EXPECT_EQ(overlapping.message(), "the kernel vmlinuz at 0x80000000 overlaps what is at 0x80000000 already");
  EXPECT_EQ(place_it(nullptr).message(),
            "there is nothing to boot: give a kernel with --kernel or a firmware with --firmware");
}

// The whole way: the tree in memory must name the place where the initrd really is.
TEST_F(Boot, TellsTheRealDeviceTreeWhereTheInitrdIs) {
  make_memory(64 * mib);
  const auto image = kernel(test::make_image());
  const Bytes initrd(12345, std::byte{9});
  BootRequest request{
      .kernel = &image,
      .initrd = initrd,
      .initrd_path = "i",
      .make_device_tree = [&](std::optional<AddressRange> range) {
        return make_device_tree(
            {.memory_base = dram_base, .memory_size = 64 * mib, .isa_extensions = {"i", "m", "a"}, .initrd = range});
      }};
  const auto plan = place(request, *memory_);
  ASSERT_TRUE(plan) << plan.message();
  Bytes blob(64 << 10);
  ASSERT_TRUE(memory_->read(plan->device_tree, blob.data(), blob.size()));
  const auto expected = make_device_tree(
      {.memory_base = dram_base, .memory_size = 64 * mib, .isa_extensions = {"i", "m", "a"}, .initrd = plan->initrd});
  ASSERT_TRUE(expected);
  EXPECT_EQ(Bytes(blob.begin(), blob.begin() + expected->size()), *expected);
}

}  // namespace
}  // namespace doppel
