#include "api/runtime_folder.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <memory>

#include "base/clock.h"
#include "base/suggestion.h"

namespace doppel {
namespace {

constexpr mode_t others_may_write = S_IWGRP | S_IWOTH;
constexpr std::int64_t patience_ns = 5'000'000'000;  // for another doppel that makes or removes a machine
constexpr useconds_t pause_us = 2000;
constexpr std::size_t most_names = 4096;

const char* environment(const char* name) {
  const char* value = std::getenv(name);
  return value && *value ? value : nullptr;
}

Error refusal(const std::string& path, const char* why) {
  return error("the folder {} {}: remove it, or set DOPPEL_RUNTIME_DIR to another", path, why);
}

/// Opens the folder `name` in `parent`, made if need be, which only we may change.
Result<FileDescriptor> own_folder(int parent, const std::string& name, const std::string& path) {
  if (::mkdirat(parent, name.c_str(), 0700) != 0 && errno != EEXIST)
    return error("cannot make the folder {} for running machines: {}", path, std::strerror(errno));
  FileDescriptor folder(::openat(parent, name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!folder && (errno == ELOOP || errno == ENOTDIR)) return refusal(path, "is a symbolic link or no folder");
  struct stat status{};
  if (!folder || ::fstat(folder.get(), &status) != 0)
    return error("cannot open the folder {} of running machines: {}", path, std::strerror(errno));
  if (status.st_uid != ::geteuid()) return refusal(path, "belongs to somebody else");
  if (status.st_mode & others_may_write) return refusal(path, "can be written by others");
  return folder;
}

bool set_lock(int file) {
  struct flock whole{};
  whole.l_type = F_WRLCK;
  whole.l_whence = SEEK_SET;
  return ::fcntl(file, F_OFD_SETLK, &whole) == 0;
}

FileDescriptor make_in(int folder, const char* name) {
  return FileDescriptor(::openat(folder, name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
}

std::vector<std::string> names_in(int folder) {
  std::vector<std::string> names;
  const int again = ::openat(folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  const std::unique_ptr<DIR, int (*)(DIR*)> listing(again < 0 ? nullptr : ::fdopendir(again), ::closedir);
  if (!listing) return names;
  while (const auto* entry = ::readdir(listing.get())) {
    const std::string name = entry->d_name;
    if (name != "." && name != ".." && names.size() < most_names) names.push_back(name);
  }
  std::sort(names.begin(), names.end());
  return names;
}

}  // namespace

std::string RuntimeFolder::place() {
  if (const char* given = environment("DOPPEL_RUNTIME_DIR")) return given;
  if (const char* given = environment("XDG_RUNTIME_DIR"); given && *given == '/') return std::string(given) + "/doppel";
  const auto user = fmt::format("/run/user/{}", ::geteuid());
  struct stat status{};
  if (::lstat(user.c_str(), &status) == 0 && S_ISDIR(status.st_mode) && status.st_uid == ::geteuid())
    return user + "/doppel";
  const char* temporary = environment("TMPDIR");
  return fmt::format("{}/doppel-{}", temporary ? temporary : "/tmp", ::geteuid());
}

Result<RuntimeFolder> RuntimeFolder::open(const std::string& path) {
  auto end = path.find_last_not_of('/');
  const auto whole = end == path.npos ? path : path.substr(0, end + 1);
  const auto top = own_folder(AT_FDCWD, whole, whole);
  if (!top) return top.failure();
  auto machines = own_folder(top->get(), "machines", whole + "/machines");
  if (!machines) return machines.failure();
  return RuntimeFolder(whole, *std::move(machines));
}

/// Held by who makes or removes a machine's folder, which takes microseconds.
Result<FileDescriptor> RuntimeFolder::lock() const {
  FileDescriptor held(::openat(machines_.get(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  const auto deadline = monotonic_ns() + patience_ns;
  while (::flock(held.get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK && errno != EINTR)
      return error("cannot lock {}/machines: {}", path_, std::strerror(errno));
    if (monotonic_ns() > deadline) return error("another doppel holds {}/machines and does not go on", path_);
    ::usleep(pause_us);
  }
  return held;
}

std::optional<MachineEntry> RuntimeFolder::look_at(const std::string& name) const {
  FileDescriptor folder(::openat(machines_.get(), name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  struct stat status{};
  if (!folder || ::fstat(folder.get(), &status) != 0 || status.st_uid != ::geteuid()) return std::nullopt;
  MachineEntry entry(name, std::move(folder));
  const auto found = entry.status();
  const bool dead = found.state == MachineState::exited || found.state == MachineState::died;
  const bool gone = found.gone || (dead && entry.record() && entry.record()->remove);
  if (gone && erase(entry)) return std::nullopt;
  return entry;
}

std::vector<std::string> RuntimeFolder::names() const {
  auto names = names_in(machines_.get());
  std::erase_if(names, [](const auto& name) { return !sound_machine_name(name); });
  return names;
}

Result<std::vector<MachineEntry>> RuntimeFolder::list() const {
  const auto held = lock();
  if (!held) return held.failure();
  std::vector<MachineEntry> entries;
  for (const auto& name : names())
    if (auto entry = look_at(name)) entries.push_back(std::move(*entry));
  return entries;
}

Result<MachineEntry> RuntimeFolder::find(const std::string& name) const {
  if (!sound_machine_name(name)) return error("'{}' is no name of a machine", printable_text(name));
  const auto held = lock();
  if (!held) return held.failure();
  if (auto entry = look_at(name)) return std::move(*entry);
  const auto meant = suggestion(name, names());
  return error("there is no machine named '{}'{}; doppel ls lists those that are there", name,
               meant.empty() ? "" : fmt::format(": did you mean '{}'?", meant));
}

Result<ClaimedEntry> RuntimeFolder::claim(MachineRecord record) const {
  if (!sound_machine_name(record.name))
    return error(
        "'{}' is no name for a machine: use letters, digits, '.', '_' and '-', at most 64, not '.' or '-' first",
        printable_text(record.name));
  const auto held = lock();
  if (!held) return held.failure();
  const auto& name = record.name;
  if (const auto there = look_at(name))
    return there->alive()
               ? error("a machine named '{}' runs already: choose another name, or doppel kill {}", name, name)
               : error("the name '{}' is taken by a machine that has ended: doppel rm {} removes it", name, name);
  if (::mkdirat(machines_.get(), name.c_str(), 0700) != 0)
    return error("cannot make {}/machines/{}: {}", path_, name, std::strerror(errno));
  FileDescriptor folder(::openat(machines_.get(), name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  record.process = ::getpid();
  return fill(std::move(folder), record);
}

Result<ClaimedEntry> RuntimeFolder::fill(FileDescriptor folder, const MachineRecord& record) const {
  auto lock = make_in(folder.get(), "lock"), description = make_in(folder.get(), "machine.json"),
       status = make_in(folder.get(), "status");
  const auto text = record_text(record);
  const bool made = lock && set_lock(lock.get()) && description && status &&
                    ::write(description.get(), text.data(), text.size()) == ssize_t(text.size());
  if (!made) {
    const auto why = error("cannot write to {}/machines/{}: {}", path_, record.name, std::strerror(errno));
    static_cast<void>(erase(MachineEntry(record.name, std::move(folder))));
    return why;
  }
  ClaimedEntry entry(std::move(folder), std::move(lock), std::move(status), record.remove);
  entry.set_status({});
  return entry;
}

Result<void> RuntimeFolder::remove(const MachineEntry& entry) const {
  const auto held = lock();
  if (!held) return held.failure();
  if (entry.alive()) return error("the machine '{}' runs: doppel rm -f ends it first", entry.name());
  return erase(entry);
}

/// Under lock(). Another machine of the name may have come since.
Result<void> RuntimeFolder::erase(const MachineEntry& entry) const {
  struct stat opened{}, named{};
  const bool same = ::fstat(entry.folder(), &opened) == 0 &&
                    ::fstatat(machines_.get(), entry.name().c_str(), &named, AT_SYMLINK_NOFOLLOW) == 0 &&
                    opened.st_ino == named.st_ino && opened.st_dev == named.st_dev;
  if (!same) return {};
  for (const auto& name : names_in(entry.folder())) ::unlinkat(entry.folder(), name.c_str(), 0);
  if (::unlinkat(machines_.get(), entry.name().c_str(), AT_REMOVEDIR) != 0)
    return error("cannot remove {}/machines/{}: {}", path_, entry.name(), std::strerror(errno));
  return {};
}

}  // namespace doppel
