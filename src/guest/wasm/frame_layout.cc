#include "guest/wasm/frame_layout.h"

#include <algorithm>

#include "guest/wasm/function_infos.h"
#include "guest/wasm/stack_words.h"

namespace doppel::wasm {

std::optional<FrameLayout> FrameLayouts::of(const Frame& frame, const Frame* callee) {
  if (frame.function >= store_.functions.size()) return {};
  if (frame.pc == 0) return about_to_be_called(frame, callee);
  if (store_.functions[frame.function].instance == FunctionEntry::host) return {};
  const auto place = std::pair(frame.function, frame.pc);
  if (!known_.contains(place)) known_[place] = running(frame);
  auto layout = known_[place];
  if (!layout || !callee) return layout;
  if (callee->function >= store_.functions.size() || callee->pc == 0) return {};
  // pc is behind the call, where its results are among the operands.
  const auto results = words_of(store_.type_of(callee->function).results);
  const auto locals = layout->words - layout->operands;
  if (results > layout->operands) return {};
  layout->words = locals + layout->operands - results;
  return layout;
}

std::optional<FrameLayout> FrameLayouts::about_to_be_called(const Frame& frame, const Frame* callee) const {
  if (callee || frame.locals != 0) return {};
  const auto parameters = words_of(store_.type_of(frame.function).parameters);
  return FrameLayout{.words = parameters, .most_words = parameters};
}

std::optional<FrameLayout> FrameLayouts::running(const Frame& frame) const {
  const FunctionEntry& function = store_.functions[frame.function];
  const Instance& instance = store_.instances[function.instance];
  const FunctionInfo* const info = instance.infos->of_function(function.index);
  if (!info) return {};
  const auto operands = operand_words(*instance.module, function.index, frame.pc);
  if (!operands) return {};
  const auto entry = std::ranges::lower_bound(info->branches, frame.pc, {}, &BranchEntry::at);
  return FrameLayout{.words = info->local_words + *operands,
                     .operands = *operands,
                     .most_words = info->local_words + info->max_operand_words,
                     .entry = std::uint32_t(entry - info->branches.begin())};
}

}  // namespace doppel::wasm
