#include <algorithm>
#include <bit>
#include <optional>

#include "ir/fold.h"
#include "ir/passes/byte_origins.h"
#include "ir/passes/passes.h"

namespace doppel::ir {
namespace {

constexpr unsigned bits(Type type) { return 8 * bytes(type); }

/// What is known of a 64-bit value: that it is one of so many bits, extended by its sign or by zeros.
struct Width {
  unsigned as_signed = 64, as_unsigned = 64;
};

constexpr bool low_bits_count(Op op) {
  switch (op) {
    case Op::add:
    case Op::sub:
    case Op::and_:
    case Op::or_:
    case Op::xor_:
    case Op::andn:
    case Op::mul:
    case Op::divs:
    case Op::divu:
    case Op::rems:
    case Op::remu:
    case Op::clz:
    case Op::ctz:
    case Op::popcount:
    case Op::bswap:
    case Op::shl:
    case Op::shr:
    case Op::sar:
    case Op::rol:
    case Op::ror:
    case Op::sext:
    case Op::zext:
      return true;
    default:
      return false;
  }
}
constexpr bool is_shift(Op op) { return op >= Op::shl && op <= Op::ror; }
static_assert(unsigned(Op::ror) - unsigned(Op::shl) == 4);

class Simplifier {
 public:
  explicit Simplifier(Code& code) : code_(code), origins_(code.instructions) {}

  void run() {
    const auto old = std::move(code_.instructions);
    code_.instructions.clear();
    code_.instructions.reserve(old.size() + old.size() / 4);
    table_.assign(std::bit_ceil(old.size() * 2 + 16), no_value);
    std::vector<Value> moved(old.size(), no_value);
    for (Value n = 0; n < old.size(); n++) {
      auto i = old[n];
      for (auto* argument : {&i.a, &i.b, &i.c})
        if (*argument != no_value) *argument = moved[*argument];
      at_ = {.length = i.length, .offset = i.offset, .left = i.left};
      moved[n] = add(i);
    }
  }

 private:
  const Instruction& at(Value value) const { return code_.instructions[value]; }
  std::optional<std::int64_t> constant(Value value) const {
    if (value == no_value || at(value).op != Op::constant) return std::nullopt;
    return at(value).imm;
  }
  bool is(Value value, Op op) const { return value != no_value && at(value).op == op; }

  /// Makes an operation of the running guest instruction.
  Value make(Instruction i) {
    i.length = at_.length, i.offset = at_.offset, i.left = at_.left;
    return add(i);
  }
  Value make(Op op, Type type, Value a, Value b = no_value) { return make({.op = op, .type = type, .a = a, .b = b}); }
  Value make_constant(std::int64_t value) { return make({.op = Op::constant, .type = Type::i64, .imm = value}); }

  /// The value that has the same low `width` bits and was extended to what this one is.
  Value narrow(Value value, unsigned width) const {
    while ((is(value, Op::sext) || is(value, Op::zext)) && bits(at(value).type) >= width) value = at(value).a;
    return value;
  }

  Value add(Instruction i) {
    narrow_arguments(i);
    if (const auto known = simpler(i); known != no_value) return known;
    const auto& t = traits(i.op);
    const bool shared = t.pure || i.op == Op::get;
    return shared ? find_or_append(i) : append(i);
  }

  void narrow_arguments(Instruction& i) {
    if (low_bits_count(i.op) && i.type != Type::i64) {
      i.a = narrow(i.a, bits(i.type));
      if (i.b != no_value) i.b = narrow(i.b, bits(i.type));
    }
    if (is_shift(i.op)) i.b = narrow(i.b, 6);
    if (i.op == Op::store && i.type != Type::i64) i.b = narrow(i.b, bits(i.type));
    if (i.op == Op::fromint && i.flag == 32) i.a = narrow(i.a, 32);
    if ((i.op == Op::compare || i.op == Op::branch) && i.type == Type::i64) compare_narrowly(i);
  }

