// The ports of the host that reach into the guest.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstring>

#include "base/file_descriptor.h"
#include "network/user_network.h"

namespace doppel {
namespace {

constexpr int attempts_to_pick_a_port = 32;

in_addr ipv4(const char* text) {
  in_addr address{};
  inet_pton(AF_INET, text, &address);
  return address;
}

Result<std::uint16_t> free_port(const PublishedPort& port) {
  const FileDescriptor probe(::socket(AF_INET, (port.udp ? SOCK_DGRAM : SOCK_STREAM) | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr = ipv4(port.address.c_str());
  socklen_t length = sizeof address;
  auto* generic = reinterpret_cast<sockaddr*>(&address);
  if (!probe || ::bind(probe.get(), generic, length) != 0 || ::getsockname(probe.get(), generic, &length) != 0)
    return error("cannot find a free port on {}: {}", port.address, std::strerror(errno));
  return ntohs(address.sin_port);
}

Error cannot_publish(const PublishedPort& port, int problem) {
  const char* protocol = port.udp ? "UDP" : "TCP";
  if (problem == EADDRINUSE)
    return error("{} port {} of {} is already in use; publish another, or 0 for any free one", protocol, port.host,
                 port.address);
  if (problem == EACCES)
    return error("{} port {} of {} needs privileges; publish one above 1023", protocol, port.host, port.address);
  if (problem == EADDRNOTAVAIL) return error("this host has no address {} to publish ports on", port.address);
  return error("cannot publish {} port {} of {}: {}", protocol, port.host, port.address, std::strerror(problem));
}

}  // namespace

Result<void> SlirpStack::publish(PublishedPort& port) {
  const bool pick = port.host == 0;
  int problem = 0;
  for (int i = 0; i < (pick ? attempts_to_pick_a_port : 1); i++) {
    if (pick) {
      auto found = free_port(port);
      if (!found) return found.failure();
      port.host = *found;
    }
    errno = 0;
    if (slirp_add_hostfwd(slirp_, port.udp, ipv4(port.address.c_str()), port.host, ipv4("10.0.2.15"), port.guest) == 0)
      return {};
    problem = errno;
    if (problem != EADDRINUSE) break;  // with `pick`, somebody was faster: try the next
  }
  return cannot_publish(port, problem);
}

}  // namespace doppel
