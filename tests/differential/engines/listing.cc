#include "listing.h"

#include <fmt/format.h>

#include <array>
#include <deque>
#include <optional>

#include "guest/riscv64/decode.h"
#include "guest/riscv64/disassemble.h"
#include "guest/riscv64/privileged.h"
#include "link.h"

namespace doppel::differential::engines {
namespace {

constexpr std::array<std::string_view, ways> way_names = {"plain", "exact", "pair", "calls", "hot"};
constexpr std::array<std::string_view, 6> world_names = {"user",    "supervisor", "supervisor at physical addresses",
                                                         "machine", "bare user",  "bare supervisor"};

std::string disassembly(std::uint32_t bits, U64 pc) {
  auto text = riscv64::disassemble(bits, pc);
  if (const auto tab = text.find('\t'); tab != text.npos) text.replace(tab, 1, std::max<int>(1, 12 - int(tab)), ' ');
  return text;
}

std::string describe(const Stop& stop) {
  const auto text = fmt::format("  hart {} executes {}", stop.hart, stop.steps);
  switch (stop.event) {
    case Stop::Event::none:
      return text + "\n";
    case Stop::Event::raise:
      return text + fmt::format(", then interrupt {} is raised\n", stop.where);
    case Stop::Event::lower:
      return text + fmt::format(", then interrupt {} is lowered\n", stop.where);
    case Stop::Event::time:
      return text + fmt::format(", then time goes on by {}\n", stop.value);
    default:
      return text + fmt::format(", then a device writes {:#x} to {:#x}\n", stop.value, stop.where);
  }
}

/// Where code at `pc` is, by the page tables alone.
std::optional<U64> physical_of(Computer& computer, const riscv64::HartState& s, U64 pc) {
  namespace pte = riscv64::pte;
  const auto mode = riscv64::Paging(s.satp >> 60);
  if (s.privilege == 3 || mode == riscv64::Paging::bare) return pc;
  U64 table = (s.satp & pte::ppn_mask) << page_shift;
  for (auto level = riscv64::paging_levels(mode); level-- > 0;) {
    U64 entry = 0;
    if (!computer.memory().read(table + (pc >> (12 + 9 * level) & 511) * 8, &entry, 8) || !(entry & pte::v)) break;
    table = (entry >> pte::ppn_shift & pte::ppn_mask) << page_shift;
    const U64 inside = (1ULL << (12 + 9 * level)) - 1;
    if (entry & (pte::r | pte::x)) return (table & ~inside) | (pc & inside);
  }
  return std::nullopt;
}

}  // namespace

std::string listing(const Program& program) {
  auto text = fmt::format(
      "seed {}, a {} machine, Sv{}, medeleg {:#x}, mideleg {:#x}, menvcfg {:#x}, senvcfg {:#x}, fcsr {:#x}\n",
      program.seed, way_names[unsigned(program.way)], 12 + 9 * program.levels, program.medeleg, program.mideleg,
      program.menvcfg, program.senvcfg, program.fcsr);
  for (unsigned hart = 0; hart < harts_of(program.way); hart++) {
    text += fmt::format("hart {}:", hart);
    for (unsigned n = 1; n < 32; n++)
      if (const auto x = program.registers[hart].x[n]) text += fmt::format(" {}={:#x}", riscv64::x_name(n), x);
    for (unsigned n = 0; n < 32; n++)
      if (const auto f = program.registers[hart].f[n]) text += fmt::format(" {}={:#x}", riscv64::f_name(n), f);
    text += "\n";
  }
  unsigned last = ~0U;
  for (const auto& p : link(program)) {
    const auto& piece = *program.piece(p.piece);
    const auto base = program.code_base(piece.setting);
    if (p.piece != last)
      text += fmt::format("{} {} in {} mode on hart {}, mstatus {:#x}, satp {:#x}\n",
                          piece.level ? "function" : "segment", piece.id, world_names[unsigned(piece.setting.world)],
                          piece.setting.hart, piece.setting.status, piece.setting.satp);
    last = p.piece;
    text += fmt::format("  {:3} {:x}: {}\n", p.item, base + p.offset, disassembly(p.bits, base + p.offset));
  }
  for (const auto& stop : program.stops) text += describe(stop);
  return text;
}

std::optional<std::uint32_t> instruction_at(Computer& computer, unsigned hart) {
  const auto& s = computer.hart(hart).state();
  std::uint32_t bits = 0;
  const auto low = physical_of(computer, s, s.pc), high = physical_of(computer, s, s.pc + 2);
  if (!low || !computer.memory().read(*low, &bits, 2)) return std::nullopt;
  std::uint16_t more = 0;
  if (riscv64::instruction_length(bits) == 4 && (!high || !computer.memory().read(*high, &more, 2)))
    return std::nullopt;
  return bits | std::uint32_t(more) << 16;
}

std::string trace(const Program& program, std::size_t stop, std::size_t most) {
  Computer computer(program.way, engine_kinds()[0], 1 << 20);
  computer.load(make_image(program));
  for (std::size_t n = 0; n < stop && n < program.stops.size(); n++) {
    if (computer.finished(program.stops[n].hart)) continue;
    computer.run(program.stops[n].hart, program.stops[n].steps);
    computer.apply(program.stops[n]);
  }
  std::deque<std::string> lines;
  if (stop < program.stops.size()) {
    const auto& last = program.stops[stop];
    const auto& s = computer.hart(last.hart).state();
    for (unsigned n = 0; n < last.steps; n++) {
      const auto bits = instruction_at(computer, last.hart);
      lines.push_back(fmt::format("  {:6} {} {:x}: {}\n", s.steps, "USHM"[s.privilege & 3], s.pc,
                                  bits ? disassembly(*bits, s.pc) : "cannot be fetched"));
      computer.run(last.hart, 1);
      if (lines.size() > most) lines.pop_front();
    }
  }
  std::string text;
  for (const auto& line : lines) text += line;
  return text;
}

}  // namespace doppel::differential::engines
