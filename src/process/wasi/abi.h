#pragma once
// The numbers and layouts of WASI preview 1 (legacy/preview1/witx/typenames.witx in the WASI repository). Everything in
// guest memory is little-endian.
#include <cstdint>
#include <string_view>

namespace doppel::wasi {

enum class Errno : std::uint16_t {
#define ERRNO(name, host) name,
#include "process/wasi/errno.inc"
};
/// What a host's errno is for the guest; Errno::io for one that it has no number for.
Errno errno_of_host(int host);
/// Its name in the specification, e.g. "notcapable".
std::string_view spelling(Errno error);

enum class ClockId : std::uint32_t { realtime, monotonic, process_cputime, thread_cputime };

enum class FileType : std::uint8_t {
  unknown,
  block_device,
  character_device,
  directory,
  regular_file,
  socket_dgram,
  socket_stream,
  symbolic_link
};

using Rights = std::uint64_t;
namespace rights {
inline constexpr Rights fd_datasync = 1 << 0, fd_read = 1 << 1, fd_seek = 1 << 2, fd_fdstat_set_flags = 1 << 3,
                        fd_sync = 1 << 4, fd_tell = 1 << 5, fd_write = 1 << 6, fd_advise = 1 << 7, fd_allocate = 1 << 8,
                        path_create_directory = 1 << 9, path_create_file = 1 << 10, path_link_source = 1 << 11,
                        path_link_target = 1 << 12, path_open = 1 << 13, fd_readdir = 1 << 14, path_readlink = 1 << 15,
                        path_rename_source = 1 << 16, path_rename_target = 1 << 17, path_filestat_get = 1 << 18,
                        path_filestat_set_size = 1 << 19, path_filestat_set_times = 1 << 20, fd_filestat_get = 1 << 21,
                        fd_filestat_set_size = 1 << 22, fd_filestat_set_times = 1 << 23, path_symlink = 1 << 24,
                        path_remove_directory = 1 << 25, path_unlink_file = 1 << 26, poll_fd_readwrite = 1 << 27,
                        sock_shutdown = 1 << 28, sock_accept = 1 << 29;
inline constexpr Rights all = (1 << 30) - 1;
/// What can be done with a descriptor of each kind at all.
inline constexpr Rights file = fd_datasync | fd_read | fd_seek | fd_fdstat_set_flags | fd_sync | fd_tell | fd_write |
                               fd_advise | fd_allocate | fd_filestat_get | fd_filestat_set_size |
                               fd_filestat_set_times | poll_fd_readwrite,
                        directory = fd_fdstat_set_flags | fd_sync | fd_advise | path_create_directory |
                                    path_create_file | path_link_source | path_link_target | path_open | fd_readdir |
                                    path_readlink | path_rename_source | path_rename_target | path_filestat_get |
                                    path_filestat_set_size | path_filestat_set_times | fd_filestat_get |
                                    fd_filestat_set_times | path_symlink | path_remove_directory | path_unlink_file |
                                    poll_fd_readwrite,
                        /// Terminals and pipes. Without fd_seek and fd_tell, by which wasi-libc knows a terminal.
    stream = fd_read | fd_write | fd_fdstat_set_flags | fd_filestat_get | poll_fd_readwrite,
                        socket = stream | sock_shutdown | sock_accept;
}  // namespace rights

namespace fdflags {
inline constexpr std::uint16_t append = 1, dsync = 2, nonblock = 4, rsync = 8, sync = 16, all = 31;
}
namespace oflags {
inline constexpr std::uint16_t creat = 1, directory = 2, excl = 4, trunc = 8, all = 15;
}
namespace lookupflags {
inline constexpr std::uint32_t symlink_follow = 1;
}
namespace fstflags {
inline constexpr std::uint16_t atim = 1, atim_now = 2, mtim = 4, mtim_now = 8, all = 15;
}
namespace riflags {
inline constexpr std::uint16_t recv_peek = 1, recv_waitall = 2, all = 3;
}
namespace roflags {
inline constexpr std::uint16_t recv_data_truncated = 1;
}
namespace sdflags {
inline constexpr std::uint8_t rd = 1, wr = 2;
}

enum class EventType : std::uint8_t { clock, fd_read, fd_write };
inline constexpr std::uint16_t subscription_clock_abstime = 1, event_fd_readwrite_hangup = 1;

/// Sizes in bytes of what lies in guest memory.
namespace sizes {
inline constexpr std::uint32_t iovec = 8, fdstat = 24, filestat = 64, filestat_unstable = 56, dirent = 24, prestat = 8,
                               subscription = 48, subscription_unstable = 56, event = 32;
}

/// What this implementation bounds.
namespace limits {
inline constexpr std::uint32_t descriptors = 4096, path_bytes = 4096, subscriptions = 1 << 16;
}

}  // namespace doppel::wasi
