// Descriptors as records, and records as descriptors.
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <climits>

#include "process/wasi/context.h"
#include "process/wasi/wasi.h"

namespace doppel::wasi {
namespace {

using Kind = DescriptorRecord::Kind;

bool has_name(const Descriptor& descriptor) {
  return descriptor.kind == Kind::file || descriptor.kind == Kind::directory;
}

/// Whether what the path names beneath the folder is this file.
bool names(ConfinedPath& paths, int folder, const std::string& path, std::uint64_t inode) {
  const Resolved found = paths.open(folder, path, O_PATH);
  struct stat status{};
  return found.ok() && fstat(found.descriptor.get(), &status) == 0 && status.st_ino == inode;
}

/// Where the kernel says that an open file lies now.
std::string host_name(int host) {
  char text[PATH_MAX];
  const ssize_t size = readlink(fmt::format("/proc/self/fd/{}", host).c_str(), text, sizeof text);
  return size > 0 ? std::string(text, std::size_t(size)) : "";
}

/// The path of a file that was renamed since it was opened; empty where it has none beneath the folder.
std::string new_name(int folder, int host) {
  const std::string top = host_name(folder), now = host_name(host);
  if (top.empty() || !now.starts_with(top)) return "";
  const auto rest = top == "/" ? 1 : top.size() + 1;
  if (now.size() == top.size()) return ".";
  return now.size() > rest && now[rest - 1] == '/' ? now.substr(rest) : "";
}

FileDescriptor folder_of(const GrantedFolder& grant) {
  return FileDescriptor(open(grant.host_path.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
}

std::string name_of(const GrantedFolder& grant, const DescriptorRecord& record) {
  if (record.path.empty()) return fmt::format("a file beneath {}", grant.host_path);
  return fmt::format("the file {}/{}", grant.host_path, record.path);
}

Result<DescriptorRecord> saved(Context& context, const Descriptor& descriptor) {
  if (descriptor.kind == Kind::connection)
    return error("Descriptor {} of the program is a connection, which cannot be saved", descriptor.number);
  DescriptorRecord out = descriptor;
  if (!has_name(descriptor)) return out;
  const auto& grant = context.grants[descriptor.source];
  const auto folder = folder_of(grant);
  if (out.path.empty() || !names(context.paths, folder.get(), out.path, out.inode))
    out.path = new_name(folder.get(), descriptor.host.get());
  if (out.path.empty() || !names(context.paths, folder.get(), out.path, out.inode))
    return error("Descriptor {} of the program is {}, which has no name any more and cannot be saved",
                 descriptor.number, name_of(grant, descriptor));
  if (out.type == FileType::regular_file) out.offset = std::uint64_t(lseek(descriptor.host.get(), 0, SEEK_CUR));
  return out;
}

struct FlagPair {
  std::uint16_t guest;
  int host;
};
constexpr FlagPair kept_flags[] = {
    {fdflags::append, O_APPEND}, {fdflags::dsync, O_DSYNC}, {fdflags::rsync, O_RSYNC}, {fdflags::sync, O_SYNC}};

int host_flags(const DescriptorRecord& record) {
  int out = O_NOCTTY | O_NONBLOCK | (record.is_folder() ? O_DIRECTORY : 0);
  for (const auto& pair : kept_flags)
    if (record.flags & pair.guest) out |= pair.host;
  if (!record.writable) return out | O_RDONLY;
  return out | (record.readable ? O_RDWR : O_WRONLY);
}

Result<Descriptor> reopened(Context& context, const DescriptorRecord& record) {
  if (record.source >= context.grants.size())
    return error("Descriptor {} of the program lies in a folder that it is not given", record.number);
  const auto& grant = context.grants[record.source];
  if (record.writable && grant.read_only)
    return error("The program writes to {}, but is given the folder read-only now", name_of(grant, record));
  const auto folder = folder_of(grant);
  auto file = context.paths.open(folder.get(), record.path, host_flags(record));
  if (!file.ok())
    return error("The program has {} open, which cannot be opened again ({})", name_of(grant, record),
                 spelling(file.error));
  Descriptor out;
  static_cast<DescriptorRecord&>(out) = record;
  out.host = std::move(file.descriptor);
  out.read_only = grant.read_only;
  out.flags &= fdflags::all;
  out.base &= applicable_rights(record.type, out.host.get());
  out.inheriting &= out.is_folder() ? inherited_rights : 0;
  struct stat status{};
  if (fstat(out.host.get(), &status) != 0 || status.st_ino != record.inode || file_type_of(status) != record.type)
    return error("The program has {} open, but another file has its name now", name_of(grant, record));
  const bool regular = record.type == FileType::regular_file;
  if (regular && lseek(out.host.get(), off_t(record.offset), SEEK_SET) < 0)
    return error("The program is at byte {} of {}, where it cannot be any more", record.offset, name_of(grant, record));
  if (out.may_wait()) fcntl(out.host.get(), F_SETFL, fcntl(out.host.get(), F_GETFL) & ~O_NONBLOCK);
  return out;
}

/// One of those that a program is started with, from the table of one that has just been created.
Result<Descriptor> inherited(Context& context, const DescriptorRecord& record) {
  for (auto& [number, candidate] : context.descriptors) {
    if (candidate.kind != record.kind || candidate.source != record.source) continue;
    Descriptor out;
    static_cast<DescriptorRecord&>(out) = record;
    out.type = candidate.type;
    // A record can be forged: no more than what the program is given.
    out.flags &= fdflags::all;
    out.base &= candidate.base;
    out.inheriting &= candidate.inheriting;
    out.writable = candidate.writable;
    out.readable = candidate.readable;
    out.read_only = candidate.read_only;
    out.path = candidate.path;
    out.host = FileDescriptor(fcntl(candidate.host.get(), F_DUPFD_CLOEXEC, 3));
    if (out.host) return out;
  }
  return error("The program has descriptor {}, which it was started with, and is not given it now", record.number);
}

}  // namespace

Result<SavedState> Wasi::save() const {
  SavedState out;
  for (const auto& [number, descriptor] : context_->descriptors) {
    auto record = saved(*context_, descriptor);
    if (!record) return record.failure();
    out.descriptors.push_back(std::move(*record));
  }
  const auto now = context_->environment->clock_now(ClockId::monotonic).value_or(0);
  if (context_->poll_started) out.waited = now - std::min(now, *context_->poll_started);
  return out;
}

Result<void> Wasi::restore(const SavedState& state) {
  if (state.descriptors.size() > limits::descriptors)
    return error("The saved program has {} descriptors; {} are possible", state.descriptors.size(),
                 limits::descriptors);
  DescriptorTable table;
  for (const auto& record : state.descriptors) {
    if (record.kind == Kind::connection) return error("A saved connection cannot be opened again");
    const bool named = record.kind == Kind::file || record.kind == Kind::directory;
    auto made = named ? reopened(*context_, record) : inherited(*context_, record);
    if (!made) return made.failure();
    table.put(record.number, std::move(*made));
  }
  context_->descriptors = std::move(table);
  const auto now = context_->environment->clock_now(ClockId::monotonic).value_or(0);
  context_->poll_started.reset();
  if (state.waited) context_->poll_started = now - std::min(now, *state.waited);
  return {};
}

}  // namespace doppel::wasi
