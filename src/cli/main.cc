#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <string>
#include <vector>

#include "base/suggestion.h"
#include "cli/command.h"
#include "machine/console.h"
#include "process/module_file.h"

namespace doppel {

int complain(const std::string& sentence) {
  if (!sentence.empty()) print(stderr, "doppel: {}\n", sentence);
  return exit_usage;
}

namespace {

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

/// Where `run` names a WebAssembly program: the first word that can be what is run and names a module.
std::vector<std::string>::iterator program_word(std::vector<std::string>& words) {
  if (words.empty() || words[0] != "run") return words.end();
  return std::find_if(words.begin() + 1, words.end(),
                      [](const auto& word) { return !word.starts_with('-') && !word.empty() && names_module(word); });
}

/// `run FILE.wasm` is `run-program FILE.wasm`, and `snapshot MACHINE NAME` is `snapshot save MACHINE NAME`. The last
/// word first, as the parser takes them.
std::vector<std::string> words_to_parse(const CLI::App& program, int argc, char** argv) {
  std::vector<std::string> words(argv + 1, argv + argc);
  if (words.size() >= 3 && words[0] == "snapshot" && !words[1].starts_with('-') && !words[2].starts_with('-') &&
      std::ranges::count(known_words(*program.get_subcommand("snapshot")), words[1]) == 0)
    words.insert(words.begin() + 1, "save");
  if (const auto module = program_word(words); module != words.end()) {
    words[0] = run_program_verb;
    if (*(module - 1) == "--") words.erase(module - 1);  // what follows is the program's own without it
  }
  std::ranges::reverse(words);
  return words;
}

int explain(const CLI::App& program, const CLI::ParseError& failure) {
  const auto& verb = innermost(program);
  const auto left = verb.remaining();
  const auto unknown = left.empty() ? program.remaining() : left;
  // A verb that is not known is, to the parser, a verb that is missing.
  const bool about_words =
      dynamic_cast<const CLI::ExtrasError*>(&failure) || dynamic_cast<const CLI::RequiredError*>(&failure);
  if (about_words && !unknown.empty() && unknown.front() != "--") {
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
  for (const auto add : {doppel::add_run, doppel::add_run_program, doppel::add_ls, doppel::add_attach, doppel::add_logs,
                         doppel::add_stats, doppel::add_stop, doppel::add_kill, doppel::add_balloon, doppel::add_pause,
                         doppel::add_resume, doppel::add_rm, doppel::add_snapshot, doppel::add_fork, doppel::add_fleet,
                         doppel::add_image, doppel::add_disk, doppel::add_wasm, doppel::add_version})
    add(program, action);
  program.footer("Start with: doppel run        (boots Debian 13 to a shell; Ctrl-A X leaves)");
  try {
    program.parse(doppel::words_to_parse(program, argc, argv));
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