  /// Values that are all 32-bit ones, sign-extended, compare as their low halves do, as unsigned numbers too.
  void compare_narrowly(Instruction& i) {
    if (width_of(i.a).as_signed > 32 || width_of(i.b).as_signed > 32) return;
    const auto a = narrow(i.a, 32), b = narrow(i.b, 32);
    if (a == i.a && b == i.b) return;
    i.type = Type::i32, i.a = a, i.b = b;
  }

  Value simpler(Instruction& i) {
    switch (i.op) {
      case Op::sext:
      case Op::zext:
        return simpler_extension(i);
      case Op::add:
      case Op::sub:
      case Op::and_:
      case Op::or_:
      case Op::xor_:
      case Op::shl:
      case Op::shr:
      case Op::sar:
      case Op::mul:
      case Op::andn:
        return simpler_arithmetic(i);
      case Op::compare:
        return simpler_comparison(i);
      case Op::select:
        return simpler_selection(i);
      case Op::branch:
        join_comparison(i);
        return no_value;
      default:
        return no_value;
    }
  }

  Value simpler_extension(const Instruction& i) {
    if (const auto c = constant(i.a))
      return make_constant(std::int64_t(extend(i.type, i.op == Op::sext, std::uint64_t(*c))));
    const auto known = width_of(i.a);
    if (i.op == Op::sext ? known.as_signed <= bits(i.type) || known.as_unsigned < bits(i.type)
                         : known.as_unsigned <= bits(i.type))
      return i.a;
    return i.type == Type::i64 ? i.a : joined_load(i);
  }

  /// What is put together from bytes that were read one by one is read at once.
  Value joined_load(const Instruction& i) {
    const auto joined = origins_.joined(i);
    if (!joined) return no_value;
    const auto load = append(joined->load, &*joined);
    return joined->swapped ? make(Op::bswap, joined->load.type, load) : load;
  }

  Value simpler_arithmetic(Instruction& i) {
    if (const auto narrower = narrower_bitwise(i); narrower != no_value) return narrower;
    if (const auto rotated = rotation(i); rotated != no_value) return rotated;
    const bool commutes = i.op != Op::sub && i.op != Op::andn && !is_shift(i.op);
    if (commutes && constant(i.a) && !constant(i.b)) std::swap(i.a, i.b);
    const auto right = constant(i.b);
    if (!right) return joined_load(i);
    if (const auto left = constant(i.a))
      if (const auto value = evaluate(i.op, i.type, std::uint64_t(*left), std::uint64_t(*right)))
        return make_constant(std::int64_t(*value));
    if (i.type != Type::i64) return no_value;
    if (*right == 0 && i.op != Op::and_ && i.op != Op::mul) return i.a;
    if (i.op == Op::sub && *right != INT64_MIN) return make(Op::add, Type::i64, i.a, make_constant(-*right));
    if (i.op == Op::add && is(i.a, Op::add) && at(i.a).type == Type::i64)
      if (const auto inner = constant(at(i.a).b))
        return make(Op::add, Type::i64, at(i.a).a,
                    make_constant(std::int64_t(std::uint64_t(*inner) + std::uint64_t(*right))));
    if (i.op == Op::and_) return extension_by_mask(i, std::uint64_t(*right));
    if ((i.op == Op::shr || i.op == Op::sar) && is(i.a, Op::shl) && at(i.a).type == Type::i64)
      return extension_by_shifts(i, unsigned(*right) % 64);
    if (i.op == Op::xor_ && *right == 1 && is(i.a, Op::compare)) {
      auto inverse = at(i.a);
      inverse.condition = negated(inverse.condition);
      return make(inverse);
    }
    return no_value;
  }

  bool is_extended_word(Value value) const { return is(value, Op::sext) && at(value).type == Type::i32; }

