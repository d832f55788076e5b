#include "guest/wasm/function_infos.h"

#include <map>
#include <mutex>

namespace doppel::wasm {
namespace {

/// Of the modules that are in any store. Entries are gone before their module is, which FunctionInfos keeps alive.
struct Registry {
  std::mutex mutex;
  std::map<const Module*, std::weak_ptr<FunctionInfos>> infos;
};
Registry& registry() {
  static auto* const only = new Registry;  // not destroyed: stores may outlive static objects
  return *only;
}

}  // namespace

std::shared_ptr<FunctionInfos> FunctionInfos::of_module(const std::shared_ptr<const Module>& module) {
  const std::scoped_lock lock(registry().mutex);
  auto& known = registry().infos[module.get()];
  if (auto infos = known.lock()) return infos;
  auto infos = std::make_shared<FunctionInfos>(module);
  known = infos;
  return infos;
}

FunctionInfos::FunctionInfos(std::shared_ptr<const Module> module)
    : module_(std::move(module)), outcomes_(module_->functions.size() - module_->imported_functions) {}

FunctionInfos::~FunctionInfos() {
  for (const auto& outcome : outcomes_) delete outcome.load();
  const std::scoped_lock lock(registry().mutex);
  // Someone may have asked again since the last holder was gone.
  const auto known = registry().infos.find(module_.get());
  if (known != registry().infos.end() && known->second.expired()) registry().infos.erase(known);
}

const FunctionInfo* FunctionInfos::of_function(std::uint32_t function) {
  const Outcome* outcome = outcomes_[function - module_->imported_functions].load(std::memory_order_acquire);
  return std::get_if<FunctionInfo>(outcome ? outcome : &decode(function));
}

/// Two threads may both do it: the first one's outcome stays.
const FunctionInfos::Outcome& FunctionInfos::decode(std::uint32_t function) {
  auto made = std::make_unique<const Outcome>(function_info(*module_, function));
  const Outcome* there = nullptr;
  auto& place = outcomes_[function - module_->imported_functions];
  if (place.compare_exchange_strong(there, made.get(), std::memory_order_acq_rel)) return *made.release();
  return *there;
}

}  // namespace doppel::wasm
