#include "snapshot/store_folder.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/random.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <memory>

#include "base/file_size_limit.h"

namespace doppel {
namespace {

constexpr const char* lock_name = "lock";
constexpr std::string_view digits = "0123456789abcdef", new_ending = ".new";
constexpr std::size_t new_name_bytes = 16;  // of chance

bool is_leftover(std::string_view name) {
  return name.size() == 2 * new_name_bytes + new_ending.size() && name.ends_with(new_ending) &&
         name.find_first_not_of(digits) == 2 * new_name_bytes;
}

}  // namespace

bool sound_snapshot_name(std::string_view name) {
  const auto allowed = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '_' ||
           c == '-';
  };
  return !name.empty() && name.size() <= 64 && name[0] != '.' && name[0] != '-' && std::ranges::all_of(name, allowed);
}

std::string hexadecimal(std::span<const std::byte> bytes) {
  std::string out;
  for (const auto byte : bytes) out += {digits[unsigned(byte) >> 4], digits[unsigned(byte) & 15]};
  return out;
}

std::string pack_name(const Sha256& id) { return hexadecimal(id) + std::string(pack_ending); }

std::optional<Sha256> pack_id(std::string_view name) {
  Sha256 id;
  if (name.size() != 2 * id.size() + pack_ending.size() || !name.ends_with(pack_ending) ||
      name.find_first_not_of(digits) != 2 * id.size())
    return {};
  for (std::size_t n = 0; n < id.size(); n++)
    id[n] = std::byte(digits.find(name[2 * n]) << 4 | digits.find(name[2 * n + 1]));
  return id;
}

TemporaryFile::~TemporaryFile() {
  if (folder_) ::unlinkat(folder_.get(), name_.c_str(), 0);
}

Result<void> TemporaryFile::sync() const {
  if (::fsync(file_.get()) == 0) return {};
  return error("cannot write {}: {}", path_, std::strerror(errno));
}

Result<void> TemporaryFile::publish(const std::string& name, bool replace) {
  const int folder = folder_.get();
  int done = ::renameat2(folder, name_.c_str(), folder, name.c_str(), replace ? 0 : RENAME_NOREPLACE);
  if (done != 0 && errno == EINVAL && !replace)  // a file system that does not know how: a link never replaces
    if ((done = ::linkat(folder, name_.c_str(), folder, name.c_str(), 0)) == 0) ::unlinkat(folder, name_.c_str(), 0);
  if (done != 0 && errno == EEXIST) return error("{} exists already", name);
  if (done != 0) return error("cannot give {} the name {}: {}", path_, name, std::strerror(errno));
  FileDescriptor published;
  published = std::move(folder_);
  return {};
}

Result<StoreFolder> StoreFolder::open(std::string path, bool may_create) {
  ignore_file_size_signal();
  while (path.size() > 1 && path.ends_with('/')) path.pop_back();
  if (may_create) {
    std::error_code failed;
    const auto above = std::filesystem::path(path).lexically_normal().parent_path();
    if (!above.empty()) std::filesystem::create_directories(above, failed);
    // It holds what was in the memories of machines: for nobody else to read.
    if (failed || (::mkdir(path.c_str(), 0700) != 0 && errno != EEXIST))
      return error("cannot make the folder of snapshots {}: {}", path,
                   failed ? failed.message() : std::strerror(errno));
  }
  FileDescriptor folder(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!folder) return error("cannot open the folder of snapshots {}: {}", path, std::strerror(errno));
  return StoreFolder(std::move(folder), std::move(path));
}

FileDescriptor StoreFolder::open_lock(Use use) const {
  constexpr int flags = O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY;
  FileDescriptor file(::openat(folder_.get(), lock_name, O_RDWR | O_CREAT | flags, 0600));
  if (!file && use == Use::sharing) file = FileDescriptor(::openat(folder_.get(), lock_name, O_RDONLY | flags));
  return file;
}

FileDescriptor StoreFolder::try_lock(Use use) const {
  auto file = open_lock(use);
  if (file && ::flock(file.get(), int(use) | LOCK_NB) == 0) return file;
  return {};
}

Result<FileDescriptor> StoreFolder::lock(Use use) const {
  constexpr unsigned attempts = 30'000;  // half a minute and more
  constexpr timespec pause{.tv_sec = 0, .tv_nsec = 1'000'000};
  auto file = open_lock(use);
  if (!file && use == Use::sharing && (errno == EROFS || errno == EACCES || errno == ENOENT)) return file;
  if (!file) return error("cannot open {}: {}", path_of(lock_name), std::strerror(errno));
  for (unsigned n = 0; n < attempts; n++) {
    if (::flock(file.get(), int(use) | LOCK_NB) == 0) return file;
    if (errno != EWOULDBLOCK && errno != EINTR)
      return error("cannot lock {}: {}", path_of(lock_name), std::strerror(errno));
    ::nanosleep(&pause, nullptr);
  }
  return error("others have used the snapshots in {} for half a minute: end them, or try again later", path_);
}

Result<TemporaryFile> StoreFolder::make_file() const {
  std::array<std::byte, new_name_bytes> chance{};
  [[maybe_unused]] const auto ignored = ::getrandom(chance.data(), chance.size(), 0);
  auto name = hexadecimal(chance) + std::string(new_ending);
  FileDescriptor file(::openat(folder_.get(), name.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600));
  FileDescriptor folder(file ? ::fcntl(folder_.get(), F_DUPFD_CLOEXEC, 0) : -1);
  if (!folder) {
    const int problem = errno;
    if (file) ::unlinkat(folder_.get(), name.c_str(), 0);
    return error("cannot make a file in {}: {}", path_, std::strerror(problem));
  }
  auto path = path_of(name);
  return TemporaryFile(std::move(folder), std::move(file), std::move(name), std::move(path));
}

Result<FileDescriptor> StoreFolder::open_file(const std::string& name, std::uint64_t& bytes) const {
  constexpr int flags = O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY;
  FileDescriptor file(::openat(folder_.get(), name.c_str(), flags));
  struct stat status;
  if (!file && errno == ELOOP) return error("{} is a symbolic link: remove it", path_of(name));
  if (!file || ::fstat(file.get(), &status) != 0)
    return error("cannot open {}: {}", path_of(name), std::strerror(errno));
  if (!S_ISREG(status.st_mode)) return error("{} is no regular file: remove it", path_of(name));
  bytes = std::uint64_t(status.st_size);
  return file;
}

bool StoreFolder::exists(const std::string& name) const {
  struct stat status;
  return ::fstatat(folder_.get(), name.c_str(), &status, AT_SYMLINK_NOFOLLOW) == 0;
}

bool StoreFolder::remove(const std::string& name) const { return ::unlinkat(folder_.get(), name.c_str(), 0) == 0; }

Result<void> StoreFolder::sync() const {
  if (::fsync(folder_.get()) == 0) return {};
  return error("cannot write the folder {}: {}", path_, std::strerror(errno));
}

std::vector<std::string> StoreFolder::names() const {
  std::vector<std::string> out;
  const int again = ::openat(folder_.get(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  const std::unique_ptr<DIR, int (*)(DIR*)> list(again < 0 ? nullptr : ::fdopendir(again), ::closedir);
  while (const auto* entry = list ? ::readdir(list.get()) : nullptr) out.emplace_back(entry->d_name);
  std::ranges::sort(out);
  return out;
}

void StoreFolder::remove_leftovers() const {
  for (const auto& name : names())
    if (is_leftover(name)) remove(name);
}

}  // namespace doppel
