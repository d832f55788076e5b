// The engines that are compared. A new one is a row of the list, and how it is attached.
#include <algorithm>
#include <array>
#include <cstdlib>

#include "computer.h"
#include "engine/engine.h"

namespace doppel::differential::engines {
namespace {

using Harts = std::span<const std::unique_ptr<riscv64::Hart>>;

class ByEngine : public Executing {
 public:
  ByEngine(GuestMemory& memory, Harts harts, std::size_t code_bytes) {
    auto engine = Engine::create(memory, code_bytes);
    if (!engine) std::abort();
    engine_ = std::move(*engine);
    for (const auto& hart : harts)
      if (!engine_->attach(*hart)) std::abort();
  }
  U64 blocks() const override { return engine_->counters().translations; }
  U64 paths() const override { return engine_->counters().paths; }

 protected:
  Engine& engine() { return *engine_; }

 private:
  std::unique_ptr<Engine> engine_;
};

std::unique_ptr<Executing> attach_fast(GuestMemory& memory, Harts harts, std::size_t code_bytes) {
  return std::make_unique<ByEngine>(memory, harts, code_bytes);
}

class ByOptimizingEngine : public ByEngine {
 public:
  ByOptimizingEngine(GuestMemory& memory, Harts harts, std::size_t code_bytes) : ByEngine(memory, harts, code_bytes) {
    engine().optimize(0, 1);
  }
};

std::unique_ptr<Executing> attach_optimizing(GuestMemory& memory, Harts harts, std::size_t code_bytes) {
  return std::make_unique<ByOptimizingEngine>(memory, harts, code_bytes);
}

/// As machines are made: paths too, and what is met first is interpreted.
class ByMixedEngine : public ByOptimizingEngine {
 public:
  ByMixedEngine(GuestMemory& memory, Harts harts, std::size_t code_bytes)
      : ByOptimizingEngine(memory, harts, code_bytes) {
    engine().interpret_what_is_new();
  }
};

std::unique_ptr<Executing> attach_mixed(GuestMemory& memory, Harts harts, std::size_t code_bytes) {
  return std::make_unique<ByMixedEngine>(memory, harts, code_bytes);
}

constexpr std::array kinds = {
    EngineKind{.name = "interpreter", .attach = nullptr},
    EngineKind{.name = "fast", .attach = &attach_fast},
    EngineKind{
        .name = "optimizing",
        .attach = &attach_optimizing,
        .makes_paths = true,
    },
    EngineKind{
        .name = "mixed",
        .attach = &attach_mixed,
        .makes_paths = true,
    },
};

}  // namespace

std::span<const EngineKind> engine_kinds() { return kinds; }

std::vector<EngineKind> choose_kinds(const std::vector<std::string>& names) {
  std::vector<EngineKind> chosen = {kinds[0]};
  for (const auto& kind : std::span(kinds).subspan(1))
    if (names.empty() || std::ranges::find(names, kind.name) != names.end()) chosen.push_back(kind);
  const auto is_there = [](const auto& name) {
    return std::ranges::find(kinds, name, &EngineKind::name) != kinds.end();
  };
  if (!std::ranges::all_of(names, is_there)) chosen.clear();
  return chosen;
}

}  // namespace doppel::differential::engines
