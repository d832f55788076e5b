#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "api/runtime_folder.h"
#include "base/clock.h"

namespace doppel {
namespace {

constexpr std::size_t longest_file = 64 << 10;
constexpr int clients_that_wait = 64;
constexpr std::int64_t patience_ns = 5'000'000'000;
constexpr useconds_t pause_us = 2000;

/// The beginning of a regular file in the folder; empty when there is none.
std::string contents(int folder, const char* name) {
  const FileDescriptor file(::openat(folder, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC));
  struct stat status{};
  if (!file || ::fstat(file.get(), &status) != 0 || !S_ISREG(status.st_mode)) return {};
  std::string text(longest_file, '\0');
  const auto count = ::pread(file.get(), text.data(), text.size(), 0);
  text.resize(count < 0 ? 0 : std::size_t(count));
  return text;
}

Result<MachineRecord> read_record(const std::string& name, int folder) {
  auto record = parse_record(contents(folder, "machine.json"));
  if (!record) return error("the machine '{}' is damaged: {}; doppel rm {} removes it", name, record.message(), name);
  if (record->name != name)
    return error("the machine '{}' is damaged: its machine.json is another's; doppel rm {} removes it", name, name);
  return record;
}

/// Addresses of sockets have room for 107 bytes; through the folder's descriptor any folder will do.
sockaddr_un socket_in(int folder) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  fmt::format_to_n(address.sun_path, sizeof address.sun_path - 1, "/proc/self/fd/{}/control", folder);
  return address;
}

}  // namespace

MachineEntry::MachineEntry(std::string name, FileDescriptor folder)
    : name_(std::move(name)), folder_(std::move(folder)), record_(read_record(name_, folder_.get())) {}

bool MachineEntry::alive() const {
  const FileDescriptor file(::openat(folder(), "lock", O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC));
  struct flock whole{};
  whole.l_type = F_WRLCK;
  whole.l_whence = SEEK_SET;
  return file && ::fcntl(file.get(), F_OFD_GETLK, &whole) == 0 && whole.l_type != F_UNLCK;
}

// The lock first: a process that ends between the two has said so before.
MachineStatus MachineEntry::status() const {
  const bool held = alive();
  return parse_status(contents(folder(), "status"), held);
}

// The number is that of the process that holds the lock, which wrote it: if the lock is held after the process was
// opened, no other process can have got its number.
Result<FileDescriptor> MachineEntry::process() const {
  if (!record_) return record_.failure();
  FileDescriptor process(int(::syscall(SYS_pidfd_open, record_->process, 0)));
  const int problem = errno;
  if (!alive()) return error("the machine '{}' does not run: it has {}", name_, describe(status()));
  if (!process) return error("cannot reach the process of the machine '{}': {}", name_, std::strerror(problem));
  return process;
}

Result<FileDescriptor> MachineEntry::connect() const {
  FileDescriptor socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  const auto address = socket_in(folder());
  int problem = socket ? EAGAIN : errno;
  // As many wait as may: the machine's process takes them in microseconds, if it runs.
  for (const auto deadline = monotonic_ns() + patience_ns; problem == EAGAIN && monotonic_ns() < deadline;) {
    if (::connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0) return socket;
    problem = errno;
    if (problem == EAGAIN) ::usleep(pause_us);
  }
  const auto now = status();
  if (!alive()) return error("the machine '{}' does not run: it has {}", name_, describe(now));
  if (now.state == MachineState::starting) return error("the machine '{}' is only starting", name_);
  if (problem == EAGAIN) return error("the machine '{}' does not answer: its process may be stopped", name_);
  return error("cannot reach the machine '{}': {}", name_, std::strerror(problem));
}

void ClaimedEntry::set_status(MachineStatus status) const {
  status.gone = status.state == MachineState::exited && (remove_ || status.gone);
  const auto text = status_text(status);
  [[maybe_unused]] const auto written = ::pwrite(status_.get(), text.data(), text.size(), 0);
}

Result<FileDescriptor> ClaimedEntry::make_file(const char* name) const {
  FileDescriptor file(::openat(folder_.get(), name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
  if (!file) return error("cannot make the machine's {}: {}", name, std::strerror(errno));
  return file;
}

Result<FileDescriptor> ClaimedEntry::listen() const {
  FileDescriptor socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  const auto address = socket_in(folder_.get());
  const bool listens = socket && ::fchmod(socket.get(), 0600) == 0 &&
                       ::bind(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0 &&
                       ::listen(socket.get(), clients_that_wait) == 0;
  if (!listens) return error("cannot make the machine's control socket: {}", std::strerror(errno));
  return socket;
}

}  // namespace doppel
