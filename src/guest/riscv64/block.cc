#include "guest/riscv64/block.h"

#include <algorithm>

#include "guest/riscv64/decode.h"
#include "guest/riscv64/interpret.h"
#include "memory/racing_copy.h"

namespace doppel::riscv64 {
namespace {

constexpr std::int32_t waits_only = plain_way(0, 1);  // no SC executes in the step of its LR

Instruction fetch(const std::byte* bytes, std::size_t length) {
  std::uint32_t bits = 0;
  racing_copy(reinterpret_cast<std::byte*>(&bits), bytes, std::min<std::size_t>(length, 4));
  return decode(bits);
}

/// The way from an LR to its SC when nothing between them accesses memory and control only falls through; 0 when there
/// is no such SC near. At most one branch: by the number of steps alone, a path over a taken branch and a load could
/// pass for it. An LR that only waits for a change, by WRS, needs no watching either: a WRS may end early (Unprivileged
/// ISA 16).
std::int32_t way_to_store_conditional(const std::byte* bytes, std::size_t length) {
  const auto* const begin = bytes;
  std::int32_t behind_branch = 0;
  for (std::int32_t steps = 1; steps <= 16 && length >= 4; steps++) {
    const auto instruction = fetch(bytes, length);
    if (instruction.length > length) return 0;
    if (instruction.op == Opcode::sc_w || instruction.op == Opcode::sc_d) return plain_way(steps, behind_branch);
    if (instruction.op == Opcode::wrs_nto || instruction.op == Opcode::wrs_sto) return waits_only;
    if (!register_only(instruction.op)) return 0;
    bytes += instruction.length, length -= instruction.length;
    if (!ends_block(instruction.op)) continue;
    if (behind_branch != 0) return 0;
    behind_branch = std::int32_t(bytes - begin) + 4;  // the LR itself has 4
  }
  return 0;
}

}  // namespace

Op make_op(const Instruction& instruction) {
  return {.handler = handler_of(instruction.op),
          .imm = instruction.imm,
          .bits = instruction.bits,
          .offset = 0,
          .length = instruction.length,
          .rd = writes_integer_register(instruction.op) && instruction.rd == 0 ? std::uint8_t(32) : instruction.rd,
          .rs1 = instruction.rs1,
          .rs2 = instruction.rs2,
          .rs3 = instruction.rs3,
          .rm = instruction.rm,
          .op = instruction.op};
}

void decode_block(const std::byte* bytes, std::size_t length, std::uint64_t physical, Block& block,
                  std::vector<Op>& ops) {
  ops.clear();
  std::size_t offset = 0;
  while (ops.size() < Block::max_ops && length - offset >= 2) {
    const auto instruction = fetch(bytes + offset, length - offset);
    if (instruction.length > length - offset) break;  // goes on in the next page
    auto op = make_op(instruction);
    op.offset = std::uint16_t(offset);
    offset += instruction.length;
    if (instruction.op == Opcode::lr_w || instruction.op == Opcode::lr_d)
      op.imm = way_to_store_conditional(bytes + offset, length - offset), block.reserves = true;
    ops.push_back(op);
    if (ends_block(instruction.op)) break;
  }
  block.physical = physical;
  block.count = std::uint32_t(ops.size());
  block.bytes = std::uint32_t(offset);
  ops.push_back({.handler = fall_through_handler(), .offset = std::uint16_t(offset)});
}

Block* BlockCache::add(const Block& block, const std::vector<Op>& ops) {
  if (slab_left_ < ops.size()) {
    slabs_.push_back(std::make_unique<Op[]>(ops_a_slab));
    slab_left_ = ops_a_slab;
  }
  auto* place = slabs_.back().get() + (ops_a_slab - slab_left_);
  std::copy(ops.begin(), ops.end(), place);
  slab_left_ -= ops.size();
  ops_used_ += ops.size();
  auto* stored = find(block.physical);
  if (!stored) {
    stored = &blocks_.emplace_back();
    auto& bucket = buckets_[index(block.physical)];
    stored->next = bucket;
    bucket = stored;
  }
  auto* next = stored->next;
  *stored = block;
  stored->ops = place;
  stored->next = next;
  return stored;
}

void BlockCache::clear() {
  std::fill(buckets_.begin(), buckets_.end(), nullptr);
  blocks_.clear();
  if (slabs_.size() > 1) slabs_.resize(1);  // who forgets often, and little, need not ask the host each time
  ops_used_ = 0;
  slab_left_ = slabs_.empty() ? 0 : ops_a_slab;
}

}  // namespace doppel::riscv64
