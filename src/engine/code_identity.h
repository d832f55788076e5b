#pragma once
// Who made code, and for which host: code of another identity is as good as none.
#include <cstddef>
#include <span>

#include "base/sha256.h"

namespace doppel {

/// A hash over this program and the libraries that it was started with (by their build IDs, or where one has none by
/// its constant segments), the host processor's features, and `parameters`: all that the generators were set up with,
/// such as the guest's layout and which optimizations are on. The same in each run of the same program on the same
/// processor.
Sha256 code_identity(std::span<const std::byte> parameters);

}  // namespace doppel
