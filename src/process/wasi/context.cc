#include "process/wasi/context.h"

namespace doppel::wasi {

Context::Found Context::find(u32 fd, Rights needed) {
  Descriptor* found = descriptors.find(fd);
  if (!found) return {.error = Errno::badf};
  const Errno refused = check_rights(*found, needed);
  if (refused != Errno::success) return {.error = refused};
  return {.descriptor = found};
}

Context::Found Context::find_to_change(u32 fd, Rights needed) {
  const Found found = find(fd, needed);
  if (found && found->read_only) return {.error = Errno::rofs};
  return found;
}

Context::Named Context::named(Memory memory, const Found& folder, u32 path, u32 size) {
  if (!folder) return {.place = {}, .error = folder.error};
  if (size >= limits::path_bytes) return {.place = {}, .error = Errno::nametoolong};
  const auto text = memory.string(path, size);
  if (!text) return {.place = {}, .error = Errno::fault};
  auto place = paths.place(folder.host(), *text);
  const Errno error = place.error;
  return {.place = std::move(place), .error = error};
}

Resolved Context::resolve(Memory memory, const Found& folder, u32 flags, u32 path, u32 size) {
  if (!folder) return {.descriptor = {}, .error = folder.error};
  if (flags & ~lookupflags::symlink_follow) return {.descriptor = {}, .error = Errno::inval};
  if (size >= limits::path_bytes) return {.descriptor = {}, .error = Errno::nametoolong};
  const auto text = memory.string(path, size);
  if (!text) return {.descriptor = {}, .error = Errno::fault};
  return paths.open(folder.host(), *text, O_PATH | (flags & lookupflags::symlink_follow ? 0 : O_NOFOLLOW));
}

std::optional<Answer> Context::await(const Descriptor& descriptor, short events) {
  if (!descriptor.may_wait()) return std::nullopt;
  pollfd probe{.fd = descriptor.host.get(), .events = events, .revents = 0};
  if (environment->wait({&probe, 1}, 0) > 0) return std::nullopt;
  if (descriptor.flags & fdflags::nonblock) return Answer(Errno::again);
  if (yielding) {
    pending = {.descriptors = {probe}, .deadline = std::nullopt};
    return Answer(wasm::HostOutcome::waits());
  }
  while (environment->wait({&probe, 1}, std::nullopt) == 0) {
  }
  return std::nullopt;
}

}  // namespace doppel::wasi
