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
/// Instructions in which a way out must be taken so often that it is worth a path: about a millisecond.
constexpr std::uint64_t short_time = 1'000'000;
/// jmp rel32 (SDM volume 2A), what remains of the eight bytes that it takes the place of, and of the instruction there.
constexpr std::uint64_t jump_opcode = 0xe9;
constexpr unsigned jump_bytes = 5;
static_assert(jump_bytes <= fast::entry_bytes);

/// Whether a path may have the instruction: it neither calls the interpreter nor changes how others execute.
bool may_be_in_path(const PathStep& step, riscv64::TranslationMode mode) {
  ir::Code code;
  riscv64::translate_path({&step, 1}, mode, code);
  return std::ranges::all_of(code.instructions,
                             [](const ir::Instruction& i) { return optimizing::Generator::knows(i.op); });
}

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
  bool repeated = false;  // it goes round, and did so some times
  /// What the path is made from, a part for each run of instructions that follow one another.
  std::vector<PathPart> parts() const {
    std::vector<PathPart> parts;
    for (const auto& step : steps) {
      const auto number = std::int32_t(step.offset >> page_shift);
      const auto offset = std::uint16_t(std::uint64_t(step.offset) & page_mask);
      if (parts.empty() || parts.back().page != number || parts.back().offset + parts.back().source.size() != offset)
        parts.push_back({.physical = std::ranges::find(pages, number, &Page::number)->physical,
                         .page = number,
                         .offset = offset,
                         .source = {}});
      const auto* bytes = reinterpret_cast<const std::byte*>(&step.instruction.bits);
      parts.back().source.insert(parts.back().source.end(), bytes, bytes + step.instruction.length);
    }
    return parts;
  }
  PathSource source() const {
    return {.address = page + std::uint64_t(steps.front().offset),
            .guest_count = std::uint32_t(steps.size()),
            .goes_round = goes_round(),
            .parts = parts()};
  }
  bool goes_round() const { return steps.back().next == steps.front().offset; }
  bool visited(std::int64_t offset) const { return std::ranges::find(steps, offset, &PathStep::offset) != steps.end(); }
};

void Engine::optimize(std::uint32_t hot, std::uint32_t taken) {
  hot_ = hot, taken_ = taken;
  optimizer_ = std::make_unique<optimizing::Generator>(layout_);
  checked_ = std::vector<std::atomic<const Path*>>(ir::path_checks);
}

/// The hart's slice has ended at a block's begin, which says where it spends its time.
void Engine::sample(Hart& hart) {
  Key key{.physical = 0, .behind = 0, .mode = hart.translation_mode()};
  if (key.mode.exact_blocks) return;
  if (!hart.knows_code(key.physical)) return;
  auto* entry = look_up(key);
  if (!entry) return;
  const auto samples = __atomic_add_fetch(&entry->samples, 1, __ATOMIC_RELAXED);
  if (samples == hot_ || (samples == 1 && store_)) wanted_[hart.id()] = {hart.state().pc, samples != hot_};
}

/// A path was left by a stub: whether that happened so rarely that it is not linked yet. Where it was often enough in a
/// short time, the way on becomes a path.
bool Engine::leads_on(Hart& hart, Path& path, const TranslationLink& link) {
  if (link.site.separate) return false;
  auto& way = path.ways[std::size_t(&link - path.translation->links.data())];
  if (way.taken == 0) way.since = hart.steps();
  way.taken++;
  if (way.taken == taken_ && hart.steps() - way.since < short_time)
    wanted_[hart.id()] = {hart.state().pc, false};
  else if (way.taken == 1 && store_)
    wanted_[hart.id()] = {hart.state().pc, true};
  return way.taken <= taken_;
}

/// Whether instructions were executed to record a path from the hart's pc on, because that was wanted. What the store
/// has is looked for as soon as code turns out not to be executed once only.
bool Engine::record_at(Hart& hart, std::uint64_t pc) {
  const auto before = hart.budget();
  if (hot_ != 0 && (wanted_[hart.id()].pc != pc || before <= riscv64::longest_path)) return false;
  record_path(hart, std::exchange(wanted_[hart.id()], {}).load_only);
  return hart.budget() != before;
}

