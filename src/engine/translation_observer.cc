#include "engine/translation_observer.h"

#include <fmt/format.h>

namespace doppel {

std::string symbol_of(const MadeTranslation& translation) {
  return fmt::format("{}:{:#x}:{}", translation.engine, translation.address, translation.ir.guest_count);
}

}  // namespace doppel
