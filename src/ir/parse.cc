#include "ir/parse.h"

#include <algorithm>
#include <charconv>
#include <optional>
#include <unordered_map>
#include <utility>

#include "ir/form.h"
#include "ir/line_reader.h"

namespace doppel::ir {
namespace {

std::optional<Op> op_named(std::string_view name) {
  static const auto ops = [] {
    std::unordered_map<std::string_view, Op> all;
    for (unsigned n = 0; n < unsigned(Op::count); n++) all[traits(Op(n)).name] = Op(n);
    return all;
  }();
  const auto found = ops.find(name);
  return found == ops.end() ? std::nullopt : std::optional(found->second);
}

/// The enumerator of `count` that has this spelling.
template <typename T>
std::optional<T> spelled(std::string_view word, unsigned count) {
  for (unsigned n = 0; n < count; n++)
    if (spelling(T(n)) == word) return T(n);
  return std::nullopt;
}

/// Whether an operation with such a flag must say which.
bool must_be_said(FlagKind kind) {
  return std::ranges::none_of(flag_spellings(kind),
                              [](const FlagSpelling& s) { return s.value == 0 && s.word.empty(); });
}

class Parser {
 public:
  Result<Code> parse(std::string_view text) {
    for (unsigned number = 1; !text.empty(); number++) {
      const auto end = std::min(text.find('\n'), text.size());
      LineReader line(text.substr(0, std::min(end, text.find(';'))));
      if (!line.at_end() && !take(line)) return error("line {}: {}", number, line.problem());
      text.remove_prefix(std::min(end + 1, text.size()));
    }
    if (!begun_) return error("line 1: there is no line 'code FIRST to END, N guest instructions'");
    return std::move(code_);
  }

 private:
  bool take(LineReader& line) {
    if (line.accept_word("code")) return take_header(line);
    if (line.accept_word("path")) return code_.path = true, take_header(line);
    if (!begun_) return line.fail("the first line must be 'code FIRST to END, N guest instructions'");
    if (line.accept_word("at")) return take_place(line);
    if (!placed_) return line.fail("a line 'at OFFSET, N bytes, N left' must come before the first operation");
    return take_operation(line);
  }

  bool take_header(LineReader& line) {
    if (begun_) return line.fail("there is a second line 'code'");
    begun_ = true;
    return line.number(code_.begin) && line.expect_word("to") && line.number(code_.end) && line.expect(',') &&
           line.number(code_.guest_count) && line.expect_word("guest") && line.expect_word("instructions") &&
           line.expect_end();
  }

  bool take_place(LineReader& line) {
    placed_ = true;
    return line.number(place_.offset) && line.expect(',') && line.number(place_.length) && line.expect_word("bytes") &&
           line.expect(',') && line.number(place_.left) && line.expect_word("left") && line.expect_end();
  }

  bool take_operation(LineReader& line) {
    std::optional<std::uint32_t> name;
    if (line.accept('%')) {
      if (!line.number(name.emplace()) || !line.expect('=')) return false;
      if (values_.contains(*name)) return line.fail("%{} is given a second time", *name);
    }
    auto i = place_;
    const auto word = line.word();
    const auto op = op_named(word);
    if (!op) return line.fail("'{}' is no operation", word);
    i.op = *op;
    if (name && traits(i.op).result == "-") return line.fail("{} gives no value", word);
    if (!take_modifiers(line, i) || !take_arguments(line, i)) return false;
    if (name) values_[*name] = Value(code_.instructions.size());
    code_.instructions.push_back(i);
    return true;
  }

  /// What follows the name, each behind a point.
  static bool take_modifiers(LineReader& line, Instruction& i) {
    const auto& f = form(i.op);
    std::optional<Type> type, second;
    std::optional<Condition> condition;
    std::optional<std::uint8_t> flag;
    while (line.accept('.')) {
      const auto word = line.word();
      const auto is_type = spelled<Type>(word, type_count);
      const auto is_condition = spelled<Condition>(word, condition_count);
      if (is_type && !type)
        type = is_type;
      else if (is_type && f.second_type && !second)
        second = is_type;
      else if (is_condition && !condition)
        condition = is_condition;
      else if (const auto value = flag_value(f.flag, word); value && !flag)
        flag = value;
      else
        return line.fail("{} has no '{}', or had one", traits(i.op).name, word);
    }
    if (f.condition && !condition) return line.fail("{} needs a condition", traits(i.op).name);
    if (must_be_said(f.flag) && !flag) return line.fail("{} needs a flag", traits(i.op).name);
    i.type = type.value_or(f.implied());
    i.reg = std::uint8_t(second.value_or(Type::none));
    i.condition = condition.value_or(Condition::eq);
    i.flag = flag.value_or(0);
    return true;
  }

  static std::optional<std::uint8_t> flag_value(FlagKind kind, std::string_view word) {
    for (const auto& known : flag_spellings(kind))
      if (!known.word.empty() && known.word == word) return known.value;
    constexpr std::string_view by_number = "flag";
    if (!word.starts_with(by_number)) return std::nullopt;
    word.remove_prefix(by_number.size());
    std::uint8_t value = 0;
    const auto result = std::from_chars(word.data(), word.data() + word.size(), value);
    const bool whole = result.ec == std::errc() && result.ptr == word.data() + word.size();
    return whole ? std::optional(value) : std::nullopt;
  }

  /// The register, the arguments, the number: what of them the operation has.
  bool take_arguments(LineReader& line, Instruction& i) {
    const auto& f = form(i.op);
    const auto name = traits(i.op).name;
    bool first = true;
    const auto more = [&] { return std::exchange(first, false) ? !line.at_end() : line.accept(','); };
    bool another = more();
    if (another && line.accept('r')) {
      if (!line.number(i.reg)) return false;
      another = more();
    } else if (f.reg) {
      return line.fail("{} needs a register first, as in r10", name);
    }
    Value* const arguments[] = {&i.a, &i.b, &i.c};
    const auto count = traits(i.op).arguments.size();
    for (std::size_t n = 0; n < count; n++, another = more())
      if (!another || !take_value(line, *arguments[n])) return line.fail("{} needs {} values, as in %3", name, count);
    if (another ? !line.number(i.imm) : f.imm) return line.fail("{} needs a number last", name);
    if (f.size && (!line.expect(',') || !line.number(i.size))) return line.fail("{} needs its bytes last", name);
    if (f.window && line.accept(',') && !line.number(i.size)) return line.fail("{} has where it was seen last", name);
    if (f.window && line.accept_word("in") && !take_value(line, *arguments[count])) return false;
    return line.expect_end();
  }

  bool take_value(LineReader& line, Value& out) {
    std::uint32_t name = 0;
    if (!line.accept('%') || !line.number(name)) return false;
    const auto found = values_.find(name);
    if (found == values_.end()) return line.fail("%{} is used, and no line before gives it", name);
    out = found->second;
    return true;
  }

  Code code_;
  Instruction place_;  // with the fields that an 'at' line says
  bool begun_ = false, placed_ = false;
  std::unordered_map<std::uint32_t, Value> values_;
};

}  // namespace

Result<Code> parse(std::string_view text) { return Parser().parse(text); }

}  // namespace doppel::ir
