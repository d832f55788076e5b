#include "process/wasi/guest_view.h"

#include <algorithm>
#include <climits>

namespace doppel::wasi {

std::optional<std::string> GuestView::string(std::uint32_t address, std::uint32_t size) const {
  const auto found = bytes(address, size);
  if (!found) return std::nullopt;
  return std::string(found->begin(), found->end());
}

Errno GuestView::vectors(std::uint32_t address, std::uint32_t count, std::vector<iovec>& out) const {
  constexpr std::uint64_t most_bytes = 1ULL << 31;
  out.clear();
  const auto records = bytes(address, std::uint64_t{count} * sizes::iovec);
  if (!records) return Errno::fault;
  std::uint64_t total = 0;
  for (std::uint32_t n = 0; n < count && out.size() < IOV_MAX; n++) {
    const std::uint64_t at = std::uint64_t{address} + std::uint64_t{n} * sizes::iovec;
    const std::uint32_t size = *read<std::uint32_t>(at + 4);
    const auto part = bytes(*read<std::uint32_t>(at), size);
    if (!part) return Errno::fault;
    const std::uint64_t taken = std::min<std::uint64_t>(size, most_bytes - std::min(total, most_bytes));
    total += size;
    if (total > UINT32_MAX) return Errno::inval;
    if (taken > 0) out.push_back({part->data(), taken});
  }
  return Errno::success;
}

}  // namespace doppel::wasi
