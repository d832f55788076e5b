#include "guest/riscv64/translate.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "guest/riscv64/decode.h"
#include "guest/riscv64/interpret.h"
#include "guest/riscv64/translate_float_conversion.h"
#include "guest/riscv64/translate_memory.h"
#include "guest/riscv64/translate_system.h"
#include "ir/verify.h"
#include "memory/racing_copy.h"

namespace doppel::riscv64 {
namespace {

constexpr std::array<Translate, std::size_t(Opcode::count)> translators = {
    &translation::illegal,
#define INSN(name, pattern, format, extension) translation::name,
#include "guest/riscv64/isa.inc"
};

/// Reads the instruction at `at`; false when it is not in the page as a whole.
bool fetch(std::span<const std::byte> page, std::size_t at, Instruction& out) {
  if (at + 2 > page.size()) return false;
  std::uint32_t bits = 0;
  racing_copy(reinterpret_cast<std::byte*>(&bits), page.data() + at, 2);
  if (instruction_length(bits) == 4) {
    if (at + 4 > page.size()) return false;
    racing_copy(reinterpret_cast<std::byte*>(&bits) + 2, page.data() + at + 2, 2);
  }
  out = decode(bits);
  return true;
}

constexpr unsigned longest_reservation = 18;  // instructions of a constrained loop (14.3), about
bool is_load_reserved(Opcode op) { return op == Opcode::lr_w || op == Opcode::lr_d; }

/// The builder numbers guest instructions from the front; what counts is how many are behind.
void count_backwards(ir::Code& code) {
  for (auto& i : code.instructions)
    i.left = i.left < code.guest_count ? std::uint16_t(code.guest_count - i.left - 1) : 0;
}

}  // namespace

bool Translator::reaches_store_conditional(const Instruction& lr) const {
  if (step || lr.rd == lr.rs1) return false;  // of a path no bytes are known
  const auto wanted = lr.op == Opcode::lr_w ? Opcode::sc_w : Opcode::sc_d;
  std::int64_t branches_to[longest_reservation];
  unsigned branches = 0;
  auto at = std::size_t(offset) + lr.length;
  for (unsigned steps = 1; steps < longest_reservation; steps++) {
    Instruction i;
    if (code.guest_count + steps >= longest_translation || !fetch(page, at, i)) return false;
    if (i.op == wanted) {
      const auto over = [&](std::int64_t target) { return target > offset && target <= std::int64_t(at); };
      return i.rs1 == lr.rs1 && std::none_of(branches_to, branches_to + branches, over);
    }
    // The interpreter may move what the LR gave.
    if (!register_only(i.op) || translators[std::size_t(i.op)] == &translation::by_interpreter) return false;
    if (mode.exact_blocks && ends_block(i.op)) return false;
    if (ends_block(i.op))
      branches_to[branches++] = std::int64_t(at) + i.imm;
    else if (i.rd == lr.rs1)
      return false;
    at += i.length;
  }
  return false;
}

void Translator::go_to(std::int64_t target) {
  if (step) return;
  builder.jump(target);
  ended = true;
}

void Translator::go_to(ir::Value target) {
  if (!step || !is_near(step->next)) {
    builder.jump_to(target);
    ended = true;
    return;
  }
  std::int64_t known;
  if (builder.is_place(target, known) && known == step->next) return;
  builder.expect(target, builder.binary(ir::Op::add, ir::Type::i64, builder.page(), builder.constant(step->next)));
}

void Translator::branch(ir::Condition condition, ir::Value a, ir::Value b, std::int64_t target, unsigned length) {
  const auto behind = offset + length;
  if (!step || step->next == behind)
    builder.branch(condition, a, b, target);
  else
    builder.branch(ir::negated(condition), a, b, behind);
}

bool translate(std::span<const std::byte> page, unsigned offset, TranslationMode mode, const Begins& begins,
               ir::Code& out) {
  out.path = false;
  out.begin = std::uint16_t(offset);
  out.guest_count = 0;
  Translator t(page, out, mode);
  constexpr auto longest = longest_translation;
  auto at = std::size_t(offset);
  while (!t.ended) {
    Instruction i;
    if (out.guest_count == longest || !fetch(page, at, i)) break;
    // An LR and its SC belong into one block.
    const bool split = !mode.exact_blocks && is_load_reserved(i.op) && out.guest_count + longest_reservation > longest;
    if (split) break;
    if (at >= page_size) break;                         // behind the instruction that lies on two pages
    const bool in_sequence = t.linked != ir::no_value;  // its SC must be in the block too
    if (at != offset && !mode.exact_blocks && !in_sequence && begins(unsigned(at))) break;
    t.offset = std::int64_t(at);
    t.builder.at(std::int32_t(at), i.length);
    translators[std::size_t(i.op)](t, i);
    out.guest_count++;
    at += i.length;
    if (mode.exact_blocks && ends_block(i.op)) break;
  }
  if (out.guest_count == 0) return false;
  out.end = std::uint16_t(at);
  if (!t.ended) {
    t.builder.at(std::int32_t(at), 0);
    t.builder.jump(std::int64_t(at));
  }
  count_backwards(out);
  if constexpr (ir::verify_always) ir::expect_sound(out, "the RISC-V frontend");
  return true;
}

void translate_path(std::span<const PathStep> path, TranslationMode mode, ir::Code& out) {
  out.begin = std::uint16_t(path.front().offset);
  out.end = std::uint16_t(out.begin + path.front().instruction.length);
  out.guest_count = 0;
  out.path = true;
  Translator t({}, out, mode);
  for (const auto& step : path) {
    t.step = &step;
    t.offset = step.offset;
    t.builder.at(std::int32_t(step.offset), step.instruction.length);
    t.builder.seen_at(step.address);
    translators[std::size_t(step.instruction.op)](t, step.instruction);
    out.guest_count++;
  }
  if (!t.ended) t.builder.jump(path.back().next);
  count_backwards(out);
  if constexpr (ir::verify_always) ir::expect_sound(out, "the RISC-V frontend");
}

}  // namespace doppel::riscv64
