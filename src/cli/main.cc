#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <numeric>
#include <string>
#include <vector>

#include "cli/command.h"
#include "machine/console.h"

namespace doppel {

int complain(const std::string& sentence) {
  if (!sentence.empty()) print(stderr, "doppel: {}\n", sentence);
  return exit_usage;
}

namespace {

/// How many letters to change, add, drop or swap with their neighbour to make one word of the other.
std::size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector distance(a.size() + 1, std::vector<std::size_t>(b.size() + 1));
  for (std::size_t i = 0; i <= a.size(); i++) distance[i][0] = i;
  std::iota(distance[0].begin(), distance[0].end(), 0);
  for (std::size_t i = 1; i <= a.size(); i++) {
    for (std::size_t j = 1; j <= b.size(); j++) {
      const auto changed = distance[i - 1][j - 1] + (a[i - 1] != b[j - 1]);
      distance[i][j] = std::min({distance[i - 1][j] + 1, distance[i][j - 1] + 1, changed});
      const bool swapped = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
      if (swapped) distance[i][j] = std::min(distance[i][j], distance[i - 2][j - 2] + 1);
    }
  }
  return distance[a.size()][b.size()];
}

/// What the user probably meant by `word`, or an empty string.
std::string suggestion(const std::string& word, const std::vector<std::string>& known) {
  std::string best;
  auto least = std::max<std::size_t>(1, word.size() / 3) + 1;
  for (const auto& candidate : known)
    if (const auto distance = edit_distance(word, candidate); distance < least) least = distance, best = candidate;
  return best;
}

std::vector<std::string> known_words(const CLI::App& app) {
  std::vector<std::string> words;
  for (const auto* verb : app.get_subcommands(nullptr)) words.push_back(verb->get_name());
  for (const auto* option : app.get_options())
    for (const auto& name : option->get_lnames()) words.push_back("--" + name);
  return words;
}

const CLI::App& innermost(const CLI::App& app) {
  const auto chosen = app.get_subcommands();
  return chosen.empty() ? app : innermost(*chosen.front());
}

int explain(const CLI::App& program, const CLI::ParseError& failure) {
  const auto& verb = innermost(program);
  const auto left = verb.remaining();
  const auto unknown = left.empty() ? program.remaining() : left;
  // A verb that is not known is, to the parser, a verb that is missing.
  const bool about_words =
      dynamic_cast<const CLI::ExtrasError*>(&failure) || dynamic_cast<const CLI::RequiredError*>(&failure);
  if (about_words && !unknown.empty()) {
    auto word = unknown.front();
    word = word.substr(0, word.find('='));
    const bool is_option = word.starts_with("-");
    const auto meant = suggestion(word, known_words(verb));
    return complain(fmt::format("{} '{}' is not known{}; see {} --help", is_option ? "the option" : "the word", word,
                                meant.empty() ? "" : fmt::format(": did you mean '{}'?", meant),
                                verb.get_parent() ? "doppel " + verb.get_name() : "doppel"));
  }
  return complain(
      fmt::format("{}; see doppel {}--help", failure.what(), verb.get_parent() ? verb.get_name() + " " : ""));
}

}  // namespace
}  // namespace doppel

int main(int argc, char** argv) {
  doppel::Console::reserve_standard_descriptors();
  CLI::App program{
      "Doppel runs computers inside your computer: whole machines that boot unmodified operating systems,\nwithout KVM "
      "and without root.",
      "doppel"};
  program.require_subcommand(1);
  program.get_formatter()->column_width(34);
  doppel::Action action;
  doppel::add_run(program, action);
  doppel::add_image(program, action);
  doppel::add_disk(program, action);
  doppel::add_version(program, action);
  program.footer("Start with: doppel run        (boots Debian 13 to a shell; Ctrl-A X leaves)");
  try {
    program.parse(argc, argv);
  } catch (const CLI::CallForHelp& help) {
    return program.exit(help);
  } catch (const CLI::CallForAllHelp& help) {
    return program.exit(help);
  } catch (const CLI::ParseError& failure) {
    if (argc == 1) {
      std::fputs(program.help().c_str(), stderr);
      return doppel::exit_usage;
    }
    return doppel::explain(program, failure);
  }
  return action();
}
