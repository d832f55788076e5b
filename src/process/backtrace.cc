#include "process/backtrace.h"

#include <algorithm>

#include "guest/wasm/module_names.h"

namespace doppel {
namespace {

constexpr std::size_t most_runs_at_an_end = 25;

using Frames = std::span<const wasm::Frame>;

std::string place_of(const wasm::ModuleNames& names, const wasm::Store& store, const wasm::Frame& frame) {
  const auto& entry = store.functions[frame.function];
  if (entry.instance == wasm::FunctionEntry::host) {
    const auto& function = store.host_functions[entry.index];
    return fmt::format("{}.{}", function.module, function.name);
  }
  const auto name = names.find(wasm::NameKind::function, entry.index);
  return fmt::format("{} (byte 0x{:x})", name.empty() ? fmt::format("function {}", entry.index) : one_line(name),
                     frame.pc);
}

/// How many of the frames at the front are activations of one function that went on at one place.
std::size_t run_at_front(Frames frames) {
  std::size_t count = 1;
  while (count < frames.size() && frames[count].function == frames[0].function && frames[count].pc == frames[0].pc)
    count++;
  return count;
}

std::size_t run_at_back(Frames frames) {
  std::size_t count = 1;
  const auto& last = frames.back();
  const auto alike = [&](const wasm::Frame& frame) { return frame.function == last.function && frame.pc == last.pc; };
  while (count < frames.size() && alike(frames[frames.size() - 1 - count])) count++;
  return count;
}

}  // namespace

std::string one_line(std::string_view name) {
  constexpr std::size_t longest = 400;
  std::string out(name.substr(0, longest));
  std::ranges::replace_if(out, [](char c) { return static_cast<unsigned char>(c) < ' ' || c == '\x7f'; }, '?');
  return name.size() > longest ? out + "..." : out;
}

std::string backtrace(const wasm::Module& module, const wasm::Store& store, Frames frames) {
  // The names live as long as this call, and so does the module.
  const wasm::ModuleNames names(std::shared_ptr<const wasm::Module>(std::shared_ptr<const wasm::Module>(), &module));
  const auto line = [&](const wasm::Frame& frame, std::size_t count) {
    return fmt::format("\n  at {}{}", place_of(names, store, frame), count > 1 ? fmt::format(", {} times", count) : "");
  };
  std::string inner, outer;
  for (std::size_t runs = 0; runs < most_runs_at_an_end && !frames.empty(); runs++) {
    const auto count = run_at_back(frames);
    inner += line(frames.back(), count);
    frames = frames.first(frames.size() - count);
  }
  for (std::size_t runs = 0; runs < most_runs_at_an_end && !frames.empty(); runs++) {
    const auto count = run_at_front(frames);
    outer = line(frames[0], count) + outer;
    frames = frames.subspan(count);
  }
  return inner + (frames.empty() ? "" : fmt::format("\n  and {} more", frames.size())) + outer;
}

}  // namespace doppel
