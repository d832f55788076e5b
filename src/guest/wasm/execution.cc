#include "guest/wasm/execution.h"

#include <algorithm>
#include <limits>

#include "guest/wasm/frame_layout.h"
#include "guest/wasm/interpreter.h"
#include "guest/wasm/stack_words.h"

namespace doppel::wasm {

Execution::Execution(Store& store, std::uint32_t stack_words, std::uint32_t frames)
    : store_(store), most_words_(stack_words), most_frames_(frames) {}

void Execution::call(std::uint32_t function, std::span<const Cell> arguments) {
  const auto& types = store_.type_of(function).parameters;
  height_ = words_of(types);
  if (stack_.size() < height_) stack_.resize(height_);
  to_words(types, arguments.data(), stack_.data());
  frames_ = {{.function = function}};
  entries_ = {0};
  results_.clear();
}

Result<void> Execution::restore(std::span<const Frame> frames, std::span<const std::uint64_t> stack) {
  if (frames.size() > most_frames_) return error("{} frames are more than {}", frames.size(), most_frames_);
  FrameLayouts layouts(store_);
  std::vector<std::uint32_t> entries;
  std::uint64_t end = 0, room = 0;
  for (std::size_t n = 0; n < frames.size(); n++) {
    const auto layout = layouts.of(frames[n], n + 1 < frames.size() ? &frames[n + 1] : nullptr);
    if (!layout || frames[n].locals != end) return error("frame {} is not one that a run can leave", n);
    entries.push_back(layout->entry);
    end += layout->words;
    room = std::max(room, frames[n].locals + std::uint64_t{layout->most_words});
  }
  if (end != stack.size() || room > most_words_) return error("{} words are no stack of these frames", stack.size());
  frames_.assign(frames.begin(), frames.end());
  entries_ = std::move(entries);
  stack_.assign(stack.begin(), stack.end());
  stack_.resize(std::max<std::size_t>(room, stack.size()));
  height_ = std::uint32_t(stack.size());
  results_.clear();
  return {};
}

Stop Execution::run(std::int64_t& budget) { return Interpreter(*this).run(budget); }

Stop Execution::run() {
  for (;;) {
    auto budget = std::numeric_limits<std::int64_t>::max();
    if (const Stop stop = run(budget); stop.kind != Stop::Kind::exhausted) return stop;
  }
}

}  // namespace doppel::wasm
