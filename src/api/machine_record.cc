#include "api/machine_record.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <charconv>
#include <nlohmann/json.hpp>

#include "machine/machine.h"

namespace doppel {
namespace {

using nlohmann::json;

constexpr std::size_t longest_name = 64, longest_text = 4096, status_length = 32;
constexpr std::array<std::string_view, 5> state_names = {"starting", "running", "paused", "exited", "died"};
constexpr std::string_view gone_word = "gone";

template <typename T>
bool read(const json& object, const char* key, T& out) {
  const auto found = object.find(key);
  if (found == object.end() || !found->is_number_unsigned()) return false;
  const auto number = found->get<std::uint64_t>();
  out = T(number);
  return std::in_range<T>(number);
}

bool read(const json& object, const char* key, std::string& out) {
  const auto found = object.find(key);
  if (found == object.end() || !found->is_string()) return false;
  out = printable_text(found->get_ref<const std::string&>());
  return true;
}

bool read(const json& object, const char* key, bool& out) {
  const auto found = object.find(key);
  if (found == object.end() || !found->is_boolean()) return false;
  out = found->get<bool>();
  return true;
}

/// Machines of older versions have said nothing of their disks.
bool read_disks(const json& object, std::vector<std::string>& disks) {
  if (!object.contains("disks")) return true;
  const auto& all = object["disks"];
  if (!all.is_array() || all.size() > MachineConfig::most_disks) return false;
  for (const auto& path : all) {
    if (!path.is_string()) return false;
    disks.push_back(path.get<std::string>());
    if (!disks.back().empty() && (disks.back()[0] != '/' || disks.back().find('\0') != std::string::npos)) return false;
  }
  return true;
}

}  // namespace

bool sound_machine_name(std::string_view name) {
  const auto allowed = [](unsigned char c) {
    return (c < 0x80 && std::isalnum(c)) || c == '.' || c == '_' || c == '-';
  };
  return !name.empty() && name.size() <= longest_name && name[0] != '.' && name[0] != '-' &&
         std::all_of(name.begin(), name.end(), allowed);
}

std::string printable_text(std::string_view text) {
  std::string out(text.substr(0, longest_text));
  std::replace_if(out.begin(), out.end(), [](char c) { return c < ' ' || c > '~'; }, '?');
  return out;
}

std::string record_text(const MachineRecord& record) {
  return json{{"version", MachineRecord::known_version},
              {"name", record.name},
              {"created", std::uint64_t(std::max<std::int64_t>(0, record.created_ns))},
              {"pid", std::uint64_t(record.process)},
              {"what", printable_text(record.what)},
              {"memory", record.memory},
              {"cpus", record.cpus},
              {"background", record.background},
              {"remove", record.remove},
              {"disks", record.disks}}
             .dump(-1, ' ', false, json::error_handler_t::replace) +
         "\n";
}

Result<MachineRecord> parse_record(std::string_view text) {
  const auto object = json::parse(text, nullptr, false);
  if (!object.is_object()) return error("its machine.json cannot be read");
  std::uint64_t version = 0;
  if (!read(object, "version", version)) return error("its machine.json has no version");
  if (version != MachineRecord::known_version)
    return error("its machine.json is of version {}, and this doppel knows {}", version, MachineRecord::known_version);
  MachineRecord r;
  const bool whole = read(object, "name", r.name) && read(object, "created", r.created_ns) &&
                     read(object, "pid", r.process) && read(object, "what", r.what) &&
                     read(object, "memory", r.memory) && read(object, "cpus", r.cpus) &&
                     read(object, "background", r.background) && read(object, "remove", r.remove);
  if (!whole || !read_disks(object, r.disks) || !sound_machine_name(r.name))
    return error("its machine.json is damaged");
  return r;
}

std::string status_text(const MachineStatus& status) {
  std::string text(status.gone ? gone_word : state_names[std::size_t(status.state)]);
  if (status.state == MachineState::exited) text += fmt::format(" {}", status.exit_status);
  text.resize(status_length - 1, ' ');
  return text + "\n";
}

MachineStatus parse_status(std::string_view text, bool alive) {
  const auto word = text.substr(0, text.find_first_of(" \n"));
  MachineStatus status{.state = alive ? MachineState::running : MachineState::died};
  const auto found = std::ranges::find(state_names, word);
  const auto state = found == state_names.end() ? status.state : MachineState(found - state_names.begin());
  if (alive) {
    if (state <= MachineState::paused) status.state = state;
    return status;
  }
  if (word != gone_word && state != MachineState::exited) return status;
  if (word.size() == text.size()) return status;
  const auto* number = text.data() + word.size() + 1;
  int code = 0;
  if (std::from_chars(number, text.data() + text.size(), code).ec != std::errc() || code < 0 || code > 255)
    return status;
  return {MachineState::exited, code, word == gone_word};
}

std::string describe(const MachineStatus& status) {
  if (status.state == MachineState::exited) return fmt::format("exited ({})", status.exit_status);
  return std::string(state_names[std::size_t(status.state)]);
}

}  // namespace doppel
