#include "engine/engine.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "ir/passes/passes.h"
#include "memory/racing_copy.h"

namespace doppel {
namespace {

using riscv64::Hart;
using riscv64::HartState;

/// The guest registers that stay in host registers: the most used of compiled code.
constexpr unsigned pinned_guest_registers[pinned_registers] = {10, 11, 12, 13, 14, 15, 2, 8, 9};

GuestLayout layout_of(Hart& hart) {
  GuestLayout layout;
  layout.registers = 64;
  layout.begin = 128 - ir::near_bytes;  // offsets of one byte go from -128 to 127
  const auto place = [&](std::ptrdiff_t offset) { return std::int32_t(offset) - layout.begin; };
  for (unsigned n = 0; n < 32; n++) {
    layout.offset[n] = place(offsetof(HartState, x) + 8 * n);
    layout.offset[riscv64::float_register + n] = place(offsetof(HartState, f) + 8 * n);
  }
  for (unsigned n = 0; n < pinned_registers; n++) layout.host[pinned_guest_registers[n]] = std::uint8_t(n);
  layout.pc = place(offsetof(HartState, pc));
  layout.execution = place(hart.execution_offset());
  layout.status = place(offsetof(HartState, mstatus));
  constexpr auto dirty = riscv64::status::sd | riscv64::status::fs;
  layout.dirty_bits = {std::uint32_t(dirty), std::uint32_t(dirty >> 32)};
  return layout;
}

/// call rel32 (SDM volume 2A).
constexpr std::uint64_t call_opcode = 0xe8;
constexpr unsigned call_bytes = 5;
static_assert(call_bytes <= fast::entry_bytes);

template <bool (Hart::*function)()>
std::uint64_t call(void* owner) {
  return (static_cast<Hart*>(owner)->*function)();
}

}  // namespace

bool Engine::supported() {
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi") && __builtin_cpu_supports("bmi2") &&
         __builtin_cpu_supports("fma") && __builtin_cpu_supports("popcnt") && __builtin_cpu_supports("lzcnt");
}

Result<std::unique_ptr<Engine>> Engine::create(GuestMemory& memory, std::size_t code_bytes) {
  if (!supported())
    return error("this host's processor lacks what translated code needs (AVX2, BMI, FMA): use --engine interpreter");
  auto code = CodeMemory::create(code_bytes);
  if (!code) return code.failure();
  return std::unique_ptr<Engine>(new Engine(memory, std::move(*code)));
}

Result<void> Engine::attach(Hart& hart) {
  if (!generator_) {
    layout_ = layout_of(hart);
    auto routines = fast::generate_routines(layout_, *code_);
    if (!routines) return routines.failure();
    routines_ = *routines;
    routines_end_ = code_->used();
    generator_ = std::make_unique<fast::Generator>(layout_);
  }
  auto& e = hart.execution();
  e.routines = routines_.of_code;
  e.to_link = routines_.to_link;
  e.slow_access = routines_.slow_access;
  e.access_function = &call<&Hart::slow_access>;
  e.interpret_function = &call<&Hart::interpret_site>;
  e.find_function = &find_for_code;
  e.refill_function = &call<&Hart::refill>;
  e.check_function = &check_path;
  wanted_.resize(std::max<std::size_t>(wanted_.size(), hart.id() + 1));
  checks_.resize(wanted_.size());
  checks_[hart.id()] = std::make_unique<std::array<ir::PathCheck, ir::path_checks>>();
  e.checks = checks_[hart.id()]->data();
  e.owner = &hart;
  hart.set_executor(this);
  return {};
}

/// Calls generated code, which has no type for the sanitizer to look at.
[[clang::no_sanitize("function")]] void Engine::enter(Hart& hart, const void* code) {
  hart.enter_translated();
  routines_.enter(&hart.state(), code);
  if (hart.execution().exit == ir::Exit::refused) go_back(hart);
  hart.leave_translated();
}

/// To the begin of a block that did not begin.
void Engine::go_back(Hart& hart) {
  auto& e = hart.execution();
  std::lock_guard guard(lock_);
  const auto* from = translations_.at(static_cast<const std::byte*>(e.link) - 1);
  hart.state().pc = e.page + (from->key.physical & page_mask);
  e.budget += from->guest_count;
}

void Engine::execute(Hart& hart) {
  const auto longest = optimizer_ ? riscv64::longest_path : riscv64::longest_translation;
  auto& e = hart.execution();
  const void* code = nullptr;  // for the hart's pc, where that is known
  while (hart.budget() > 0 && !hart.attention()) {
    if (hart.take_fence()) fence(hart), code = nullptr;
    if (!code) code = hart.code_at(hart.state().pc);
    if (!code) code = at_pc(hart);
    if (!code) continue;
    const auto pc = hart.state().pc;
    const auto before = hart.budget();
    if (optimizer_ && record_at(hart, pc)) {
      code = nullptr;
      continue;
    }
    enter(hart, std::exchange(code, nullptr));
    if (e.exit == ir::Exit::link) {
      code = link(hart);
    } else if (e.exit == ir::Exit::forgotten) {
      find_anew(hart);
    } else if (hart.budget() < longest && !hart.attention()) {
      if (optimizer_) sample(hart);
      if (!hart.exact_budget()) return;
      if (hart.budget() == before && hart.state().pc == pc)
        hart.interpret(hart.budget());  // the block is longer than what is left
    }
  }
}

const std::byte* Engine::at_pc(Hart& hart) {
  hart.counters().dispatches++;
  Key key{.physical = 0, .behind = 0, .mode = hart.translation_mode()};
  if (!hart.find_code(key.physical, key.behind)) return nullptr;
  bool went_on = false;
  const auto* code = find(hart, key, went_on);
  if (code)
    hart.set_code_at(hart.state().pc, key.mode, code, key.behind != 0);
  else if (!went_on)
    hart.interpret(1);
  return code;
}

/// Whether the block, which has not been made, was not executed yet, so far as is remembered, and has been now. Of what
/// the store has it is known that it is executed more often.
bool Engine::interpreted_as_new(Hart& hart, const Key& key) {
  if (!interprets_new_ || key.behind != 0) return false;
  const auto tag = std::uint32_t(key.physical >> 1 ^ std::uint64_t(key.mode.key()) << 26) | 1U << 31;
  auto& seen = seen_[tag * 0x9e3779b1U >> (32 - seen_bits)];
  if (seen.exchange(tag, std::memory_order_relaxed) == tag || may_be_stored(key)) return false;
  __atomic_fetch_add(&counters_.first_runs, 1, __ATOMIC_RELAXED);
  hart.interpret_block();
  return true;
}

const std::byte* Engine::known_at_pc(Hart& hart) {
  hart.counters().jump_misses++;
  hart.see_views();
  Key key{.physical = 0, .behind = 0, .mode = hart.translation_mode()};
  if (!hart.knows_code(key.physical)) return nullptr;
  const auto* code = table_.find(key, translations_);
  if (code) hart.set_code_at(hart.state().pc, key.mode, code, false);
  return code;
}

std::uint64_t Engine::find_for_code(void* owner) {
  auto& hart = *static_cast<Hart*>(owner);
  return reinterpret_cast<std::uintptr_t>(static_cast<Engine*>(hart.executor())->known_at_pc(hart));
}

Translation* Engine::look_up(const Key& key) const {
  const auto* code = table_.find(key, translations_);
  return code ? &translations_.of(code) : nullptr;
}

/// The code, made if need be; null where that cannot be, and where the hart `went_on` because the block was new.
const std::byte* Engine::find(Hart& hart, const Key& key, bool& went_on) {
  if (const auto* code = table_.find(key, translations_)) return code;
  went_on = interpreted_as_new(hart, key);
  if (went_on) return nullptr;
  const auto* made = make(hart, key);
  return made ? made->code : nullptr;
}

/// Sees to it that writes to the page are noticed.
void Engine::mark_page(Hart& hart, std::uint64_t physical) {
  if (memory_.holds_code(physical)) return;
  hart.environment().exclusive(hart, [&] {
    memory_.mark_code(physical);
    for (const auto& other : hart.environment().harts()) other->forbid_stores(physical & ~page_mask);
  });
}

/// The guest's bytes from the page of a key on; with the two behind it where an instruction reaches into them.
std::span<const std::byte> Engine::bytes_of(const Key& key) {
  const auto* page = memory_.page_for_read(key.physical & ~page_mask);
  if (key.behind == 0) return {page, page_size};
  const auto* behind = memory_.page_for_read(key.behind) + (key.behind & page_mask);
  racing_copy(crossing_.data() + page_size - 2, page + page_size - 2, 2);
  racing_copy(crossing_.data() + page_size, behind, 2);
  return crossing_;
}

/// A copy of what a translation of the key may be made of: other harts may be writing there, and what is compared later
/// must be what was translated.
std::span<const std::byte> Engine::copy_of(const Key& key) {
  const auto bytes = bytes_of(key);
  const auto part = bytes.subspan(key.physical & page_mask);
  racing_copy(copied_.data() + (bytes.size() - part.size()), part.data(), std::min(part.size(), longest_source));
  return std::span(copied_).first(bytes.size());
}

/// Leaves the code for the key in generated_, and what of the guest it is for in ir_: from the store, or made now.
bool Engine::translate(const Key& key, std::span<const std::byte> bytes) {
  if (store_ && find_stored(key, bytes)) return true;
  const auto begins = [&](unsigned offset) {
    const Key there{.physical = key.first_page() + offset, .behind = 0, .mode = key.mode};
    return table_.find(there, translations_) != nullptr;
  };
  if (!riscv64::translate(bytes, unsigned(key.physical & page_mask), key.mode, begins, ir_)) return false;
  if (!key.mode.separate_checks && !key.mode.exact_blocks && key.behind == 0) ir::share_tlb_checks(ir_);
  generator_->generate(ir_, generated_);
  counters_.translations++;
  counters_.translated_instructions += ir_.guest_count;
  if (store_) store(key, bytes);
  return true;
}

Translation* Engine::make(Hart& hart, const Key& key) {
  mark_page(hart, key.physical);
  if (key.behind) mark_page(hart, key.behind);
  std::unique_lock guard(lock_);
  if (auto* found = look_up(key)) return found;
  const auto bytes = copy_of(key);
  if (!translate(key, bytes)) return nullptr;
  const auto* code = code_->add(generated_.bytes);
  if (!code) {
    guard.unlock();
    flush(hart);
    return make(hart, key);
  }
  auto& t = record(key, code, generated_, ir_.begin, bytes.subspan(ir_.begin, ir_.end - ir_.begin));
  t.guest_count = ir_.guest_count;
  table_.add(key, code);
  if (!observers_.empty() && !ir_.instructions.empty()) tell_observers(hart.state().pc, t, generated_);
  return &t;
}

/// What is known of code that is in its place now; not yet that it is to be found by its key.
Translation& Engine::record(const Key& key, const std::byte* code, const fast::GeneratedCode& generated,
                            std::uint16_t source_offset, std::span<const std::byte> source) {
  auto& t = translations_.add(key, {code, generated.bytes.size()}, generated.links, source);
  t.source_offset = source_offset;
  // Written to meanwhile: the next fence must look at it.
  for (const auto address : {key.physical, key.behind})
    if (address != 0 && !memory_.holds_code(address)) memory_.add_written_code(address);
  counters_.code_bytes += generated.bytes.size();
  return t;
}

void Engine::observe(std::unique_ptr<TranslationObserver> observer) {
  observer->shared_code({code_->base(), routines_end_});
  generated_.keep_marks |= observer->wants_marks();
  observers_.push_back(std::move(observer));
}

void Engine::tell_observers(std::uint64_t address, const Translation& translation, const fast::GeneratedCode& code) {
  const auto* path = translation.path;
  const MadeTranslation made{
      .address = address,
      .physical = translation.key.physical,
      .engine = path ? "optimizing" : "fast",
      .source = path ? std::span<const std::byte>(path->parts.front().source) : translation.source,
      .code = {translation.code, code.bytes.size()},
      .ir = ir_,
      .marks = code.marks};
  for (const auto& observer : observers_) observer->made(made);
}

/// The jump that the hart came back from may go on directly: finds where, and makes it so.
const std::byte* Engine::link(Hart& hart) {
  const auto& e = hart.execution();
  TranslationLink* link;
  Key key;
  std::uint64_t flushes;
  {
    std::lock_guard guard(lock_);
    // What a stub leaves is behind it, and may be behind all of the code.
    const auto* from = translations_.at(static_cast<const std::byte*>(e.link) - 1);
    link = from->link_returning_to(e.link);
    hart.state().pc = e.page + link->site.target;
    if (from->path && leads_on(hart, *from->path, *link)) return nullptr;
    const auto page = link->site.page == 0 ? from->key.first_page() : from->path->physical_page(link->site.page);
    key = {.physical = page + link->site.target, .behind = 0, .mode = from->key.mode};
    key.mode.separate_checks = link->site.separate;
    flushes = counters_.flushes;
  }
  bool went_on = false;
  const auto* code = find(hart, key, went_on);
  std::lock_guard guard(lock_);
  // After a flush there is nothing to link, and another hart may have come by.
  if (!code || flushes != counters_.flushes || link->to) return code;
  auto& target = translations_.of(code);
  patch(*link, code);
  link->to = &target;
  link->next = std::exchange(target.incoming, link);
  counters_.links++;
  return code;
}

/// The jump cache led to code that was forgotten. Nothing is done here that could trap: the budget may be used up.
void Engine::find_anew(Hart& hart) {
  const auto& e = hart.execution();
  std::lock_guard guard(lock_);
  const auto* from = translations_.at(static_cast<const std::byte*>(e.link) - 1);
  hart.state().pc = e.page + (from->key.physical & page_mask);
  hart.forget_code_at(hart.state().pc);
}

void Engine::patch(const TranslationLink& link, const std::byte* target) {
  const auto* at = link.from->code + link.site.displacement;
  code_->patch(at, std::int32_t(target - (at + 4)));
}

/// FENCE.I: what was written of the pages that code was made from is made anew, nothing else.
void Engine::fence(Hart& hart) {
  if (!memory_.any_written_code()) return;
  hart.environment().exclusive(hart, [&] {
    std::lock_guard guard(lock_);
    table_.drop_old();
    for (const auto page : memory_.take_written_code()) {
      check_page(page);
      check_paths(page);
      if (!translations_.first_of(page) && !paths_of_page_.contains(page)) continue;
      memory_.mark_code(page);
      for (const auto& other : hart.environment().harts()) other->forbid_stores(page);
    }
  });
}

void Engine::check_page(std::uint64_t page) {
  for (auto *t = translations_.first_of(page), *next = t; t; t = next) {
    next = Translations::next(*t, page);
    const auto bytes = bytes_of(t->key).subspan(t->source_offset, t->source.size());
    if (!std::ranges::equal(bytes, t->source)) forget(*t);
  }
}

/// Nothing is linked to it any more, and what leads to it otherwise, as jump caches of any hart and view do, leads to
/// its entry, which is closed. A hart may still be in it.
void Engine::forget(Translation& translation) {
  counters_.invalidated++;
  translation.forgotten = true;
  for (auto* link = std::exchange(translation.incoming, nullptr); link; link = std::exchange(link->next, nullptr)) {
    patch(*link, link->from->code + link->site.stub);
    link->to = nullptr;
  }
  translations_.remove_from_pages(translation);
  if (translation.path) {
    forget_path(translation);
  } else {
    table_.remove(translation.key, translation.code);
    close_entry(translation.code);
  }
}

/// Whoever comes to a block's entry leaves for find_anew() from now on; the call takes the place of part of the first
/// instruction, or of a jump to a path.
void Engine::close_entry(const std::byte* code) {
  std::uint64_t bytes;
  std::memcpy(&bytes, code, sizeof bytes);
  const auto distance = std::uint32_t(static_cast<const std::byte*>(routines_.forgotten) - (code + call_bytes));
  const auto kept = bytes & ~((1ULL << 8 * call_bytes) - 1);
  code_->replace(code, kept | std::uint64_t(distance) << 8 | call_opcode);
}

/// The memory for code is full: all of it goes. A hart that waits inside the interpreter for its turn comes back to
/// code that is not there any more: FENCE.I makes it leave. With no translations there is nothing to look at in written
/// pages.
void Engine::flush(Hart& hart) {
  hart.environment().exclusive(hart, [&] {
    std::lock_guard guard(lock_);
    counters_.flushes++;
    counters_.code_bytes = 0;
    table_.clear();
    translations_.clear();
    flush_paths();
    memory_.take_written_code();
    code_->truncate(routines_end_);
    for (const auto& other : hart.environment().harts()) other->flush_code_jumps(), other->flush_instructions();
  });
}

}  // namespace doppel
