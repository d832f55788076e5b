#pragma once
// The state of one WASI program and what each function does with it. A function is called with what wasm gave, in the
// order of the specification (legacy/preview1/docs.md in the WASI repository); addresses are the guest's. All belong to
// the thread that runs the program.
#include <sys/stat.h>

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "guest/wasm/store.h"
#include "process/wasi/confined_path.h"
#include "process/wasi/descriptor_table.h"
#include "process/wasi/environment.h"
#include "process/wasi/guest_view.h"

namespace doppel::wasi {

/// How a function ends: with an error number for the guest, or by not returning to it.
struct Answer {
  Errno error = Errno::success;
  wasm::HostOutcome outcome;
  Answer(Errno error) : error(error) {}
  Answer(wasm::HostOutcome outcome) : outcome(outcome) {}
};

/// A folder of the host's that the guest sees.
struct GrantedFolder {
  std::string host_path, guest_path;
  bool read_only = false;
  std::uint64_t device = 0, inode = 0;
};

/// Where the layouts of wasi_unstable differ from those of preview 1.
enum class Version : std::uint8_t { preview1, unstable };

class Context {
 public:
  std::vector<std::string> arguments, variables;  ///< variables as NAME=VALUE
  std::vector<GrantedFolder> grants;
  std::shared_ptr<Environment> environment;
  DescriptorTable descriptors;
  ConfinedPath paths;
  bool yielding = false;
  Pending pending;
  /// When the poll_oneoff that waits was called first, by the monotonic clock.
  std::optional<std::uint64_t> poll_started;

  using u32 = std::uint32_t;
  using u64 = std::uint64_t;
  using Memory = const GuestView&;

  // program.cc
  Errno args_get(Memory memory, u32 argv, u32 buffer);
  Errno args_sizes_get(Memory memory, u32 count, u32 size);
  Errno environ_get(Memory memory, u32 environ, u32 buffer);
  Errno environ_sizes_get(Memory memory, u32 count, u32 size);
  Errno clock_res_get(Memory memory, u32 id, u32 resolution);
  Errno clock_time_get(Memory memory, u32 id, u64 precision, u32 time);
  Answer proc_exit(Memory memory, u32 status);
  Answer proc_raise(Memory memory, u32 signal);
  Errno random_get(Memory memory, u32 buffer, u32 size);
  Errno sched_yield(Memory memory);

  // descriptor_status.cc
  Errno fd_close(Memory memory, u32 fd);
  Errno fd_fdstat_get(Memory memory, u32 fd, u32 out);
  Errno fd_fdstat_set_flags(Memory memory, u32 fd, u32 flags);
  Errno fd_fdstat_set_rights(Memory memory, u32 fd, u64 base, u64 inheriting);
  Errno fd_prestat_get(Memory memory, u32 fd, u32 out);
  Errno fd_prestat_dir_name(Memory memory, u32 fd, u32 path, u32 size);
  Errno fd_renumber(Memory memory, u32 from, u32 to);

  // file_status.cc
  Errno fd_advise(Memory memory, u32 fd, u64 offset, u64 size, u32 advice);
  Errno fd_allocate(Memory memory, u32 fd, u64 offset, u64 size);
  Errno fd_datasync(Memory memory, u32 fd);
  Errno fd_sync(Memory memory, u32 fd);
  Errno fd_filestat_get(Memory memory, u32 fd, u32 out);
  Errno fd_filestat_get_unstable(Memory memory, u32 fd, u32 out);
  Errno fd_filestat_set_size(Memory memory, u32 fd, u64 size);
  Errno fd_filestat_set_times(Memory memory, u32 fd, u64 atim, u64 mtim, u32 flags);
  Errno path_filestat_get(Memory memory, u32 fd, u32 flags, u32 path, u32 path_size, u32 out);
  Errno path_filestat_get_unstable(Memory memory, u32 fd, u32 flags, u32 path, u32 path_size, u32 out);
  Errno path_filestat_set_times(Memory memory, u32 fd, u32 flags, u32 path, u32 path_size, u64 atim, u64 mtim,
                                u32 fst_flags);

  // transfer.cc
  Answer fd_read(Memory memory, u32 fd, u32 vectors, u32 count, u32 read);
  Answer fd_write(Memory memory, u32 fd, u32 vectors, u32 count, u32 written);
  Errno fd_pread(Memory memory, u32 fd, u32 vectors, u32 count, u64 offset, u32 read);
  Errno fd_pwrite(Memory memory, u32 fd, u32 vectors, u32 count, u64 offset, u32 written);
  Errno fd_seek(Memory memory, u32 fd, u64 offset, u32 whence, u32 out);
  Errno fd_seek_unstable(Memory memory, u32 fd, u64 offset, u32 whence, u32 out);
  Errno fd_tell(Memory memory, u32 fd, u32 out);

