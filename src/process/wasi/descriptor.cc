#include "process/wasi/descriptor.h"

#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

namespace doppel::wasi {
namespace {

constexpr Rights path_rights = rights::path_create_directory | rights::path_create_file | rights::path_link_source |
                               rights::path_link_target | rights::path_open | rights::path_readlink |
                               rights::path_rename_source | rights::path_rename_target | rights::path_filestat_get |
                               rights::path_filestat_set_size | rights::path_filestat_set_times | rights::path_symlink |
                               rights::path_remove_directory | rights::path_unlink_file | rights::fd_readdir;

Rights applicable_rights(FileType type, bool terminal) {
  switch (type) {
    case FileType::directory:
      return rights::directory;
    case FileType::regular_file:
    case FileType::block_device:
      return rights::file;
    case FileType::character_device:
      return terminal ? rights::stream : rights::file;
    case FileType::socket_dgram:
    case FileType::socket_stream:
      return rights::socket;
    default:
      return rights::stream;
  }
}

}  // namespace

FileType file_type_of(const struct stat& status) {
  switch (status.st_mode & S_IFMT) {
    case S_IFBLK:
      return FileType::block_device;
    case S_IFCHR:
      return FileType::character_device;
    case S_IFDIR:
      return FileType::directory;
    case S_IFREG:
      return FileType::regular_file;
    case S_IFSOCK:
      return FileType::socket_stream;
    case S_IFLNK:
      return FileType::symbolic_link;
    default:
      return FileType::unknown;  // pipes have no number
  }
}

FileType file_type_of(int host) {
  struct stat status{};
  if (fstat(host, &status) != 0) return FileType::unknown;
  int type = SOCK_STREAM;
  socklen_t size = sizeof type;
  if (S_ISSOCK(status.st_mode) && getsockopt(host, SOL_SOCKET, SO_TYPE, &type, &size) == 0 && type == SOCK_DGRAM)
    return FileType::socket_dgram;
  return file_type_of(status);
}

Rights applicable_rights(FileType type, int host) {
  return applicable_rights(type, type == FileType::character_device && isatty(host));
}

Errno check_rights(const Descriptor& descriptor, Rights needed) {
  const Rights missing = needed & ~descriptor.base;
  if (missing == 0) return Errno::success;
  const Rights foreign = missing & ~applicable_rights(descriptor.type, descriptor.host.get());
  if (foreign == 0) return Errno::notcapable;
  if (descriptor.is_folder())
    return foreign & (rights::sock_accept | rights::sock_shutdown) ? Errno::notsock : Errno::isdir;
  if (foreign & path_rights) return Errno::notdir;
  if (foreign & (rights::sock_accept | rights::sock_shutdown)) return Errno::notsock;
  constexpr Rights placed = rights::fd_seek | rights::fd_tell | rights::fd_advise | rights::fd_allocate;
  return foreign & placed ? Errno::spipe : Errno::inval;
}

}  // namespace doppel::wasi
