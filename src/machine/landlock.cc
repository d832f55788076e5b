#include "machine/landlock.h"

#include <fcntl.h>
#include <linux/landlock.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <climits>
#include <cstdlib>
#include <cstring>

#include "base/file_descriptor.h"

namespace doppel {
namespace {

constexpr const char* resolver_configuration = "/etc/resolv.conf";

/// struct landlock_ruleset_attr as of ABI 6: the system's header may be older than the kernel. Kernels that know less
/// take more as long as it is zero.
struct Ruleset {
  std::uint64_t files, network, scoped;
};

struct Abi {
  int version;
  std::uint64_t files, network, scoped;  // what it can restrict in addition to the version before
};
constexpr Abi abis[] = {{1, 0x1fff, 0, 0},           // execute to make_sym
                        {2, 1ULL << 13, 0, 0},       // rename or link into another directory
                        {3, 1ULL << 14, 0, 0},       // truncate
                        {4, 0, 1 << 0 | 1 << 1, 0},  // bind and connect TCP
                        {5, 1ULL << 15, 0, 0},       // ioctl on devices
                        {6, 0, 0, 1 << 0}};          // connect to abstract UNIX sockets of others

std::atomic<bool> applied = false;

Ruleset everything(long version) {
  Ruleset rules{};
  for (const auto& abi : abis) {
    if (abi.version > version) break;
    rules.files |= abi.files;
    rules.network |= abi.network;
    rules.scoped |= abi.scoped;
  }
  return rules;
}

/// Allows `access` to the file or directory and below. False where there is none; errno says why.
bool allow(const FileDescriptor& ruleset, const char* path, std::uint64_t access) {
  const FileDescriptor beneath(::open(path, O_PATH | O_CLOEXEC));
  if (!beneath) return false;
  landlock_path_beneath_attr rule{};
  rule.allowed_access = access;
  rule.parent_fd = beneath.get();
  return syscall(SYS_landlock_add_rule, ruleset.get(), LANDLOCK_RULE_PATH_BENEATH, &rule, 0) == 0;
}

// Rules name files by inode, and whoever changes the resolver configuration puts a new file in the place of the old: to
// see it, its directory must be readable. Not for root, to whom /etc shows secrets: it keeps the name servers of the
// start.
void allow_resolver(const FileDescriptor& ruleset) {
  char real[PATH_MAX];
  if (!realpath(resolver_configuration, real)) return;  // no name servers: libslirp copes
  allow(ruleset, real, LANDLOCK_ACCESS_FS_READ_FILE);
  const std::string file = real;
  const auto directory = file.substr(0, file.rfind('/'));
  if (directory != "" && (directory != "/etc" || geteuid() != 0))
    allow(ruleset, directory.c_str(), LANDLOCK_ACCESS_FS_READ_FILE);
}

}  // namespace

bool landlock_applied() { return applied; }

Result<bool> apply_landlock(const SandboxOptions& options) {
  const long version = syscall(SYS_landlock_create_ruleset, nullptr, 0, LANDLOCK_CREATE_RULESET_VERSION);
  if (version < 1) return false;
  Ruleset rules = everything(version);
  if (options.network) rules.network = 0;
  const std::size_t size = version >= 6 ? sizeof rules : version >= 4 ? 16 : 8;
  const FileDescriptor ruleset(static_cast<int>(syscall(SYS_landlock_create_ruleset, &rules, size, 0)));
  if (!ruleset) return error("cannot restrict the process's files (Landlock: {})", std::strerror(errno));
  if (options.network) allow_resolver(ruleset);
  for (const auto& file : options.readable)
    if (!file.empty()) allow(ruleset, file.c_str(), LANDLOCK_ACCESS_FS_READ_FILE);
  const auto& directory = options.socket_directory;
  if (!directory.empty() && !allow(ruleset, directory.c_str(), LANDLOCK_ACCESS_FS_REMOVE_FILE))
    return error("cannot keep {} for the console's socket: {}", directory, std::strerror(errno));
  if (syscall(SYS_landlock_restrict_self, ruleset.get(), 0) != 0)
    return error("cannot restrict the process's files (Landlock: {})", std::strerror(errno));
  applied = true;
  return true;
}

}  // namespace doppel
