#include "snapshot/machine_description.h"

#include <sys/stat.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <nlohmann/json.hpp>

namespace doppel {
namespace {

using nlohmann::json;
constexpr unsigned version = 1;

std::string absolute(const std::string& path) {
  std::error_code failed;
  const auto whole = std::filesystem::absolute(path, failed);
  return path.empty() || failed ? path : whole.string();
}

std::int64_t modified_ns(const struct stat& status) {
  return std::int64_t(status.st_mtim.tv_sec) * 1'000'000'000 + status.st_mtim.tv_nsec;
}

json describe_disk(const DiskSpec& disk) {
  struct stat status{};
  const auto path = absolute(disk.path);
  const bool there = ::stat(path.c_str(), &status) == 0;
  return {{"path", path},
          {"format", disk.format},
          {"read-only", disk.read_only},
          {"size", there ? status.st_size : 0},
          {"modified", there ? modified_ns(status) : 0}};
}

Result<DiskSpec> disk_described(const json& description) {
  DiskSpec disk{.path = description.at("path"),
                .read_only = description.at("read-only"),
                .snapshot = true,
                .format = description.at("format")};
  struct stat status{};
  if (::stat(disk.path.c_str(), &status) != 0)
    return error("the machine's disk image {} cannot be found: {}", disk.path, std::strerror(errno));
  const bool same = status.st_size == description.at("size").get<std::int64_t>() &&
                    modified_ns(status) == description.at("modified").get<std::int64_t>();
  if (!same)
    return error("{} has been written to since the machine was saved: its disk would not be what it was", disk.path);
  return disk;
}

constexpr std::pair<const char*, std::string MachineConfig::*> texts[] = {
    {"kernel", &MachineConfig::kernel},     {"initrd", &MachineConfig::initrd}, {"append", &MachineConfig::append},
    {"firmware", &MachineConfig::firmware}, {"dtb", &MachineConfig::dtb},       {"identity", &MachineConfig::identity}};

Result<MachineConfig> read(const json& all) {
  if (all.at("version") != version)
    return error("the saved machine is described in version {}: this Doppel knows version {}", all.at("version").dump(),
                 version);
  MachineConfig config;
  for (const auto& [name, field] : texts) config.*field = all.at(name).get<std::string>();
  config.memory = all.at("memory").get<std::uint64_t>();
  config.cpus = all.at("cpus").get<unsigned>();
  config.mmu = all.at("mmu").get<unsigned>();
  const std::string network = all.at("network"), clock = all.at("clock");
  config.network = network == "user" ? NetworkKind::user : network == "peer" ? NetworkKind::peer : NetworkKind::none;
  config.clock = clock == "instructions" ? ClockKind::instructions : ClockKind::host;
  for (const auto& description : all.at("disks")) {
    auto disk = disk_described(description);
    if (!disk) return disk.failure();
    config.disks.push_back(*std::move(disk));
  }
  return config;
}

}  // namespace

std::string describe_machine(const MachineConfig& config) {
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
  for (const auto& disk : config.disks) all["disks"].push_back(describe_disk(disk));
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
