// The engines that are compared. A new one is a row of the list, and how it is attached.
#include <algorithm>
#include <array>
#include <cstdlib>

#include "codegen/optimizing/compiler.h"
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
  U64 regions() const override { return engine_->counters().regions; }

 protected:
  Engine& engine() { return *engine_; }

 private:
  std::unique_ptr<Engine> engine_;
};

std::unique_ptr<Executing> attach_fast(GuestMemory& memory, Harts harts, std::size_t code_bytes) {
  return std::make_unique<ByEngine>(memory, harts, code_bytes);
}

/// Compiles in this process and at known times, so that a program can be run again.
class Regions : public RegionQueue {
 public:
  explicit Regions(RegionReceiver receiver) : receiver_(std::move(receiver)) {}
  bool submit(const RegionRequest& request) override {
    if (waiting_) return false;
    waiting_ = request;
    return true;
  }
  void compile() {
    static optimizing::Compiler compiler;
    if (!waiting_) return;
    auto object = compiler.compile(*std::exchange(waiting_, std::nullopt));
    if (!object.text.empty()) receiver_(std::move(object));
  }

 private:
  RegionReceiver receiver_;
  std::optional<RegionRequest> waiting_;
};

class ByOptimizingEngine : public ByEngine {
 public:
  ByOptimizingEngine(GuestMemory& memory, Harts harts, std::size_t code_bytes) : ByEngine(memory, harts, code_bytes) {
    constexpr unsigned hot = 2;
    engine().optimize_by(
        [this](RegionReceiver receiver) {
          auto regions = std::make_unique<Regions>(std::move(receiver));
          regions_ = regions.get();
          return regions;
        },
        hot);
  }
  void between_runs() override { regions_->compile(); }

 private:
  Regions* regions_ = nullptr;
};

std::unique_ptr<Executing> attach_optimizing(GuestMemory& memory, Harts harts, std::size_t code_bytes) {
  return std::make_unique<ByOptimizingEngine>(memory, harts, code_bytes);
}

constexpr std::array kinds = {
    EngineKind{.name = "interpreter", .attach = nullptr},
    EngineKind{.name = "fast", .attach = &attach_fast},
    EngineKind{.name = "optimizing",
               .attach = &attach_optimizing,
               .takes_part = [](Way way) { return way == Way::hot; },
               .compiles_regions = true,
               .only_if_named = true},
};

}  // namespace

std::span<const EngineKind> engine_kinds() { return kinds; }

std::vector<EngineKind> choose_kinds(const std::vector<std::string>& names) {
  std::vector<EngineKind> chosen = {kinds[0]};
  for (const auto& kind : std::span(kinds).subspan(1))
    if (names.empty() ? !kind.only_if_named : std::ranges::find(names, kind.name) != names.end())
      chosen.push_back(kind);
  const auto is_there = [](const auto& name) {
    return std::ranges::find(kinds, name, &EngineKind::name) != kinds.end();
  };
  if (!std::ranges::all_of(names, is_there)) chosen.clear();
  return chosen;
}

}  // namespace doppel::differential::engines
