#include "process/wasi/confined_path.h"

#include <linux/openat2.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>

#include "process/wasi/component_walk.h"

namespace doppel::wasi {
namespace {

/// A rename somewhere on the host while ".." is resolved makes openat2 give up with EAGAIN.
constexpr int most_attempts = 16;

int open_beneath(int folder, const char* path, int flags, mode_t mode) {
  open_how how{};
  how.flags = std::uint64_t(unsigned(flags));
  how.mode = mode;
  how.resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS;
  int fd = -1;
  for (int attempt = 0; attempt < most_attempts; attempt++) {
    fd = int(syscall(SYS_openat2, folder, path, &how, sizeof how));
    if (fd >= 0 || (errno != EAGAIN && errno != EINTR)) break;
  }
  return fd;
}

Errno error_of_open(int host) { return host == EXDEV ? Errno::notcapable : errno_of_host(host); }

}  // namespace

Errno check_path(std::string_view path) {
  if (path.empty()) return Errno::noent;
  if (path.size() >= limits::path_bytes) return Errno::nametoolong;
  if (path.find('\0') != std::string_view::npos) return Errno::inval;
  return path.front() == '/' ? Errno::notcapable : Errno::success;
}

Resolved ConfinedPath::open(int folder, const std::string& path, int flags, mode_t mode) {
  if (const Errno wrong = check_path(path); wrong != Errno::success) return {.descriptor = {}, .error = wrong};
  flags |= O_CLOEXEC;
  if ((flags & O_CREAT) == 0) mode = 0;  // openat2 refuses a mode that it would not use
  if (resolver_ == Resolver::kernel) {
    const int fd = open_beneath(folder, path.c_str(), flags, mode);
    if (fd >= 0) return {.descriptor = FileDescriptor(fd), .error = Errno::success};
    // A filter that does not know the call says EPERM (containers) or ENOSYS; a denied file says EACCES or EPERM too,
    // and is denied to the walk as well.
    if (errno == ENOSYS) resolver_ = Resolver::components;
    if (errno != ENOSYS && errno != EPERM && errno != EAGAIN) return {.descriptor = {}, .error = error_of_open(errno)};
  }
  const int fd = walk_components(folder, path, flags, mode);
  if (fd < 0) return {.descriptor = {}, .error = error_of_open(-fd)};
  return {.descriptor = FileDescriptor(fd), .error = Errno::success};
}

ConfinedPath::Place ConfinedPath::place(int folder, const std::string& path) {
  Place out;
  out.error = check_path(path);
  if (!out.ok()) return out;
  const auto end = path.find_last_not_of('/') + 1;
  out.trailing_slash = end != path.size();
  const auto slash = path.rfind('/', end - 1);
  out.name =
      path.substr(slash == std::string::npos ? 0 : slash + 1, end - (slash == std::string::npos ? 0 : slash + 1));
  out.dots = out.name == "." || out.name == "..";
  const std::string parent = out.dots ? path : slash == std::string::npos ? "." : path.substr(0, slash + 1);
  auto opened = open(folder, parent, O_PATH | O_DIRECTORY);
  out.error = opened.error;
  out.parent = std::move(opened.descriptor);
  return out;
}

}  // namespace doppel::wasi
