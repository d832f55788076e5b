#pragma once
// What could be a captured machine, without the machine: some pages of memory, a disk with something written over it.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "machine/machine.h"
#include "machine/memory_map.h"
#include "storage/layered_disk.h"
#include "unit/snapshot/sample_machine.h"

namespace doppel::test {

inline constexpr std::uint64_t sample_memory = 1 << 20, sample_disk = 100 * 4096 + 512;

class CapturedSample : public testing::Test {
 protected:
  void SetUp() override {
    const auto path = folder_.path("disk.raw");
    std::ofstream(path, std::ios::binary) << std::string(sample_disk, 'i');
    spec_ = {.path = path, .read_only = true, .format = "raw"};
    memory_ = std::move(GuestMemory::create(dram_base, sample_memory)).value();
    for (const auto page : {3u, 7u, 200u}) ASSERT_TRUE(memory_->fill(dram_base + page * page_size, char_of(page), 100));
    auto opened = open_disk(spec_);
    ASSERT_TRUE(opened) << opened.message();
    auto scratch = ScratchFile::of_process();
    ASSERT_TRUE(scratch) << scratch.message();
    disk_ = std::make_unique<LayeredDisk>(DiskImage{std::move(*opened), nullptr}, false, *scratch);
    const std::vector<std::byte> block(4096, std::byte{'w'});
    ASSERT_TRUE(disk_->write(2 * 4096, block));
    ASSERT_TRUE(disk_->write(100 * 4096, std::span(block).first(512)));
    ASSERT_TRUE(disk_->write_zeroes(50 * 4096, 3 * 4096, true));
  }
  static std::uint8_t char_of(unsigned page) { return std::uint8_t('a' + page % 26); }
  MachineConfig config() const {
    MachineConfig config;
    config.memory = sample_memory;
    config.disks = {spec_};
    return config;
  }
  MachineImage capture() {
    MachineImage image;
    image.memory = memory_->freeze();
    auto disk = disk_->freeze();
    EXPECT_TRUE(disk) << disk.message();
    image.disks.push_back(*std::move(disk));
    image.state = sample_page(77);
    return image;
  }

  SnapshotFolder folder_;
  DiskSpec spec_;
  std::unique_ptr<GuestMemory> memory_;
  std::unique_ptr<LayeredDisk> disk_;
};

}  // namespace doppel::test
