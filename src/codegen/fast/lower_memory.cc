// Loads and stores through the software TLB.
#include "codegen/fast/generator.h"

namespace doppel::fast {

using ir::Op;
using ir::Type;

namespace {

constexpr std::int32_t page_mask = -4096;

/// The low `size` bytes of a register.
x86::Gp part(const x86::Gp& reg, unsigned size) {
  return size == 8 ? reg : size == 4 ? x86::Gp(reg.r32()) : size == 2 ? x86::Gp(reg.r16()) : x86::Gp(reg.r8());
}

}  // namespace

/// Leaves `entry` pointing at the TLB's entry for `address`.
void Generator::tlb_entry(const x86::Gp& address, const x86::Gp& entry) {
  constexpr auto index_mask = std::int32_t((ir::tlb_entries - 1) << ir::tlb_entry_shift);
  a_.rorx(entry, address, 12 - ir::tlb_entry_shift);
  a_.and_(entry.r32(), index_mask);
  a_.add(entry, DOPPEL_FIELD(layout_, tlb, 8));
}

/// As tlb_entry, and jumps to `slow` when the entry permits not all of the access. The access's last byte decides, so
/// that one that lies on two pages misses.
void Generator::check_tlb(std::uint32_t size, std::int32_t tag, const x86::Gp& address, const x86::Gp& entry,
                          const x86::Gp& page, const asmjit::Label& slow) {
  tlb_entry(address, entry);
  if (size == 1)
    a_.mov(page, address);
  else
    a_.lea(page, x86::ptr(address, std::int32_t(size - 1)));
  a_.and_(page, page_mask);
  a_.cmp(page, x86::qword_ptr(entry, tag));
  a_.jne(slow);
}

void Generator::move_float(const x86::Xmm& to, const x86::Mem& from) {
  from.size() == 8 ? a_.vmovsd(to, from) : a_.vmovss(to, from);
}

void Generator::extend_from(const Instruction& i, const x86::Gp& to, const x86::Mem& from) {
  const auto size = from.size();
  if (size == 8)
    a_.mov(to, from);
  else if (size == 4)
    i.flag ? a_.movsxd(to, from) : a_.mov(to.r32(), from);
  else
    i.flag ? a_.movsx(to, from) : a_.movzx(to.r32(), from);
}

/// The value that a store has in its second argument.
void Generator::store_to(const Instruction& i, const x86::Mem& to) {
  const auto size = to.size();
  std::int32_t imm;
  if (i.op == Op::storef)
    size == 8 ? a_.vmovsd(to, xmm(i.b)) : a_.vmovss(to, xmm(i.b));
  else if (small(i.b, imm))
    a_.mov(to, size == 1 ? std::int8_t(imm) : size == 2 ? std::int16_t(imm) : imm);
  else
    a_.mov(to, part(gp(i.b), size));
}

x86::Gp Generator::address_of(const Instruction& i) {
  const auto base = gp(i.a);
  if (i.imm == 0) return base;
  const auto address = scratch[take_scratch()];
  a_.lea(address, x86::ptr(base, std::int32_t(i.imm)));
  if (places_[i.a].scratch != nowhere) locked_ &= ~(1U << places_[i.a].scratch);
  return address;
}

void Generator::emit_window(Value index) {
  const auto& i = definition(index);
  const auto address = address_of(i);
  use_arguments(i);
  const auto to = new_gp(index), page = scratch[take_scratch()];
  auto& side = add_side(Side::Kind::separate, i);
  check_tlb(i.size, i.flag ? offsetof(ir::TlbEntry, store) : offsetof(ir::TlbEntry, load), address, to, page,
            side.label);
  a_.mov(to, x86::qword_ptr(to, offsetof(ir::TlbEntry, addend)));
}

/// A load or store inside a window: an access and nothing else.
void Generator::emit_windowed(Value index) {
  const auto& i = definition(index);
  const auto size = ir::bytes(i.type);
  const bool is_load = ir::traits(i.op).result != "-";
  const auto base = gp(i.a), window = gp(is_load ? i.b : i.c);
  const auto cell = x86::ptr(base, window, 0, std::int32_t(i.imm), size);
  if (i.op == Op::loadf) {
    use_arguments(i);
    move_float(new_vector(index), cell);
  } else if (i.op == Op::load) {
    use_arguments(i);
    extend_from(i, destination(index), cell);
  } else {
    store_to(i, cell);
    use_arguments(i);
  }
}

void Generator::emit_load(Value index) {
  const auto& i = definition(index);
  const bool floating = i.op == Op::loadf;
  const auto address = address_of(i);
  use_arguments(i);
  // All that takes registers comes before the check: the slow path joins behind the access.
  x86::Gp to;
  x86::Xmm vector;
  if (floating)
    vector = new_vector(index);
  else
    to = destination(index);
  const bool pinned_result = !floating && places_[index].scratch == nowhere;
  const auto entry = floating || pinned_result ? scratch[take_scratch()] : to;
  const auto page = scratch[take_scratch()];
  auto& side = add_side(Side::Kind::load, i);
  side.address = address;
  side.gp = to;
  if (floating) side.vector = std::int8_t(vector.id());
  check_tlb(ir::bytes(i.type), offsetof(ir::TlbEntry, load), address, entry, page, side.label);
  a_.mov(entry, x86::qword_ptr(entry, offsetof(ir::TlbEntry, addend)));
  const auto size = ir::bytes(i.type);
  const auto from = x86::ptr(address, entry, 0, 0, size);
  if (floating)
    move_float(vector, from);
  else
    extend_from(i, to, from);
  a_.bind(side.resume);
}

void Generator::emit_store(Value index) {
  const auto& i = definition(index);
  const bool floating = i.op == Op::storef;
  const auto address = address_of(i);
  std::int32_t imm = 0;
  const bool immediate = !floating && small(i.b, imm);
  x86::Gp value;
  x86::Xmm vector;
  if (floating)
    vector = xmm(i.b);
  else if (!immediate)
    value = gp(i.b);
  const auto entry = scratch[take_scratch()], page = scratch[take_scratch()];
  auto& side = add_side(Side::Kind::store, i);
  side.address = address;
  side.gp = value;
  side.immediate = immediate;
  side.imm = imm;
  if (floating) side.vector = std::int8_t(vector.id());
  check_tlb(ir::bytes(i.type), offsetof(ir::TlbEntry, store), address, entry, page, side.label);
  a_.mov(entry, x86::qword_ptr(entry, offsetof(ir::TlbEntry, addend)));
  store_to(i, x86::ptr(address, entry, 0, 0, ir::bytes(i.type)));
  a_.bind(side.resume);
  use_arguments(i);
}

/// The block lies in one page, so the TLB's answer for its begin is the answer for all of it.
void Generator::emit_zero_block(const Instruction& i) {
  const auto base = gp(i.a);
  const auto address = scratch[take_scratch()];
  if (places_[i.a].scratch != nowhere) locked_ &= ~(1U << places_[i.a].scratch);
  use_arguments(i);
  const auto entry = scratch[take_scratch()], page = scratch[take_scratch()];
  const auto zeros = x86::xmm(take_vector());
  auto& side = add_side(Side::Kind::interpret, i);
  side.without_result = true;
  a_.mov(address, base);
  a_.and_(address, -64);
  tlb_entry(address, entry);
  a_.mov(page, address);
  a_.and_(page, page_mask);
  a_.cmp(page, x86::qword_ptr(entry, offsetof(ir::TlbEntry, store)));
  a_.jne(side.label);
  a_.add(address, x86::qword_ptr(entry, offsetof(ir::TlbEntry, addend)));
  a_.vpxor(zeros, zeros, zeros);
  for (int part = 0; part < 64; part += 16) a_.vmovups(x86::ptr(address, part, 16), zeros);
  a_.bind(side.resume);
}

void Generator::emit_access(Value index) {
  const auto op = definition(index).op;
  if (ir::in_window(definition(index)))
    emit_windowed(index);
  else if (op == Op::load || op == Op::loadf)
    emit_load(index);
  else
    emit_store(index);
}

}  // namespace doppel::fast
