#pragma once
// What a user can have told about translations while they are made.
#include <string>
#include <vector>

#include "base/result.h"
#include "engine/engine.h"
#include "engine/translation_listing.h"

namespace doppel {

struct TranslationReports {
  bool perf_map = false;
  std::string jitdump;  // the folder; empty: none
  std::vector<ListingSpec> listings;
  std::string listing_file;  // empty: standard error

  bool any() const { return perf_map || !jitdump.empty() || !listings.empty(); }
};

/// Makes the files and has the engine tell them. After Engine::attach(), before the sandbox. Fails with a sentence.
Result<void> report_translations(Engine& engine, const TranslationReports& reports);

}  // namespace doppel
