#include "process/wasi/transfer.h"

#include <sys/socket.h>
#include <sys/uio.h>

namespace doppel::wasi {
namespace {

bool is_socket(const Descriptor& descriptor) {
  return descriptor.type == FileType::socket_stream || descriptor.type == FileType::socket_dgram;
}

/// Cuts what is to be written to what cannot wait.
void cut(std::vector<iovec>& vectors, std::size_t most) {
  for (std::size_t n = 0; n < vectors.size(); n++) {
    if (vectors[n].iov_len < most) {
      most -= vectors[n].iov_len;
      continue;
    }
    vectors[n].iov_len = most;
    vectors.resize(n + 1);
  }
}

/// With RWF_NOWAIT where the file knows it: someone else may have emptied or filled a pipe since it was ready.
ssize_t read_some(int host, const std::vector<iovec>& vectors, bool hurried) {
  const int count = int(vectors.size());
  if (!hurried) return readv(host, vectors.data(), count);
  const ssize_t size = preadv2(host, vectors.data(), count, -1, RWF_NOWAIT);
  return size < 0 && errno == EOPNOTSUPP ? readv(host, vectors.data(), count) : size;
}

ssize_t write_some(const Descriptor& descriptor, std::vector<iovec>& vectors, bool hurried) {
  const int host = descriptor.host.get(), count = int(vectors.size());
  if (is_socket(descriptor)) {
    msghdr message{};
    message.msg_iov = vectors.data();
    message.msg_iovlen = vectors.size();
    return sendmsg(host, &message, MSG_NOSIGNAL | (hurried ? MSG_DONTWAIT : 0));
  }
  if (!hurried) return writev(host, vectors.data(), count);
  const ssize_t size = pwritev2(host, vectors.data(), count, -1, RWF_NOWAIT);
  return size < 0 && errno == EOPNOTSUPP ? writev(host, vectors.data(), count) : size;
}

}  // namespace

Answer Context::fd_read(Memory memory, u32 fd, u32 vectors, u32 count, u32 read) {
  const Found found = find(fd, rights::fd_read);
  if (!found) return found.error;
  std::vector<iovec> parts;
  if (const Errno bad = memory.vectors(vectors, count, parts); bad != Errno::success) return bad;
  if (parts.empty()) return memory.write<u32>(read, 0);
  return transfer(memory, *found.descriptor, POLLIN, read,
                  [&] { return read_some(found.host(), parts, hurried(*found.descriptor)); });
}

Answer Context::fd_write(Memory memory, u32 fd, u32 vectors, u32 count, u32 written) {
  const Found found = find_to_change(fd, rights::fd_write);
  if (!found) return found.error;
  std::vector<iovec> parts;
  if (const Errno bad = memory.vectors(vectors, count, parts); bad != Errno::success) return bad;
  if (parts.empty()) return memory.write<u32>(written, 0);
  const bool hurry = hurried(*found.descriptor);
  if (hurry) cut(parts, unwaiting_bytes);
  return transfer(memory, *found.descriptor, POLLOUT, written,
                  [&] { return write_some(*found.descriptor, parts, hurry); });
}

Errno Context::fd_pread(Memory memory, u32 fd, u32 vectors, u32 count, u64 offset, u32 read) {
  const Found found = find(fd, rights::fd_read | rights::fd_seek);
  if (!found) return found.error;
  std::vector<iovec> parts;
  if (const Errno bad = memory.vectors(vectors, count, parts); bad != Errno::success) return bad;
  if (!memory.holds(read, 4)) return Errno::fault;
  if (offset > INT64_MAX) return Errno::inval;
  const auto size = preadv(found.host(), parts.data(), int(parts.size()), off_t(offset));
  return size < 0 ? errno_of_host(errno) : memory.write<u32>(read, u32(size));
}

/// With `append` it writes at the end, as Linux does.
Errno Context::fd_pwrite(Memory memory, u32 fd, u32 vectors, u32 count, u64 offset, u32 written) {
  const Found found = find_to_change(fd, rights::fd_write | rights::fd_seek);
  if (!found) return found.error;
  std::vector<iovec> parts;
  if (const Errno bad = memory.vectors(vectors, count, parts); bad != Errno::success) return bad;
  if (!memory.holds(written, 4)) return Errno::fault;
  if (offset > INT64_MAX) return Errno::inval;
  const auto size = pwritev(found.host(), parts.data(), int(parts.size()), off_t(offset));
  return size < 0 ? errno_of_host(errno) : memory.write<u32>(written, u32(size));
}

Errno Context::seek(Memory memory, u32 fd, u64 offset, int whence, u32 out) {
  // To ask where one is takes only fd_tell, which fd_seek includes.
  const bool asks = whence == SEEK_CUR && offset == 0;
  const Found asked = find(fd, asks ? rights::fd_tell : rights::fd_seek);
  const Found found = asked || !asks ? asked : find(fd, rights::fd_seek);
  if (!found) return found.error;
  if (!memory.holds(out, 8)) return Errno::fault;
  const off_t at = lseek(found.host(), off_t(offset), whence);
  return at < 0 ? errno_of_host(errno) : memory.write<u64>(out, u64(at));
}

Errno Context::fd_seek(Memory memory, u32 fd, u64 offset, u32 whence, u32 out) {
  constexpr int host[] = {SEEK_SET, SEEK_CUR, SEEK_END};
  return whence < std::size(host) ? seek(memory, fd, offset, host[whence], out) : Errno::inval;
}

Errno Context::fd_seek_unstable(Memory memory, u32 fd, u64 offset, u32 whence, u32 out) {
  constexpr int host[] = {SEEK_CUR, SEEK_END, SEEK_SET};
  return whence < std::size(host) ? seek(memory, fd, offset, host[whence], out) : Errno::inval;
}

Errno Context::fd_tell(Memory memory, u32 fd, u32 out) { return seek(memory, fd, 0, SEEK_CUR, out); }

}  // namespace doppel::wasi
