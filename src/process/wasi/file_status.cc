// The status of files: size, times, allocation.
#include "process/wasi/file_status.h"

#include <fmt/format.h>

namespace doppel::wasi {
namespace {

std::uint64_t nanoseconds(const timespec& time) {
  // A time before 1970 has no representation.
  return time.tv_sec < 0 ? 0 : std::uint64_t(time.tv_sec) * 1'000'000'000 + std::uint64_t(time.tv_nsec);
}

timespec time_of(std::uint64_t value, bool set, bool now) {
  if (now) return {0, UTIME_NOW};
  if (!set) return {0, UTIME_OMIT};
  return {time_t(value / 1'000'000'000), long(value % 1'000'000'000)};
}

Errno result(int host) { return host == 0 ? Errno::success : errno_of_host(errno); }

/// Of what O_PATH has opened, a link itself too.
int set_times(int host, const std::array<timespec, 2>& times) {
  const int done = utimensat(host, "", times.data(), AT_EMPTY_PATH);
  if (done == 0 || errno != EINVAL) return done;
  return utimensat(AT_FDCWD, fmt::format("/proc/self/fd/{}", host).c_str(), times.data(), 0);  // Linux before 5.8
}

}  // namespace

Errno write_filestat(const GuestView& memory, std::uint64_t out, const struct stat& status, FileType type,
                     Version version) {
  const bool old = version == Version::unstable;
  const auto record = memory.bytes(out, old ? sizes::filestat_unstable : sizes::filestat);
  if (!record) return Errno::fault;
  std::fill(record->begin(), record->end(), 0);
  memory.write<std::uint64_t>(out, status.st_dev);
  memory.write<std::uint64_t>(out + 8, status.st_ino);
  (*record)[16] = std::uint8_t(type);
  // In wasi_unstable the count of links has 32 bits, right behind the type.
  if (old) memory.write<std::uint32_t>(out + 20, std::uint32_t(std::min<std::uint64_t>(status.st_nlink, UINT32_MAX)));
  if (!old) memory.write<std::uint64_t>(out + 24, status.st_nlink);
  const std::uint64_t rest = out + (old ? 24 : 32);
  memory.write<std::uint64_t>(rest, std::uint64_t(status.st_size));
  memory.write<std::uint64_t>(rest + 8, nanoseconds(status.st_atim));
  memory.write<std::uint64_t>(rest + 16, nanoseconds(status.st_mtim));
  return memory.write<std::uint64_t>(rest + 24, nanoseconds(status.st_ctim));
}

std::optional<std::array<timespec, 2>> file_times(std::uint64_t atim, std::uint64_t mtim, std::uint32_t flags) {
  using namespace fstflags;
  if (flags & ~std::uint32_t{all}) return std::nullopt;
  if ((flags & atim_now && flags & fstflags::atim) || (flags & mtim_now && flags & fstflags::mtim)) return std::nullopt;
  return std::array{time_of(atim, flags & fstflags::atim, flags & atim_now),
                    time_of(mtim, flags & fstflags::mtim, flags & mtim_now)};
}

Errno Context::fd_advise(Memory, u32 fd, u64 offset, u64 size, u32 advice) {
  constexpr int host[] = {POSIX_FADV_NORMAL,   POSIX_FADV_SEQUENTIAL, POSIX_FADV_RANDOM,
                          POSIX_FADV_WILLNEED, POSIX_FADV_DONTNEED,   POSIX_FADV_NOREUSE};
  const Found found = find(fd, rights::fd_advise);
  if (!found) return found.error;
  if (advice >= std::size(host) || offset > INT64_MAX || size > INT64_MAX) return Errno::inval;
  return errno_of_host(posix_fadvise(found.host(), off_t(offset), off_t(size), host[advice]));
}

Errno Context::fd_allocate(Memory, u32 fd, u64 offset, u64 size) {
  const Found found = find_to_change(fd, rights::fd_allocate);
  if (!found) return found.error;
  if (offset > INT64_MAX || size > INT64_MAX) return Errno::fbig;
  return result(fallocate(found.host(), 0, off_t(offset), off_t(size)));
}

Errno Context::fd_datasync(Memory, u32 fd) {
  const Found found = find(fd, rights::fd_datasync);
  return found ? result(fdatasync(found.host())) : found.error;
}

Errno Context::fd_sync(Memory, u32 fd) {
  const Found found = find(fd, rights::fd_sync);
  return found ? result(fsync(found.host())) : found.error;
}

Errno Context::fd_filestat(Memory memory, u32 fd, u32 out, Version version) {
  const Found found = find(fd, rights::fd_filestat_get);
  if (!found) return found.error;
  struct stat status{};
  if (fstat(found.host(), &status) != 0) return errno_of_host(errno);
  return write_filestat(memory, out, status, found->type, version);
}

Errno Context::fd_filestat_get(Memory memory, u32 fd, u32 out) {
  return fd_filestat(memory, fd, out, Version::preview1);
}

Errno Context::fd_filestat_get_unstable(Memory memory, u32 fd, u32 out) {
  return fd_filestat(memory, fd, out, Version::unstable);
}

Errno Context::fd_filestat_set_size(Memory, u32 fd, u64 size) {
  const Found found = find_to_change(fd, rights::fd_filestat_set_size);
  if (!found) return found.error;
  if (size > INT64_MAX) return Errno::inval;
  return result(ftruncate(found.host(), off_t(size)));
}

Errno Context::fd_filestat_set_times(Memory, u32 fd, u64 atim, u64 mtim, u32 flags) {
  const Found found = find_to_change(fd, rights::fd_filestat_set_times);
  if (!found) return found.error;
  const auto times = file_times(atim, mtim, flags);
  return times ? result(futimens(found.host(), times->data())) : Errno::inval;
}

Errno Context::path_filestat(Memory memory, u32 fd, u32 flags, u32 path, u32 path_size, u32 out, Version version) {
  const Resolved file = resolve(memory, find(fd, rights::path_filestat_get), flags, path, path_size);
  if (!file.ok()) return file.error;
  struct stat status{};
  if (fstat(file.descriptor.get(), &status) != 0) return errno_of_host(errno);
  return write_filestat(memory, out, status, file_type_of(status), version);
}

Errno Context::path_filestat_get(Memory memory, u32 fd, u32 flags, u32 path, u32 path_size, u32 out) {
  return path_filestat(memory, fd, flags, path, path_size, out, Version::preview1);
}

Errno Context::path_filestat_get_unstable(Memory memory, u32 fd, u32 flags, u32 path, u32 path_size, u32 out) {
  return path_filestat(memory, fd, flags, path, path_size, out, Version::unstable);
}

Errno Context::path_filestat_set_times(Memory memory, u32 fd, u32 flags, u32 path, u32 path_size, u64 atim, u64 mtim,
                                       u32 fst_flags) {
  const auto times = file_times(atim, mtim, fst_flags);
  if (!times) return Errno::inval;
  const Resolved file = resolve(memory, find_to_change(fd, rights::path_filestat_set_times), flags, path, path_size);
  return file.ok() ? result(set_times(file.descriptor.get(), *times)) : file.error;
}

}  // namespace doppel::wasi
