#include "api/statistics_record.h"

#include <array>
#include <string_view>

#include "api/machine_record.h"
#include "guest/riscv64/decode.h"
#include "guest/riscv64/disassemble.h"

namespace doppel {
namespace {

using nlohmann::json;
using riscv64::HartCounters;

constexpr std::size_t most_places = 1024;

template <typename Record>
struct Counter {
  const char* name;
  std::uint64_t Record::* value;
};

constexpr Counter<HartCounters> hart_counters[] = {
    {"instructions", &HartCounters::instructions},
    {"exceptions", &HartCounters::exceptions},
    {"interrupts", &HartCounters::interrupts},
    {"tlb_misses", &HartCounters::tlb_misses},
    {"tlb_flushes", &HartCounters::tlb_flushes},
    {"blocks_decoded", &HartCounters::blocks_decoded},
    {"device_accesses", &HartCounters::device_accesses},
    {"waits", &HartCounters::waits},
    {"watched_reservations", &HartCounters::watched_reservations},
    {"jump_misses", &HartCounters::jump_misses},
    {"dispatches", &HartCounters::dispatches},
};
constexpr Counter<EngineCounters> engine_counters[] = {
    {"translations", &EngineCounters::translations},
    {"translated_instructions", &EngineCounters::translated_instructions},
    {"links", &EngineCounters::links},
    {"invalidated", &EngineCounters::invalidated},
    {"flushes", &EngineCounters::flushes},
    {"code_bytes", &EngineCounters::code_bytes},
    {"first_runs", &EngineCounters::first_runs},
    {"paths", &EngineCounters::paths},
    {"path_instructions", &EngineCounters::path_instructions},
    {"path_loops", &EngineCounters::path_loops},
};
constexpr Counter<CodeStoreCounters> store_counters[] = {
    {"known", &CodeStoreCounters::known},
    {"loaded", &CodeStoreCounters::loaded},
    {"stored", &CodeStoreCounters::stored},
    {"rejected", &CodeStoreCounters::rejected},
};

std::uint64_t number(const json& object, const char* name) {
  const auto found = object.find(name);
  return found != object.end() && found->is_number_unsigned() ? found->get<std::uint64_t>() : 0;
}
double real(const json& object, const char* name) {
  const auto found = object.find(name);
  return found != object.end() && found->is_number() ? found->get<double>() : 0;
}
std::string text(const json& object, const char* name) {
  const auto found = object.find(name);
  return found != object.end() && found->is_string() ? printable_text(found->get_ref<const std::string&>()) : "";
}
json part(const json& object, const char* name) {
  const auto found = object.find(name);
  return found != object.end() && found->is_object() ? *found : json::object();
}

template <typename Record>
json write(const Record& record, const auto& counters) {
  json out = json::object();
  for (const auto& counter : counters) out[counter.name] = record.*counter.value;
  return out;
}
template <typename Record>
Record read(const json& object, const auto& counters) {
  Record out;
  for (const auto& counter : counters) out.*counter.value = number(object, counter.name);
  return out;
}

json write_interpreted(const HartCounters& harts) {
  json out = json::object();
  for (const auto& row : riscv64::rows())
    if (const auto count = harts.interpreted[std::size_t(row.opcode)]; count > 0)
      out[riscv64::mnemonic(row.name)] = count;
  return out;
}

std::vector<MachineStatistics::Place> read_places(const json& object) {
  std::vector<MachineStatistics::Place> out;
  const auto found = object.find("places");
  if (found == object.end() || !found->is_array()) return out;
  for (const auto& one : *found) {
    if (!one.is_object() || out.size() == most_places) break;
    const auto mode = text(one, "mode");
    out.push_back({number(one, "pc"), mode.size() == 1 ? mode[0] : '?'});
  }
  return out;
}

}  // namespace

json statistics_json(const MachineStatistics& s) {
  json out{{"seconds", s.seconds},
           {"seconds_waiting", s.seconds_waiting},
           {"cpus", s.cpus},
           {"dirty_pages", s.dirty_pages},
           {"balloon_pages", s.balloon_pages},
           {"discarded_pages", s.discarded_pages},
           {"harts", write(s.harts, hart_counters)},
           {"places", json::array()}};
  for (const auto& place : s.places) out["places"].push_back({{"pc", place.pc}, {"mode", std::string(1, place.mode)}});
  if (s.engine) {
    out["engine"] = write(*s.engine, engine_counters);
    out["interpreted"] = write_interpreted(s.harts);
  }
  if (s.code_store) {
    out["code_store"] = write(*s.code_store, store_counters);
    out["code_store"]["problem"] = s.code_store->problem;
  }
  if (s.memory_hash) out["memory_hash"] = s.memory_hash;
  return out;
}

MachineStatistics read_statistics(const json& object) {
  MachineStatistics s;
  if (!object.is_object()) return s;
  s.seconds = real(object, "seconds");
  s.seconds_waiting = real(object, "seconds_waiting");
  s.cpus = unsigned(number(object, "cpus"));
  s.dirty_pages = number(object, "dirty_pages");
  s.balloon_pages = number(object, "balloon_pages");
  s.discarded_pages = number(object, "discarded_pages");
  s.memory_hash = number(object, "memory_hash");
  s.harts = read<HartCounters>(part(object, "harts"), hart_counters);
  s.places = read_places(object);
  const auto interpreted = part(object, "interpreted");
  for (const auto& row : riscv64::rows())
    s.harts.interpreted[std::size_t(row.opcode)] =
        number(interpreted, std::string(riscv64::mnemonic(row.name)).c_str());
  if (object.contains("engine")) s.engine = read<EngineCounters>(part(object, "engine"), engine_counters);
  if (object.contains("code_store")) {
    const auto store = part(object, "code_store");
    s.code_store = read<CodeStoreCounters>(store, store_counters);
    s.code_store->problem = text(store, "problem");
  }
  return s;
}

}  // namespace doppel
