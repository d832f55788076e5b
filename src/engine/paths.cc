// Paths: ways through hot code that a hart was seen to take, made by the optimizing generator. A path stands in for the
// code of `fast` at its begin, which jumps to it, and is left for code of `fast`.
#include <algorithm>
#include <cstring>

#include "engine/engine.h"
#include "guest/riscv64/decode.h"
#include "ir/passes/passes.h"
#include "memory/racing_copy.h"

namespace doppel {

using riscv64::Hart;
using riscv64::PathStep;

namespace {

/// Pages that a path may lie on.
constexpr std::size_t most_pages = 12;
constexpr std::size_t shortest = 4;  // instructions that are worth it, where the path does not go round
/// jmp rel32 (SDM volume 2A), what remains of the eight bytes that it takes the place of, and of the instruction there.
constexpr std::uint64_t jump_opcode = 0xe9;
constexpr unsigned jump_bytes = 5, budget_bytes = 7;

}  // namespace

struct Engine::Recording {
  std::uint64_t page = 0;  // virtual, of the first instruction
  std::vector<PathStep> steps;
  struct Page {
    std::int32_t number;
    std::uint64_t physical;
    std::span<const std::byte> bytes;
  };
  std::vector<Page> pages;
  bool goes_round() const { return steps.back().next == steps.front().offset; }
  bool visited(std::int64_t offset) const {
    return std::ranges::find(steps, offset, &PathStep::offset) != steps.end();
  }
};

void Engine::optimize(std::uint32_t hot, std::uint32_t taken) {
  hot_ = hot, taken_ = taken;
  optimizer_ = std::make_unique<optimizing::Generator>(layout_);
  checked_.assign(1, nullptr);
}

/// The hart's slice has ended at a block's begin, which says where it spends its time.
void Engine::sample(Hart& hart) {
  Key key{.physical = 0, .behind = 0, .mode = hart.translation_mode()};
  if (key.mode.exact_blocks) return;
  if (!hart.find_code(key.physical, key.behind) || key.behind != 0) return;
  auto* entry = look_up(key);
  if (entry && ++entry->samples == hot_) wanted_[hart.id()] = hart.state().pc;
}

/// A path was left by a stub: whether that happened often enough for the way on to become a path, or too rarely to be
/// linked.
bool Engine::leads_on(Hart& hart, Translation& from, std::uint32_t link) {
  if (from.links[link].separate) return false;
  const auto taken = ++from.taken[link];
  if (taken == taken_) wanted_[hart.id()] = hart.state().pc;
  return taken <= taken_;
}

/// Executes instructions one by one, from where the hart is on, and makes a path of the way that they went.
void Engine::record(Hart& hart) {
  wanted_[hart.id()] = 1;
  Key key{.physical = 0, .behind = 0, .mode = hart.translation_mode()};
  if (key.mode.exact_blocks || !hart.find_code(key.physical, key.behind) || key.behind != 0) return;
  Recording recording;
  recording.page = hart.state().pc & ~page_mask;
  if (!follow(hart, recording)) return;
  if (recording.steps.size() < shortest && (recording.steps.empty() || !recording.goes_round())) return;
  // What was looked at last may not be on the path.
  std::erase_if(recording.pages, [&](const Recording::Page& page) {
    return std::ranges::none_of(recording.steps, [&](const PathStep& step) {
      return std::int32_t(step.offset >> page_shift) == page.number;
    });
  });
  make_path(hart, key, recording);
}

/// False where what happened is no way for a path.
bool Engine::follow(Hart& hart, Recording& recording) {
  while (recording.steps.size() < riscv64::longest_path && hart.budget() > 0) {
    const auto before = recording.steps.size();
    if (!record_step(hart, recording)) return false;
    if (recording.steps.size() == before) return true;  // what comes is not for a path
    const auto next = recording.steps.back().next;
    if (recording.visited(next) || !riscv64::is_near(next)) return true;
  }
  return true;
}

bool Engine::record_step(Hart& hart, Recording& recording) {
  const auto pc = hart.state().pc;
  const auto offset = std::int64_t(pc - recording.page);
  const auto number = std::int32_t(offset >> page_shift);
  auto page = std::ranges::find(recording.pages, number, &Recording::Page::number);
  if (page == recording.pages.end()) {
    if (recording.pages.size() == most_pages) return true;
    Key key;
    if (!hart.find_code(key.physical, key.behind)) return false;
    if (key.behind != 0) return true;
    recording.pages.push_back({number, key.physical & ~page_mask, bytes_of({.physical = key.physical & ~page_mask, .behind = 0, .mode = {}})});
    page = recording.pages.end() - 1;
  }
  const auto at = pc & page_mask;
  std::uint32_t bits = 0;
  racing_copy(reinterpret_cast<std::byte*>(&bits), page->bytes.data() + at, std::min<std::size_t>(4, page_size - at));
  if (riscv64::instruction_length(bits) == 2) bits &= 0xffff;
  const auto instruction = riscv64::decode(bits);
  if (at + instruction.length > page_size || !riscv64::may_be_in_path(instruction, hart.translation_mode())) return true;
  const auto address = hart.state().x[instruction.rs1] + std::uint64_t(std::int64_t(instruction.imm));
  if (!hart.step(bits)) return false;
  recording.steps.push_back({.offset = offset, .next = std::int64_t(hart.state().pc - recording.page), .address = address, .instruction = instruction});
  return true;
}

void Engine::make_path(Hart& hart, const Key& key, const Recording& recording) {
  for (const auto& page : recording.pages) mark_page(hart, page.physical);
  std::lock_guard guard(lock_);
  const auto* entry = look_up(key);
  if (!entry || entry->has_path || (recording.pages.size() > 1 && checked_.size() == ir::path_checks)) return;
  riscv64::translate_path(recording.steps, key.mode, ir_);
  ir::simplify(ir_);
  ir::share_tlb_checks(ir_);
  std::vector<std::int32_t> numbers;
  for (const auto& page : recording.pages) numbers.push_back(page.number);
  const auto check = std::uint32_t(checked_.size());
  path_code_.code.keep_marks = generated_.keep_marks;
  optimizer_->generate(ir_, numbers, check, entry->guest_count, path_code_);
  install(key, recording);
}

/// The code of `fast` at the entry begins with a jump to the path from now on.
void Engine::install(const Key& key, const Recording& recording) {
  auto* entry = look_up(key);
  const auto* code = code_->add(path_code_.code.bytes);
  if (!code) return;
  auto translation = std::make_unique<Translation>();
  auto& t = *translation;
  t.code = code;
  t.key = key;
  t.is_path = true;
  t.guest_count = ir_.guest_count;
  t.links = path_code_.code.links;
  t.taken.resize(t.links.size());
  for (std::uint32_t n = 0; n < t.links.size(); n++) sites_[code + t.links[n].stub_return] = {&t, n};
  for (const auto& page : recording.pages) {
    pages_[page.physical].push_back(&t);
    if (!memory_.holds_code(page.physical)) memory_.add_written_code(page.physical);
  }
  for (const auto& step : recording.steps) {
    const auto number = std::int32_t(step.offset >> page_shift);
    const auto offset = std::uint16_t(step.offset & std::int64_t(page_mask));
    const auto& page = *std::ranges::find(recording.pages, number, &Recording::Page::number);
    auto* last = t.parts.empty() ? nullptr : &t.parts.back();
    if (!last || last->page != number || last->offset + last->source.size() != offset)
      last = &t.parts.emplace_back(PathPart{.physical = page.physical, .page = number, .offset = offset, .source = {}});
    const auto bits = step.instruction.bits;
    const auto* bytes = reinterpret_cast<const std::byte*>(&bits);
    last->source.insert(last->source.end(), bytes, bytes + step.instruction.length);
  }
  if (recording.pages.size() > 1) checked_.push_back(&t);
  if (path_code_.fallback != 0) code_->patch(code + path_code_.fallback, std::int32_t(entry->code + budget_bytes - (code + path_code_.fallback + 4)));
  t.entry_code = entry->code;
  entry->has_path = true;
  std::memcpy(&t.entry_before, entry->code, sizeof t.entry_before);
  const auto distance = std::uint32_t(code - (entry->code + jump_bytes));
  const auto kept = t.entry_before & ~((1ULL << 8 * jump_bytes) - 1);
  code_->replace(entry->code, kept | std::uint64_t(distance) << 8 | jump_opcode);
  counters_.paths++;
  counters_.path_instructions += t.guest_count;
  counters_.path_loops += recording.goes_round();
  counters_.code_bytes += path_code_.code.bytes.size();
  translations_[&t] = std::move(translation);
  if (!observers_.empty()) tell_observers(recording.page + std::uint64_t(recording.steps.front().offset), t, path_code_.code);
}

/// Whether the guest's bytes are still those that the path was made from.
bool Engine::path_holds(const Translation& path) {
  return std::ranges::all_of(path.parts, [&](const PathPart& part) {
    const auto bytes = bytes_of({.physical = part.physical, .behind = 0, .mode = {}});
    return std::ranges::equal(bytes.subspan(part.offset, part.source.size()), part.source);
  });
}

/// Called by code in front of a path over several pages, which the hart has not been at in this view of memory.
std::uint64_t Engine::check_path(void* owner) {
  auto& hart = *static_cast<Hart*>(owner);
  auto& engine = *static_cast<Engine*>(hart.executor());
  auto& e = hart.execution();
  std::lock_guard guard(engine.lock_);
  const auto* path = engine.checked_[e.site];
  if (!path) return 0;
  for (const auto& part : path->parts)
    if (!hart.fetches_from(e.page + std::uint64_t(std::int64_t(part.page) << page_shift), part.physical)) return 0;
  e.checks[e.site] = {e.view, e.page};
  return 1;
}

void Engine::flush_paths() {
  if (!optimizer_) return;
  checked_.assign(1, nullptr);
  for (auto& checks : checks_)
    if (checks) checks->fill({});
  std::ranges::fill(wanted_, 1);
}

}  // namespace doppel
