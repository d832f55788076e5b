#include "codegen/optimizing/generator.h"

namespace doppel::optimizing {

using ir::no_value;
using ir::Op;

Generator::Generator(const GuestLayout& layout) : layout_(layout) {}

bool Generator::generate(const ir::Code& path, std::span<const std::int32_t> pages, bool repeated, PathCode& out) {
  holder_.reset();
  holder_.init(asmjit::Environment::host());
  holder_.attach(&a_);
  pages_ = pages;
  repeated_ = repeated;
  auto& code = out.code;
  code.marks.clear();
  marks_ = code.keep_marks ? &code.marks : nullptr;
  now_ = 0, exits_now_ = true;
  prepare(path);
  emit_check(out.sites);
  enter_header();
  emit_head();
  for (now_ = 0; now_ < list_->size(); now_++) {
    const auto& i = definition(now_);
    if (i.op == Op::set || i.op == Op::setf) {
      current_[i.reg] = resolve(i.a);
      continue;
    }
    if (!info_[now_].live || info_[now_].sunk || i.op == Op::get || remade(now_)) continue;
    exits_now_ = is_exit(i);
    mark(now_, false);
    emit(now_);
    unlock();
  }
  for (auto& exit : exits_) emit_exit(exit);
  for (const auto& look : looks_) emit_look(look);
  for (const auto& miss : misses_) emit_miss(miss);
  for (const auto& fix : fixes_) emit_fix(fix);
  for (auto& link : links_) {
    mark(no_value, true);
    a_.bind(link.stub);
    a_.call(DOPPEL_FIELD(layout_, to_link, 8));
    a_.bind(link.stub_return);
  }
  holder_.flatten();
  holder_.resolveUnresolvedLinks();
  code.bytes.resize(holder_.codeSize());
  holder_.copyFlattenedData(code.bytes.data(), code.bytes.size());
  code.links.clear();
  for (const auto& link : links_)
    code.links.push_back({.displacement = std::uint32_t(link.displacement),
                          .stub = std::uint32_t(holder_.labelOffset(link.stub)),
                          .stub_return = std::uint32_t(holder_.labelOffset(link.stub_return)),
                          .target = link.target,
                          .separate = link.separate,
                          .page = link.page});
  holder_.detach(&a_);
  return !failed_;
}

bool Generator::knows(Op op) {
  switch (op) {
    case Op::get_state:
    case Op::set_state:
    case Op::guard:
    case Op::atomic:
    case Op::load_linked:
    case Op::store_right:
    case Op::store_conditional:
    case Op::zero_block:
    case Op::float_flags:
    case Op::clear_float_flags:
    case Op::host_counter:
    case Op::interpret:
    case Op::leave:
      return false;
    default:
      return true;
  }
}

void Generator::mark(Value operation, bool aside) {
  if (marks_) marks_->push_back({std::uint32_t(a_.offset()), operation, aside});
}

void Generator::emit(Value n) {
  if (emit_integer(n)) return;
  switch (definition(n).op) {
    case Op::window:
      return emit_window(n);
    case Op::load:
    case Op::loadf:
    case Op::store:
    case Op::storef:
      return emit_access(n);
    case Op::dirty_float:
      return fast::mark_float_dirty(a_, layout_);
    case Op::fence:
      a_.lock().or_(x86::dword_ptr(x86::rsp), 0);
      return;
    case Op::branch:
      return emit_branch(n);
    case Op::expect:
      return emit_expect(n);
    case Op::jump_to:
      return emit_jump_to(n);
    case Op::jump:
      return emit_end(n);
    default:
      return emit_float(n);
  }
}

}  // namespace doppel::optimizing
