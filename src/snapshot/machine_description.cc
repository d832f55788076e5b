#include "snapshot/machine_description.h"

#include <sys/stat.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <nlohmann/json.hpp>

namespace doppel {
namespace {

using nlohmann::json;
constexpr unsigned version = 2, oldest_version = 1;
constexpr std::uint64_t most_memory = 1ULL
                                      << 40;  // more than hosts have: an image's tables are made before that is seen

std::string absolute(const std::string& path) {
  std::error_code failed;
  const auto whole = std::filesystem::absolute(path, failed);
  return path.empty() || failed ? path : whole.string();
}

std::int64_t modified_ns(const struct stat& status) {
  return std::int64_t(status.st_mtim.tv_sec) * 1'000'000'000 + status.st_mtim.tv_nsec;
}

json describe_disk(const DiskSpec& spec, const Disk& base) {
  const auto stamps = base.stamps();
  const auto stamp = stamps.empty() ? FileStamp() : stamps[0];
  return {{"path", absolute(base.path())}, {"format", base.format()}, {"read-only", spec.read_only},
          {"keeps", spec.keeps()},         {"size", stamp.size},      {"modified", stamp.mtime_ns}};
}

// What is not what it should be is thrown as the parser's own faults are, and caught where the description is read.

template <typename T>
const T& get(const json& object, const char* name) {
  return object.at(name).get_ref<const T&>();
}

/// A whole number: what the parser would make of a fraction, a minus or one that is too large is another number.
std::uint64_t number(const json& object, const char* name, std::uint64_t most) {
  const auto& value = object.at(name);
  if (!value.is_number_unsigned() || value.get<std::uint64_t>() > most)
    throw json::out_of_range::create(401, "a number", &value);
  return value.get<std::uint64_t>();
}

std::int64_t signed_number(const json& object, const char* name) {
  const auto& value = object.at(name);
  if (value.is_number_integer() && !value.is_number_unsigned()) return value.get<std::int64_t>();
  return std::int64_t(number(object, name, INT64_MAX));
}

/// One of so many words.
template <typename T>
T word(const json& object, const char* name, std::initializer_list<std::pair<std::string_view, T>> words) {
  const auto& value = get<std::string>(object, name);
  for (const auto& [letters, meaning] : words)
    if (value == letters) return meaning;
  throw json::out_of_range::create(401, "a word", &object);
}

/// A path for the terminal that an error goes to.
std::string shown(const std::string& path) {
  constexpr std::size_t longest = 200;
  auto text = path.substr(0, longest);
  for (auto& letter : text)
    if (static_cast<unsigned char>(letter) < ' ' || letter == 0x7f) letter = '?';
  return path.size() > longest ? text + "..." : text;
}

/// Version 1 knew only disks that keep nothing.
Result<DiskSpec> disk_described(const json& description, std::uint64_t version) {
  DiskSpec disk{.path = get<std::string>(description, "path"),
                .read_only = get<bool>(description, "read-only"),
                .snapshot = version == 1 || !get<bool>(description, "keeps"),
                .format = get<std::string>(description, "format")};
  const auto size = signed_number(description, "size"), modified = signed_number(description, "modified");
  struct stat status{};
  if (::stat(disk.path.c_str(), &status) != 0)
    return error("the machine's disk image {} cannot be found: {}", shown(disk.path), std::strerror(errno));
  if (status.st_size != size || modified_ns(status) != modified)
    return error("{} has been written to since the machine was saved: its disk would not be what it was",
                 shown(disk.path));
  return disk;
}

constexpr std::pair<const char*, std::string MachineConfig::*> texts[] = {
    {"kernel", &MachineConfig::kernel},     {"initrd", &MachineConfig::initrd}, {"append", &MachineConfig::append},
    {"firmware", &MachineConfig::firmware}, {"dtb", &MachineConfig::dtb},       {"identity", &MachineConfig::identity}};

Result<MachineConfig> read(const json& all) {
  const auto found = number(all, "version", UINT64_MAX);
  if (found < oldest_version || found > version)
    return error("the saved machine is described in version {}: this Doppel knows version {}", found, version);
  MachineConfig config;
  for (const auto& [name, field] : texts) config.*field = get<std::string>(all, name);
  config.memory = number(all, "memory", most_memory);
  config.cpus = unsigned(number(all, "cpus", UINT32_MAX));
  config.mmu = unsigned(number(all, "mmu", UINT32_MAX));
  config.network = word<NetworkKind>(
      all, "network", {{"user", NetworkKind::user}, {"peer", NetworkKind::peer}, {"none", NetworkKind::none}});
  config.clock = word<ClockKind>(all, "clock", {{"instructions", ClockKind::instructions}, {"host", ClockKind::host}});
  const auto& disks = get<json::array_t>(all, "disks");
  if (disks.size() > MachineConfig::most_disks)
    return error("the saved machine has {} disks: a machine has {} at most", disks.size(), MachineConfig::most_disks);
  for (const auto& description : disks) {
    auto disk = disk_described(description, found);
    if (!disk) return disk.failure();
    config.disks.push_back(*std::move(disk));
  }
  return config;
}

}  // namespace

std::string describe_machine(const MachineConfig& config, std::span<const DiskImage> disks) {
  json all{{"version", version},
           {"kernel", absolute(config.kernel)},
           {"initrd", absolute(config.initrd)},
           {"append", config.append},
           {"firmware", absolute(config.firmware)},
           {"dtb", absolute(config.dtb)},
           {"identity", config.identity},
           {"memory", config.memory},
           {"cpus", config.cpus},
           {"mmu", config.mmu},
           {"network", config.network == NetworkKind::user   ? "user"
                       : config.network == NetworkKind::peer ? "peer"
                                                             : "none"},
           {"clock", config.clock == ClockKind::instructions ? "instructions" : "host"},
           {"disks", json::array()}};
  for (std::size_t n = 0; n < disks.size(); n++) all["disks"].push_back(describe_disk(config.disks[n], *disks[n].base));
  return all.dump(-1, ' ', false, json::error_handler_t::replace);
}

Result<MachineConfig> machine_described(const std::string& description) {
  const auto all = json::parse(description, nullptr, false);
  try {
    if (all.is_object()) return read(all);
  } catch (const json::exception&) {
  }
  return error("the saved machine's description is damaged");
}

}  // namespace doppel
