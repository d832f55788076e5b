#pragma once
#include <sys/stat.h>

#include <array>
#include <optional>

#include "process/wasi/context.h"

namespace doppel::wasi {

/// Stores a filestat at `out`. Of a socket, `type` tells which kind.
Errno write_filestat(const GuestView& memory, std::uint64_t out, const struct stat& status, FileType type,
                     Version version);

/// What utimensat(2) takes for times and fstflags; nothing where the flags contradict each other.
std::optional<std::array<timespec, 2>> file_times(std::uint64_t atim, std::uint64_t mtim, std::uint32_t flags);

}  // namespace doppel::wasi
