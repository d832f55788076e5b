#pragma once
// Which host code belongs to which operation, for whoever reads it.
#include <cstdint>

#include "ir/code.h"

namespace doppel {

/// From here to the next mark the host code is this operation's.
struct HostMark {
  std::uint32_t offset = 0;            // from the code's begin, in bytes
  ir::Value operation = ir::no_value;  // none: the block's entry, or a jump that is not linked yet
  bool aside = false;                  // behind the block: a slow path or an exit
};

}  // namespace doppel
