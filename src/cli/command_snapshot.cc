#include <fmt/format.h>

#include <memory>
#include <nlohmann/json.hpp>

#include "base/clock.h"
#include "cli/named_machines.h"
#include "cli/snapshot_folder.h"
#include "machine/byte_size.h"

namespace doppel {
namespace {

using nlohmann::json;

struct SnapshotOptions {
  std::string machine, name, file;
  bool replace = false, as_json = false;
};

SpaceContent content_of(const KeptSpace& space, const std::vector<std::uint32_t>& hot) {
  const bool memory = space.name == "memory";
  const auto walk = [source = space.source, memory](const PageVisit& visit) -> Result<void> {
    for (auto page = source->next(0); page < source->pages(); page = source->next(page + 1)) {
      const auto* bytes = source->bring(page);
      if (!bytes) return Error{source->failure()};
      const std::span<const std::byte, page_size> whole(bytes, page_size);
      if (memory && is_zero(whole)) continue;
      if (auto taken = visit(page, whole); !taken) return taken;
    }
    return {};
  };
  return {.name = space.name,
          .base = space.base,
          .bytes = space.bytes,
          .for_each = walk,
          .hot = memory ? hot : std::vector<std::uint32_t>()};
}

Result<void> save(const SnapshotOptions& o) {
  const auto machines = RuntimeFolder::open();
  if (!machines) return machines.failure();
  const auto machine = machines->find(o.machine);
  if (!machine) return machine.failure();
  const auto store = open_snapshots(true);
  if (!store) return store.failure();
  std::int64_t paused = 0;
  const auto received = capture_machine(*machine, paused);
  if (!received) return received.failure();
  SnapshotContent content;
  content.description = received->description, content.state = received->state;
  for (const auto& space : received->spaces) content.spaces.push_back(content_of(space, received->hot));
  const auto summary = store->save(o.name, content, o.replace);
  if (!summary) return summary.failure();
  print(stdout, "{}: {} pages, {} on disk; {} stood still for {:.2f} ms\n", o.name, summary->pages,
        byte_size_text(summary->own_bytes), o.machine, double(paused) / 1e6);
  return {};
}

std::string what_of(const std::string& description) {
  const auto all = json::parse(description, nullptr, false);
  if (!all.is_object()) return "";
  const auto text = [&](const char* name) {
    return all.contains(name) && all[name].is_string() ? all[name].get<std::string>() : std::string();
  };
  return printable_text(text("kernel").empty() ? text("firmware") : text("kernel"));
}

json as_json(const SnapshotSummary& s) {
  if (!s.problem.empty()) return {{"name", s.name}, {"problem", s.problem}};
  return {{"name", s.name}, {"made", s.made_s}, {"own_bytes", s.own_bytes}, {"pages", s.pages}, {"bytes", s.bytes}};
}

Result<void> list(const SnapshotOptions& o) {
  const auto store = open_snapshots(true);
  if (!store) return store.failure();
  const auto all = store->list();
  auto objects = json::array();
  if (!o.as_json && !all.empty()) print(stdout, "{:<24} {:<8} {:>10} {:>10}\n", "NAME", "MADE", "OWN", "PAGES");
  for (const auto& s : all) {
    if (o.as_json)
      objects.push_back(as_json(s));
    else if (!s.problem.empty())
      print(stdout, "{:<24} {}\n", s.name, s.problem);
    else
      print(stdout, "{:<24} {:<8} {:>10} {:>10}\n", s.name, age_text(wall_clock_ns() - s.made_s * 1'000'000'000),
            byte_size_text(s.own_bytes), s.pages);
  }
  if (o.as_json) print(stdout, "{}\n", objects.dump(2));
  return {};
}

Result<void> show(const SnapshotOptions& o) {
  const auto store = open_snapshots(false);
  if (!store) return store.failure();
  const auto snapshot = store->load(o.name);
  if (!snapshot) return snapshot.failure();
  const auto& s = **snapshot;
  json all{{"name", o.name}, {"made", s.made_s()}, {"state_bytes", s.state().size()}};
  all["machine"] = json::parse(s.description(), nullptr, false);
  for (const auto& space : s.spaces())
    all["spaces"].push_back(
        {{"name", space.name}, {"bytes", space.bytes}, {"pages", space.held}, {"hot", space.hot.size()}});
  if (o.as_json) {
    print(stdout, "{}\n", all.dump(2, ' ', false, json::error_handler_t::replace));
    return {};
  }
  print(stdout, "{}: made {} ago, of {}\n", o.name, age_text(wall_clock_ns() - s.made_s() * 1'000'000'000),
        what_of(s.description()));
  for (const auto& space : s.spaces())
    print(stdout, "  {:<10} {:>10}, {} pages held\n", space.name, byte_size_text(space.bytes), space.held);
  return {};
}

Result<void> remove(const SnapshotOptions& o) {
  const auto store = open_snapshots(false);
  return store ? store->remove(o.name) : Result<void>(store.failure());
}

Result<void> export_to(const SnapshotOptions& o) {
  const auto store = open_snapshots(false);
  return store ? store->export_to(o.name, o.file) : Result<void>(store.failure());
}

Result<void> import_from(const SnapshotOptions& o) {
  const auto store = open_snapshots(true);
  if (!store) return store.failure();
  const auto made = store->import_from(o.file, o.name, o.replace);
  return made ? Result<void>() : made.failure();
}

using Deed = Result<void> (*)(const SnapshotOptions&);

}  // namespace

void add_snapshot(CLI::App& program, Action& action) {
  auto options = std::make_shared<SnapshotOptions>();
  auto& o = *options;
  auto* verb =
      program.add_subcommand("snapshot", "Keep machines as they are at one moment, to run them again from there");
  const auto add = [&](const char* name, const char* help, Deed deed) {
    auto* part = verb->add_subcommand(name, help);
    part->callback([=, &action] {
      action = [=] {
        const auto done = deed(*options);
        return done ? 0 : complain(done.message());
      };
    });
    return part;
  };
  const auto name = [&](CLI::App* part) { part->add_option("NAME", o.name, "The snapshot")->required(); };
  auto* make = add("save", "Make a snapshot of a running machine; doppel snapshot MACHINE NAME is the same", save);
  make->add_option("MACHINE", o.machine, "A machine by name (see doppel ls)")->required();
  make->add_option("NAME", o.name, "What the snapshot shall be called")->required();
  make->add_flag("--replace", o.replace, "In the place of the snapshot that has this name");
  auto* ls = add("ls", "List them: what each has on disk for itself alone, and how many pages it holds", list);
  ls->add_flag("--json", o.as_json, "For programs: a list of objects");
  auto* one = add("show", "What a snapshot is of", show);
  name(one);
  one->add_flag("--json", o.as_json, "For programs: one object");
  name(add("rm", "Remove a snapshot, and what no other needs", remove));
  auto* out = add("export", "Write one file with all that a snapshot needs, but for images of disks", export_to);
  name(out);
  out->add_option("FILE", o.file, "Must not be there yet")->required();
  auto* in = add("import", "Make a snapshot of such a file", import_from);
  in->add_option("FILE", o.file, "What export wrote")->required();
  name(in);
  in->add_flag("--replace", o.replace, "In the place of the snapshot that has this name");
  verb->require_subcommand(1);
  verb->footer(
      "doppel run --from NAME runs one. What the machine flushes to a disk FILE that is kept is in "
      "FILE.MACHINE.overlay from\n"
      "then on, over FILE, which is only read.");
}

}  // namespace doppel
