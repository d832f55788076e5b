#include "cli/statistics_text.h"

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "cli/command.h"
#include "guest/riscv64/decode.h"
#include "guest/riscv64/disassemble.h"

namespace doppel {
namespace {

/// What translated code left to the interpreter, the most frequent first.
void print_interpreted(std::FILE* to, const riscv64::HartCounters& harts) {
  std::vector<std::pair<std::uint64_t, std::string>> list;
  for (const auto& row : riscv64::rows())
    if (const auto count = harts.interpreted[std::size_t(row.opcode)]; count > 0)
      list.emplace_back(count, riscv64::mnemonic(row.name));
  std::sort(list.rbegin(), list.rend());
  std::uint64_t all = 0;
  for (const auto& [count, name] : list) all += count;
  print(to, "interpreted           {:>16}\n", all);
  for (const auto& [count, name] : list) print(to, "  {:<20}{:>16}\n", name, count);
}

void print_code_store(std::FILE* to, const CodeStoreCounters& s) {
  if (!s.problem.empty()) return print(to, "code cache on disk    not used: {}\n", s.problem);
  print(to,
        "code cache on disk    {:>16}\n"
        "  loaded              {:>16}\n"
        "  stored              {:>16}\n"
        "  rejected            {:>16}\n",
        s.known, s.loaded, s.stored, s.rejected);
}

}  // namespace

void print_statistics(std::FILE* to, const MachineStatistics& s) {
  const auto& h = s.harts;
  const auto busy = s.seconds * s.cpus - s.seconds_waiting;
  print(to,
        "instructions          {:>16}\n"
        "  per busy second     {:>16.0f}\n"
        "exceptions            {:>16}\n"
        "interrupts            {:>16}\n"
        "TLB misses            {:>16}\n"
        "TLB flushes           {:>16}\n"
        "blocks decoded        {:>16}\n"
        "device accesses       {:>16}\n"
        "watched reservations  {:>16}\n"
        "waits (WFI)           {:>16}\n"
        "seconds in WFI        {:>16.3f}\n"
        "seconds               {:>16.3f}\n"
        "dirty pages           {:>16}\n"
        "pages in the balloon  {:>16}\n"
        "pages given back      {:>16}\n",
        h.instructions, busy > 0 ? double(h.instructions) / busy : 0.0, h.exceptions, h.interrupts, h.tlb_misses,
        h.tlb_flushes, h.blocks_decoded, h.device_accesses, h.watched_reservations, h.waits, s.seconds_waiting,
        s.seconds, s.dirty_pages, s.balloon_pages, s.discarded_pages);
  if (s.engine)
    print(to,
          "translations          {:>16}\n"
          "  of guest code       {:>16}\n"
          "  bytes of host code  {:>16}\n"
          "links                 {:>16}\n"
          "invalidated           {:>16}\n"
          "code cache flushes    {:>16}\n"
          "jump cache misses     {:>16}\n"
          "dispatches            {:>16}\n"
          "first runs            {:>16}\n"
          "paths                 {:>16}\n"
          "  that go round       {:>16}\n"
          "  of guest code       {:>16}\n",
          s.engine->translations, s.engine->translated_instructions, s.engine->code_bytes, s.engine->links,
          s.engine->invalidated, s.engine->flushes, h.jump_misses, h.dispatches, s.engine->first_runs, s.engine->paths,
          s.engine->path_loops, s.engine->path_instructions);
  if (s.code_store) print_code_store(to, *s.code_store);
  if (s.engine) print_interpreted(to, h);
  for (std::size_t i = 0; i < s.places.size(); i++)
    print(to, "hart {:<2} is at            {:016x} in {}-mode\n", i, s.places[i].pc, s.places[i].mode);
  if (s.memory_hash) print(to, "memory hash           {:016x}\n", s.memory_hash);
}

}  // namespace doppel
