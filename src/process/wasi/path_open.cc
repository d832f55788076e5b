#include "process/wasi/context.h"

namespace doppel::wasi {
namespace {

struct FlagRow {
  std::uint32_t guest;
  int host;
  Rights base;       ///< what the folder's descriptor must have
  Rights inherited;  ///< of which it must give one
};
constexpr FlagRow open_flags[] = {
    {oflags::creat, O_CREAT, rights::path_create_file, 0},
    {oflags::directory, O_DIRECTORY, 0, 0},
    {oflags::excl, O_EXCL, 0, 0},
    {oflags::trunc, O_TRUNC, rights::path_filestat_set_size, 0},
};
constexpr FlagRow descriptor_flags[] = {
    {fdflags::append, O_APPEND, 0, 0},
    {fdflags::dsync, O_DSYNC, 0, rights::fd_datasync | rights::fd_sync},
    {fdflags::rsync, O_RSYNC, 0, rights::fd_sync},
    {fdflags::sync, O_SYNC, 0, rights::fd_sync},
};

/// What is asked for, in the host's words.
struct Wish {
  int flags = O_NOCTTY | O_NONBLOCK;  // a pipe must not keep us until someone opens its other end
  Rights base = rights::path_open;
  bool inherits = true;

  void add(std::span<const FlagRow> rows, std::uint32_t guest, Rights inheriting) {
    for (const auto& row : rows) {
      if (!(guest & row.guest)) continue;
      flags |= row.host;
      base |= row.base;
      inherits = inherits && (row.inherited == 0 || (row.inherited & inheriting));
    }
  }
};

/// The path from the grant's folder on; empty where it is too long to be of use, since a program can make it ever
/// longer.
std::string joined(const std::string& folder, const std::string& path) {
  if (folder.empty() || folder.size() + path.size() >= limits::path_bytes) return "";
  return folder == "." ? path : folder + "/" + path;
}

/// Rights that only a descriptor that is open for writing can use. Without fd_write among them they are had if
/// possible: programs ask for them of whatever they open.
constexpr Rights writing = rights::fd_write | rights::fd_allocate | rights::fd_filestat_set_size;
constexpr Rights reading = rights::fd_read | rights::fd_readdir;

int access_mode(Rights base, bool write) {
  if (!write) return O_RDONLY;
  return base & reading ? O_RDWR : O_WRONLY;
}

/// Whether a file can perhaps be opened for reading only.
bool refuses_writing(Errno error) {
  return error == Errno::isdir || error == Errno::acces || error == Errno::perm || error == Errno::rofs ||
         error == Errno::txtbsy;
}

Resolved open_with_rights(ConfinedPath& paths, int folder, const std::string& path, int flags, Rights base) {
  constexpr mode_t mode = 0666;
  auto file = paths.open(folder, path, flags | access_mode(base, base & writing), mode);
  const bool retry = !file.ok() && base & writing && !(base & rights::fd_write) && refuses_writing(file.error);
  return retry ? paths.open(folder, path, flags | O_RDONLY, mode) : std::move(file);
}

/// Beneath a read-only grant.
Resolved open_unchanged(ConfinedPath& paths, int folder, const std::string& path, int flags, Rights base) {
  if (base & rights::fd_write || flags & O_TRUNC) return {.descriptor = {}, .error = Errno::rofs};
  auto file = paths.open(folder, path, (flags & ~(O_CREAT | O_EXCL)) | O_RDONLY);
  if (!(flags & O_CREAT)) return file;
  if (file.error == Errno::noent) return {.descriptor = {}, .error = Errno::rofs};
  if (flags & O_EXCL && (file.ok() || file.error == Errno::loop)) return {.descriptor = {}, .error = Errno::exist};
  return file;
}

Descriptor described(FileDescriptor host, const Descriptor& folder, const std::string& path) {
  Descriptor out;
  struct stat status{};
  fstat(host.get(), &status);
  out.type = file_type_of(status);
  out.kind = out.is_folder() ? DescriptorRecord::Kind::directory : DescriptorRecord::Kind::file;
  out.source = folder.source;
  out.read_only = folder.read_only;
  out.path = joined(folder.path, path);
  out.inode = status.st_ino;
  const int mode = fcntl(host.get(), F_GETFL) & O_ACCMODE;
  out.writable = mode != O_RDONLY;
  out.readable = mode != O_WRONLY;
  // The pipe is there now. Whether we wait for it is for await() to say.
  if (out.may_wait()) fcntl(host.get(), F_SETFL, fcntl(host.get(), F_GETFL) & ~O_NONBLOCK);
  out.host = std::move(host);
  return out;
}

Rights usable_rights(const Descriptor& descriptor) {
  Rights usable = applicable_rights(descriptor.type, descriptor.host.get());
  if (!descriptor.writable) usable &= ~writing;
  if (!descriptor.readable) usable &= ~rights::fd_read;
  return usable;
}

}  // namespace

/// A read-only grant is to its program as a read-only file system: rights are had and writing is refused with
/// Errno::rofs, since programs ask for all the rights that they may ever use even where they only read.
Errno Context::path_open(Memory memory, u32 fd, u32 dirflags, u32 path, u32 path_size, u32 oflags, u64 base,
                         u64 inheriting, u32 flags, u32 opened) {
  base &= rights::all;
  inheriting &= rights::all;
  if ((dirflags & ~lookupflags::symlink_follow) || (oflags & ~u32{oflags::all}) || (flags & ~u32{fdflags::all}))
    return Errno::inval;
  const Found folder = find(fd, rights::path_open);
  if (!folder) return folder.error;
  Wish wish;
  wish.add(open_flags, oflags, folder->inheriting);
  wish.add(descriptor_flags, flags, folder->inheriting);
  if (!(dirflags & lookupflags::symlink_follow)) wish.flags |= O_NOFOLLOW;
  const Errno refused = check_rights(*folder.descriptor, wish.base);
  if (refused != Errno::success) return refused;
  if (!wish.inherits || ((base | inheriting) & ~folder->inheriting)) return Errno::notcapable;
  return open_as(memory, folder, path, path_size, wish.flags, base, inheriting, std::uint16_t(flags), opened);
}

Errno Context::open_as(Memory memory, const Found& folder, u32 path, u32 path_size, int host_flags, Rights base,
                       Rights inheriting, std::uint16_t flags, u32 opened) {
  if (path_size >= limits::path_bytes) return Errno::nametoolong;
  const auto text = memory.string(path, path_size);
  if (!text || !memory.holds(opened, 4)) return Errno::fault;
  if (descriptors.full()) return Errno::mfile;
  Resolved file = folder->read_only ? open_unchanged(paths, folder.host(), *text, host_flags, base)
                                    : open_with_rights(paths, folder.host(), *text, host_flags, base);
  if (!file.ok()) return file.error;
  Descriptor made = described(std::move(file.descriptor), *folder.descriptor, *text);
  made.flags = flags;
  made.base = base & usable_rights(made);
  made.inheriting = made.is_folder() ? inheriting : 0;
  return memory.write<u32>(opened, *descriptors.add(std::move(made)));
}

}  // namespace doppel::wasi
