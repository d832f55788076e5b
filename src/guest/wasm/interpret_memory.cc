// Memory instructions (core specification, 4.6.10), those of vectors too.
#include <functional>

#include "guest/wasm/bulk_operations.h"
#include "guest/wasm/interpreter.h"
#include "guest/wasm/operations.h"

namespace doppel::wasm {
namespace {

/// Memory and offset of an instruction (5.4.7); its alignment is but a promise.
struct Access {
  const LinearMemory* memory;
  std::uint64_t offset;
};
Access access(Interpreter& in) {
  constexpr std::uint32_t has_memory = 0x40;
  const bool names_memory = (in.u32() & has_memory) != 0;
  const LinearMemory& memory = in.memory(names_memory ? in.u32() : 0);
  return {&memory, in.u64()};
}

/// Where `size` bytes lie in the host's address space, null where they are not all in the memory.
std::uint8_t* place(const Access& access, std::uint64_t address, std::uint64_t size) {
  std::uint64_t effective = 0;
  if (__builtin_add_overflow(address, access.offset, &effective) || !access.memory->holds(effective, size))
    return nullptr;
  return access.memory->data() + effective;
}

template <typename T>
bool load(Interpreter& in, auto make) {
  const Access from = access(in);
  const std::uint8_t* const bytes = place(from, in.pop(), sizeof(T));
  if (!bytes) return in.trap(Trap::memory_bounds);
  T value;
  std::memcpy(&value, bytes, sizeof value);
  in.push_as(make(value));
  return true;
}
template <typename T, typename Operand>
bool store(Interpreter& in, auto make) {
  const Access to = access(in);
  const T value = make(in.pop_as<Operand>());
  std::uint8_t* const bytes = place(to, in.pop(), sizeof(T));
  if (!bytes) return in.trap(Trap::memory_bounds);
  std::memcpy(bytes, &value, sizeof value);
  return true;
}
/// The lane's number is behind the memory argument, and the vector on top of the address.
template <typename T>
bool load_lane(Interpreter& in, auto make) {
  const auto vector = in.pop_as<V128>();
  return load<T>(in, [&](T value) { return make(in.fixed<U8>(), vector, value); });
}
template <typename T>
bool store_lane(Interpreter& in, auto make) {
  return store<T, V128>(in, [&](V128 vector) { return make(in.fixed<U8>(), vector); });
}

/// What a row of opcodes.inc takes from the stack behind the address.
template <Opcode opcode>
using Stored = std::conditional_t<
    row(opcode).signature == "ai:", U32,
    std::conditional_t<row(opcode).signature == "al:", U64,
                       std::conditional_t<row(opcode).signature == "af:", float,
                                          std::conditional_t<row(opcode).signature == "ad:", double, V128>>>>;

/// As a function object, what operations.h calls by name.
template <auto function>
constexpr auto calling = [](auto... values) { return function(values...); };

bool done(Interpreter& in, bulk::Outcome outcome) { return !outcome || in.trap(*outcome); }

}  // namespace

using namespace numeric;
using namespace vector;
#define LOAD(name, type, ...)                      \
  template <>                                      \
  bool execute<Opcode::name>(Interpreter & in) {   \
    return load<type>(in, __VA_ARGS__);            \
  }
#define STORE(name, type, ...)                            \
  template <>                                             \
  bool execute<Opcode::name>(Interpreter & in) {          \
    return store<type, Stored<Opcode::name>>(in, __VA_ARGS__); \
  }
#define LOAD_LANE(name, type, ...)                 \
  template <>                                      \
  bool execute<Opcode::name>(Interpreter & in) {   \
    return load_lane<type>(in, __VA_ARGS__);       \
  }
#define STORE_LANE(name, type, ...)                \
  template <>                                      \
  bool execute<Opcode::name>(Interpreter & in) {   \
    return store_lane<type>(in, __VA_ARGS__);      \
  }
#include "guest/wasm/memory_operations.inc"

template <>
bool execute<Opcode::memory_size>(Interpreter& in) {
  const LinearMemory& memory = in.memory(in.u32());
  in.push_size(memory.pages(), memory.type().limits.is64);
  return true;
}
template <>
bool execute<Opcode::memory_grow>(Interpreter& in) {
  const std::uint32_t memory = in.instance->memories[in.u32()];
  in.push_size(in.store.grow_memory(memory, in.pop()), in.store.memories[memory].type().limits.is64);
  return true;
}
template <>
bool execute<Opcode::memory_fill>(Interpreter& in) {
  const std::uint32_t memory = in.instance->memories[in.u32()];
  const std::uint64_t size = in.pop(), value = in.pop(), to = in.pop();
  return done(in, bulk::memory_fill(in.store, memory, to, std::uint8_t(value), size));
}
template <>
bool execute<Opcode::memory_copy>(Interpreter& in) {
  const std::uint32_t to_memory = in.instance->memories[in.u32()], from_memory = in.instance->memories[in.u32()];
  const std::uint64_t size = in.pop(), from = in.pop(), to = in.pop();
  return done(in, bulk::memory_copy(in.store, to_memory, from_memory, to, from, size));
}
template <>
bool execute<Opcode::memory_init>(Interpreter& in) {
  const std::uint32_t segment = in.u32(), memory = in.instance->memories[in.u32()];
  const std::uint64_t size = in.pop(), from = in.pop(), to = in.pop();
  return done(in, bulk::memory_init(in.store, *in.instance, memory, segment, to, from, size));
}
template <>
bool execute<Opcode::data_drop>(Interpreter& in) {
  in.instance->dropped_data[in.u32()] = true;
  return true;
}

}  // namespace doppel::wasm
