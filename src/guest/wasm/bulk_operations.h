#pragma once
// What copies, fills and initialises stretches of tables and memories (core specification, 4.6.9 and 4.6.10): the
// instructions of all tiers and active segments come here. Each checks all bounds before it writes anything.
#include <cstdint>
#include <optional>

#include "guest/wasm/store.h"

namespace doppel::wasm::bulk {

/// Nothing where all went well.
using Outcome = std::optional<Trap>;

// Numbers of tables and memories count in the store, those of segments in the instance's module.
Outcome table_init(Store& store, const Instance& instance, std::uint32_t table, std::uint32_t segment, std::uint64_t to,
                   std::uint64_t from, std::uint64_t size);
Outcome table_copy(Store& store, std::uint32_t to_table, std::uint32_t from_table, std::uint64_t to, std::uint64_t from,
                   std::uint64_t size);
Outcome table_fill(Store& store, std::uint32_t table, std::uint64_t to, Reference value, std::uint64_t size);
Outcome memory_init(Store& store, const Instance& instance, std::uint32_t memory, std::uint32_t segment,
                    std::uint64_t to, std::uint64_t from, std::uint64_t size);
Outcome memory_copy(Store& store, std::uint32_t to_memory, std::uint32_t from_memory, std::uint64_t to,
                    std::uint64_t from, std::uint64_t size);
Outcome memory_fill(Store& store, std::uint32_t memory, std::uint64_t to, std::uint8_t value, std::uint64_t size);

}  // namespace doppel::wasm::bulk
