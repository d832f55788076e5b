#include <fmt/format.h>
#include <unistd.h>

#include <cstdio>
#include <memory>

#include "cli/command.h"
#include "storage/disk.h"
#include "storage/overlay_merge.h"

namespace doppel {
namespace {

int commit(const std::string& overlay) {
  const bool show = isatty(STDERR_FILENO);
  const auto progress = [&](std::uint64_t done, std::uint64_t all) {
    if (show) print(stderr, "\r{:3} %", all ? done * 100 / all : 100);
  };
  const auto merged = merge_overlay(overlay, progress);
  if (show) print(stderr, "\r     \r");
  return merged ? 0 : complain(merged.message());
}

int describe(const std::string& text) {
  const auto spec = parse_disk_spec(text);
  if (!spec) return complain(spec.message());
  const auto disk = describe_disk(spec->path, spec->format);
  if (!disk) return complain(disk.message());
  print(stdout, "format    {}\nsize      {} bytes\noccupies  {} bytes\n", disk->format, disk->size, disk->occupied);
  if (disk->base)
    print(stdout, "lies over {} ({})\nholds     {} bytes of its own\n", *disk->base, disk->base_format, disk->own);
  for (const auto& overlay : disk->overlays) print(stdout, "is under  {}\n", overlay);
  return 0;
}

}  // namespace

void add_disk(CLI::App& program, Action& action) {
  auto file = std::make_shared<std::string>();
  auto* disk = program.add_subcommand("disk", "Look at disks, and merge what was written over one into it");
  disk->require_subcommand(1);

  auto* merge =
      disk->add_subcommand("commit", "Write what an overlay has into the image below, and remove the overlay");
  merge->add_option("OVERLAY", *file, "The overlay: FILE.overlay")->required();
  merge->callback([file, &action] { action = [file] { return commit(*file); }; });

  auto* info = disk->add_subcommand("info", "Say what a disk's file is, and what lies over what");
  info->add_option("FILE", *file, "The disk: FILE[,format=raw|qcow2]")->required();
  info->callback([file, &action] { action = [file] { return describe(*file); }; });
}

}  // namespace doppel
