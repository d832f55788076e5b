#include "session.h"

#include <fmt/format.h>

#include <algorithm>

#include "generate.h"
#include "listing.h"
#include "shrink.h"

namespace doppel::differential::engines {
namespace {

constexpr std::size_t little_code = 96 << 10;
constexpr std::size_t instructions_shown = 30;

U64 seed_of(U64 session, U64 index) { return Random(session ^ index * 0xd134'2543'de82'ef95).next(); }

/// What becomes of a program on new machines behind others.
std::optional<Difference> outcome(const std::vector<U64>& before, const Program& program,
                                  std::span<const EngineKind> kinds) {
  Machines machines(program.way, kinds);
  for (const auto seed : before)
    if (const auto other = generate(seed); other.way == program.way)
      if (auto difference = machines.run(other)) return difference;
  return machines.run(program);
}

/// The fewest of the programs in front of it that it fails behind; nothing when it does not fail.
std::optional<std::vector<U64>> needed(std::vector<U64> before, const Program& program,
                                       std::span<const EngineKind> kinds) {
  const auto fails = [&](const std::vector<U64>& seeds) { return outcome(seeds, program, kinds).has_value(); };
  if (fails({})) return std::vector<U64>{};
  if (!fails(before)) return std::nullopt;
  for (std::size_t n = before.size(); n-- > 0;) {
    auto fewer = before;
    fewer.erase(fewer.begin() + std::ptrdiff_t(n));
    if (fails(fewer)) before = std::move(fewer);
  }
  return before;
}

}  // namespace

std::optional<std::string> run_alone(const std::vector<U64>& before, const Program& program,
                                     std::span<const EngineKind> kinds) {
  if (!outcome(before, program, kinds)) return std::nullopt;
  const auto small = shrink(program, [&](const Program& p) { return outcome(before, p, kinds).has_value(); });
  const auto shown = *outcome(before, small, kinds);
  auto text = fmt::format("{} differs from {}; shrunk to\n{}", shown.engine, kinds[0].name, listing(small));
  text += fmt::format("the last instructions, by {}, until they differ:\n{}", kinds[0].name,
                      trace(small, shown.stop, instructions_shown));
  return text + shown.what;
}

Session::~Session() = default;

U64 Session::blocks() const {
  U64 sum = blocks_;
  if (!little_code_memory_)
    for (const auto& m : machines_) sum += m ? m->blocks() : 0;
  return sum;
}

U64 Session::instructions() const {
  U64 sum = instructions_;
  for (const auto& m : machines_) sum += m ? m->instructions() : 0;
  return sum;
}

U64 Session::paths() const {
  U64 sum = paths_;
  for (const auto& m : machines_) sum += m ? m->paths() : 0;
  return sum;
}

void Session::end_batch() {
  paths_ = paths();
  blocks_ = blocks();
  instructions_ = instructions();
  machines_ = {};
  batch_.clear();
  // Now and then memory for code that runs out again and again.
  little_code_memory_ = Random(seed_ + programs_).one_in(12);
}

Machines& Session::machines_for(Way way) {
  auto& machines = machines_[unsigned(way)];
  if (!machines)
    machines = std::make_unique<Machines>(way, kinds_, little_code_memory_ ? little_code : Machines::much_code);
  return *machines;
}

std::optional<std::string> Session::next() {
  if (programs_ % programs_a_batch == 0) end_batch();
  const auto seed = seed_of(seed_, programs_++);
  const auto program = generate(seed);
  const auto difference = machines_for(program.way).run(program);
  if (!difference) {
    batch_.push_back(seed);
    return std::nullopt;
  }
  return report(program, *difference);
}

std::string Session::report(const Program& program, const Difference& difference) const {
  auto text = fmt::format("seed {}, program {} with seed {}: {} differs from {}\n", seed_, programs_ - 1, program.seed,
                          difference.engine, kinds_[0].name);
  const auto before = needed(batch_, program, kinds_);
  if (!before) return text + difference.what + "  It does not happen again behind the same programs on new machines.\n";
  if (!before->empty()) text += fmt::format("only behind the programs with seeds {}\n", fmt::join(*before, ", "));
  return text + run_alone(*before, program, kinds_).value_or(difference.what);
}

}  // namespace doppel::differential::engines
