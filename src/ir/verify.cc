#include "ir/verify.h"

#include <array>
#include <cstdio>
#include <cstdlib>
#include <limits>

#include "ir/builder.h"
#include "ir/form.h"
#include "ir/print.h"
#include "memory/guest_memory.h"

namespace doppel::ir {
namespace {

constexpr unsigned bit(Type type) { return 1U << unsigned(type); }
constexpr unsigned integers = bit(Type::i8) | bit(Type::i16) | bit(Type::i32) | bit(Type::i64);

/// The types, a bit for each, that a floating-point argument may have.
unsigned float_argument(const Instruction& i) {
  switch (i.op) {
    case Op::setf:
    case Op::unbox:
    case Op::bits:
      return bit(Type::f64);
    case Op::box:
      return bit(Type::f32);
    case Op::toint:
      return i.reg < type_count ? bit(Type(i.reg)) : 0;
    case Op::fcvt:
      return bit(i.type == Type::f32 ? Type::f64 : Type::f32);
    case Op::storef:  // of a register the low bits are stored, boxed or not
      return bit(i.type) | bit(Type::f64);
    default:
      return bit(i.type);
  }
}

struct Range {
  std::int64_t first, last;
};

/// What generators have room for.
Range imm_range(Op op) {
  if (op == Op::constant) return {std::numeric_limits<std::int64_t>::min(), std::numeric_limits<std::int64_t>::max()};
  if (op == Op::interpret) return {0, std::numeric_limits<std::uint32_t>::max()};
  return {std::numeric_limits<std::int32_t>::min(), std::numeric_limits<std::int32_t>::max()};
}

class Verifier {
 public:
  explicit Verifier(const Code& code) : code_(code) {}

  Result<void> run() {
    if (code_.instructions.empty()) return error("there is no operation");
    if (code_.begin >= code_.end) return error("the guest's code ends where it begins");
    // Slow paths keep the number of instructions behind theirs in 8 bits.
    if (code_.guest_count == 0 || code_.guest_count > 256)
      return error("there are {} guest instructions", code_.guest_count);
    for (at_ = 0; at_ < code_.instructions.size(); at_++) {
      const auto& i = code_.instructions[at_];
      if (check_op(i) && check_fields(i) && check_place(i) && check_arguments(i) && check_register(i) && check_end(i))
        continue;
      return error("operation {} ({}): {}", at_, i.op < Op::count ? traits(i.op).name : "?", problem_);
    }
    return {};
  }

 private:
  template <typename... Args>
  bool fail(fmt::format_string<Args...> format, Args&&... args) {
    problem_ = fmt::format(format, std::forward<Args>(args)...);
    return false;
  }

  bool check_op(const Instruction& i) { return i.op < Op::count || fail("there is no operation {}", unsigned(i.op)); }

  bool check_fields(const Instruction& i) {
    const auto& f = form(i.op);
    if (unsigned(i.type) >= type_count || !f.allows(i.type)) return fail("it does not come in this type");
    if (unsigned(i.condition) >= condition_count) return fail("there is no such condition");
    if (!f.condition && i.condition != Condition::eq) return fail("it has no condition");
    if (!f.reg && !f.second_type && i.reg != 0) return fail("it has no register");
    if (!f.imm && i.imm != 0) return fail("it has no number");
    const bool may_have_size = f.size || (f.window && code_.path);
    if ((f.size && i.size == 0) || (!may_have_size && i.size != 0) || i.size > page_size)
      return fail("it cannot have {} bytes", i.size);
    if (const auto range = imm_range(i.op); i.imm < range.first || i.imm > range.last)
      return fail("{} is out of range", i.imm);
    for (const auto& known : flag_spellings(f.flag))
      if (known.value == i.flag) return true;
    return fail("it has no flag {}", i.flag);
  }

  /// Guest instructions come in order.
  bool check_place(const Instruction& i) {
    if (i.left >= code_.guest_count)
      return fail("{} of {} guest instructions cannot be left", i.left, code_.guest_count);
    if (code_.path) return at_ == 0 || i.left <= code_.instructions[at_ - 1].left || fail("it comes too late");
    if (i.offset < code_.begin || i.offset > code_.end) return fail("{:#x} is not in the block", i.offset);
    if (at_ == 0) return true;
    const auto& before = code_.instructions[at_ - 1];
    const bool same = i.offset == before.offset && i.length == before.length && i.left == before.left;
    const bool later = i.offset > before.offset && i.left <= before.left;
    return same || later || fail("its guest instruction is not the one before or a later one");
  }

  bool check_arguments(const Instruction& i) {
    const auto letters = traits(i.op).arguments;
    const Value arguments[] = {i.a, i.b, i.c};
    for (std::size_t n = 0; n < std::size(arguments); n++) {
      const auto value = arguments[n];
      if (n == letters.size() && form(i.op).window && value != no_value) {
        if (!check_window(i, value)) return false;
        continue;
      }
      if (n >= letters.size()) {
        if (value != no_value) return fail("it has {} arguments, not {}", letters.size(), n + 1);
        continue;
      }
      if (value >= at_) return fail("its argument {} is not given before it", n + 1);
      const auto& from = code_.instructions[value];
      const auto type = result_type(from);
      if (type == Type::none) return fail("%{} is no value", value);
      if (!(bit(type) & (letters[n] == 'f' ? float_argument(i) : integers)))
        return fail("%{} is of type {}, and cannot be its argument {}", value, spelling(type), n + 1);
      if (value < kept_from_ && from.op != Op::constant && from.op != Op::page)
        return fail("%{} is lost, because the interpreter ran since", value);
    }
    return true;
  }

  bool check_window(const Instruction& i, Value value) {
    const bool stores = traits(i.op).result == "-";
    const bool fits = value < at_ && value >= kept_from_ && code_.instructions[value].op == Op::window &&
                      (code_.instructions[value].flag != 0 || !stores) &&
                      (code_.path || stores || code_.instructions[value].flag == 0);
    return fits || fail("%{} is no window for it", value);
  }

  /// A register holds either integers or floating-point numbers.
  bool check_register(const Instruction& i) {
    if (!form(i.op).reg) return true;
    if (i.reg >= Builder::max_registers) return fail("there is no register {}", i.reg);
    const auto type = i.op == Op::get ? i.type : i.op == Op::setf ? Type::f64 : Type::i64;
    auto& known = registers_[i.reg];
    if (known != Type::none && known != type) return fail("r{} is of type {}", i.reg, spelling(known));
    known = type;
    return true;
  }

  bool check_end(const Instruction& i) {
    const bool ends = traits(i.op).last || (i.op == Op::interpret && i.flag != 0);
    const bool is_last = at_ + 1 == code_.instructions.size();
    if (i.op == Op::interpret) kept_from_ = at_ + 1;
    if (is_last) return ends || fail("the last operation does not leave");
    return !ends || fail("what follows is never reached");
  }

  const Code& code_;
  Value at_ = 0;
  Value kept_from_ = 0;  // what values before this one hold is lost
  std::array<Type, Builder::max_registers> registers_{};
  std::string problem_;
};

}  // namespace

Result<void> verify(const Code& code) { return Verifier(code).run(); }

void expect_sound(const Code& code, const char* maker) {
  const auto sound = verify(code);
  if (sound) return;
  std::fputs(fmt::format("{} made IR that is not sound: {}\n{}", maker, sound.failure().message, print(code)).c_str(),
             stderr);
  std::abort();
}

}  // namespace doppel::ir
