#pragma once
// Paths of a guest, which lead nowhere but beneath the folder that they begin at: not by "..", not by what a symbolic
// link says, and not by anything that someone moves while they are resolved.
#include <fcntl.h>

#include <string>
#include <string_view>

#include "base/file_descriptor.h"
#include "process/wasi/abi.h"

namespace doppel::wasi {

/// A host's descriptor or why there is none.
struct Resolved {
  FileDescriptor descriptor;
  Errno error = Errno::success;
  bool ok() const { return error == Errno::success; }
};

/// How paths are resolved.
enum class Resolver : std::uint8_t {
  kernel,      ///< openat2(RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS)
  components,  ///< one component at a time, for kernels before 5.6 and filters that know no openat2
};

class ConfinedPath {
 public:
  explicit ConfinedPath(Resolver resolver = Resolver::kernel) : resolver_(resolver) {}

  /// openat(2) beneath `folder`; O_CLOEXEC is added. A path that leads out, or an absolute one: Errno::notcapable.
  Resolved open(int folder, const std::string& path, int flags, mode_t mode = 0);

  /// Where the last component of a path lies, for the calls that act on a name.
  struct Place {
    FileDescriptor parent;  ///< opened with O_PATH
    std::string name;       ///< one component, without slashes; "." and ".." only where `dots`
    bool dots = false;      ///< the path ends in "." or ".." and names an existing folder
    bool trailing_slash = false;
    Errno error = Errno::success;
    bool ok() const { return error == Errno::success; }
  };
  Place place(int folder, const std::string& path);

  Resolver resolver() const { return resolver_; }

 private:
  Resolver resolver_;
};

/// What can be said of a path before it is looked up: Errno::noent for an empty one, inval for one with a NUL,
/// nametoolong, notcapable for an absolute one.
Errno check_path(std::string_view path);

}  // namespace doppel::wasi
