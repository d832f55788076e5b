// An image out of what was kept: what does not fit what it says it is, is a sentence, before anything runs on it.
#include "snapshot/assemble.h"

#include <gtest/gtest.h>

#include <fstream>

#include "unit/snapshot/captured_sample.h"

namespace doppel {
namespace {

using namespace test;

/// A space in which every page is the same.
class OnePage final : public PageSource {
 public:
  explicit OnePage(std::uint64_t pages) : pages_(pages) {}
  std::uint64_t pages() const override { return pages_; }
  bool holds(std::uint64_t) const override { return true; }
  const std::byte* bring(std::uint64_t) override { return page_.data(); }
  std::string failure() const override { return {}; }

 private:
  std::uint64_t pages_;
  Bytes page_ = sample_page(1);
};

class Assembling : public CapturedSample {
 protected:
  static KeptSpace space(const std::string& name, std::uint64_t bytes, std::uint64_t base = 0) {
    return {name, base, bytes, std::make_shared<OnePage>((bytes + page_size - 1) / page_size)};
  }
  void expect_refused(const std::vector<KeptSpace>& spaces) {
    const auto image = assemble_image(config(), {}, spaces);
    ASSERT_FALSE(image);
    expect_sentence(image.message());
  }
};

TEST_F(Assembling, TakesADiskThatNothingWasWrittenToAsItIs) {
  const auto image = assemble_image(config(), sample_page(5), {space("memory", sample_memory, dram_base)});
  ASSERT_TRUE(image) << image.message();
  EXPECT_EQ(image->state, sample_page(5));
  ASSERT_EQ(image->disks.size(), 1u);
  EXPECT_EQ(image->disks[0].top, nullptr);
  EXPECT_EQ(image->disks[0].size(), sample_disk);
}

TEST_F(Assembling, RefusesMemoryThatIsNotWhatTheDescriptionSays) {
  expect_refused({});
  expect_refused({space("memory", sample_memory - page_size)});
  expect_refused({space("memory", sample_memory + page_size)});
  expect_refused({{"memory", dram_base, sample_memory, std::make_shared<OnePage>(1)}});
  expect_refused({space("disk 0", sample_disk)});
}

TEST_F(Assembling, RefusesADiskOfAnotherSize) {
  expect_refused({space("memory", sample_memory), space("disk 0", sample_disk - 512)});
  std::filesystem::resize_file(spec_.path, sample_disk - 512);
  expect_refused({space("memory", sample_memory), space("disk 0", sample_disk)});
  std::filesystem::remove(spec_.path);
  expect_refused({space("memory", sample_memory), space("disk 0", sample_disk)});
}

// Where memory lies decides what is a page of it and what is a device: it is the board's to say.
TEST_F(Assembling, GivesNoMachineMemoryWhereTheBoardHasNone) {
  for (const std::uint64_t base : {std::uint64_t(0), dram_base + 0x800, dram_base + page_size, UINT64_MAX}) {
    const auto image = assemble_image(config(), sample_page(5), {space("memory", sample_memory, base)});
    if (!image) continue;
    const auto machine = Machine::create(config(), *image);
    ASSERT_FALSE(machine);
    expect_sentence(machine.message());
  }
}

}  // namespace
}  // namespace doppel
