#include "cli/snapshot_folder.h"

#include <algorithm>
#include <cstdlib>
#include <filesystem>

#include "api/control_client.h"
#include "snapshot/machine_description.h"
#include "storage/overlay.h"

namespace doppel {
namespace {

Result<std::string> folder_path() {
  if (const char* data = std::getenv("XDG_DATA_HOME"); data && *data == '/')
    return std::string(data) + "/doppel/snapshots";
  if (const char* home = std::getenv("HOME"); home && *home)
    return std::string(home) + "/.local/share/doppel/snapshots";
  return error("it is not known where snapshots are: set HOME or XDG_DATA_HOME");
}

struct OverlayFile {
  std::string path;
  FileDescriptor file;
};

/// For what a machine's disks that keep it need when it is captured for the first time. Their names are what the
/// machine said before its guest began.
Result<std::vector<OverlayFile>> make_overlays(const MachineEntry& machine) {
  std::vector<OverlayFile> made;
  const auto& record = machine.record();
  if (!record || std::ranges::all_of(record->disks, &std::string::empty)) return made;
  auto socket = machine.connect();
  if (!socket) return socket.failure();
  const auto answer = ControlClient(*std::move(socket), machine.name()).ask({{"do", "info"}});
  if (!answer) return answer.failure();
  const auto wanted = answer->value("overlays", nlohmann::json::array());
  for (const auto& number : wanted) {
    if (!number.is_number_unsigned() || number.get<std::uint64_t>() >= record->disks.size()) continue;
    const auto& disk = record->disks[number.get<std::size_t>()];
    if (disk.empty()) continue;
    const auto path = overlay_path(disk, record->name);
    auto file = make_overlay_file(path, disk);
    if (!file) {
      for (const auto& before : made) drop_overlay_file(before.path);
      return file.failure();
    }
    made.push_back({path, *std::move(file)});
  }
  return made;
}

Result<SavedMachine> make_again(const std::string& description, const std::vector<std::byte>& state,
                                const std::vector<KeptSpace>& spaces) {
  auto config = machine_described(description);
  if (!config) return config.failure();
  auto image = assemble_image(*config, state, spaces);
  if (!image) return image.failure();
  return SavedMachine{*std::move(config), *std::move(image), nullptr};
}

}  // namespace

Result<SnapshotStore> open_snapshots(bool may_create) {
  const auto path = folder_path();
  if (!path) return path.failure();
  std::error_code ignored;
  if (!may_create && !std::filesystem::exists(*path, ignored))
    return error("there are no snapshots yet: doppel snapshot MACHINE NAME makes one");
  return SnapshotStore::open(*path, may_create);
}

Result<SavedMachine> load_snapshot(const std::string& name) {
  const auto store = open_snapshots(false);
  if (!store) return store.failure();
  auto loaded = store->load(name);
  if (!loaded) return loaded.failure();
  std::shared_ptr<const Snapshot> snapshot = *std::move(loaded);
  std::vector<KeptSpace> spaces;
  for (const auto& space : snapshot->spaces()) spaces.push_back({space.name, space.base, space.bytes, space.source});
  auto saved = make_again(snapshot->description(), snapshot->state(), spaces);
  if (saved) saved->snapshot = std::move(snapshot);
  return saved;
}

Result<ReceivedImage> capture_machine(const MachineEntry& machine, std::int64_t& paused_ns) {
  const auto file = make_transfer_file();
  if (!file) return file.failure();
  auto socket = machine.connect();
  if (!socket) return socket.failure();
  auto overlays = make_overlays(machine);
  if (!overlays) return overlays.failure();
  std::vector<int> descriptors = {file->get()};
  for (const auto& overlay : *overlays) descriptors.push_back(overlay.file.get());
  ControlClient client(*std::move(socket), machine.name());
  const auto answer = client.ask({{"do", "capture"}}, descriptors);
  if (!answer) {
    for (const auto& overlay : *overlays) drop_overlay_file(overlay.path);
    return answer.failure();
  }
  paused_ns = answer->value("paused", std::int64_t(0));
  return receive_transfer(*file);
}

Result<SavedMachine> saved_machine(const ReceivedImage& received) {
  return make_again(received.description, received.state, received.spaces);
}

}  // namespace doppel
