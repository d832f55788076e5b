#include "process/backtrace.h"

#include <algorithm>
#include <vector>

#include "guest/wasm/module_names.h"

namespace doppel {
namespace {

constexpr std::size_t lines_at_each_end = 25;

struct Line {
  std::string place;
  std::size_t count = 0;
};

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

bool alike(const wasm::Frame& a, const wasm::Frame& b) { return a.function == b.function && a.pc == b.pc; }

}  // namespace

std::string one_line(std::string_view name) {
  constexpr std::size_t longest = 400;
  std::string out(name.substr(0, longest));
  std::ranges::replace_if(out, [](char c) { return static_cast<unsigned char>(c) < ' ' || c == '\x7f'; }, '?');
  return name.size() > longest ? out + "..." : out;
}

std::string backtrace(const wasm::Module& module, const wasm::Store& store, std::span<const wasm::Frame> frames) {
  // The names live as long as this call, and so does the module.
  const wasm::ModuleNames names(std::shared_ptr<const wasm::Module>(std::shared_ptr<const wasm::Module>(), &module));
  std::vector<Line> lines;
  for (std::size_t n = frames.size(); n > 0; n--) {
    if (n == frames.size() || !alike(frames[n], frames[n - 1]))
      lines.push_back({place_of(names, store, frames[n - 1])});
    lines.back().count++;
  }
  std::string out;
  for (std::size_t n = 0; n < lines.size(); n++) {
    if (n == lines_at_each_end && lines.size() > 2 * lines_at_each_end + 1) {
      const auto hidden = lines.size() - 2 * lines_at_each_end;
      out += fmt::format("\n  and {} more, then", hidden);
      n += hidden;
    }
    const auto& [place, count] = lines[n];
    out += fmt::format("\n  at {}{}", place, count > 1 ? fmt::format(", {} times", count) : "");
  }
  return out;
}

}  // namespace doppel
