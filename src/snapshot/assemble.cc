#include "snapshot/assemble.h"

#include <algorithm>

namespace doppel {
namespace {

class KeptBlocks final : public BlockSource {
 public:
  explicit KeptBlocks(std::shared_ptr<PageSource> pages) : pages_(std::move(pages)) {}
  bool holds(std::uint64_t block) const override { return pages_->holds(block); }
  const std::byte* bring(std::uint64_t block) override { return pages_->bring(block); }
  std::uint64_t next(std::uint64_t first, std::uint64_t last) const override {
    return std::min(last, pages_->next(first));
  }

 private:
  std::shared_ptr<PageSource> pages_;
};

const KeptSpace* find(const std::vector<KeptSpace>& spaces, const std::string& name) {
  const auto found = std::ranges::find(spaces, name, &KeptSpace::name);
  return found == spaces.end() ? nullptr : &*found;
}

Result<DiskImage> assemble_disk(const DiskSpec& spec, const KeptSpace* space) {
  // A format that is not named is one of a description of version 1, of a disk as the user named it.
  auto opened = spec.format.empty() ? open_disk({.path = spec.path, .read_only = true})
                                    : open_frozen_disk(spec.path, spec.format);
  if (!opened) return opened.failure();
  std::shared_ptr<Disk> base = *std::move(opened);
  if (!space) return DiskImage{std::move(base), nullptr};
  if (space->bytes != base->size())
    return error("{} has {} bytes, and the saved machine's disk had {}", spec.path, base->size(), space->bytes);
  return DiskImage::over(std::move(base), std::make_shared<KeptBlocks>(space->source));
}

}  // namespace

std::string disk_space_name(std::size_t disk) { return fmt::format("disk {}", disk); }

Result<MachineImage> assemble_image(const MachineConfig& config, std::vector<std::byte> state,
                                    const std::vector<KeptSpace>& spaces) {
  const auto* memory = find(spaces, "memory");
  if (!memory || memory->bytes != config.memory || memory->bytes % page_size != 0 ||
      memory->source->pages() != memory->bytes / page_size)
    return error("the saved machine's memory is not what its description says");
  MachineImage image;
  image.memory = MemoryImage::of(memory->base, memory->bytes, memory->source);
  image.state = std::move(state);
  for (std::size_t n = 0; n < config.disks.size(); n++) {
    auto disk = assemble_disk(config.disks[n], find(spaces, disk_space_name(n)));
    if (!disk) return disk.failure();
    image.disks.push_back(*std::move(disk));
  }
  return image;
}

}  // namespace doppel
