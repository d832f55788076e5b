#pragma once
// The kernel's file restrictions for the sandbox (Linux 5.13 and later; Documentation/userspace-api/landlock.rst).
#include "base/result.h"
#include "machine/sandbox.h"

namespace doppel {

/// See restrict_files(), which calls it with no_new_privs set.
Result<bool> apply_landlock(const SandboxOptions& options);
/// Whether apply_landlock() restricted anything in this process.
bool landlock_applied();

}  // namespace doppel
