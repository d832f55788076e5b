#include "compare.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <set>

#include "guest/riscv64/disassemble.h"

namespace doppel::differential::engines {
namespace {

using riscv64::HartState;

struct Field {
  std::string_view name;
  U64 (*read)(const HartState& state);
};

#define FIELD(member)                                         \
  Field {                                                     \
    #member, [](const HartState& s) { return U64(s.member); } \
  }
constexpr Field fields[] = {
    FIELD(pc),       FIELD(privilege),    FIELD(steps),          FIELD(unretired), FIELD(waiting), FIELD(fflags),
    FIELD(frm),      FIELD(mstatus),      FIELD(medeleg),        FIELD(mideleg),   FIELD(mie),     FIELD(mip),
    FIELD(mtvec),    FIELD(mcounteren),   FIELD(mscratch),       FIELD(mepc),      FIELD(mcause),  FIELD(mtval),
    FIELD(menvcfg),  FIELD(cycle_offset), FIELD(instret_offset), FIELD(mtimecmp),  FIELD(stvec),   FIELD(scounteren),
    FIELD(sscratch), FIELD(sepc),         FIELD(scause),         FIELD(stval),     FIELD(satp),    FIELD(senvcfg),
    FIELD(stimecmp),
};
#undef FIELD

std::string difference(const HartState& expected, const HartState& got) {
  std::string text;
  const auto check = [&](std::string_view name, U64 a, U64 b) {
    if (a != b) text += fmt::format("  {}: expected {:#x}, got {:#x}\n", name, a, b);
  };
  for (const auto& field : fields) check(field.name, field.read(expected), field.read(got));
  for (unsigned n = 1; n < 32; n++)
    if (expected.x[n] != got.x[n]) check(riscv64::x_name(n), expected.x[n], got.x[n]);
  for (unsigned n = 0; n < 32; n++)
    if (expected.f[n] != got.f[n]) check(riscv64::f_name(n), expected.f[n], got.f[n]);
  for (unsigned n = 0; n < riscv64::pmp_entries; n++) {
    check("pmpcfg", expected.pmpcfg[n], got.pmpcfg[n]);
    check("pmpaddr", expected.pmpaddr[n], got.pmpaddr[n]);
  }
  return text;
}

}  // namespace

Machines::Machines(Way way, std::span<const EngineKind> kinds, std::size_t code_bytes) {
  for (const auto& kind : kinds)
    if (!kind.takes_part || kind.takes_part(way))
      kinds_.push_back(kind), computers_.push_back(std::make_unique<Computer>(way, kind, code_bytes));
}

U64 Machines::blocks() const {
  U64 most = 0;
  for (const auto& c : computers_) most = std::max(most, c->blocks());
  return most;
}

U64 Machines::paths() const {
  U64 sum = 0;
  for (const auto& c : computers_) sum += c->paths();
  return sum;
}

std::optional<Difference> Machines::compare(unsigned hart, const std::vector<Computer::Ran>& ran, U64 begin) {
  auto& first = *computers_[0];
  for (std::size_t n = 1; n < computers_.size(); n++) {
    auto& other = *computers_[n];
    std::string what;
    if (ran[0] != ran[n])
      what += fmt::format("  expected {} instructions and stop {}, got {} and {}\n", ran[0].steps,
                          unsigned(ran[0].stop), ran[n].steps, unsigned(ran[n].stop));
    what += difference(first.hart(hart).state(), other.hart(hart).state());
    if (first.device_history() != other.device_history()) what += "  the device saw other accesses\n";
    if (!what.empty()) return Difference{std::string(kinds_[n].name), stops_, hart, begin, what};
  }
  return std::nullopt;
}

std::optional<Difference> Machines::compare_memory(unsigned hart) {
  std::set<U64> pages;
  for (const auto& c : computers_)
    for (const auto page : c->memory().dirty_pages()) pages.insert(page);
  for (std::size_t n = 1; n < computers_.size(); n++)
    for (const auto page : pages) {
      const auto* expected = computers_[0]->memory().page_for_read(page);
      const auto* got = computers_[n]->memory().page_for_read(page);
      if (std::memcmp(expected, got, page_size) == 0) continue;
      std::string what;
      for (U64 at = 0; at < page_size; at += 8) {
        U64 a, b;
        std::memcpy(&a, expected + at, 8), std::memcpy(&b, got + at, 8);
        if (a != b) what += fmt::format("  memory at {:#x}: expected {:#018x}, got {:#018x}\n", page + at, a, b);
      }
      return Difference{std::string(kinds_[n].name), stops_, hart, 0, what};
    }
  return std::nullopt;
}

std::optional<Difference> Machines::step(unsigned hart, U64 steps) {
  const auto begin = computers_[0]->hart(hart).state().steps;
  std::vector<Computer::Ran> ran;
  for (auto& c : computers_) ran.push_back(c->run(hart, steps));
  instructions_ += ran[0].steps;
  return compare(hart, ran, begin);
}

std::optional<Difference> Machines::run(const Program& program) {
  const auto image = make_image(program);
  for (auto& c : computers_) c->load(image);
  auto& first = *computers_[0];
  unsigned last = 0;
  for (stops_ = 0; stops_ < program.stops.size(); stops_++) {
    const auto& stop = program.stops[stops_];
    if (first.finished(stop.hart)) continue;
    last = stop.hart;
    if (auto difference = step(stop.hart, stop.steps)) return difference;
    for (auto& c : computers_) c->apply(stop);
  }
  return compare_memory(last);
}

}  // namespace doppel::differential::engines
