#include "engine/engine.h"

#include <algorithm>

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
  for (unsigned n = 0; n < 32; n++) {
    layout.offset[n] = std::int32_t(offsetof(HartState, x) + 8 * n);
    layout.offset[riscv64::float_register + n] = std::int32_t(offsetof(HartState, f) + 8 * n);
  }
  for (unsigned n = 0; n < pinned_registers; n++) layout.host[pinned_guest_registers[n]] = std::uint8_t(n);
  layout.pc = std::int32_t(offsetof(HartState, pc));
  layout.execution = std::int32_t(hart.execution_offset());
  return layout;
}

template <bool (Hart::*function)()>
std::uint64_t call(void* owner) {
  return (static_cast<Hart*>(owner)->*function)();
}

}  // namespace

bool Engine::supported() {
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi") && __builtin_cpu_supports("bmi2") &&
         __builtin_cpu_supports("fma") && __builtin_cpu_supports("popcnt") && __builtin_cpu_supports("lzcnt") &&
         __builtin_cpu_supports("pclmul");
}

Result<std::unique_ptr<Engine>> Engine::create(GuestMemory& memory, std::size_t code_bytes) {
  if (!supported())
    return error(
        "this host's processor lacks what translated code needs (AVX2, BMI, FMA, PCLMULQDQ): use --engine interpreter");
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
  e.load_function = &call<&Hart::slow_load>;
  e.store_function = &call<&Hart::slow_store>;
  e.interpret_function = &call<&Hart::interpret_site>;
  e.refill_function = &call<&Hart::refill>;
  e.check_function = &check_path;
  e.owner = &hart;
  wanted_.resize(std::max<std::size_t>(wanted_.size(), hart.id() + 1), 1);
  checks_.resize(wanted_.size());
  checks_[hart.id()] = std::make_unique<std::array<ir::PathCheck, ir::path_checks>>();
  e.checks = checks_[hart.id()]->data();
  hart.set_executor(this);
  return {};
}

/// Calls generated code, which has no type for the sanitizer to look at.
[[clang::no_sanitize("function")]] void Engine::enter(Hart& hart, const void* code) {
  hart.enter_translated();
  routines_.enter(&hart.state(), code);
  hart.leave_translated();
}

void Engine::execute(Hart& hart) {
  const auto longest = optimizer_ ? riscv64::longest_path : riscv64::longest_translation;
  auto& e = hart.execution();
  while (hart.budget() > 0 && !hart.attention()) {
    if (hart.take_fence()) fence(hart);
    const auto pc = hart.state().pc;
    if (optimizer_ && wanted_[hart.id()] == pc && (hart.budget() > riscv64::longest_path || hot_ == 0)) {
      record(hart);
      continue;
    }
    const auto* code = hart.code_at(pc);
    if (!code) {
      const auto* translation = at_pc(hart);
      if (!translation) continue;
      if (optimizer_ && hot_ == 0 && !translation->has_path) {
        const auto before = hart.budget();
        record(hart);  // for tests: whatever is reached
        if (hart.budget() != before) continue;
      }
      if (translation->guest_count > hart.budget()) {
        if (!hart.exact_budget()) return;
        hart.interpret(hart.budget());
        continue;
      }
      code = translation->code;
    }
    const auto before = hart.budget();
    enter(hart, code);
    if (std::int64_t(hart.budget()) < 0) { fprintf(stderr, "code %p pc %lx before %ld after %ld now %lx exit %d link %p\n", code, pc, before, hart.budget(), hart.state().pc, int(e.exit), e.link); for (auto& [a,t]: translations_) if (t->is_path || t->code==code) { fprintf(stderr, "%s %p phys %lx count %u\n", t->is_path?"path":"block", t->code, t->key.physical, t->guest_count); } __builtin_trap(); }
    if (e.exit == ir::Exit::link) {
      link(hart);
    } else if (hart.budget() < longest && !hart.attention()) {
      if (optimizer_ && hart.budget() > 0) sample(hart);
      if (!hart.exact_budget()) return;
      if (hart.budget() == before && hart.state().pc == pc)
        hart.interpret(hart.budget());  // the block is longer than what is left
    }
  }
}

Engine::Translation* Engine::at_pc(Hart& hart) {
  hart.counters().dispatches++;
  Key key{.physical = 0, .behind = 0, .mode = hart.translation_mode()};
  if (!hart.find_code(key.physical, key.behind)) return nullptr;
  auto* translation = find(hart, key);
  if (!translation)
    hart.interpret(1);
  else
    hart.set_code_at(hart.state().pc, translation->code, key.behind != 0);
  return translation;
}

