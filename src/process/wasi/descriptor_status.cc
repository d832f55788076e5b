// What a descriptor is and may do, and its number.
#include "process/wasi/context.h"

namespace doppel::wasi {

Errno Context::fd_close(Memory, u32 fd) { return descriptors.close(fd) ? Errno::success : Errno::badf; }

Errno Context::fd_fdstat_get(Memory memory, u32 fd, u32 out) {
  const Found found = find(fd, 0);
  if (!found) return found.error;
  const auto record = memory.bytes(out, sizes::fdstat);
  if (!record) return Errno::fault;
  std::fill(record->begin(), record->end(), 0);
  (*record)[0] = std::uint8_t(found->type);
  memory.write<std::uint16_t>(u64{out} + 2, found->flags);
  memory.write<u64>(u64{out} + 8, found->base);
  return memory.write<u64>(u64{out} + 16, found->inheriting);
}

/// `nonblock` is only ours: the host's flag belongs to everyone who has the terminal or pipe open. `append` is the
/// host's for files that path_open gave, and cannot be changed for what the program was started with; nor can the
/// others.
Errno Context::fd_fdstat_set_flags(Memory, u32 fd, u32 flags) {
  const Found found = find(fd, rights::fd_fdstat_set_flags);
  if (!found) return found.error;
  const u32 changed = flags ^ found->flags;
  const u32 changeable = fdflags::nonblock | (found->kind == DescriptorRecord::Kind::file ? fdflags::append : 0);
  if ((flags & ~u32{fdflags::all}) || (changed & ~changeable)) return Errno::inval;
  if (changed & fdflags::append) {
    const int host = fcntl(found.host(), F_GETFL);
    const int wanted = flags & fdflags::append ? host | O_APPEND : host & ~O_APPEND;
    if (host < 0 || fcntl(found.host(), F_SETFL, wanted) != 0) return errno_of_host(errno);
  }
  found->flags = std::uint16_t(flags);
  return Errno::success;
}

Errno Context::fd_fdstat_set_rights(Memory, u32 fd, u64 base, u64 inheriting) {
  const Found found = find(fd, 0);
  if (!found) return found.error;
  if ((base & ~found->base) || (inheriting & ~found->inheriting)) return Errno::notcapable;
  found->base = base;
  found->inheriting = inheriting;
  return Errno::success;
}

/// Errno::badf of anything that is no grant: it ends the search for them in every C library.
Errno Context::fd_prestat_get(Memory memory, u32 fd, u32 out) {
  const Found found = find(fd, 0);
  if (!found || found->kind != DescriptorRecord::Kind::preopen) return Errno::badf;
  if (!memory.holds(out, sizes::prestat)) return Errno::fault;
  memory.write<u32>(out, 0);  // the tag of a directory, and padding
  return memory.write<u32>(u64{out} + 4, u32(grants[found->source].guest_path.size()));
}

Errno Context::fd_prestat_dir_name(Memory memory, u32 fd, u32 path, u32 size) {
  const Found found = find(fd, 0);
  if (!found || found->kind != DescriptorRecord::Kind::preopen) return Errno::badf;
  const auto& name = grants[found->source].guest_path;
  if (size < name.size()) return Errno::nametoolong;
  const auto bytes = memory.bytes(path, name.size());
  if (!bytes) return Errno::fault;
  std::copy(name.begin(), name.end(), bytes->begin());
  return Errno::success;
}

Errno Context::fd_renumber(Memory, u32 from, u32 to) { return descriptors.renumber(from, to); }

}  // namespace doppel::wasi
