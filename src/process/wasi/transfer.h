#pragma once
#include <poll.h>

#include <cerrno>

#include "process/wasi/context.h"

namespace doppel::wasi {

/// Pipes and sockets take at least so much once poll(2) says that they are ready, so that a write of no more waits for
/// nobody (POSIX, PIPE_BUF).
inline constexpr std::size_t unwaiting_bytes = 4096;

template <typename Transfer>
Answer Context::transfer(Memory memory, const Descriptor& descriptor, short events, u32 out, const Transfer& attempt) {
  if (!memory.holds(out, 4)) return Errno::fault;
  while (true) {
    if (const auto answer = await(descriptor, events)) return *answer;
    const auto size = attempt();
    if (size >= 0) return memory.write<u32>(out, u32(size));
    // Someone else, who has the same pipe or terminal, was faster.
    if (errno != EINTR && (errno != EAGAIN || !descriptor.may_wait())) return errno_of_host(errno);
  }
}

}  // namespace doppel::wasi
