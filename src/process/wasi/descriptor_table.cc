#include "process/wasi/descriptor_table.h"

namespace doppel::wasi {

Descriptor* DescriptorTable::find(std::uint32_t number) {
  const auto found = entries_.find(number);
  return found == entries_.end() ? nullptr : &found->second;
}

std::optional<std::uint32_t> DescriptorTable::add(Descriptor descriptor) {
  if (full()) return std::nullopt;
  std::uint32_t number = 0;
  for (auto entry = entries_.begin(); entry != entries_.end() && entry->first == number; ++entry) number++;
  put(number, std::move(descriptor));
  return number;
}

void DescriptorTable::put(std::uint32_t number, Descriptor descriptor) {
  descriptor.number = number;
  entries_.erase(number);
  entries_.emplace(number, std::move(descriptor));
}

Errno DescriptorTable::renumber(std::uint32_t from, std::uint32_t to) {
  const auto source = entries_.find(from);
  if (source == entries_.end() || !entries_.contains(to)) return Errno::badf;
  if (from == to) return Errno::success;
  Descriptor moved = std::move(source->second);
  entries_.erase(source);
  put(to, std::move(moved));
  return Errno::success;
}

}  // namespace doppel::wasi
