#include "engine/engine.h"

#include <algorithm>
#include <cstring>

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

Result<std::unique_ptr<Engine>> Engine::create(GuestMemory& memory, std::size_t code_bytes) {
  auto code = CodeMemory::create(code_bytes);
  if (!code) return code.failure();
  return std::unique_ptr<Engine>(new Engine(memory, std::move(*code)));
}

Result<void> Engine::attach(Hart& hart) {
  if (!generator_) {
    const auto layout = layout_of(hart);
    auto routines = fast::generate_routines(layout, *code_);
    if (!routines) return routines.failure();
    routines_ = *routines;
    routines_end_ = code_->used();
    generator_ = std::make_unique<fast::Generator>(layout);
  }
  auto& e = hart.execution();
  e.to_link = routines_.to_link;
  e.to_dispatch = routines_.to_dispatch;
  e.slow_load = routines_.slow_load;
  e.slow_store = routines_.slow_store;
  e.interpret = routines_.interpret;
  e.interpret_last = routines_.interpret_last;
  e.load_function = &call<&Hart::slow_load>;
  e.store_function = &call<&Hart::slow_store>;
  e.interpret_function = &call<&Hart::interpret_site>;
  e.owner = &hart;
  hart.set_executor(this);
  return {};
}

void Engine::execute(Hart& hart) {
  auto& e = hart.execution();
  while (hart.budget() > 0 && !hart.attention()) {
    if (hart.take_fence()) fence(hart);
    const auto pc = hart.state().pc;
    const auto* code = hart.code_at(pc);
    if (!code) {
      std::uint64_t physical;
      if (!hart.find_code(physical)) continue;
      const auto* translation = find(hart, physical, hart.translation_mode());
      if (!translation) {
        hart.interpret(1);
        continue;
      }
      if (translation->guest_count > hart.budget()) {
        if (!hart.exact_budget()) return;
        hart.interpret(hart.budget());
        continue;
      }
      code = translation->code;
      hart.set_code_at(pc, code);
    }
    const auto before = hart.budget();
    hart.enter_translated();
    routines_.enter(&hart.state(), code);
    hart.leave_translated();
    if (e.exit == ir::Exit::link)
      link(hart);
    else if (hart.budget() < riscv64::longest_translation && !hart.attention()) {
      if (!hart.exact_budget()) return;
      if (hart.budget() == before && hart.state().pc == pc)
        hart.interpret(hart.budget());  // the block is longer than what is left
    }
  }
}

Engine::Translation* Engine::find(Hart& hart, std::uint64_t physical, riscv64::TranslationMode mode) {
  {
    std::lock_guard guard(lock_);
    counters_.dispatches++;
    if (const auto found = translations_.find(key_of(physical, mode)); found != translations_.end())
      return found->second.get();
  }
  return make(hart, physical, mode);
}

/// Sees to it that writes to the page are noticed.
void Engine::mark_page(Hart& hart, std::uint64_t physical) {
  if (memory_.holds_code(physical)) return;
  hart.environment().exclusive(hart, [&] {
    memory_.mark_code(physical);
    for (const auto& other : hart.environment().harts()) other->forbid_stores(physical & ~page_mask);
  });
}

Engine::Translation* Engine::make(Hart& hart, std::uint64_t physical, riscv64::TranslationMode mode) {
  mark_page(hart, physical);
  std::unique_lock guard(lock_);
  const auto key = key_of(physical, mode);
  if (const auto found = translations_.find(key); found != translations_.end()) return found->second.get();
  const auto page = physical & ~page_mask;
  const std::span bytes(memory_.page_for_read(page), page_size);
  if (!riscv64::translate(bytes, unsigned(physical & page_mask), mode, ir_)) return nullptr;
  generator_->generate(ir_, generated_);
  const auto* code = code_->add(generated_.bytes);
  if (!code) {
    guard.unlock();
    flush(hart);
    guard.lock();
    code = code_->add(generated_.bytes);
    if (!code) return nullptr;
  }
  auto translation = std::make_unique<Translation>();
  auto& t = *translation;
  t.code = code;
  t.physical = physical;
  t.key = key;
  t.guest_count = ir_.guest_count;
  t.source.resize(ir_.end - ir_.begin);
  racing_copy(t.source.data(), bytes.data() + ir_.begin, t.source.size());
  t.links = generated_.links;
  for (std::uint32_t n = 0; n < t.links.size(); n++) sites_[code + t.links[n].stub_return] = {&t, n};
  pages_[page].push_back(&t);
  counters_.translations++;
  counters_.translated_instructions += t.guest_count;
  counters_.code_bytes += generated_.bytes.size();
  translations_[key] = std::move(translation);
  // Written to meanwhile: the next fence must look at it.
  if (!memory_.holds_code(page)) memory_.add_written_code(page);
  return &t;
}

/// The jump that the hart came back from may go on directly: finds where, and makes it so.
void Engine::link(Hart& hart) {
  const auto& e = hart.execution();
  Site site;
  std::uint64_t physical;
  riscv64::TranslationMode mode;
  {
    std::lock_guard guard(lock_);
    const auto found = sites_.find(e.link);
    if (found == sites_.end()) return;  // cannot be
    site = found->second;
    const auto& from = *site.from;
    const auto offset = from.links[site.index].target;
    hart.state().pc = e.page + offset;
    physical = (from.physical & ~page_mask) + offset;
    mode.floating_point = from.key & 1;
  }
  const auto generation = counters_.flushes;
  auto* target = find(hart, physical, mode);
  std::lock_guard guard(lock_);
  if (!target || generation != counters_.flushes) return;
  auto& from = *site.from;
  patch(from.code, from.links[site.index], target->code);
  target->incoming.push_back(from.code + from.links[site.index].stub_return);
  counters_.links++;
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
  const auto* bytes = memory_.page_for_read(page);
  auto list = found->second;
  for (auto* translation : list) {
    const auto offset = translation->physical & page_mask;
    if (std::memcmp(bytes + offset, translation->source.data(), translation->source.size()) == 0) continue;
    forget(translation);
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
  auto& list = pages_[translation->physical & ~page_mask];
  std::erase(list, translation);
  if (list.empty()) pages_.erase(translation->physical & ~page_mask);
  const auto found = translations_.find(translation->key);
  translations_.erase(found);
}

/// The memory for code is full: all of it goes.
void Engine::flush(Hart& hart) {
  hart.environment().exclusive(hart, [&] {
    std::lock_guard guard(lock_);
    counters_.flushes++;
    counters_.code_bytes = 0;
    sites_.clear();
    pages_.clear();
    translations_.clear();
    code_->truncate(routines_end_);
    for (const auto& other : hart.environment().harts()) other->flush_code_jumps();
  });
}

}  // namespace doppel
