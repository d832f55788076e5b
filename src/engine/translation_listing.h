#pragma once
// Guest code, the IR and the host code that it became, side by side.
#include <cstdint>
#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "engine/translation_observer.h"

namespace doppel {

/// What of which translations is listed: those that have a byte from `first` to `last`, virtual or physical.
struct ListingSpec {
  bool ir = false, host = false;
  std::uint64_t first = 0, last = 0;
};
/// WHAT=WHERE: WHAT is ir, asm or ir,asm; WHERE an address or FIRST-LAST, in hexadecimal, or all. Fails with a
/// sentence.
Result<ListingSpec> parse_listing_spec(const std::string& text);

/// Writes listings to a file, or to standard error where `path` is empty. Fails with a sentence.
Result<std::unique_ptr<TranslationObserver>> make_translation_listing(std::vector<ListingSpec> specs,
                                                                      const std::string& path);

}  // namespace doppel
