#include <cerrno>
#include <utility>

#include "process/wasi/abi.h"

namespace doppel::wasi {
namespace {

constexpr std::pair<std::string_view, int> rows[] = {
#define ERRNO(name, host) {#name, host},
#include "process/wasi/errno.inc"
};
static_assert(std::size(rows) == 77 && std::size_t(Errno::notcapable) == 76, "as in typenames.witx");

}  // namespace

Errno errno_of_host(int host) {
  for (std::size_t n = 1; n < std::size(rows); n++)
    if (rows[n].second != 0 && rows[n].second == host) return Errno(n);
  return host == 0 ? Errno::success : Errno::io;
}

std::string_view spelling(Errno error) {
  return std::size_t(error) < std::size(rows) ? rows[std::size_t(error)].first : "unknown";
}

}  // namespace doppel::wasi
