#include "ir/form.h"

#include <algorithm>
#include <array>

namespace doppel::ir {
namespace {

constexpr std::uint8_t bit(Type type) { return std::uint8_t(1U << unsigned(type)); }

constexpr std::uint8_t types_of(char letter) {
  switch (letter) {
    case 'i':
      return bit(Type::i8) | bit(Type::i16) | bit(Type::i32) | bit(Type::i64);
    case 'w':
      return bit(Type::i32) | bit(Type::i64);
    case 'q':
      return bit(Type::i64);
    case 'f':
      return bit(Type::f32) | bit(Type::f64);
    case 's':
      return bit(Type::f32);
    case 'd':
      return bit(Type::f64);
    default:
      return bit(Type::none);
  }
}

constexpr void add_field(Form& form, char letter) {
  constexpr std::string_view flags = "SKXZNWEV";  // in the order of FlagKind
  form.reg |= letter == 'r';
  form.second_type |= letter == 't';
  form.condition |= letter == 'c';
  form.imm |= letter == 'i' || letter == 'h';
  form.size |= letter == 'z';
  form.window |= letter == 'v';
  form.hexadecimal |= letter == 'h';
  if (const auto at = flags.find(letter); at != std::string_view::npos) form.flag = FlagKind(at + 1);
}

constexpr Form row(std::string_view types, std::string_view fields) {
  Form form;
  for (const char letter : types) form.types |= types_of(letter);
  for (const char letter : fields) add_field(form, letter);
  return form;
}

constexpr std::array<Form, std::size_t(Op::count)> make_table() {
  std::array<Form, std::size_t(Op::count)> table{};
#define FORM(name, types, fields) table[std::size_t(Op::name)] = row(types, fields);
#include "ir/forms.inc"
  return table;
}

constexpr auto table = make_table();
static_assert(std::ranges::none_of(table, [](const Form& form) { return form.types == 0; }),
              "an operation of ops.inc has no row in forms.inc");

constexpr std::string_view type_words[] = {"none", "i8", "i16", "i32", "i64", "f32", "f64"};
constexpr std::string_view condition_words[] = {"eq", "ne", "lt", "ge", "ltu", "geu"};
static_assert(std::size(type_words) == type_count && std::size(condition_words) == condition_count);

constexpr FlagSpelling nothing[] = {{0, ""}};
constexpr FlagSpelling sign[] = {{0, ""}, {1, "signed"}};
constexpr FlagSpelling atomic[] = {
    {unsigned(AtomicKind::swap), "swap"}, {unsigned(AtomicKind::add), "add"},   {unsigned(AtomicKind::and_), "and"},
    {unsigned(AtomicKind::or_), "or"},    {unsigned(AtomicKind::xor_), "xor"},  {unsigned(AtomicKind::min), "min"},
    {unsigned(AtomicKind::max), "max"},   {unsigned(AtomicKind::minu), "minu"}, {unsigned(AtomicKind::maxu), "maxu"}};
constexpr FlagSpelling execution[] = {{0, ""}, {1, "execution"}};
constexpr FlagSpelling rounding[] = {{unsigned(Rounding::dynamic), ""},
                                     {unsigned(Rounding::to_zero), "to_zero"},
                                     {unsigned(Rounding::to_nearest), "to_nearest"},
                                     {unsigned(Rounding::down), "down"},
                                     {unsigned(Rounding::up), "up"}};
constexpr FlagSpelling negations[] = {{0, ""}, {1, "negate_product"}, {2, "negate_addend"}, {3, "negate_both"}};
constexpr FlagSpelling width[] = {{unsigned(FromInteger::i32), "from32"},
                                  {unsigned(FromInteger::i64), "from64"},
                                  {unsigned(FromInteger::u64), "from_unsigned64"}};
constexpr FlagSpelling ends[] = {{0, ""}, {1, "ends"}};
constexpr FlagSpelling stores[] = {{0, ""}, {1, "store"}};

}  // namespace

const Form& form(Op op) { return table[std::size_t(op)]; }

std::string_view spelling(Type type) { return type_words[unsigned(type)]; }
std::string_view spelling(Condition condition) { return condition_words[unsigned(condition)]; }

std::span<const FlagSpelling> flag_spellings(FlagKind kind) {
  static constexpr std::span<const FlagSpelling> all[] = {nothing,   sign,  atomic, execution, rounding,
                                                          negations, width, ends,   stores};
  return all[unsigned(kind)];
}

Type result_type(const Instruction& i) {
  const auto result = traits(i.op).result;
  return result == "t" ? i.type : result == "i" ? Type::i64 : result == "f" ? Type::f64 : Type::none;
}

}  // namespace doppel::ir
