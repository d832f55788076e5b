#pragma once
#include "base/result.h"
#include "outcome.h"

namespace doppel::differential {

/// Runs the program under qemu-riscv64 (user mode), which is the second opinion here. DOPPEL_QEMU_RISCV64 names it.
/// Fails with a sentence when it cannot be started; a program that ends badly is an outcome.
Result<Outcome> run_qemu(const Program& program);

}  // namespace doppel::differential
