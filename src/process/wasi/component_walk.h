#pragma once
#include <sys/types.h>

#include <string>

namespace doppel::wasi {

/// openat(2) of a relative path beneath `folder`, resolved one component at a time: every folder on the way is held
/// open and none is entered through a link or by "..", so that nothing that is moved meanwhile leads out. A descriptor,
/// or a negative errno; -EXDEV where the path leads out.
int walk_components(int folder, const std::string& path, int flags, mode_t mode);

}  // namespace doppel::wasi
