// The program itself: arguments, environment, clocks, entropy, its end.
#include <array>

#include "process/wasi/context.h"

namespace doppel::wasi {
namespace {

/// What a signal that a program sends to itself does (signal in typenames.witx).
enum class SignalAction : std::uint8_t { ignored, ends, stops };

struct SignalRow {
  SignalAction action;
  int host;  ///< Linux's number: a program that is ended by it has the status 128 and that
};
constexpr auto ignored = SignalAction::ignored, ends = SignalAction::ends, stops = SignalAction::stops;
constexpr std::array<SignalRow, 31> signals = {{
    {ignored, 0},  {ends, 1},     {ends, 2},   {ends, 3},     {ends, 4},   {ends, 5},     {ends, 6},     {ends, 7},
    {ends, 8},     {ends, 9},     {ends, 10},  {ends, 11},    {ends, 12},  {ignored, 13}, {ends, 14},    {ends, 15},
    {ignored, 17}, {ignored, 18}, {stops, 19}, {stops, 20},   {stops, 21}, {stops, 22},   {ignored, 23}, {ends, 24},
    {ends, 25},    {ends, 26},    {ends, 27},  {ignored, 28}, {ends, 29},  {ends, 30},    {ends, 31},
}};

std::uint64_t total_bytes(const std::vector<std::string>& strings) {
  std::uint64_t total = 0;
  for (const auto& string : strings) total += string.size() + 1;
  return total;
}

}  // namespace

Errno Context::read_strings(Memory memory, const std::vector<std::string>& strings, u32 pointers, u32 buffer) const {
  if (!memory.holds(pointers, std::uint64_t{4} * strings.size())) return Errno::fault;
  const auto bytes = memory.bytes(buffer, total_bytes(strings));
  if (!bytes) return Errno::fault;
  std::size_t at = 0;
  for (std::size_t n = 0; n < strings.size(); n++) {
    memory.write<u32>(std::uint64_t{pointers} + 4 * n, u32(buffer + at));
    const auto& string = strings[n];
    std::copy_n(string.c_str(), string.size() + 1, bytes->begin() + std::ptrdiff_t(at));
    at += string.size() + 1;
  }
  return Errno::success;
}

Errno Context::string_sizes(Memory memory, const std::vector<std::string>& strings, u32 count, u32 size) const {
  const auto total = total_bytes(strings);
  if (total > UINT32_MAX) return Errno::overflow;
  if (!memory.holds(count, 4) || !memory.holds(size, 4)) return Errno::fault;
  memory.write<u32>(count, u32(strings.size()));
  return memory.write<u32>(size, u32(total));
}

Errno Context::args_get(Memory memory, u32 argv, u32 buffer) { return read_strings(memory, arguments, argv, buffer); }

Errno Context::args_sizes_get(Memory memory, u32 count, u32 size) {
  return string_sizes(memory, arguments, count, size);
}

Errno Context::environ_get(Memory memory, u32 environ, u32 buffer) {
  return read_strings(memory, variables, environ, buffer);
}

Errno Context::environ_sizes_get(Memory memory, u32 count, u32 size) {
  return string_sizes(memory, variables, count, size);
}

Errno Context::clock_res_get(Memory memory, u32 id, u32 resolution) {
  const auto found = environment->clock_resolution(ClockId(id));
  return found ? memory.write<u64>(resolution, *found) : Errno::inval;
}

Errno Context::clock_time_get(Memory memory, u32 id, u64, u32 time) {
  const auto now = environment->clock_now(ClockId(id));
  return now ? memory.write<u64>(time, *now) : Errno::inval;
}

Answer Context::proc_exit(Memory, u32 status) { return wasm::HostOutcome::ended(int(status)); }

Answer Context::proc_raise(Memory, u32 signal) {
  if (signal >= signals.size()) return Errno::inval;
  const auto& row = signals[signal];
  if (row.action == SignalAction::ends) return wasm::HostOutcome::ended(128 + row.host);
  return row.action == SignalAction::ignored ? Errno::success : Errno::notsup;
}

Errno Context::random_get(Memory memory, u32 buffer, u32 size) {
  constexpr std::size_t chunk = 1 << 20;
  auto bytes = memory.bytes(buffer, size);
  if (!bytes) return Errno::fault;
  while (!bytes->empty()) {
    const auto part = bytes->first(std::min(bytes->size(), chunk));
    environment->random(part);
    bytes = bytes->subspan(part.size());
  }
  return Errno::success;
}

Errno Context::sched_yield(Memory) {
  environment->yield();
  return Errno::success;
}

}  // namespace doppel::wasi
