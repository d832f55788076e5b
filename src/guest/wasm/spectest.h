#pragma once
// The host module "spectest" that the specification's tests import from.
#include <optional>
#include <string_view>

#include "guest/wasm/store.h"

namespace doppel::wasm {

class Spectest {
 public:
  /// Adds what the module exports to the store. Error: there is no room.
  static Result<Spectest> add_to(Store& store);
  /// What the module exports by the name.
  std::optional<Extern> find(std::string_view name) const;

 private:
  std::map<std::string, Extern, std::less<>> exports_;
};

}  // namespace doppel::wasm
