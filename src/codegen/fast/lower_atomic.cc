// Atomic read-modify-write, and LR and SC that are one compare-and-swap. All of it needs the right to store; what
// misses it is the interpreter's, which knows of watched reservations.
#include "codegen/fast/generator.h"

namespace doppel::fast {

using ir::AtomicKind;
using ir::Op;
using ir::Type;

namespace {

x86::Gp half(const x86::Gp& reg, const ir::Instruction& i) { return i.type == Type::i32 ? x86::Gp(reg.r32()) : reg; }

}  // namespace

/// As check_tlb, for a store that must be aligned; leaves the host address in `entry`.
void Generator::check_tlb_aligned(const Instruction& i, const x86::Gp& address, const x86::Gp& entry,
                                  const x86::Gp& page, const asmjit::Label& slow) {
  tlb_entry(address, entry);
  a_.mov(page, address);
  a_.and_(page, std::int32_t(-4096) | std::int32_t(ir::bytes(i.type) - 1));
  a_.cmp(page, x86::qword_ptr(entry, offsetof(ir::TlbEntry, store)));
  a_.jne(slow);
  a_.mov(entry, x86::qword_ptr(entry, offsetof(ir::TlbEntry, addend)));
  a_.add(entry, address);
}

void Generator::emit_atomic(Value index) {
  const auto& i = definition(index);
  const auto kind = AtomicKind(i.flag);
  const bool one_instruction = kind == AtomicKind::swap || kind == AtomicKind::add;
  // The result is not made in its guest register: on the slow path the interpreter must find that as it was.
  const auto result = one_instruction ? scratch[take_scratch()] : claim(0);
  const auto address = gp(i.a);
  const auto cell = scratch[take_scratch()];
  x86::Gp made;
  if (!one_instruction) {
    if (places_[i.a].scratch != nowhere) {
      // All four may be in use: the address gives way to the new content once the cell is known.
      evict_clean(i.a);
      made = address;
    } else {
      made = scratch[take_scratch()];
    }
  }
  auto& side = add_side(Side::Kind::interpret, i);
  side.gp = result;
  check_tlb_aligned(i, address, cell, result, side.label);
  if (one_instruction) {
    load_into(result, i.b);
    if (kind == AtomicKind::swap)
      a_.xchg(x86::ptr(cell, 0, ir::bytes(i.type)), half(result, i));
    else
      a_.lock().xadd(x86::ptr(cell, 0, ir::bytes(i.type)), half(result, i));
  } else {
    emit_atomic_loop(index, result, cell, made);
  }
  if (i.type == Type::i32) a_.movsxd(result, result.r32());
  a_.bind(side.resume);
  use_arguments(i);
  bind_scratch(result, index);
}

void Generator::emit_atomic_loop(Value index, const x86::Gp& old, const x86::Gp& cell, const x86::Gp& made) {
  const auto& i = definition(index);
  const auto memory = x86::ptr(cell, 0, ir::bytes(i.type));
  const auto before = half(old, i), after = half(made, i);
  const auto again = a_.newLabel();
  a_.mov(before, memory);
  a_.bind(again);
  load_into(made, i.b);
  switch (AtomicKind(i.flag)) {
    case AtomicKind::and_:
      a_.and_(after, before);
      break;
    case AtomicKind::or_:
      a_.or_(after, before);
      break;
    case AtomicKind::xor_:
      a_.xor_(after, before);
      break;
    default:
      a_.cmp(before, after);
  }
  switch (AtomicKind(i.flag)) {
    case AtomicKind::min:
      a_.cmovl(after, before);
      break;
    case AtomicKind::max:
      a_.cmovg(after, before);
      break;
    case AtomicKind::minu:
      a_.cmovb(after, before);
      break;
    case AtomicKind::maxu:
      a_.cmova(after, before);
      break;
    default:
      break;
  }
  a_.lock().cmpxchg(memory, after);
  a_.jne(again);
}

void Generator::emit_load_linked(Value index) {
  const auto& i = definition(index);
  const auto address = gp(i.a);
  const auto result = scratch[take_scratch()], cell = scratch[take_scratch()];
  auto& side = add_side(Side::Kind::interpret, i);
  side.gp = result;
  check_tlb_aligned(i, address, cell, result, side.label);
  if (i.type == Type::i32)
    a_.movsxd(result, x86::dword_ptr(cell));
  else
    a_.mov(result, x86::qword_ptr(cell));
  a_.mov(DOPPEL_FIELD(layout_, reserved_inline, 4), 1);
  a_.bind(side.resume);
  use_arguments(i);
  bind_scratch(result, index);
}

void Generator::emit_store_conditional(Value index) {
  const auto& i = definition(index);
  const auto expected = claim(0);
  const auto address = gp(i.a);
  const auto cell = scratch[take_scratch()], value = scratch[take_scratch()];
  auto& side = add_side(Side::Kind::interpret, i);
  side.gp = expected;
  check_tlb_aligned(i, address, cell, expected, side.label);
  load_into(value, i.c);
  load_into(expected, i.b);
  a_.lock().cmpxchg(x86::ptr(cell, 0, ir::bytes(i.type)), half(value, i));
  a_.setne(x86::al);
  a_.movzx(x86::eax, x86::al);
  a_.mov(DOPPEL_FIELD(layout_, reserved_inline, 4), 1);
  a_.bind(side.resume);
  use_arguments(i);
  bind_scratch(expected, index);
}

void Generator::emit_store_right(const Instruction& i) {
  const auto address = gp(i.a);
  const auto cell = scratch[take_scratch()], page = scratch[take_scratch()];
  auto& side = add_side(Side::Kind::interpret, i);
  side.without_result = true;
  check_tlb_aligned(i, address, cell, page, side.label);
  a_.bind(side.resume);
  use_arguments(i);
}

}  // namespace doppel::fast
