#include "ir/print.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <utility>

#include "ir/form.h"

namespace doppel::ir {
namespace {

using Out = std::back_insert_iterator<std::string>;

/// Small numbers are easier to read in decimal, and addresses, masks and encodings are not small.
void print_number(Out out, std::int64_t value, bool hexadecimal) {
  constexpr std::uint64_t small = 1000;
  const auto size = value < 0 ? -std::uint64_t(value) : std::uint64_t(value);
  const auto* sign = value < 0 ? "-" : "";
  size < small && !hexadecimal ? fmt::format_to(out, "{}{}", sign, size) : fmt::format_to(out, "{}{:#x}", sign, size);
}

/// The words that follow the name: what else is the type, the second type, the condition, the flag.
void print_modifiers(Out out, const Instruction& i) {
  const auto& f = form(i.op);
  if (i.type != f.implied() || f.second_type) fmt::format_to(out, ".{}", spelling(i.type));
  if (f.second_type && i.reg < type_count) fmt::format_to(out, ".{}", spelling(Type(i.reg)));
  if (f.condition || i.condition != Condition::eq) fmt::format_to(out, ".{}", spelling(i.condition));
  const auto known = flag_spellings(f.flag);
  const auto word = std::ranges::find(known, i.flag, &FlagSpelling::value);
  if (word == known.end())
    fmt::format_to(out, ".flag{}", i.flag);
  else if (!word->word.empty())
    fmt::format_to(out, ".{}", word->word);
}

void print_arguments(Out out, const Instruction& i) {
  const auto& f = form(i.op);
  const char* between = " ";
  const auto next = [&] { out = fmt::format_to(out, "{}", std::exchange(between, ", ")); };
  const bool reg_is_type = f.second_type && i.reg < type_count;
  if (f.reg || (i.reg != 0 && !reg_is_type)) next(), fmt::format_to(out, "r{}", i.reg);
  const Value arguments[] = {i.a, i.b, i.c};
  for (std::size_t n = 0; n < traits(i.op).arguments.size(); n++) next(), fmt::format_to(out, "%{}", arguments[n]);
  if (f.imm || i.imm != 0) next(), print_number(out, i.imm, f.hexadecimal);
  if (f.size || i.size != 0) next(), fmt::format_to(out, "{}", i.size);
  if (in_window(i)) fmt::format_to(out, " in %{}", window_of(i));
}

void print_operation(Out out, const Code& code, Value value) {
  const auto& i = code.instructions[value];
  const auto& t = traits(i.op);
  if (t.result != "-") fmt::format_to(out, "%{} = ", value);
  fmt::format_to(out, "{}", t.name);
  print_modifiers(out, i);
  print_arguments(out, i);
}

bool same_place(const Instruction& a, const Instruction& b) {
  return a.offset == b.offset && a.length == b.length && a.left == b.left;
}

}  // namespace

std::string print(const Code& code, Value value) {
  std::string text;
  print_operation(std::back_inserter(text), code, value);
  return text;
}

std::string print(const Code& code) {
  std::string text;
  const Out out(text);
  fmt::format_to(out, "{} {:#x} to {:#x}, {} guest instructions\n", code.path ? "path" : "code", code.begin, code.end,
                 code.guest_count);
  const auto& list = code.instructions;
  for (Value value = 0; value < list.size(); value++) {
    const auto& i = list[value];
    if (value == 0 || !same_place(i, list[value - 1]))
      fmt::format_to(out, "at {:#x}, {} bytes, {} left\n", i.offset, i.length, i.left);
    text += "  ";
    print_operation(out, code, value);
    text += '\n';
  }
  return text;
}

}  // namespace doppel::ir
