#include "guest/wasm/text/index_space.h"

namespace doppel::wasm::text {

bool IndexSpace::identify(std::string identifier) {
  names_[count_ - 1] = identifier;
  return indices_.emplace(std::move(identifier), count_ - 1).second;
}

std::optional<std::uint32_t> IndexSpace::find(std::string_view identifier) const {
  const auto found = indices_.find(identifier);
  if (found == indices_.end()) return {};
  return found->second;
}

}  // namespace doppel::wasm::text
