// Sockets: what comes from a listening one that the program was given, or is one of the three that it was started with.
#include <sys/socket.h>

#include "process/wasi/transfer.h"

namespace doppel::wasi {
namespace {

/// Without MSG_DONTWAIT `recv_waitall` waits inside the host; so it is only for those that may.
int host_flags(std::uint32_t flags, bool hurried) {
  int out = flags & riflags::recv_peek ? MSG_PEEK : 0;
  if (hurried) return out | MSG_DONTWAIT;
  return flags & riflags::recv_waitall ? out | MSG_WAITALL : out;
}

}  // namespace

Answer Context::sock_accept(Memory memory, u32 fd, u32 flags, u32 accepted) {
  const Found found = find(fd, rights::sock_accept);
  if (!found) return found.error;
  if (flags & ~u32{fdflags::nonblock}) return Errno::inval;
  if (!memory.holds(accepted, 4)) return Errno::fault;
  if (descriptors.full()) return Errno::mfile;
  while (true) {
    if (const auto answer = await(*found.descriptor, POLLIN)) return *answer;
    Descriptor made;
    made.host = FileDescriptor(accept4(found.host(), nullptr, nullptr, SOCK_CLOEXEC));
    if (!made.host && errno != EAGAIN && errno != EINTR && errno != ECONNABORTED) return errno_of_host(errno);
    if (!made.host) continue;
    made.kind = DescriptorRecord::Kind::connection;
    made.type = file_type_of(made.host.get());
    made.flags = std::uint16_t(flags);
    made.base = found->inheriting & (rights::socket & ~rights::sock_accept);
    made.writable = true;
    return memory.write<u32>(accepted, *descriptors.add(std::move(made)));
  }
}

/// Where it must not wait inside the host (nonblock, or a context that yields) `recv_waitall` has no effect.
Answer Context::sock_recv(Memory memory, u32 fd, u32 vectors, u32 count, u32 flags, u32 received, u32 out_flags) {
  const Found found = find(fd, rights::fd_read);
  if (!found) return found.error;
  if (!(applicable_rights(found->type, found.host()) & rights::sock_shutdown)) return Errno::notsock;
  if (flags & ~u32{riflags::all}) return Errno::inval;
  std::vector<iovec> parts;
  if (const Errno bad = memory.vectors(vectors, count, parts); bad != Errno::success) return bad;
  if (!memory.holds(out_flags, 2)) return Errno::fault;
  msghdr message{};
  message.msg_iov = parts.data();
  message.msg_iovlen = parts.size();
  const Answer answer = transfer(memory, *found.descriptor, POLLIN, received, [&] {
    return recvmsg(found.host(), &message, host_flags(flags, hurried(*found.descriptor)) | MSG_CMSG_CLOEXEC);
  });
  if (answer.outcome.kind != wasm::HostOutcome::Kind::returned || answer.error != Errno::success) return answer;
  const bool truncated = message.msg_flags & MSG_TRUNC;
  return memory.write<std::uint16_t>(out_flags, truncated ? roflags::recv_data_truncated : 0);
}

Answer Context::sock_send(Memory memory, u32 fd, u32 vectors, u32 count, u32 flags, u32 sent) {
  const Found found = find(fd, rights::fd_write);
  if (!found) return found.error;
  if (!(applicable_rights(found->type, found.host()) & rights::sock_shutdown)) return Errno::notsock;
  if (flags != 0) return Errno::inval;
  std::vector<iovec> parts;
  if (const Errno bad = memory.vectors(vectors, count, parts); bad != Errno::success) return bad;
  msghdr message{};
  message.msg_iov = parts.data();
  message.msg_iovlen = parts.size();
  const int host = MSG_NOSIGNAL | (hurried(*found.descriptor) ? MSG_DONTWAIT : 0);
  return transfer(memory, *found.descriptor, POLLOUT, sent, [&] { return sendmsg(found.host(), &message, host); });
}

Errno Context::sock_shutdown(Memory, u32 fd, u32 how) {
  constexpr int host[] = {-1, SHUT_RD, SHUT_WR, SHUT_RDWR};
  const Found found = find(fd, rights::sock_shutdown);
  if (!found) return found.error;
  if (how == 0 || how >= std::size(host)) return Errno::inval;
  return shutdown(found.host(), host[how]) == 0 ? Errno::success : errno_of_host(errno);
}

}  // namespace doppel::wasi
