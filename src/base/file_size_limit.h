#pragma once
// What a write past RLIMIT_FSIZE does.

namespace doppel {

/// Past RLIMIT_FSIZE the kernel would end the process; like a full disk, it has to be an error of one write (EFBIG).
/// Leaves a handler that somebody set alone. Any thread, as often as one likes.
void ignore_file_size_signal();

}  // namespace doppel
