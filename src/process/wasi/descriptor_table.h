#pragma once
#include <cstdint>
#include <map>
#include <optional>

#include "process/wasi/descriptor.h"

namespace doppel::wasi {

/// A program's open descriptors by number. At most limits::descriptors.
class DescriptorTable {
 public:
  /// Null where there is none of that number. Valid until the table changes.
  Descriptor* find(std::uint32_t number);
  /// Gives it the lowest free number; nothing where the table is full.
  std::optional<std::uint32_t> add(Descriptor descriptor);
  /// Puts it at `number`, over what was there.
  void put(std::uint32_t number, Descriptor descriptor);
  bool full() const { return entries_.size() >= limits::descriptors; }
  bool close(std::uint32_t number) { return entries_.erase(number) != 0; }
  /// Moves `from` over `to`; both must be open (fd_renumber).
  Errno renumber(std::uint32_t from, std::uint32_t to);

  auto begin() { return entries_.begin(); }
  auto end() { return entries_.end(); }

 private:
  std::map<std::uint32_t, Descriptor> entries_;
};

}  // namespace doppel::wasi
