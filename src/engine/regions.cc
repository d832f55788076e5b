// Hot regions: found by samples, compiled in the background, entered through the code of `fast` that they replace.
#include <algorithm>
#include <cstring>

#include "codegen/fast/region_exits.h"
#include "engine/engine.h"
#include "ir/passes/passes.h"
#include "memory/racing_copy.h"

namespace doppel {
namespace {

/// A hart comes by about every 30 microseconds of its time: a region is worth a compilation after a millisecond in it.
constexpr std::uint32_t hot = 24;
constexpr std::size_t most_blocks = 48;
constexpr std::uint32_t most_instructions = 700;
/// jmp rel32 (SDM volume 2A), and what remains of the eight bytes.
constexpr std::uint64_t jump_opcode = 0xe9;
constexpr unsigned jump_bytes = 5;

}  // namespace

Result<void> Engine::start_optimizing() {
  auto optimizer = Optimizer::start([this](const RegionObject& object) { install(object); });
  if (!optimizer) return optimizer.failure();
  optimizer_ = std::move(*optimizer);
  hot_ = hot;
  return {};
}

void Engine::optimize_by(const MakeRegionQueue& make, std::uint32_t hot) {
  optimizer_ = make([this](const RegionObject& object) { install(object); });
  hot_ = hot;
}

/// The hart's slice has ended at a block's begin, which says where it spends its time.
void Engine::sample(Hart& hart) {
  Key key{.physical = 0, .behind = 0, .mode = hart.translation_mode()};
  if (key.mode.exact_blocks) return;
  if (!hart.knows_code(key.physical)) return;  // finding out could trap, and the budget may be used up
  auto* entry = look_up(key);
  if (!entry || ++entry->samples != hot_) return;
  std::lock_guard guard(lock_);
  if (look_up(key) != entry) return;
  auto request = collect(*entry);
  if (!request) return;
  if (optimizer_->submit(*request))
    counters_.regions_asked++;
  else
    asked_.erase(request->id), entry->samples = 0;  // later
}

/// The blocks of the page that lead from one to another from the entry on, as far as they have been executed.
std::optional<RegionRequest> Engine::collect(const Translation& entry) {
  const auto page = bytes_of(entry.key);
  const auto first = std::uint16_t(entry.key.physical & page_mask);
  std::vector<std::uint16_t> begins = {first};
  riscv64::Stops stops;
  const riscv64::Stops nothing;
  stops.set(first / 2);
  RegionRequest request{.id = next_request_++, .layout = layout_, .blocks = {}};
  std::uint32_t instructions = 0;
  ir::Code code;
  for (std::size_t n = 0; n < begins.size() && instructions < most_instructions; n++) {
    if (!riscv64::translate(page, begins[n], entry.key.mode, code, &nothing)) return std::nullopt;
    instructions += code.guest_count;
    for (const auto& i : code.instructions) {
      if ((i.op != ir::Op::branch && i.op != ir::Op::jump) || i.imm < 0 || i.imm >= std::int64_t(page_size - 2))
        continue;
      if (stops.test(std::size_t(i.imm) / 2) || begins.size() == most_blocks) continue;
      auto key = entry.key;
      key.physical = (key.physical & ~page_mask) + std::uint64_t(i.imm);
      if (!look_up(key)) continue;
      stops.set(std::size_t(i.imm) / 2);
      begins.push_back(std::uint16_t(i.imm));
    }
  }
  std::uint16_t low = first, high = first;
  for (const auto begin : begins) {
    auto& block = request.blocks.emplace_back();
    if (!riscv64::translate(page, begin, entry.key.mode, block, &stops)) return std::nullopt;
    ir::share_tlb_checks(block);
    low = std::min(low, block.begin), high = std::max(high, block.end);
  }
  if (high > page_size) return std::nullopt;
  auto& asked = asked_[request.id];
  asked = {.key = entry.key, .begin = low, .end = high, .source = {}, .flushes = counters_.flushes};
  asked.source.resize(high - low);
  racing_copy(asked.source.data(), page.data() + low, asked.source.size());
  return request;
}

/// Called by the optimizer's thread: the code of `fast` at the entry begins with a jump to the region from now on.
void Engine::install(const RegionObject& object) {
  std::lock_guard guard(lock_);
  const auto found = asked_.find(object.id);
  if (found == asked_.end()) return;  // the cache was flushed meanwhile
  const auto asked = std::move(found->second);
  asked_.erase(found);
  const auto* entry = look_up(asked.key);
  const auto bytes = bytes_of(asked.key).subspan(asked.begin, asked.source.size());
  if (!entry || !std::ranges::equal(bytes, asked.source)) return;
  const auto linked = fast::link_region(object, layout_);
  const auto* code = code_->add(linked.bytes);
  if (!code) return;
  auto& t = record(asked.key, code, linked, asked.begin, asked.source);
  t.is_region = true;
  t.entry_code = entry->code;
  std::memcpy(&t.entry_before, entry->code, sizeof t.entry_before);
  const auto distance = std::uint32_t(code - (entry->code + jump_bytes));
  const auto kept = t.entry_before & ~((1ULL << 8 * jump_bytes) - 1);
  code_->replace(entry->code, kept | std::uint64_t(distance) << 8 | jump_opcode);
  counters_.regions++;
}

}  // namespace doppel
