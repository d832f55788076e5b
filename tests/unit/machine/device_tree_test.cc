#include "machine/device_tree.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <libfdt.h>

#include <cstring>

#include "machine/memory_map.h"

namespace doppel {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

BoardDescription board() {
  BoardDescription description{.harts = 2, .memory_base = dram_base, .memory_size = 2ULL << 30};
  description.isa_extensions = {"i", "m", "a", "f", "d", "c", "zicbom", "zicboz", "zicsr", "sstc", "svadu"};
  description.bootargs = "console=ttyS0 quiet";
  description.rng_seed = {std::byte{1}, std::byte{2}, std::byte{3}};
  description.virtio_slots = {0, 1, 2, 3, 4, 5, 6, 7};
  return description;
}

/// Reads a tree as a driver would.
class Tree {
 public:
  explicit Tree(Result<std::vector<std::byte>> blob) : blob_(std::move(blob).value()) {
    EXPECT_EQ(fdt_check_full(blob_.data(), blob_.size()), 0);
  }
  bool has(const char* path) const { return fdt_path_offset(blob_.data(), path) >= 0; }
  bool has(const char* path, const char* name) const { return bytes(path, name).data() != nullptr; }
  std::string_view bytes(const char* path, const char* name) const {
    int length = 0;
    const auto* value = fdt_getprop(blob_.data(), fdt_path_offset(blob_.data(), path), name, &length);
    return value ? std::string_view(static_cast<const char*>(value), static_cast<std::size_t>(length))
                 : std::string_view();
  }
  std::string text(const char* path, const char* name) const {
    const auto value = bytes(path, name);
    return value.empty() ? "" : std::string(value.substr(0, value.size() - 1));
  }
  std::vector<std::uint32_t> cells(const char* path, const char* name) const {
    std::vector<std::uint32_t> out;
    const auto value = bytes(path, name);
    for (std::size_t i = 0; i + 4 <= value.size(); i += 4) {
      fdt32_t cell;
      std::memcpy(&cell, value.data() + i, 4);
      out.push_back(fdt32_to_cpu(cell));
    }
    return out;
  }
  std::uint32_t cell(const char* path, const char* name) const {
    const auto all = cells(path, name);
    return all.size() == 1 ? all[0] : ~0U;
  }
  std::vector<std::byte> blob_;
};

// The names and numbers of QEMU's virt machine: kernels, OpenSBI and U-Boot bind their drivers by them.
TEST(DeviceTree, DescribesTheBoardAsQemuDoes) {
  const Tree tree(make_device_tree(board()));
  EXPECT_EQ(tree.text("/", "compatible"), "riscv-virtio");
  EXPECT_THAT(tree.cells("/memory@80000000", "reg"), ElementsAre(0, 0x80000000, 0, 0x80000000));
  EXPECT_EQ(tree.text("/aliases", "serial0"), "/soc/serial@10000000");
  EXPECT_EQ(tree.text("/soc/serial@10000000", "compatible"), "ns16550a");
  EXPECT_EQ(tree.cell("/soc/serial@10000000", "interrupts"), 10u);
  EXPECT_EQ(tree.cell("/soc/serial@10000000", "clock-frequency"), 3686400u);
  EXPECT_THAT(tree.cells("/soc/serial@10000000", "reg"), ElementsAre(0, 0x10000000, 0, 0x100));
  EXPECT_EQ(tree.cell("/soc/rtc@101000", "interrupts"), 11u);
  EXPECT_EQ(tree.text("/soc/rtc@101000", "compatible"), "google,goldfish-rtc");
  EXPECT_EQ(tree.bytes("/soc/test@100000", "compatible"), std::string_view("sifive,test1\0sifive,test0\0syscon", 33));
  EXPECT_EQ(tree.cell("/soc/plic@c000000", "riscv,ndev"), 95u);
  EXPECT_THAT(tree.cells("/soc/plic@c000000", "reg"), ElementsAre(0, 0xc000000, 0, 0x600000));
  EXPECT_EQ(tree.cell("/soc/virtio_mmio@10001000", "interrupts"), 1u);
  EXPECT_EQ(tree.cell("/soc/virtio_mmio@10008000", "interrupts"), 8u);
  EXPECT_FALSE(tree.has("/soc/virtio_mmio@10009000"));
}

TEST(DeviceTree, EndsTheMachineThroughTheTestFinisher) {
  const Tree tree(make_device_tree(board()));
  EXPECT_EQ(tree.text("/poweroff", "compatible"), "syscon-poweroff");
  EXPECT_EQ(tree.cell("/poweroff", "value"), 0x5555u);
  EXPECT_EQ(tree.cell("/reboot", "value"), 0x7777u);
  for (const auto* node : {"/poweroff", "/reboot"})
    EXPECT_EQ(tree.cell(node, "regmap"), tree.cell("/soc/test@100000", "phandle"));
}

TEST(DeviceTree, DescribesEveryHart) {
  auto description = board();
  description.mmu_bits = 39;
  const Tree tree(make_device_tree(description));
  EXPECT_EQ(tree.cell("/cpus", "timebase-frequency"), 10'000'000u);
  EXPECT_EQ(tree.cell("/cpus/cpu@1", "reg"), 1u);
  EXPECT_EQ(tree.text("/cpus/cpu@0", "riscv,isa"), "rv64imafdc_zicbom_zicboz_zicsr_sstc_svadu");
  EXPECT_EQ(tree.text("/cpus/cpu@0", "riscv,isa-base"), "rv64i");
  EXPECT_EQ(tree.bytes("/cpus/cpu@1", "riscv,isa-extensions"),
            std::string_view("i\0m\0a\0f\0d\0c\0zicbom\0zicboz\0zicsr\0sstc\0svadu\0", 43));
  EXPECT_EQ(tree.text("/cpus/cpu@0", "mmu-type"), "riscv,sv39");
  EXPECT_EQ(tree.cell("/cpus/cpu@0", "riscv,cbom-block-size"), 64u);
  EXPECT_FALSE(tree.has("/cpus/cpu@0", "riscv,cbop-block-size"));
  EXPECT_EQ(tree.cell("/cpus/cpu-map/cluster0/core1", "cpu"), tree.cell("/cpus/cpu@1", "phandle"));
}

// Under our own SBI a kernel must not find M-mode's timer and interrupts; firmware cannot live without them.
TEST(DeviceTree, ShowsMachineModeDevicesOnlyToFirmware) {
  auto description = board();
  const Tree supervisor(make_device_tree(description));
  const auto hart0 = supervisor.cell("/cpus/cpu@0/interrupt-controller", "phandle");
  const auto hart1 = supervisor.cell("/cpus/cpu@1/interrupt-controller", "phandle");
  EXPECT_NE(hart0, hart1);
  EXPECT_THAT(supervisor.cells("/soc/plic@c000000", "interrupts-extended"),
              ElementsAre(hart0, 0xffffffff, hart0, 9, hart1, 0xffffffff, hart1, 9));
  EXPECT_FALSE(supervisor.has("/soc/clint@2000000"));

  description.machine_mode = true;
  const Tree machine(make_device_tree(description));
  EXPECT_THAT(machine.cells("/soc/plic@c000000", "interrupts-extended"),
              ElementsAre(hart0, 11, hart0, 9, hart1, 11, hart1, 9));
  EXPECT_THAT(machine.cells("/soc/clint@2000000", "interrupts-extended"),
              ElementsAre(hart0, 3, hart0, 7, hart1, 3, hart1, 7));
}

TEST(DeviceTree, PassesOnWhatTheKernelIsTold) {
  auto description = board();
  description.initrd = AddressRange{0x1'2345'6000, 0x1'2345'7001};
  description.kaslr_seed = 0x0123456789abcdef;
  const Tree tree(make_device_tree(description));
  EXPECT_EQ(tree.text("/chosen", "bootargs"), "console=ttyS0 quiet");
  EXPECT_EQ(tree.text("/chosen", "stdout-path"), "/soc/serial@10000000");
  EXPECT_THAT(tree.cells("/chosen", "linux,initrd-start"), ElementsAre(1, 0x23456000));
  EXPECT_THAT(tree.cells("/chosen", "linux,initrd-end"), ElementsAre(1, 0x23457001));
  EXPECT_EQ(tree.bytes("/chosen", "rng-seed"), "\1\2\3");
  EXPECT_THAT(tree.cells("/chosen", "kaslr-seed"), ElementsAre(0x01234567, 0x89abcdef));
  description = board();
  description.bootargs.clear();
  description.rng_seed.clear();
  const Tree bare(make_device_tree(description));
  for (const auto* name : {"bootargs", "linux,initrd-start", "rng-seed", "kaslr-seed"})
    EXPECT_FALSE(bare.has("/chosen", name)) << name;
}

TEST(DeviceTree, HoldsThirtyTwoHartsAndALongCommandLine) {
  auto description = board();
  description.harts = 32;
  description.bootargs.assign(200'000, 'x');
  const Tree tree(make_device_tree(description));
  EXPECT_TRUE(tree.has("/cpus/cpu@1f"));
  EXPECT_EQ(tree.text("/chosen", "bootargs").size(), 200'000u);
}

TEST(DeviceTree, RefusesBoardsThatCannotBe) {
  auto description = board();
  description.harts = 33;
  EXPECT_EQ(make_device_tree(description).message(), "a machine has 1 to 32 CPUs, not 33");
  description.harts = 0;
  EXPECT_EQ(make_device_tree(description).message(), "a machine has 1 to 32 CPUs, not 0");
  description = board();
  description.memory_size = 0;
  EXPECT_EQ(make_device_tree(description).message(), "a machine needs memory");
  description = board();
  description.mmu_bits = 32;
  EXPECT_EQ(make_device_tree(description).message(), "there is no Sv32: expected 39, 48 or 57");
  description = board();
  description.virtio_slots = {8};
  EXPECT_EQ(make_device_tree(description).message(), "there is no virtio slot 8: expected 0 to 7");
  description = board();
  description.isa_extensions = {"m"};
  EXPECT_FALSE(make_device_tree(description));
}

TEST(DeviceTree, PatchesAUsersTree) {
  const auto blob = make_device_tree(board());
  ASSERT_TRUE(blob);
  const Tree same(patch_device_tree(*blob, "board.dtb", "", {}));
  EXPECT_EQ(same.blob_, *blob);
  const Tree tree(patch_device_tree(*blob, "board.dtb", "root=/dev/vda a much longer line than there was",
                                    AddressRange{0x81000000, 0x82000000}));
  EXPECT_EQ(tree.text("/chosen", "bootargs"), "root=/dev/vda a much longer line than there was");
  EXPECT_THAT(tree.cells("/chosen", "linux,initrd-end"), ElementsAre(0, 0x82000000));
  EXPECT_EQ(tree.bytes("/chosen", "rng-seed"), "\1\2\3");
}

TEST(DeviceTree, AddsChosenToATreeWithoutIt) {
  std::vector<std::byte> blob(4096);
  ASSERT_EQ(fdt_create_empty_tree(blob.data(), 4096), 0);
  ASSERT_EQ(fdt_pack(blob.data()), 0);
  blob.resize(fdt_totalsize(blob.data()));
  const Tree tree(patch_device_tree(blob, "empty.dtb", "quiet", {}));
  EXPECT_EQ(tree.text("/chosen", "bootargs"), "quiet");
}

TEST(DeviceTree, SaysWhatIsNoTree) {
  const auto why = [](std::vector<std::byte> blob) {
    const auto tree = patch_device_tree(blob, "board.dtb", "quiet", {});
    return tree ? "no error" : tree.message();
  };
  EXPECT_EQ(why({}), "board.dtb is not a device tree that Doppel can use: it is truncated");
  EXPECT_EQ(why(std::vector<std::byte>(100)),
            "board.dtb is not a device tree that Doppel can use: it does not begin as one");
  const auto blob = *make_device_tree(board());
  for (std::size_t size = 0; size < blob.size(); size += 7)
    EXPECT_THAT(why({blob.begin(), blob.begin() + size}), HasSubstr("is not a device tree that Doppel can use"));
}

}  // namespace
}  // namespace doppel
