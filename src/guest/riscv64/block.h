#pragma once
// Decoded blocks: straight-line runs of instructions inside one page, ready to execute.
#include <cstdint>
#include <deque>
#include <memory>
#include <unordered_map>
#include <vector>

#include "guest/riscv64/instruction.h"
#include "memory/guest_memory.h"

namespace doppel::riscv64 {

class Hart;
struct Op;

/// Executes one instruction and goes on with the next by a tail call; returning ends the run of blocks.
using Handler = void (*)(Hart& hart, const Op* op);

/// One instruction, decoded. rd is 32 where the manual says x0, so that writes need no test.
struct Op {
  Handler handler = nullptr;
  std::int32_t imm = 0;
  std::uint32_t bits = 0;
  std::uint16_t offset = 0;  // bytes from the block's first instruction
  std::uint8_t length = 0;
  std::uint8_t rd = 0, rs1 = 0, rs2 = 0, rs3 = 0;
  std::uint8_t rm = 0;
  Opcode op = Opcode::illegal;
};

/// A block: `count` instructions and one more Op that goes on behind them where the last does not jump.
struct Block {
  static constexpr unsigned max_ops = 64;
  std::uint64_t physical = 0;  // of the first instruction
  std::uint64_t epoch = 0;     // of the last time its bytes were seen to be memory's
  std::uint32_t count = 0, bytes = 0;
  bool reserves = false;  // holds an LR, whose imm depends on code behind the block too
  const Op* ops = nullptr;
  Block* next = nullptr;  // in its bucket
};

/// The blocks that one hart has decoded, by the physical address of their first byte. Bounded: when it is full, all go.
class BlockCache {
 public:
  static constexpr std::size_t max_ops = 1 << 20;
  BlockCache() : buckets_(bucket_count) {}
  Block* find(std::uint64_t physical) {
    for (auto* block = buckets_[index(physical)]; block; block = block->next)
      if (block->physical == physical) return block;
    return nullptr;
  }
  /// Whether one more block of max_ops would pass the bound; clear() then.
  bool full() const { return ops_used_ + Block::max_ops + 1 > max_ops; }
  /// Adds, or replaces the block at the same address.
  Block* add(const Block& block, const std::vector<Op>& ops);
  void clear();

 private:
  static constexpr std::size_t bucket_count = 1 << 14, ops_a_slab = 1 << 14;
  static std::size_t index(std::uint64_t physical) { return (physical >> 1) % bucket_count; }
  std::vector<Block*> buckets_;
  std::deque<Block> blocks_;
  std::vector<std::unique_ptr<Op[]>> slabs_;
  std::size_t ops_used_ = 0, slab_left_ = 0;
};

/// What an LR's imm says of the way to its SC: `steps` instructions and, when there is a branch on it, where the code
/// behind the branch begins in bytes from the LR. 0 when the LR cannot be plain (reservation.h).
constexpr std::int32_t plain_way(std::int32_t steps, std::int32_t behind_branch) { return steps | behind_branch << 8; }
constexpr std::uint64_t plain_way_steps(std::int32_t imm) { return std::uint64_t(imm & 0xff); }
constexpr std::uint64_t plain_way_behind_branch(std::int32_t imm) { return std::uint64_t(imm >> 8); }

/// What executes one instruction at the begin of a block.
Op make_op(const Instruction& instruction);

/// Decodes the instructions in `bytes` (up to the page's end) that start at `physical`. `bytes` holds at least one
/// whole instruction.
void decode_block(const std::byte* bytes, std::size_t length, std::uint64_t physical, Block& block,
                  std::vector<Op>& ops);

}  // namespace doppel::riscv64