/// Executes instructions one by one, from where the hart is on, and makes a path of the way that they went.
void Engine::record_path(Hart& hart, bool load_only) {
  Key key{.physical = 0, .behind = 0, .mode = hart.translation_mode()};
  if (key.mode.exact_blocks || !hart.find_code(key.physical, key.behind) || key.behind != 0) return;
  {
    std::lock_guard guard(lock_);
    const auto* entry = look_up(key);
    if (!entry || entry->has_path) return;
  }
  if ((store_ && load_path(hart, key)) || load_only) return;
  Recording recording;
  recording.page = hart.state().pc & ~page_mask;
  if (!follow(hart, recording) || recording.steps.empty()) return;
  if (recording.steps.size() < shortest && !recording.goes_round()) return;
  // What was looked at last may not be on the path.
  std::erase_if(recording.pages, [&](const Recording::Page& page) {
    return std::ranges::none_of(
        recording.steps, [&](const PathStep& step) { return std::int32_t(step.offset >> page_shift) == page.number; });
  });
  make_path(key, recording);
}

/// False where what happened is no way for a path.
bool Engine::follow(Hart& hart, Recording& recording) {
  while (recording.steps.size() < riscv64::longest_path && hart.budget() > 0) {
    const auto before = recording.steps.size();
    if (!record_step(hart, recording)) return false;
    if (recording.steps.size() == before) return true;  // what comes is not for a path
    const auto next = recording.steps.back().next;
    if (recording.goes_round()) recording.repeated = repeats(hart, recording);
    if (recording.visited(next) || !riscv64::is_near(next)) return true;
  }
  return true;
}

/// Whether the hart goes along the recording again, some times over; it executes what it takes to see that.
bool Engine::repeats(Hart& hart, const Recording& recording) {
  constexpr unsigned rounds = 3;
  for (unsigned round = 0; round < rounds; round++)
    for (const auto& step : recording.steps)
      if (hart.budget() <= 0 || hart.state().pc != recording.page + std::uint64_t(step.offset) ||
          !hart.step(step.instruction.bits))
        return false;
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
    mark_page(hart, key.physical);  // before its bytes are read: what is recorded may write there
    recording.pages.push_back({number, key.physical & ~page_mask,
                               bytes_of({.physical = key.physical & ~page_mask, .behind = 0, .mode = {}})});
    page = recording.pages.end() - 1;
  }
  const auto at = pc & page_mask;
  std::uint32_t bits = 0;
  racing_copy(reinterpret_cast<std::byte*>(&bits), page->bytes.data() + at, std::min<std::size_t>(4, page_size - at));
  if (riscv64::instruction_length(bits) == 2) bits &= 0xffff;
  const auto instruction = riscv64::decode(bits);
  if (at + instruction.length > page_size ||
      !may_be_in_path({.offset = offset, .next = offset, .address = 0, .instruction = instruction},
                      hart.translation_mode()))
    return true;
  const auto address = hart.state().x[instruction.rs1] + std::uint64_t(std::int64_t(instruction.imm));
  if (!hart.step(bits)) return false;
  recording.steps.push_back({.offset = offset,
                             .next = std::int64_t(hart.state().pc - recording.page),
                             .address = address,
                             .instruction = instruction});
  return true;
}

void Engine::make_path(const Key& key, const Recording& recording) {
  std::lock_guard guard(lock_);
  if (recording.pages.size() > 1 && checks_used_ == ir::path_checks) return;
  riscv64::translate_path(recording.steps, key.mode, ir_);
  ir::simplify(ir_);
  ir::share_tlb_checks(ir_);
  std::vector<std::int32_t> numbers;
  for (const auto& page : recording.pages) numbers.push_back(page.number);
  path_code_.code.keep_marks = generated_.keep_marks;
  if (!optimizer_->generate(ir_, numbers, recording.repeated, path_code_)) return;
  const auto source = recording.source();
  if (install(key, source) && store_) store_path(key, source);
}

