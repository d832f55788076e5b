#pragma once
// A jitdump: what `perf inject --jit` turns into symbols and disassembly of code that was made at run time
// (tools/perf/Documentation/jitdump-specification.txt of Linux).
#include <memory>
#include <string>

#include "base/result.h"
#include "engine/translation_observer.h"

namespace doppel {

/// Writes each translation with its bytes and the time to FOLDER/jit-PID.dump. The clock is CLOCK_MONOTONIC: record
/// with `perf record -k mono`. Fails with a sentence.
Result<std::unique_ptr<TranslationObserver>> make_jitdump(const std::string& folder);

}  // namespace doppel
