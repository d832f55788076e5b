#pragma once
#include "process/wasi/context.h"
#include "process/wasi/wasi.h"

namespace doppel::wasi {

/// What a program is started with, at 0 to 2 and from 3 on.
Result<void> open_initial(Context& context, const WasiConfiguration& configuration);

}  // namespace doppel::wasi
