#include "engine/code_folder.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/random.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string_view>

#include "base/file_size_limit.h"
#include "engine/code_segment_format.h"

namespace doppel {
namespace {

using code_segment::FileHeader;

constexpr mode_t others_may_write = S_IWGRP | S_IWOTH;
constexpr unsigned most_files = 64, most_names = 4096;
constexpr const char* lock_name = "lock";
// A name is 8 bytes of the identity and 8 of chance, in hexadecimal.
constexpr std::size_t half_name = 16;
constexpr std::string_view ending = ".code";

std::string hexadecimal(std::span<const std::byte> bytes) {
  std::string out;
  for (const auto byte : bytes) fmt::format_to(std::back_inserter(out), "{:02x}", unsigned(byte));
  return out;
}

std::string identity_name(const Sha256& identity) { return hexadecimal(std::span(identity).first(half_name / 2)); }

/// Whether the name is one that make() gives: nothing else in the folder is ever touched.
bool is_segment_name(std::string_view name) {
  return name.size() == 2 * half_name + 1 + ending.size() && name.ends_with(ending) && name[half_name] == '-' &&
         name.find_first_not_of("0123456789abcdef-") == name.size() - ending.size();
}

/// Locks of open file descriptions: the kernel gives them up when the process ends, however it does.
bool set_lock(int file, short kind) {
  struct flock whole{};
  whole.l_type = kind;
  whole.l_whence = SEEK_SET;
  return fcntl(file, F_OFD_SETLK, &whole) == 0;
}

Sha256 header_checksum(const FileHeader& header) {
  return sha256({std::as_bytes(std::span(&header, 1)).first(offsetof(FileHeader, checksum))});
}

bool ours_alone(const struct stat& status) {
  return status.st_uid == geteuid() && (status.st_mode & others_may_write) == 0;
}

}  // namespace

bool CodeFile::has_header(const Sha256& identity) const {
  FileHeader header;
  return ::pread(descriptor(), &header, sizeof header, 0) == sizeof header &&
         std::string_view(header.magic.data(), header.magic.size()) == code_segment::magic &&
         header.version == code_segment::version && header.identity == identity &&
         header.checksum == header_checksum(header);
}

bool CodeFile::write_header(const Sha256& identity) {
  FileHeader header{.version = code_segment::version, .identity = identity};
  std::ranges::copy(code_segment::magic, header.magic.begin());
  header.checksum = header_checksum(header);
  if (!write_at(std::as_bytes(std::span(&header, 1)), 0)) return false;
  bytes_ = sizeof header;
  return true;
}

bool CodeFile::take() { return appends_ = appends_ || (writable_ && set_lock(descriptor(), F_WRLCK)); }

bool CodeFile::taken() const {
  struct flock whole{};
  whole.l_type = F_WRLCK;
  whole.l_whence = SEEK_SET;
  return fcntl(descriptor(), F_OFD_GETLK, &whole) != 0 || whole.l_type != F_UNLCK;
}

std::uint64_t CodeFile::reserved() const {
  std::uint64_t out = 0;
  return ::pread(descriptor(), &out, sizeof out, offsetof(FileHeader, reserved)) == sizeof out ? out : 0;
}

void CodeFile::set_reserved(std::uint64_t bytes) {
  write_at(std::as_bytes(std::span(&bytes, 1)), offsetof(FileHeader, reserved));
}

void CodeFile::touch() {
  std::uint64_t uses = 0;
  if (!writable_ || ::pread(descriptor(), &uses, sizeof uses, offsetof(FileHeader, uses)) != sizeof uses) return;
  uses++;
  write_at(std::as_bytes(std::span(&uses, 1)), offsetof(FileHeader, uses));
}

bool CodeFile::append(std::span<const std::byte> bytes) {
  if (write_at(bytes, bytes_)) {
    bytes_ += bytes.size();
    return true;
  }
  [[maybe_unused]] const int ignored = ::ftruncate(descriptor(), off_t(bytes_));
  return false;
}

void CodeFile::cut(std::uint64_t bytes) {
  const bool had = appends_;
  if (!take()) return;
  struct stat status;
  const bool as_it_was = ::fstat(descriptor(), &status) == 0 && std::uint64_t(status.st_size) == bytes_;
  if (as_it_was && ::ftruncate(descriptor(), off_t(bytes)) == 0) bytes_ = bytes;
  if (!had) appends_ = !set_lock(descriptor(), F_UNLCK);
}

bool CodeFile::write_at(std::span<const std::byte> bytes, std::uint64_t at) const {
  while (!bytes.empty()) {
    const auto count = ::pwrite(descriptor(), bytes.data(), bytes.size(), off_t(at));
    if (count <= 0) return false;
    bytes = bytes.subspan(std::size_t(count)), at += std::uint64_t(count);
  }
  return true;
}

struct CodeFolder::Found {
  std::string name;
  CodeFile file;
  std::int64_t used_ns;  // when it was last written to
  bool taken;
  bool keep = true;
  std::uint64_t weight(std::uint64_t limit) const {
    return taken ? std::max(file.bytes(), std::min(file.reserved(), limit)) : file.bytes();
  }
};

Result<CodeFolder> CodeFolder::open(std::string path) {
  ignore_file_size_signal();
  while (path.size() > 1 && path.ends_with('/')) path.pop_back();  // behind a slash links are followed
  if (::mkdir(path.c_str(), 0700) != 0 && errno != EEXIST)
    return error("cannot make the code cache {}: {}", path, std::strerror(errno));
  FileDescriptor folder(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!folder && (errno == ENOTDIR || errno == ELOOP))
    return error("the code cache {} is not a folder, or a symbolic link to one: give the folder itself", path);
  struct stat status;
  if (!folder || ::fstat(folder.get(), &status) != 0)
    return error("cannot open the code cache {}: {}", path, std::strerror(errno));
  if (status.st_uid != geteuid())
    return error("the code cache {} belongs to another user: give a folder of your own, or none", path);
  if (status.st_mode & others_may_write)
    return error("other users may write to the code cache {}: take that away (chmod go-w), or give another folder",
                 path);
  return CodeFolder(std::move(folder));
}

FileDescriptor CodeFolder::open_checked(const char* name, int flags, bool& writable) {
  flags |= O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK | O_NOCTTY;
  FileDescriptor file(::openat(folder_.get(), name, O_RDWR | flags, 0600));
  writable = bool(file);
  if (!file && (errno == EROFS || errno == EACCES))
    file = FileDescriptor(::openat(folder_.get(), name, O_RDONLY | (flags & ~(O_CREAT | O_EXCL))));
  if (!file) return file;
  struct stat status;
  if (::fstat(file.get(), &status) == 0 && S_ISREG(status.st_mode) && ours_alone(status)) return file;
  refused_++;
  return {};
}

/// All segment files, whoever made them.
std::vector<CodeFolder::Found> CodeFolder::look() {
  std::vector<Found> out;
  const int again = ::openat(folder_.get(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  const std::unique_ptr<DIR, int (*)(DIR*)> list(again < 0 ? nullptr : ::fdopendir(again), ::closedir);
  if (!list) return out;
  for (unsigned names = 0; names < most_names; names++) {
    const auto* entry = ::readdir(list.get());
    if (!entry) break;
    if (!is_segment_name(entry->d_name)) continue;
    bool writable;
    auto file = open_checked(entry->d_name, 0, writable);
    struct stat status;
    if (!file || ::fstat(file.get(), &status) != 0) continue;
    CodeFile open(std::move(file), std::uint64_t(status.st_size), writable);
    const bool taken = open.taken();
    out.push_back({.name = entry->d_name,
                   .file = std::move(open),
                   .used_ns = status.st_mtim.tv_sec * 1'000'000'000 + status.st_mtim.tv_nsec,
                   .taken = taken});
  }
  std::ranges::sort(out, std::ranges::greater(), &Found::used_ns);
  return out;
}

/// Removes what is not to be kept, and of the rest the oldest until there is room; the bytes that are left.
std::uint64_t CodeFolder::evict(std::vector<Found>& found) {
  std::uint64_t total = 0;
  for (const auto& f : found) total += f.weight(limit_);
  auto count = found.size();
  for (auto f = found.rbegin(); f != found.rend(); ++f) {
    const bool room = total <= limit_ / 4 * 3 && count <= most_files;
    if ((f->keep && room) || f->taken) continue;
    if (::unlinkat(folder_.get(), f->name.c_str(), 0) != 0 && errno != ENOENT) continue;
    total -= f->weight(limit_);
    count--;
    f->keep = false;
  }
  std::erase_if(found, [](const Found& f) { return !f.keep; });
  return total;
}

CodeFolder::Found CodeFolder::make(const Sha256& identity) {
  std::array<std::byte, half_name / 2> chance{};
  [[maybe_unused]] const auto ignored = ::getrandom(chance.data(), chance.size(), 0);
  auto name = fmt::format("{}-{}{}", identity_name(identity), hexadecimal(chance), ending);
  bool writable;
  CodeFile file(open_checked(name.c_str(), O_CREAT | O_EXCL, writable), 0, true);
  return {.name = std::move(name), .file = std::move(file), .used_ns = 0, .taken = true};
}

/// Takes the right to append to one of the files: the youngest that has room, or a new one.
void CodeFolder::choose(std::vector<Found>& found, const Sha256& identity) {
  for (auto& f : found)
    if (!f.taken && f.file.bytes() < limit_ / 8 && f.file.take()) return f.file.set_reserved(f.file.bytes());
  auto made = make(identity);
  if (!made.file.descriptor() || made.file.descriptor() < 0 || !made.file.take()) return;
  if (made.file.write_header(identity))
    found.push_back(std::move(made));
  else
    ::unlinkat(folder_.get(), made.name.c_str(), 0);
}

std::vector<CodeFile> CodeFolder::open_files(const Sha256& identity, std::uint64_t limit) {
  limit_ = limit;
  bool writable;
  lock_ = open_checked(lock_name, O_CREAT, writable);
  const bool locked = lock_ && writable && lock();
  auto found = look();
  const auto name = identity_name(identity);
  for (auto& f : found) f.keep = !f.name.starts_with(name) || f.file.has_header(identity);
  std::uint64_t total = 0;
  if (locked) total = evict(found);
  std::erase_if(found, [&](const Found& f) { return !f.keep || !f.name.starts_with(name); });
  if (locked) {
    choose(found, identity);
    [[maybe_unused]] const auto ignored = ::pwrite(lock_.get(), &total, sizeof total, 0);
    unlock();
  } else {
    lock_ = {};  // one who cannot keep the books does not write
  }
  std::vector<CodeFile> out;
  for (auto& f : found) out.push_back(std::move(f.file));
  return out;
}

bool CodeFolder::reserve(CodeFile& file, std::uint64_t bytes) {
  if (!lock_ || !lock()) return false;
  std::uint64_t total = 0;
  bool granted =
      ::pread(lock_.get(), &total, sizeof total, 0) == sizeof total && total <= limit_ && bytes <= limit_ - total;
  if (granted) {
    total += bytes;
    granted = ::pwrite(lock_.get(), &total, sizeof total, 0) == sizeof total;
    if (granted) file.set_reserved(std::max(file.reserved(), file.bytes()) + bytes);
  }
  unlock();
  return granted;
}

/// Whoever holds it does so for a millisecond or two. One that was stopped meanwhile must not stop us.
bool CodeFolder::lock() {
  constexpr unsigned attempts = 200;
  constexpr timespec pause{.tv_sec = 0, .tv_nsec = 1'000'000};
  for (unsigned n = 0; n < attempts; n++) {
    if (set_lock(lock_.get(), F_WRLCK)) return true;
    if (errno != EAGAIN && errno != EACCES) return false;
    nanosleep(&pause, nullptr);
  }
  return false;
}

void CodeFolder::unlock() { set_lock(lock_.get(), F_UNLCK); }

}  // namespace doppel
