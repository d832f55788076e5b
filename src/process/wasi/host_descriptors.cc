// The descriptors that a program is started with.
#include "process/wasi/host_descriptors.h"

#include <sys/socket.h>

#include <cstring>

namespace doppel::wasi {
namespace {

/// A duplicate of the caller's, with the rights that its mode leaves.
Result<Descriptor> inherited(int host, DescriptorRecord::Kind kind, std::uint32_t source) {
  Descriptor out;
  out.host = FileDescriptor(fcntl(host, F_DUPFD_CLOEXEC, 3));
  const int flags = out.host ? fcntl(host, F_GETFL) : -1;
  if (flags < 0) return error("Descriptor {} cannot be given to the program: {}", host, std::strerror(errno));
  out.kind = kind;
  out.source = source;
  out.type = file_type_of(host);
  out.writable = (flags & O_ACCMODE) != O_RDONLY;
  out.readable = (flags & O_ACCMODE) != O_WRONLY;
  // A folder that happens to be the standard input has not been granted.
  out.base = out.is_folder() ? 0 : applicable_rights(out.type, host);
  if (!out.writable) out.base &= ~(rights::fd_write | rights::fd_allocate | rights::fd_filestat_set_size);
  if (!out.readable) out.base &= ~rights::fd_read;
  if (flags & O_APPEND) out.flags |= fdflags::append;
  return out;
}

Result<Descriptor> opened(const Grant& grant, std::uint32_t number, GrantedFolder& folder) {
  Descriptor out;
  struct stat status{};
  out.host = FileDescriptor(open(grant.host_path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!out.host || fstat(out.host.get(), &status) != 0)
    return error("The folder {} cannot be given to the program: {}", grant.host_path, std::strerror(errno));
  folder = {grant.host_path, grant.guest_path, grant.read_only, status.st_dev, status.st_ino};
  out.kind = DescriptorRecord::Kind::preopen;
  out.source = number;
  out.type = FileType::directory;
  out.base = rights::directory;
  out.inheriting = inherited_rights;
  out.read_only = grant.read_only;
  out.path = ".";
  out.inode = status.st_ino;
  return out;
}

/// Others would be files of the host's that no folder was granted for.
bool listens(int host) {
  int answer = 0;
  socklen_t size = sizeof answer;
  return getsockopt(host, SOL_SOCKET, SO_ACCEPTCONN, &answer, &size) == 0 && answer != 0;
}

}  // namespace

Result<void> open_initial(Context& context, const WasiConfiguration& configuration) {
  std::uint32_t number = 0;
  for (const int host : configuration.stdio) {
    const std::uint32_t at = number++;
    if (host < 0) continue;
    auto made = inherited(host, DescriptorRecord::Kind::stdio, at);
    if (!made) return made.failure();
    context.descriptors.put(at, std::move(*made));
  }
  for (const auto& grant : configuration.grants) {
    const auto place = std::uint32_t(context.grants.size());
    auto made = opened(grant, place, context.grants.emplace_back());
    if (!made) return made.failure();
    context.descriptors.put(number++, std::move(*made));
  }
  std::uint32_t listener = 0;
  for (const int host : configuration.listeners) {
    auto made = inherited(host, DescriptorRecord::Kind::listener, listener++);
    if (!made) return made.failure();
    if (!listens(host)) return error("Descriptor {} cannot be given to the program: it is no listening socket", host);
    made->inheriting = rights::socket;
    context.descriptors.put(number++, std::move(*made));
  }
  return {};
}

}  // namespace doppel::wasi