  /// Bit by bit it makes no difference whether words are extended before or behind: what reads low bits only then needs
  /// no extension at all.
  Value narrower_bitwise(const Instruction& i) {
    const bool bitwise = i.op == Op::and_ || i.op == Op::or_ || i.op == Op::xor_ || i.op == Op::andn;
    if (!bitwise || i.type != Type::i64 || !(is_extended_word(i.a) || is_extended_word(i.b))) return no_value;
    for (const auto value : {i.a, i.b})
      if (width_of(value).as_signed > 32) return no_value;
    return make(Op::sext, Type::i32, make(i.op, Type::i32, i.a, i.b));
  }

  /// A value shifted both ways by amounts that add up to its width.
  Value rotation(const Instruction& i) {
    if (i.op != Op::or_ && i.op != Op::xor_ && i.op != Op::add) return no_value;
    auto right = i.a, left = i.b;
    if (is(right, Op::shl)) std::swap(right, left);
    if (!is(right, Op::shr) || !is(left, Op::shl) || at(right).type != i.type || at(left).type != i.type)
      return no_value;
    const auto down = constant(at(right).b), up = constant(at(left).b);
    const auto width = std::int64_t(bits(i.type));
    if (!down || !up || at(right).a != at(left).a || *down <= 0 || *up <= 0 || *down + *up != width) return no_value;
    return make(Op::ror, i.type, at(right).a, at(right).b);
  }

  Value extension_by_mask(const Instruction& i, std::uint64_t mask) {
    for (const auto type : {Type::i8, Type::i16, Type::i32})
      if (mask == (1ULL << bits(type)) - 1) return make(Op::zext, type, i.a);
    return no_value;
  }

  /// Left and back again is an extension, perhaps moved by the difference.
  Value extension_by_shifts(const Instruction& i, unsigned back) {
    const auto& left = at(i.a);
    const auto amount = constant(left.b);
    if (!amount) return no_value;
    const auto there = unsigned(*amount) % 64;
    if (back > there) return no_value;
    for (const auto type : {Type::i8, Type::i16, Type::i32}) {
      if (64 - there != bits(type)) continue;
      const auto from = left.a;
      const auto extended = make(i.op == Op::shr ? Op::zext : Op::sext, type, from);
      return back == there ? extended : make(Op::shl, Type::i64, extended, make_constant(there - back));
    }
    return no_value;
  }

  Value simpler_comparison(Instruction& i) {
    const auto left = constant(i.a), right = constant(i.b);
    if (left && right && i.type == Type::i64)
      return make_constant(holds(i.condition, std::uint64_t(*left), std::uint64_t(*right)));
    // Unsigned comparisons with the smallest numbers ask for zero.
    if (i.condition == Condition::ltu && left && *left == 0)
      return make({.op = Op::compare, .type = i.type, .condition = Condition::ne, .a = i.b, .b = i.a});
    if (i.condition == Condition::ltu && right && *right == 1)
      return make({.op = Op::compare, .type = i.type, .condition = Condition::eq, .a = i.a, .b = make_constant(0)});
    if (right && *right == 0 && i.condition == Condition::ne && is(i.a, Op::compare)) return i.a;
    return no_value;
  }

  Value simpler_selection(Instruction& i) {
    if (const auto known = constant(i.a)) return *known != 0 ? i.b : i.c;
    if (i.b == i.c) return i.b;
    return no_value;
  }

  /// A branch on whether a comparison gave 0 is a branch on the comparison.
  void join_comparison(Instruction& i) {
    const auto right = constant(i.b);
    if (!right || *right != 0 || !is(i.a, Op::compare)) return;
    if (i.condition != Condition::eq && i.condition != Condition::ne) return;
    const auto& comparison = at(i.a);
    const auto condition = i.condition == Condition::ne ? comparison.condition : negated(comparison.condition);
    i.type = comparison.type, i.condition = condition, i.a = comparison.a, i.b = comparison.b;
  }

