#include "storage/temporary_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>

namespace doppel {
namespace {

// O_TMPFILE has no name at any time; where a file system lacks it, a name is taken away at once.
FileDescriptor unnamed_file(const std::string& folder) {
  FileDescriptor fd(::open(folder.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600));
  if (fd || (errno != EOPNOTSUPP && errno != EISDIR && errno != EINVAL)) return fd;
  std::string name = folder + "/doppel-snapshot-XXXXXX";
  fd = FileDescriptor(mkostemp(name.data(), O_CLOEXEC));
  if (fd) unlink(name.c_str());
  return fd;
}

}  // namespace

Result<std::unique_ptr<ImageFile>> make_temporary_file(const std::string& what) {
  const char* chosen = std::getenv("TMPDIR");
  const std::string folder = chosen && *chosen ? chosen : "/var/tmp";
  FileDescriptor fd = unnamed_file(folder);
  if (!fd) return error("cannot make a temporary file in {}: {}", folder, std::strerror(errno));
  return ImageFile::adopt(std::move(fd), what + " in " + folder, true);
}

}  // namespace doppel
