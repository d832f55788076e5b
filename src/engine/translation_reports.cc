#include "engine/translation_reports.h"

#include "engine/jitdump.h"
#include "engine/perf_map.h"

namespace doppel {

Result<void> report_translations(Engine& engine, const TranslationReports& reports) {
  if (reports.perf_map) {
    auto map = make_perf_map();
    if (!map) return map.failure();
    engine.observe(std::move(*map));
  }
  if (!reports.jitdump.empty()) {
    auto dump = make_jitdump(reports.jitdump);
    if (!dump) return dump.failure();
    engine.observe(std::move(*dump));
  }
  if (!reports.listings.empty()) {
    auto listing = make_translation_listing(reports.listings, reports.listing_file);
    if (!listing) return listing.failure();
    engine.observe(std::move(*listing));
  }
  return {};
}

}  // namespace doppel
