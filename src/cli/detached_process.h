#pragma once
// Work that goes on in a process of its own when the command has come back.
#include <functional>

#include "base/result.h"

namespace doppel {

/// Forks, so there must be no threads yet, and nothing open that two processes may not share. In the child `work` runs
/// in a session of its own, without terminal and standard streams; it calls `running` when it can be left alone, and
/// gives the child's exit status. The parent comes back then, with status 0, or prints the error of `work` and comes
/// back with exit_usage. Comes back in both processes.
int run_detached(const std::function<Result<int>(const std::function<void()>& running)>& work);

}  // namespace doppel