  static bool same(const Instruction& x, const Instruction& y) {
    return x.op == y.op && x.type == y.type && x.condition == y.condition && x.reg == y.reg && x.flag == y.flag &&
           x.a == y.a && x.b == y.b && x.c == y.c && x.imm == y.imm;
  }
  static std::size_t hash(const Instruction& i) {
    auto h = std::uint64_t(i.op) | std::uint64_t(i.type) << 8 | std::uint64_t(i.condition) << 16 |
             std::uint64_t(i.reg) << 24 | std::uint64_t(i.flag) << 32;
    for (const auto part : {std::uint64_t(i.a), std::uint64_t(i.b), std::uint64_t(i.c), std::uint64_t(i.imm)})
      h = (h ^ part) * 0x9e3779b97f4a7c15, h ^= h >> 32;
    return h;
  }

  Value find_or_append(const Instruction& i) {
    const auto mask = table_.size() - 1;
    auto slot = hash(i) & mask;
    for (; table_[slot] != no_value; slot = (slot + 1) & mask)
      if (same(at(table_[slot]), i)) return table_[slot];
    const auto value = append(i);
    if (++used_ < mask) table_[slot] = value;
    return value;
  }

  Value append(const Instruction& i, const ByteOrigins::Joined* joined = nullptr) {
    code_.instructions.push_back(i);
    widths_.push_back(measure(i));
    joined ? origins_.appended(*joined) : origins_.appended(i);
    return Value(code_.instructions.size() - 1);
  }

  Width width_of(Value value) const { return widths_[value]; }

  Width measure(const Instruction& i) const {
    switch (i.op) {
      case Op::constant: {
        const auto significant = [](std::uint64_t v) { return 64 - unsigned(std::countl_zero(v)); };
        const auto magnitude = std::uint64_t(i.imm < 0 ? ~i.imm : i.imm);
        return {significant(magnitude) + 1, significant(std::uint64_t(i.imm))};
      }
      case Op::sext:
        return {bits(i.type), 64};
      case Op::zext:
        return {std::min(64U, bits(i.type) + 1), bits(i.type)};
      case Op::load:
        return i.flag ? Width{bits(i.type), 64} : Width{std::min(64U, bits(i.type) + 1), bits(i.type)};
      case Op::compare:
      case Op::fcompare:
        return {2, 1};
      case Op::and_:
        return i.type == Type::i64 ? either(width_of(i.a), width_of(i.b)) : Width{};
      case Op::or_:
      case Op::xor_:
        return i.type == Type::i64 ? both(width_of(i.a), width_of(i.b)) : Width{};
      case Op::select:
        return both(width_of(i.b), width_of(i.c));
      case Op::shl:
        if (const auto amount = constant(i.b); amount && i.type == Type::i64) {
          const auto wider = [&](unsigned width) { return std::min(64U, width + unsigned(*amount % 64)); };
          return {wider(width_of(i.a).as_signed), wider(width_of(i.a).as_unsigned)};
        }
        return {};
      case Op::shr:
        if (const auto amount = constant(i.b); amount && i.type == Type::i64 && *amount % 64 != 0)
          return {65 - unsigned(*amount % 64), 64 - unsigned(*amount % 64)};
        return {};
      default:
        return {};
    }
  }
  static Width both(Width x, Width y) {
    return {std::max(x.as_signed, y.as_signed), std::max(x.as_unsigned, y.as_unsigned)};
  }
  /// Of a conjunction: no more bits than the one without sign has, or as many as both have.
  static Width either(Width x, Width y) {
    const auto low = std::min(x.as_unsigned, y.as_unsigned);
    return {std::min(std::max(x.as_signed, y.as_signed), std::min(64U, low + 1)), low};
  }

  Code& code_;
  ByteOrigins origins_;
  Instruction at_;
  std::vector<Width> widths_;
  std::vector<Value> table_;
  std::size_t used_ = 0;
};

}  // namespace

void simplify(Code& code) { Simplifier(code).run(); }

}  // namespace doppel::ir
