// What is done with a name in a folder. The folder is held open and the name is one component, so that none of these
// calls of the host's resolves anything.
#include <unistd.h>

#include <cstdio>

#include "process/wasi/context.h"

namespace doppel::wasi {
namespace {

Errno result(int host) { return host == 0 ? Errno::success : errno_of_host(errno); }

/// The type of what has a name, links not followed; 0 and errno where nothing has.
mode_t type_of(int folder, const char* name) {
  struct stat status{};
  return fstatat(folder, name, &status, AT_SYMLINK_NOFOLLOW) == 0 ? status.st_mode & S_IFMT : 0;
}

/// A link cannot be made at a path that ends in a slash: only a folder could have such a name.
Errno error_of_slash(int folder, const char* name) {
  return type_of(folder, name) != 0 ? Errno::exist : errno_of_host(errno);
}

}  // namespace

Errno Context::path_create_directory(Memory memory, u32 fd, u32 path, u32 path_size) {
  const Named at = named(memory, find_to_change(fd, rights::path_create_directory), path, path_size);
  if (!at.ok()) return at.error;
  if (at.place.dots) return Errno::exist;
  return result(mkdirat(at.parent(), at.name(), 0777));
}

Errno Context::path_remove_directory(Memory memory, u32 fd, u32 path, u32 path_size) {
  const Named at = named(memory, find_to_change(fd, rights::path_remove_directory), path, path_size);
  if (!at.ok()) return at.error;
  if (at.place.dots) return at.place.name == "." ? Errno::inval : Errno::notempty;
  return result(unlinkat(at.parent(), at.name(), AT_REMOVEDIR));
}

Errno Context::path_unlink_file(Memory memory, u32 fd, u32 path, u32 path_size) {
  const Named at = named(memory, find_to_change(fd, rights::path_unlink_file), path, path_size);
  if (!at.ok()) return at.error;
  if (at.place.dots) return Errno::isdir;
  if (!at.place.trailing_slash) return result(unlinkat(at.parent(), at.name(), 0));
  const mode_t type = type_of(at.parent(), at.name());
  if (type == 0) return errno_of_host(errno);
  return type == S_IFDIR ? Errno::isdir : Errno::notdir;
}

/// Links that lead out can be made, since to follow one is refused; absolute ones cannot: they would mean one thing to
/// the guest and another to the host.
Errno Context::path_symlink(Memory memory, u32 old_path, u32 old_size, u32 fd, u32 new_path, u32 new_size) {
  if (old_size >= limits::path_bytes) return Errno::nametoolong;
  const auto target = memory.string(old_path, old_size);
  if (!target) return Errno::fault;
  const Named at = named(memory, find_to_change(fd, rights::path_symlink), new_path, new_size);
  if (!at.ok()) return at.error;
  const Errno wrong = check_path(*target);
  if (wrong != Errno::success) return wrong == Errno::notcapable ? Errno::perm : wrong;
  if (at.place.dots) return Errno::exist;
  if (at.place.trailing_slash) return error_of_slash(at.parent(), at.name());
  return result(symlinkat(target->c_str(), at.parent(), at.name()));
}

Errno Context::path_readlink(Memory memory, u32 fd, u32 path, u32 path_size, u32 buffer, u32 size, u32 used) {
  const Named at = named(memory, find(fd, rights::path_readlink), path, path_size);
  if (!at.ok()) return at.error;
  const auto out = memory.bytes(buffer, size);
  if (!out || !memory.holds(used, 4)) return Errno::fault;
  if (at.place.dots) return Errno::inval;
  if (at.place.trailing_slash) {
    // The kernel follows such a link before it looks whether it is one; so what remains to say is what is wrong.
    const Resolved folder = resolve(memory, find(fd, rights::path_readlink), 0, path, path_size);
    return folder.ok() ? Errno::inval : folder.error;
  }
  char text[limits::path_bytes];
  const ssize_t length = readlinkat(at.parent(), at.name(), text, sizeof text);
  if (length < 0) return errno_of_host(errno);
  const std::size_t fits = std::min<std::size_t>(std::size_t(length), out->size());
  std::copy_n(text, fits, out->begin());
  return memory.write<u32>(used, u32(fits));
}

/// A link to what a symbolic link leads to is refused: the kernel would follow it unconfined.
Errno Context::path_link(Memory memory, u32 old_fd, u32 old_flags, u32 old_path, u32 old_size, u32 new_fd, u32 new_path,
                         u32 new_size) {
  if (old_flags & ~lookupflags::symlink_follow) return Errno::inval;
  // Of a read-only grant too, since the new name could be written to.
  const Named old = named(memory, find_to_change(old_fd, rights::path_link_source), old_path, old_size);
  if (!old.ok()) return old.error;
  const Named at = named(memory, find_to_change(new_fd, rights::path_link_target), new_path, new_size);
  if (!at.ok()) return at.error;
  if (old.place.dots) return Errno::perm;
  const mode_t type = type_of(old.parent(), old.name());
  if (type == 0) return errno_of_host(errno);
  if (old.place.trailing_slash && type != S_IFDIR) return Errno::notdir;
  if (old_flags && type == S_IFLNK) return Errno::inval;
  if (at.place.dots) return Errno::exist;
  if (at.place.trailing_slash) return error_of_slash(at.parent(), at.name());
  return result(linkat(old.parent(), old.name(), at.parent(), at.name(), 0));
}

Errno Context::path_rename(Memory memory, u32 fd, u32 old_path, u32 old_size, u32 new_fd, u32 new_path, u32 new_size) {
  const Named old = named(memory, find_to_change(fd, rights::path_rename_source), old_path, old_size);
  if (!old.ok()) return old.error;
  const Named at = named(memory, find_to_change(new_fd, rights::path_rename_target), new_path, new_size);
  if (!at.ok()) return at.error;
  if (old.place.dots || at.place.dots) return Errno::busy;
  if (old.place.trailing_slash || at.place.trailing_slash) {
    const mode_t type = type_of(old.parent(), old.name());
    if (type == 0) return errno_of_host(errno);
    if (type != S_IFDIR) return Errno::notdir;
  }
  return result(renameat(old.parent(), old.name(), at.parent(), at.name()));
}

}  // namespace doppel::wasi