  // directory.cc
  Errno fd_readdir(Memory memory, u32 fd, u32 buffer, u32 size, u64 cookie, u32 used);

  // path_open.cc
  Errno path_open(Memory memory, u32 fd, u32 dirflags, u32 path, u32 path_size, u32 oflags, u64 base, u64 inheriting,
                  u32 flags, u32 opened);

  // path_names.cc
  Errno path_create_directory(Memory memory, u32 fd, u32 path, u32 path_size);
  Errno path_link(Memory memory, u32 old_fd, u32 old_flags, u32 old_path, u32 old_size, u32 new_fd, u32 new_path,
                  u32 new_size);
  Errno path_readlink(Memory memory, u32 fd, u32 path, u32 path_size, u32 buffer, u32 size, u32 used);
  Errno path_remove_directory(Memory memory, u32 fd, u32 path, u32 path_size);
  Errno path_rename(Memory memory, u32 fd, u32 old_path, u32 old_size, u32 new_fd, u32 new_path, u32 new_size);
  Errno path_symlink(Memory memory, u32 old_path, u32 old_size, u32 fd, u32 new_path, u32 new_size);
  Errno path_unlink_file(Memory memory, u32 fd, u32 path, u32 path_size);

  // poll.cc
  Answer poll_oneoff(Memory memory, u32 subscriptions, u32 events, u32 count, u32 stored);
  Answer poll_oneoff_unstable(Memory memory, u32 subscriptions, u32 events, u32 count, u32 stored);

  // socket.cc
  Answer sock_accept(Memory memory, u32 fd, u32 flags, u32 accepted);
  Answer sock_recv(Memory memory, u32 fd, u32 vectors, u32 count, u32 flags, u32 received, u32 out_flags);
  Answer sock_send(Memory memory, u32 fd, u32 vectors, u32 count, u32 flags, u32 sent);
  Errno sock_shutdown(Memory memory, u32 fd, u32 how);

 private:
  /// A descriptor that has these rights, or why not.
  struct Found {
    Descriptor* descriptor = nullptr;
    Errno error = Errno::success;
    explicit operator bool() const { return descriptor != nullptr; }
    Descriptor* operator->() const { return descriptor; }
    int host() const { return descriptor->host.get(); }
  };
  Found find(u32 fd, Rights needed);
  /// As find(); Errno::rofs where it is beneath a read-only grant.
  Found find_to_change(u32 fd, Rights needed);

  /// What a path of the guest's names: its folder, and the place of its last component there.
  struct Named {
    ConfinedPath::Place place;
    Errno error = Errno::success;
    bool ok() const { return error == Errno::success; }
    int parent() const { return place.parent.get(); }
    const char* name() const { return place.name.c_str(); }
  };
  Named named(Memory memory, const Found& folder, u32 path, u32 size);
  /// What path_filestat_get and path_filestat_set_times act on, opened with O_PATH.
  Resolved resolve(Memory memory, const Found& folder, u32 flags, u32 path, u32 size);

  Errno open_as(Memory memory, const Found& folder, u32 path, u32 path_size, int host_flags, Rights base,
                Rights inheriting, std::uint16_t flags, u32 opened);

  /// Whether reading and writing must not wait inside the host.
  bool hurried(const Descriptor& descriptor) const {
    return descriptor.may_wait() && (yielding || (descriptor.flags & fdflags::nonblock));
  }
  /// Readiness of a descriptor for `events` of poll(2): nothing when it is there, or once it has come. Else what to
  /// answer: Errno::again for one that must not wait, or that the program waits.
  std::optional<Answer> await(const Descriptor& descriptor, short events);
  /// Repeats what gives a size or -1 and errno until it need not wait, and stores the size at `out`.
  template <typename Transfer>
  Answer transfer(Memory memory, const Descriptor& descriptor, short events, u32 out, const Transfer& attempt);

  Errno read_strings(Memory memory, const std::vector<std::string>& strings, u32 pointers, u32 buffer) const;
  Errno string_sizes(Memory memory, const std::vector<std::string>& strings, u32 count, u32 size) const;
  Errno seek(Memory memory, u32 fd, u64 offset, int whence, u32 out);
  Errno fd_filestat(Memory memory, u32 fd, u32 out, Version version);
  Errno path_filestat(Memory memory, u32 fd, u32 flags, u32 path, u32 path_size, u32 out, Version version);
  Answer poll(Memory memory, u32 subscriptions, u32 events, u32 count, u32 stored, Version version);
};

}  // namespace doppel::wasi
