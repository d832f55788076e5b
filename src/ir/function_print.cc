#include "ir/function_print.h"

#include <fmt/format.h>

#include <iterator>

namespace doppel::ir {
namespace {

constexpr std::string_view type_words[] = {"none", "i8", "i16", "i32", "i64", "f32", "f64", "v128", "ref"};
constexpr std::string_view integer_compares[] = {"eq",   "ne",   "lt_s", "lt_u", "gt_s",
                                                 "gt_u", "le_s", "le_u", "ge_s", "ge_u"};
constexpr std::string_view float_compares[] = {"eq", "ne", "lt", "gt", "le", "ge"};
constexpr std::string_view rounds[] = {"ceil", "floor", "trunc", "nearest"};
constexpr std::string_view routines[] = {"memory_grow", "memory_fill", "memory_copy", "memory_init", "data_drop",
                                         "table_grow",  "table_fill",  "table_copy",  "table_init",  "elem_drop"};
static_assert(std::size(routines) == std::size_t(Routine::count));

using Out = std::back_insert_iterator<std::string>;

std::string_view name_of(FunctionOp op) {
  const auto name = row(op).name;
  return name.ends_with('_') ? name.substr(0, name.size() - 1) : name;
}

void print_flag(Out out, const FunctionInstruction& i) {
  switch (i.op) {
    case FunctionOp::compare:
      fmt::format_to(out, ".{}", integer_compares[i.flag]);
      return;
    case FunctionOp::fcompare:
      fmt::format_to(out, ".{}", float_compares[i.flag]);
      return;
    case FunctionOp::fround:
      fmt::format_to(out, ".{}", rounds[i.flag]);
      return;
    case FunctionOp::extend:
      fmt::format_to(out, ".{}", i.flag);
      return;
    case FunctionOp::load:
    case FunctionOp::store:
      fmt::format_to(out, ".{}{}", type_words[i.flag & 0xff], i.flag & load_signed ? ".signed" : "");
      return;
    case FunctionOp::vector:
      fmt::format_to(out, ".{}", row(VectorOp(i.flag & 0xff)).name);
      if (row(VectorOp(i.flag & 0xff)).immediate == 1) fmt::format_to(out, "[{}]", i.flag >> 8);
      return;
    case FunctionOp::truncate:
    case FunctionOp::from_integer:
      fmt::format_to(out, ".from{}{}{}", i.flag & conversion_wide ? 64 : 32,
                     i.flag & conversion_signed ? ".signed" : "", i.flag & conversion_saturates ? ".saturating" : "");
      return;
    case FunctionOp::jump_if:
      if (i.flag) fmt::format_to(out, ".not");
      return;
    case FunctionOp::runtime:
      fmt::format_to(out, ".{}", routines[i.flag]);
      return;
    case FunctionOp::trap:
    case FunctionOp::trap_if_null:
      fmt::format_to(out, " {}", i.flag);
      return;
    default:
      return;
  }
}

/// What `imm` and the pools say.
void print_number(Out out, const Function& function, const FunctionInstruction& i) {
  constexpr std::uint64_t low_half = 0xffff'ffff;
  switch (i.op) {
    case FunctionOp::constant:
      i.imm < 1000 ? fmt::format_to(out, " {}", i.imm) : fmt::format_to(out, " {:#x}", i.imm);
      return;
    case FunctionOp::jump:
    case FunctionOp::jump_if:
      fmt::format_to(out, " block {}", i.imm);
      return;
    case FunctionOp::jump_table:
      for (std::uint64_t n = 0; n < i.imm >> 32; n++) fmt::format_to(out, " block {}", function.labels[i.c + n]);
      return;
    case FunctionOp::load:
    case FunctionOp::store:
      if (i.imm != 0) fmt::format_to(out, " + {}", i.imm);
      if (i.c != 0) fmt::format_to(out, " memory {}", i.c);
      return;
    case FunctionOp::call_indirect:
    case FunctionOp::tail_call_indirect:
      fmt::format_to(out, " table {} type {}", i.imm >> 32, i.imm & low_half);
      return;
    case FunctionOp::runtime:
      fmt::format_to(out, " {} {}", i.imm & low_half, i.imm >> 32);
      return;
    case FunctionOp::block:
    case FunctionOp::parameter:
    case FunctionOp::vector_constant:
    case FunctionOp::get_variable:
    case FunctionOp::set_variable:
    case FunctionOp::get_global:
    case FunctionOp::set_global:
    case FunctionOp::function:
    case FunctionOp::memory_size:
    case FunctionOp::table_size:
    case FunctionOp::table_get:
    case FunctionOp::table_set:
    case FunctionOp::call:
    case FunctionOp::tail_call:
    case FunctionOp::call_ref:
    case FunctionOp::tail_call_ref:
    case FunctionOp::result:
      fmt::format_to(out, " {}", i.imm);
      return;
    default:
      return;
  }
}

bool gives(const FunctionInstruction& i) { return row(i.op).result != "-" && i.type != Type::none; }

}  // namespace

std::string print(const Function& function, Value value) {
  const auto& i = function.code[value];
  std::string text;
  const Out out(text);
  if (gives(i)) fmt::format_to(out, "%{} = ", value);
  fmt::format_to(out, "{}", name_of(i.op));
  if (i.type != Type::none) fmt::format_to(out, ".{}", type_words[unsigned(i.type)]);
  print_flag(out, i);
  for (const auto v : direct_arguments(i))
    if (v != no_value) fmt::format_to(out, " %{}", v);
  print_number(out, function, i);
  const auto list = function.list(argument_list(i));
  for (std::size_t n = 0; n < list.size(); n++) fmt::format_to(out, "{}%{}", n == 0 ? " (" : ", ", list[n]);
  if (!list.empty()) text += ')';
  return text;
}

std::string print(const Function& function) {
  std::string text;
  for (Value v = 0; v < function.code.size(); v++) {
    if (function.code[v].op != FunctionOp::block) text += "  ";
    text += print(function, v);
    text += '\n';
  }
  return text;
}

}  // namespace doppel::ir
