#include "guest/wasm/bulk_operations.h"

#include <algorithm>
#include <cstring>

#include "guest/wasm/instance_constants.h"

namespace doppel::wasm::bulk {
namespace {

bool holds(std::uint64_t whole, std::uint64_t begin, std::uint64_t size) {
  return size <= whole && begin <= whole - size;
}

}  // namespace

Outcome table_init(Store& store, const Instance& instance, std::uint32_t table, std::uint32_t segment, std::uint64_t to,
                   std::uint64_t from, std::uint64_t size) {
  const ElementSegment& source = instance.module->elements[segment];
  const std::uint64_t available = instance.dropped_elements[segment] ? 0 : source.size();
  auto& elements = store.tables[table].elements;
  if (!holds(available, from, size) || !holds(elements.size(), to, size)) return Trap::table_bounds;
  for (std::uint64_t n = 0; n < size; n++) elements[to + n] = element_of(store, instance, source, std::uint32_t(from + n));
  return {};
}

Outcome table_copy(Store& store, std::uint32_t to_table, std::uint32_t from_table, std::uint64_t to, std::uint64_t from,
                   std::uint64_t size) {
  auto& target = store.tables[to_table].elements;
  const auto& source = store.tables[from_table].elements;
  if (!holds(source.size(), from, size) || !holds(target.size(), to, size)) return Trap::table_bounds;
  if (size != 0) std::memmove(target.data() + to, source.data() + from, size * sizeof(Reference));
  return {};
}

Outcome table_fill(Store& store, std::uint32_t table, std::uint64_t to, Reference value, std::uint64_t size) {
  auto& elements = store.tables[table].elements;
  if (!holds(elements.size(), to, size)) return Trap::table_bounds;
  std::fill_n(elements.begin() + std::ptrdiff_t(to), size, value);
  return {};
}

Outcome memory_init(Store& store, const Instance& instance, std::uint32_t memory, std::uint32_t segment,
                    std::uint64_t to, std::uint64_t from, std::uint64_t size) {
  const ByteRange source = instance.module->data[segment].bytes;
  const std::uint64_t available = instance.dropped_data[segment] ? 0 : source.size();
  const LinearMemory& target = store.memories[memory];
  if (!holds(available, from, size) || !target.holds(to, size)) return Trap::memory_bounds;
  if (size != 0) std::memcpy(target.data() + to, instance.module->bytes->data() + source.begin + from, size);
  return {};
}

Outcome memory_copy(Store& store, std::uint32_t to_memory, std::uint32_t from_memory, std::uint64_t to,
                    std::uint64_t from, std::uint64_t size) {
  const LinearMemory &target = store.memories[to_memory], &source = store.memories[from_memory];
  if (!source.holds(from, size) || !target.holds(to, size)) return Trap::memory_bounds;
  if (size != 0) std::memmove(target.data() + to, source.data() + from, size);
  return {};
}

Outcome memory_fill(Store& store, std::uint32_t memory, std::uint64_t to, std::uint8_t value, std::uint64_t size) {
  const LinearMemory& target = store.memories[memory];
  if (!target.holds(to, size)) return Trap::memory_bounds;
  if (size != 0) std::memset(target.data() + to, value, size);
  return {};
}

}  // namespace doppel::wasm::bulk
