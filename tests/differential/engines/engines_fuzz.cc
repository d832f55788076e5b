// Looks for programs that engines execute differently: for so many blocks, or so long, or one program again.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <cstdio>

#include "generate.h"
#include "session.h"

namespace {

using namespace doppel::differential::engines;
using Clock = std::chrono::steady_clock;

void say(const std::string& text) {
  fmt::print("{}\n", text);
  std::fflush(stdout);
}

std::string progress(const Session& session) {
  return fmt::format("{} programs, {} blocks translated and executed, {} paths made, {} instructions",
                     session.programs(), session.blocks(), session.paths(), session.instructions());
}

int search(U64 seed, U64 blocks, U64 seconds, const std::vector<EngineKind>& kinds) {
  constexpr U64 programs_between_lines = 20'000;
  Session session(seed, kinds);
  const auto end = Clock::now() + std::chrono::seconds(seconds);
  while (blocks ? session.blocks() < blocks : Clock::now() < end) {
    if (const auto wrong = session.next()) {
      say(*wrong);
      say(progress(session));
      return 1;
    }
    if (session.programs() % programs_between_lines == 0) say(progress(session));
  }
  say(progress(session) + ", no difference");
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app{"Runs random programs on all engines and compares what becomes of them."};
  U64 seed = 1, blocks = 0, seconds = 60;
  std::vector<U64> programs;
  std::vector<std::string> engines;
  app.add_option("--seed", seed, "the sequence of programs (1)");
  app.add_option("--blocks", blocks, "end after so many translated blocks");
  app.add_option("--seconds", seconds, "end after so long, where no --blocks are given (60)");
  app.add_option("--program", programs, "run only the programs with these seeds, of which the last is looked at");
  app.add_option("--engine", engines, "compare only these with the interpreter (all)");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& e) {
    return app.exit(e) == 0 ? 0 : 2;
  }
  const auto kinds = choose_kinds(engines);
  if (kinds.empty()) {
    say("There is no such engine.");
    return 2;
  }
  if (programs.empty()) return search(seed, blocks, seconds, kinds);
  const auto last = generate(programs.back());
  programs.pop_back();
  const auto wrong = run_alone(programs, last, kinds);
  say(wrong.value_or("no difference"));
  return wrong ? 1 : 0;
}
