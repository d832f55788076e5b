#include "guest/wasm/instruction_skip.h"

#include <fmt/format.h>

#include "guest/wasm/read_types.h"

namespace doppel::wasm {
namespace {

constexpr std::uint8_t empty_block_type = 0x40, abstract_heap_begin = 0x40;

void skip_heap_type(ByteReader& in) {
  // Type indices are not looked up: what is negative has to be an abstract heap type.
  if (in.peek() >= abstract_heap_begin && in.peek() < 0x80) {
    read_heap_type(in, {});
  } else if (const std::uint32_t at = in.offset(); in.s33() < 0) {
    in.fail_at(at, "malformed heap type");
  }
}

void skip_value_type(ByteReader& in) {
  constexpr std::uint8_t reference_code = 0x64, nullable_reference_code = 0x63;
  if (in.peek() != reference_code && in.peek() != nullable_reference_code) {
    read_value_type(in, {});
    return;
  }
  in.byte();
  skip_heap_type(in);
}

void skip_block_type(ByteReader& in) {
  if (in.peek() == empty_block_type) {
    in.byte();
  } else if (begins_value_type(in.peek())) {
    skip_value_type(in);
  } else if (const std::uint32_t at = in.offset(); in.s33() < 0) {
    in.fail_at(at, "malformed block type");
  }
}

// The alignment's bit 6 says that a memory is named (5.4.7).
void skip_memory_argument(ByteReader& in) {
  constexpr std::uint32_t names_memory = 0x40;
  const std::uint32_t at = in.offset(), flags = in.u32();
  if (flags >= 2 * names_memory) in.fail_at(at, "malformed memop flags");
  if (flags & names_memory) in.u32();
  in.u64();
}

// Clauses with the codes 0 and 1 name a tag.
void skip_catch_clause(ByteReader& in) {
  const std::uint8_t code = in.byte();
  if (code > 3) in.fail_at(in.offset() - 1, "malformed catch clause");
  if (code < 2) in.u32();
  in.u32();
}

template <typename Skip>
void skip_list(ByteReader& in, std::uint32_t count, Skip skip) {
  for (std::uint32_t n = 0; n < count && !in.failed(); n++) skip(in);
}

// By the letters of opcodes.inc.
void skip_immediate(ByteReader& in, char letter) {
  switch (letter) {
    case 'b':
      return skip_block_type(in);
    case 't':
      skip_list(in, in.u32(), [](ByteReader& r) { r.u32(); });
      in.u32();
      return;
    case 'w':
      return skip_list(in, in.u32(), skip_value_type);
    case 'c':
      return skip_list(in, in.u32(), skip_catch_clause);
    case 'm':
      return skip_memory_argument(in);
    case 'i':
      in.s32();
      return;
    case 'I':
      in.s64();
      return;
    case 's':
      in.fixed32();
      return;
    case 'd':
      in.fixed64();
      return;
    case 'v':
    case 'S':
      in.skip(16);
      return;
    case 'n':
    case 'B':
      in.byte();
      return;
    case 'h':
      return skip_heap_type(in);
    default:  // an index or a count
      in.u32();
  }
}

}  // namespace

Opcode read_opcode(ByteReader& in) {
  const std::uint32_t at = in.offset();
  const std::uint8_t first = in.byte();
  const std::uint32_t code = is_prefix(first) ? in.u32() : first;
  const Opcode opcode = decode(is_prefix(first) ? first : std::uint8_t{0}, code);
  if (opcode == Opcode::count && !in.failed())
    in.fail_at(at, is_prefix(first) ? fmt::format("illegal opcode {:02x} {:02x}", first, code)
                                    : fmt::format("illegal opcode {:02x}", first));
  return in.failed() ? Opcode::count : opcode;
}

void BlockNesting::enter(ByteReader& in, Opcode opcode) {
  switch (opcode) {
    case Opcode::block:
    case Opcode::loop:
    case Opcode::try_table:
      return may_have_else_.push_back(false);
    case Opcode::if_:
      return may_have_else_.push_back(true);
    case Opcode::else_:
      if (may_have_else_.empty() || !may_have_else_.back()) return in.fail_at(in.offset() - 1, "END opcode expected");
      may_have_else_.back() = false;
      return;
    case Opcode::end:
      ended_ = may_have_else_.empty();
      if (!ended_) may_have_else_.pop_back();
      return;
    default:
      return;
  }
}

void skip_immediates(ByteReader& in, Opcode opcode) {
  for (const char letter : row(opcode).immediates) skip_immediate(in, letter);
}

}  // namespace doppel::wasm
