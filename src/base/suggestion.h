#pragma once
// What somebody probably meant who wrote a name that is not known.
#include <string>
#include <vector>

namespace doppel {

/// The one of `known` that is nearest to `word`, or an empty string when none is near.
std::string suggestion(const std::string& word, const std::vector<std::string>& known);

}  // namespace doppel
