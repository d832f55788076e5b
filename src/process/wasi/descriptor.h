#pragma once
// What a guest's file descriptor is: a plain record, from which it can be opened again, and the host's descriptor.
#include <cstdint>
#include <string>

#include "base/file_descriptor.h"
#include "base/result.h"
#include "process/wasi/abi.h"

struct stat;

namespace doppel::wasi {

/// All that a snapshot keeps of an open descriptor.
struct DescriptorRecord {
  enum class Kind : std::uint8_t {
    stdio,    ///< `source` 0 to 2: what the program was started with
    preopen,  ///< `source`: the number of the grant
    file,     ///< anything that path_open gave but folders; `source` is the grant that `path` is relative to
    directory,
    listener,    ///< `source`: the number of the listening socket
    connection,  ///< what sock_accept gave, which cannot be saved
  } kind = Kind::file;
  std::uint32_t number = 0;  ///< the guest's
  std::uint32_t source = 0;
  FileType type = FileType::unknown;
  std::uint16_t flags = 0;  ///< fdflags
  Rights base = 0, inheriting = 0;
  bool writable = false, readable = true;  ///< how the host has opened it
  bool read_only = false;                  ///< it, or the folder it was opened in, is beneath a read-only grant
  std::string path;                        ///< relative to the grant's folder; of a grant itself "."
  std::uint64_t offset = 0;                ///< of a regular file, as of when it was saved
  std::uint64_t cookie = 0;                ///< the last that fd_readdir was asked for
  std::uint64_t inode = 0;                 ///< of a file or folder, by which another of the same name is noticed
  bool operator==(const DescriptorRecord&) const = default;

  bool is_folder() const { return type == FileType::directory; }
  /// Whether reading and writing may have to wait for someone.
  bool may_wait() const { return type != FileType::regular_file && type != FileType::directory; }
};

struct Descriptor : DescriptorRecord {
  FileDescriptor host;
};

FileType file_type_of(const struct stat& status);
/// As file_type_of() its status, but tells kinds of sockets apart.
FileType file_type_of(int host);
/// What can be done with a host's descriptor of a type at all.
Rights applicable_rights(FileType type, int host);
/// The rights that a folder's descriptor gives to what is opened in it.
inline constexpr Rights inherited_rights = rights::all;

/// Errno::success where the descriptor has all the rights; else notcapable, or what POSIX says where no descriptor of
/// its type could have them: isdir, notdir, spipe, notsock, inval.
Errno check_rights(const Descriptor& descriptor, Rights needed);

}  // namespace doppel::wasi
