#pragma once
// /tmp/perf-PID.map, in which `perf report` and others look up what the code at an address is.
#include <memory>

#include "base/result.h"
#include "engine/translation_observer.h"

namespace doppel {

/// Writes a line for each translation as it is made, so that a run that is killed has its names too. Of memory for code
/// that was emptied and filled again the map says both, and readers take either: the jitdump knows when.
/// Fails with a sentence.
Result<std::unique_ptr<TranslationObserver>> make_perf_map();

}  // namespace doppel