Engine::Translation* Engine::look_up(const Key& key) const {
  for (auto slot = key.hash() % table_.size();; slot = (slot + 1) % table_.size()) {
    auto* translation = table_[slot].load(std::memory_order_acquire);
    if (!translation) return nullptr;
    if (translation != gone() && translation->key == key) return translation;
  }
}

void Engine::insert(Translation* translation) {
  auto slot = translation->key.hash() % table_.size();
  while (table_[slot].load(std::memory_order_relaxed)) slot = (slot + 1) % table_.size();
  table_[slot].store(translation, std::memory_order_release);
  table_used_++;
}

Engine::Translation* Engine::find(Hart& hart, const Key& key) {
  if (auto* found = look_up(key)) return found;
  return make(hart, key);
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
  constexpr std::size_t longest_source = riscv64::longest_translation * 4 + 2;  // and what it looks at behind
  const auto bytes = bytes_of(key);
  const auto part = bytes.subspan(key.physical & page_mask);
  racing_copy(copied_.data() + (bytes.size() - part.size()), part.data(), std::min(part.size(), longest_source));
  return std::span(copied_).first(bytes.size());
}

/// Leaves the code for the key in generated_, and what of the guest it is for in ir_: from the store, or made now.
bool Engine::translate(const Key& key, std::span<const std::byte> bytes) {
  if (store_ && find_stored(key, bytes)) return true;
  if (!riscv64::translate(bytes, unsigned(key.physical & page_mask), key.mode, ir_)) return false;
  if (!key.mode.separate_checks && !key.mode.exact_blocks && key.behind == 0) ir::share_tlb_checks(ir_);
  generator_->generate(ir_, generated_);
  counters_.translations++;
  counters_.translated_instructions += ir_.guest_count;
  if (store_) store(key, bytes);
  return true;
}

Engine::Translation* Engine::make(Hart& hart, const Key& key) {
  mark_page(hart, key.physical);
  if (key.behind) mark_page(hart, key.behind);
  std::unique_lock guard(lock_);
  if (auto* found = look_up(key)) return found;
  const auto bytes = copy_of(key);
  if (!translate(key, bytes)) return nullptr;
  const auto* code = table_used_ < table_.size() / 2 ? code_->add(generated_.bytes) : nullptr;
  if (!code) {
    guard.unlock();
    flush(hart);
    return find(hart, key);
  }
  auto translation = std::make_unique<Translation>();
  auto& t = *translation;
  t.code = code;
  t.key = key;
  t.guest_count = ir_.guest_count;
  t.source_offset = ir_.begin;
  t.source.assign(bytes.begin() + ir_.begin, bytes.begin() + ir_.end);
  t.links = generated_.links;
  for (std::uint32_t n = 0; n < t.links.size(); n++) sites_[code + t.links[n].stub_return] = {&t, n};
  for (const auto address : {key.physical, key.behind}) {
    if (address == 0) continue;
    pages_[address & ~page_mask].push_back(&t);
    // Written to meanwhile: the next fence must look at it.
    if (!memory_.holds_code(address)) memory_.add_written_code(address);
  }
  counters_.code_bytes += generated_.bytes.size();
  translations_[&t] = std::move(translation);
  insert(&t);
  if (!observers_.empty() && !ir_.instructions.empty()) tell_observers(hart.state().pc, t, generated_);
  return &t;
}

void Engine::observe(std::unique_ptr<TranslationObserver> observer) {
  observer->shared_code({code_->base(), routines_end_});
  generated_.keep_marks |= observer->wants_marks();
  observers_.push_back(std::move(observer));
}

void Engine::tell_observers(std::uint64_t address, const Translation& translation, const fast::GeneratedCode& code) {
  const MadeTranslation made{.address = address,
                             .physical = translation.key.physical,
                             .engine = translation.is_path ? "optimizing" : "fast",
                             .source = translation.is_path ? translation.parts.front().source : translation.source,
                             .code = {translation.code, code.bytes.size()},
                             .ir = ir_,
                             .marks = code.marks};
  for (const auto& observer : observers_) observer->made(made);
}

