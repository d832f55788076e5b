#include "device/plic.h"

#include <algorithm>
#include <bit>

namespace doppel {
namespace {

// PLIC specification 1.0, chapter 3 (memory map).
constexpr std::uint64_t pending_base = 0x1000, enable_base = 0x2000, enable_stride = 0x80;
constexpr std::uint64_t context_base = 0x200000, context_stride = 0x1000;
constexpr std::uint64_t threshold_register = 0, claim_register = 4;

template <typename Bits>
bool test(const Bits& bits, unsigned source) {
  return bits[source / 32] >> (source % 32) & 1;
}

template <typename Bits>
void assign(Bits& bits, unsigned source, bool value) {
  const std::uint32_t mask = 1u << (source % 32);
  bits[source / 32] = value ? bits[source / 32] | mask : bits[source / 32] & ~mask;
}

}  // namespace

Plic::Plic(std::vector<InterruptLine> outputs) : outputs_(std::move(outputs)) {
  outputs_.resize(std::min<std::size_t>(outputs_.size(), max_contexts));
  contexts_.resize(outputs_.size());
}

void Plic::reset() {
  const auto level = state_.level;  // the wires belong to the devices
  state_ = {};
  state_.level = level;
  std::fill(contexts_.begin(), contexts_.end(), Context{});
  pass_requests();
  update_outputs(true);
}

// The gateways: one request for each high level, and no other before completion (PLIC specification, chapter 1.2).
void Plic::pass_requests() {
  for (unsigned i = 0; i < words; i++) state_.pending[i] |= state_.level[i] & ~state_.claimed[i];
}

// The enabled pending source with the highest priority, the lowest number first; 0 is none. Priority 0 never
// interrupts.
unsigned Plic::best(const Context& context) const {
  unsigned found = 0;
  for (unsigned i = 0; i < words; i++) {
    for (std::uint32_t bits = state_.pending[i] & context.enabled[i]; bits; bits &= bits - 1) {
      const unsigned source = i * 32 + static_cast<unsigned>(std::countr_zero(bits));
      // Source 0 is never pending and has priority 0, so it stands for "none" here.
      if (state_.priority[source] > state_.priority[found]) found = source;
    }
  }
  return found;
}

void Plic::update_outputs(bool all) {
  for (std::size_t i = 0; i < contexts_.size(); i++) {
    const std::uint64_t mask = 1ULL << i;
    const bool level = state_.priority[best(contexts_[i])] > contexts_[i].threshold;
    if (!all && level == static_cast<bool>(driven_ & mask)) continue;
    driven_ = level ? driven_ | mask : driven_ & ~mask;
    outputs_[i].set(level);
  }
}

void Plic::set_level(unsigned source, bool level) {
  if (source == 0 || source >= sources || test(state_.level, source) == level) return;
  assign(state_.level, source, level);
  pass_requests();
  update_outputs();
}

// Chapter 7: the threshold does not affect what can be claimed.
std::uint32_t Plic::claim(Context& context) {
  const unsigned source = best(context);
  if (source) {
    assign(state_.pending, source, false);
    assign(state_.claimed, source, true);
    update_outputs();
  }
  return source;
}

// Chapter 8: a completion for a source that is not enabled for the context is ignored; who claimed it does not matter.
void Plic::complete(const Context& context, std::uint32_t source) {
  if (source == 0 || source >= sources || !test(context.enabled, source)) return;
  assign(state_.claimed, source, false);
  pass_requests();
  update_outputs();
}

std::uint32_t Plic::read_context(unsigned context, std::uint64_t reg) {
  if (context >= contexts_.size()) return 0;
  if (reg == threshold_register) return contexts_[context].threshold;
  return reg == claim_register ? claim(contexts_[context]) : 0;
}

void Plic::write_context(unsigned context, std::uint64_t reg, std::uint32_t value) {
  if (context >= contexts_.size()) return;
  if (reg == claim_register) return complete(contexts_[context], value);
  if (reg != threshold_register) return;
  contexts_[context].threshold = value & max_priority;
  update_outputs();
}

std::uint32_t Plic::read_word(std::uint64_t offset) {
  if (offset >= context_base) {
    const auto at = offset - context_base;
    return read_context(static_cast<unsigned>(at / context_stride), at % context_stride);
  }
  if (offset >= enable_base) {
    const auto context = (offset - enable_base) / enable_stride, word = (offset - enable_base) % enable_stride / 4;
    return context < contexts_.size() && word < words ? contexts_[context].enabled[word] : 0;
  }
  if (offset >= pending_base) {
    const auto word = (offset - pending_base) / 4;
    return word < words ? state_.pending[word] : 0;
  }
  return offset / 4 < sources ? state_.priority[offset / 4] : 0;
}

void Plic::write_word(std::uint64_t offset, std::uint32_t value) {
  if (offset >= context_base) {
    const auto at = offset - context_base;
    return write_context(static_cast<unsigned>(at / context_stride), at % context_stride, value);
  }
  if (offset >= enable_base) {
    const auto context = (offset - enable_base) / enable_stride, word = (offset - enable_base) % enable_stride / 4;
    if (context >= contexts_.size() || word >= words) return;
    contexts_[context].enabled[word] = word == 0 ? value & ~1u : value;
  } else if (offset < pending_base && offset / 4 < sources && offset != 0) {
    state_.priority[offset / 4] = value & max_priority;
  }
  update_outputs();
}

bool Plic::read(std::uint64_t offset, unsigned size, std::uint64_t& value) {
  if ((size != 4 && size != 8) || offset % size) return false;
  value = read_word(offset);
  if (size == 8) value |= std::uint64_t{read_word(offset + 4)} << 32;
  return true;
}

bool Plic::write(std::uint64_t offset, unsigned size, std::uint64_t value) {
  if ((size != 4 && size != 8) || offset % size) return false;
  write_word(offset, static_cast<std::uint32_t>(value));
  if (size == 8) write_word(offset + 4, static_cast<std::uint32_t>(value >> 32));
  return true;
}

void Plic::save(Writer& out) const {
  out.put(state_);
  out.put<std::uint32_t>(static_cast<std::uint32_t>(contexts_.size()));
  for (const auto& context : contexts_) out.put(context);
}

Result<void> Plic::restore(Reader& in) {
  const auto state = in.get<State>();
  const auto count = in.get<std::uint32_t>();
  if (!in.ok()) return error("the saved state of the plic is cut short");
  if (count != contexts_.size())
    return error("the saved state of the plic is for {} contexts, this machine has {}", count, contexts_.size());
  std::vector<Context> contexts(count);
  bool good = !((state.level[0] | state.pending[0] | state.claimed[0]) & 1) && state.priority[0] == 0;
  for (const auto priority : state.priority) good = good && priority <= max_priority;
  for (auto& context : contexts) {
    context = in.get<Context>();
    good = good && !(context.enabled[0] & 1) && context.threshold <= max_priority;
  }
  if (!in.ok()) return error("the saved state of the plic is cut short");
  if (!good) return error("the saved state of the plic is damaged");
  state_ = state;
  contexts_ = std::move(contexts);
  pass_requests();
  update_outputs(true);
  return {};
}

}  // namespace doppel
