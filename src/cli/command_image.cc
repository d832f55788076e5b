#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <memory>

#include "cli/command.h"
#include "cli/image_store.h"
#include "storage/disk.h"

namespace doppel {
namespace {

namespace fs = std::filesystem;

struct ImageOptions {
  std::string name, from, to, format;
};

/// Bytes on the host's disk, holes left out.
std::uint64_t occupied(const fs::path& folder) {
  std::uint64_t bytes = 0;
  std::error_code ignored;
  for (const auto& entry : fs::recursive_directory_iterator(folder, ignored)) {
    struct stat info;
    if (::lstat(entry.path().c_str(), &info) == 0) bytes += std::uint64_t(info.st_blocks) * 512;
  }
  return bytes;
}

int list() {
  for (const auto& name : image_names()) {
    const auto path = image_path(name);
    print(stdout, "{:<20} {:>6} MiB  {}\n", name, occupied(*path) >> 20, path->string());
  }
  return 0;
}

int build(const std::string& name) {
  const auto path = image_path(name);
  if (!path) return complain(path.message());
  const bool there = image_exists(*path);
  if (auto built = build_image(name); !built) return complain(built.message());
  if (there) print(stderr, "doppel: the image {} is there already; doppel image rm {} removes it\n", name, name);
  return 0;
}

int remove(const std::string& name) {
  const auto path = image_path(name);
  if (!path) return complain(path.message());
  if (!image_exists(*path)) return complain(fmt::format("there is no image named '{}'", name));
  std::error_code failed;
  fs::remove_all(*path, failed);
  return failed ? complain(fmt::format("cannot remove {}: {}", path->string(), failed.message())) : 0;
}

int print_path(const std::string& name) {
  const auto path = image_path(name);
  if (!path) return complain(path.message());
  if (!image_exists(*path))
    return complain(fmt::format("there is no image named '{}': doppel image build {} makes it", name, name));
  print(stdout, "{}\n", path->string());
  return 0;
}

int convert(const ImageOptions& o) {
  const auto from = parse_disk_spec(o.from);
  if (!from) return complain(from.message());
  const bool show = isatty(STDERR_FILENO);
  const auto progress = [&](std::uint64_t done, std::uint64_t all) {
    if (show) print(stderr, "\r{:3} %", all ? done * 100 / all : 100);
  };
  auto spec = *from;
  spec.read_only = true;
  const auto done = convert_disk(spec, o.to, o.format, progress);
  if (show) print(stderr, "\r     \r");
  return done ? 0 : complain(done.message());
}

}  // namespace

void add_image(CLI::App& program, Action& action) {
  auto options = std::make_shared<ImageOptions>();
  auto* image = program.add_subcommand("image", "List, make, remove and convert images");
  image->require_subcommand(1);

  image->add_subcommand("ls", "List the images that are there")->callback([&action] { action = list; });
  const auto named = [&](const char* verb, const char* help, int (*what)(const std::string&)) {
    auto* command = image->add_subcommand(verb, help);
    command->add_option("NAME", options->name, "The image")->default_str(std::string(default_image));
    command->callback([options, what, &action] {
      action = [options, what] { return what(options->name.empty() ? std::string(default_image) : options->name); };
    });
  };
  named("build", "Make an image: debian is Debian 13 for riscv64, from this machine's own apt sources", build);
  named("rm", "Remove an image and all that the guest wrote to it", remove);
  named("path", "Print the folder of an image", print_path);

  auto* command = image->add_subcommand("convert", "Copy a disk image into another format");
  command->add_option("FROM", options->from, "The disk: FILE[,format=raw|qcow2]")->required();
  command->add_option("TO", options->to, "The new file")->required();
  command->add_option("--format", options->format, "Its format")
      ->check(CLI::IsMember({"raw", "qcow2"}))
      ->required()
      ->type_name("raw|qcow2");
  command->callback([options, &action] { action = [options] { return convert(*options); }; });
}

}  // namespace doppel