/// The jump that the hart came back from may go on directly: finds where, and makes it so.
void Engine::link(Hart& hart) {
  const auto& e = hart.execution();
  Key key;
  std::uint64_t flushes;
  {
    std::lock_guard guard(lock_);
    const auto found = sites_.find(e.link);
    if (found == sites_.end()) return;  // cannot be
    auto& from = *found->second.from;
    const auto& link = from.links[found->second.index];
    hart.state().pc = e.page + link.target;
    if (from.is_path && leads_on(hart, from, found->second.index)) return;
    key = {.physical = page_of(from, link.page) + link.target, .behind = 0, .mode = from.key.mode};
    key.mode.separate_checks = from.links[found->second.index].separate;
    flushes = counters_.flushes;
  }
  auto* target = find(hart, key);
  std::lock_guard guard(lock_);
  // After a flush there may be another jump at that address.
  const auto found = sites_.find(e.link);
  if (!target || flushes != counters_.flushes || found == sites_.end()) return;
  const auto& from = *found->second.from;
  patch(from.code, from.links[found->second.index], target->code);
  target->incoming.push_back(static_cast<const std::byte*>(e.link));
  counters_.links++;
}

/// The physical page that a translation's links go to.
std::uint64_t Engine::page_of(const Translation& from, std::int32_t page) {
  if (page == 0) return from.key.physical & ~page_mask;
  return std::ranges::find(from.parts, page, &PathPart::page)->physical;
}

void Engine::patch(const std::byte* code, const fast::LinkSite& site, const std::byte* target) {
  const auto* at = code + site.displacement;
  code_->patch(at, std::int32_t(target - (at + 4)));
}

/// FENCE.I: what was written of the pages that code was made from is made anew, nothing else.
void Engine::fence(Hart& hart) {
  if (!memory_.any_written_code()) return;
  hart.environment().exclusive(hart, [&] {
    std::lock_guard guard(lock_);
    bool changed = false;
    for (const auto page : memory_.take_written_code()) {
      check_page(page, changed);
      if (!pages_.contains(page)) continue;
      memory_.mark_code(page);
      for (const auto& other : hart.environment().harts()) other->forbid_stores(page);
    }
    if (changed)
      for (const auto& other : hart.environment().harts()) other->flush_code_jumps();
  });
}

void Engine::check_page(std::uint64_t page, bool& changed) {
  const auto found = pages_.find(page);
  if (found == pages_.end()) return;
  const auto list = found->second;
  for (auto* t : list) {
    if (t->is_path ? path_holds(*t) : std::ranges::equal(bytes_of(t->key).subspan(t->source_offset, t->source.size()), t->source)) continue;
    forget(t);
    changed = true;
  }
}

/// Nothing leads to it any more; a hart may still be in it.
void Engine::forget(Translation* translation) {
  counters_.invalidated++;
  for (const auto* back : translation->incoming) {
    const auto site = sites_.find(back);
    if (site == sites_.end()) continue;
    const auto& from = *site->second.from;
    const auto& jump = from.links[site->second.index];
    patch(from.code, jump, from.code + jump.stub);
  }
  for (const auto& jump : translation->links) sites_.erase(translation->code + jump.stub_return);
  const auto leave_page = [&](std::uint64_t address) {
    const auto list = pages_.find(address & ~page_mask);
    if (list == pages_.end()) return;
    std::erase(list->second, translation);
    if (list->second.empty()) pages_.erase(list);
  };
  leave_page(translation->key.physical), leave_page(translation->key.behind);
  for (const auto& part : translation->parts) leave_page(part.physical);
  if (translation->is_path) {
    if (const auto check = std::ranges::find(checked_, translation); check != checked_.end()) *check = nullptr;
    // Its entry jumps here no more, unless that went first.
    auto* entry = look_up(translation->key);
    if (entry && entry->code == translation->entry_code) {
      code_->replace(entry->code, translation->entry_before);
      entry->has_path = false, entry->samples = 0;
    }
  } else {
    auto slot = translation->key.hash() % table_.size();
    while (table_[slot].load(std::memory_order_relaxed) != translation) slot = (slot + 1) % table_.size();
    table_[slot].store(gone(), std::memory_order_release);
  }
  translations_.erase(translation);
}

/// The memory for code is full: all of it goes. A hart that waits inside the interpreter for its turn comes back to
/// code that is not there any more: FENCE.I makes it leave. With no translations there is nothing to look at in written
/// pages.
void Engine::flush(Hart& hart) {
  hart.environment().exclusive(hart, [&] {
    std::lock_guard guard(lock_);
    counters_.flushes++;
    counters_.code_bytes = 0;
    for (auto& slot : table_) slot.store(nullptr, std::memory_order_relaxed);
    table_used_ = 0;
    sites_.clear();
    pages_.clear();
    translations_.clear();
    flush_paths();
    memory_.take_written_code();
    code_->truncate(routines_end_);
    for (const auto& other : hart.environment().harts()) other->flush_code_jumps(), other->flush_instructions();
  });
}

}  // namespace doppel