/// The code of `fast` at the entry begins with a jump to the path in path_code_ from now on; false where there is no
/// room, or no such entry any more.
bool Engine::install(const Key& key, const PathSource& source) {
  auto* entry = look_up(key);
  const bool checks = path_code_.sites.fallback != 0;
  if (!entry || entry->has_path || (checks && checks_used_ == ir::path_checks)) return false;
  optimizing::settle(path_code_, checks_used_, entry->guest_count);
  const auto* code = code_->add(path_code_.code.bytes);
  if (!code) return false;
  auto& t = record(key, code, path_code_.code, 0, {});
  auto& path = *paths_.emplace_back(std::make_unique<Path>());
  path.translation = &t;
  path.parts = source.parts;
  path.ways.resize(t.links.size());
  t.path = &path;
  t.guest_count = source.guest_count;
  for (const auto& part : path.parts) {
    const Path::Page page{part.page, part.physical};
    if (part.page != 0 && std::ranges::find(path.others, page) == path.others.end()) path.others.push_back(page);
    auto& list = paths_of_page_[part.physical];
    if (!list.empty() && list.back() == &path) continue;
    list.push_back(&path);
    // Written to meanwhile: the next fence must look at it.
    if (!memory_.holds_code(part.physical)) memory_.add_written_code(part.physical);
  }
  if (checks) {
    path.check = checks_used_++;
    checked_[path.check].store(&path, std::memory_order_release);
    const auto* from = code + path_code_.sites.fallback;
    code_->patch(from, std::int32_t(entry->code + fast::entry_bytes - (from + 4)));
  }
  t.entry_code = entry->code;
  std::memcpy(&t.entry_before, entry->code, sizeof t.entry_before);
  const auto distance = std::uint32_t(code - (entry->code + jump_bytes));
  const auto kept = t.entry_before & ~((1ULL << 8 * jump_bytes) - 1);
  code_->replace(entry->code, kept | std::uint64_t(distance) << 8 | jump_opcode);
  entry->has_path = true;
  counters_.paths++;
  counters_.path_instructions += t.guest_count;
  counters_.path_loops += source.goes_round;
  if (!observers_.empty() && !ir_.instructions.empty()) tell_observers(source.address, t, path_code_.code);
  return true;
}

/// Whether the guest's bytes are still those that a path was made from.
bool Engine::holds(std::span<const PathPart> parts) {
  return std::ranges::all_of(parts, [&](const PathPart& part) {
    const auto bytes = bytes_of({.physical = part.physical, .behind = 0, .mode = {}});
    return std::ranges::equal(bytes.subspan(part.offset, part.source.size()), part.source);
  });
}

void Engine::check_paths(std::uint64_t page) {
  const auto found = paths_of_page_.find(page);
  if (found == paths_of_page_.end()) return;
  const auto list = found->second;
  for (auto* path : list)
    if (!holds(path->parts)) forget(*path->translation);
}

/// Its entry jumps here no more, unless that went first.
void Engine::forget_path(Translation& translation) {
  auto& path = *translation.path;
  for (const auto& part : path.parts) {
    const auto list = paths_of_page_.find(part.physical);
    if (list == paths_of_page_.end()) continue;
    std::erase(list->second, &path);
    if (list->second.empty()) paths_of_page_.erase(list);
  }
  if (path.check != 0) checked_[path.check].store(nullptr, std::memory_order_release);
  auto* entry = look_up(translation.key);
  if (!entry || entry->code != translation.entry_code) return;
  code_->replace(entry->code, translation.entry_before);
  entry->has_path = false;
  __atomic_store_n(&entry->samples, 0, __ATOMIC_RELAXED);
}

/// Called by code in front of a path over several pages, which the hart has not been at in this view of memory.
std::uint64_t Engine::check_path(void* owner) {
  auto& hart = *static_cast<Hart*>(owner);
  auto& engine = *static_cast<Engine*>(hart.executor());
  auto& e = hart.execution();
  const auto* path = engine.checked_[e.site].load(std::memory_order_acquire);
  if (!path) return 0;
  hart.see_views();
  for (const auto& page : path->others)
    if (hart.page_fetched_from(e.page + (std::uint64_t(std::int64_t(page.number)) << page_shift)) != page.physical)
      return 0;
  e.checks[e.site] = {hart.code_view_number(), e.page};
  return 1;
}

void Engine::flush_paths() {
  paths_.clear();
  paths_of_page_.clear();
  for (auto& path : checked_) path.store(nullptr, std::memory_order_relaxed);
  checks_used_ = 1;
  for (auto& checks : checks_)
    if (checks) checks->fill({});
  std::ranges::fill(wanted_, Wanted{});
}

}  // namespace doppel
