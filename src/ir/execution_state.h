#pragma once
// What running translated code keeps beside its guest's registers: a record that generated code reads and writes at
// fixed offsets from the state register. Nothing in it is part of a machine's state.
#include <array>
#include <cstddef>
#include <cstdint>

namespace doppel::ir {

/// One translation of the software TLB: a hit needs the tag for that kind of access to be the address's page, and then
/// host address = address + addend. What is compared with a tag has the page's address and, so that only aligned
/// accesses hit, some of the lowest bits: a tag for no page must have a bit that is in neither.
struct TlbEntry {
  static constexpr std::uint64_t none = 0x800;
  std::uint64_t load = none, store = none, fetch = none;
  std::uintptr_t addend = 0;
};
static_assert(sizeof(TlbEntry) == 32);
inline constexpr unsigned tlb_entry_shift = 5;
inline constexpr unsigned tlb_entries = 4096;

/// Where the code for a guest address is.
struct CodeJump {
  std::uint64_t address = 1;  // instructions are aligned to 2
  const void* code = nullptr;
};
inline constexpr unsigned code_jumps = 16384;
/// The place in a table of `code_jumps` for an address. What lies at the same offset in neighbouring pages, as the
/// begins of functions do, goes to different places; what lies in one page never meets.
constexpr unsigned code_jump_index(std::uint64_t address) { return (address >> 1 ^ address >> 9) % code_jumps; }

/// Where a path over several pages was found to have them mapped as it was made for.
struct PathCheck {
  std::uint64_t view = 0;  // the number in front of the table that ExecutionState::jumps is
  std::uint64_t page = 1;  // of its first instruction
};
inline constexpr unsigned path_checks = 8192;

/// A guest's time as a function of the host's counter, or nothing that is known.
struct TimeFormula {
  static constexpr unsigned fraction_bits = 6;
  static constexpr std::uint64_t on = 2;  // the bit of the time CSR where a guest says who may read it
  std::uint64_t enabled = 0;              // `on`, or 0
  std::uint64_t origin = 0;               // of the counter
  std::uint64_t rate = 0;                 // base units a count, times 2^64
  std::uint64_t base = 0;                 // at the origin: ticks with fraction_bits
  std::uint64_t offset = 0;               // ticks that are added
  std::uint64_t units(std::uint64_t counter) const {
    return base + std::uint64_t(static_cast<unsigned __int128>(counter - origin) * rate >> 64);
  }
  std::uint64_t ticks(std::uint64_t counter) const { return (units(counter) >> fraction_bits) + offset; }
};

/// Why translated code came back to its caller.
enum class Exit : std::uint32_t {
  dispatch,   // go on at the guest's pc
  link,       // go on at the guest's pc, and the jump that `link` tells may go there directly
  forgotten,  // the code at whose entry `link` is must not execute any more: find what is to execute there now
  refused,    // likewise where it begins, the block that `link` is in was not begun, but taken from the budget
};

/// What translated code calls and jumps to in code memory.
struct Routines {
  const void* to_dispatch = nullptr;
  const void* to_find = nullptr;
  const void* refuse = nullptr;
  const void* interpret = nullptr;
  const void* interpret_last = nullptr;
  const void* check_path = nullptr;
  const void* refill = nullptr;
};

struct ExecutionState {
  TlbEntry *tlb_plain = nullptr, *tlb_with_user = nullptr;  // of the supervisor, without and with the user's pages
  TlbEntry* tlb_of_user = nullptr;
  PathCheck* checks = nullptr;  // of the hart, for each path over several pages
  // What `jumps` is in the supervisor's mode and the user's, while floating point may not be inline, and while it may.
  std::array<CodeJump*, 2> jumps_of_supervisor{}, jumps_of_user{};
  std::int64_t budget = 0;       // instructions that may execute; in a host register while code runs
  std::uint32_t site = 0;        // a Site, packed: of a slow access, or of what the interpreter executes
  std::uint64_t pending = 0;     // not 0: an interrupt waits for being enabled
  std::uint64_t reserved = 0;    // not 0: the hart has a reservation
  std::uint64_t exceptions = 0;  // that code took itself and nobody has counted yet
  std::uint32_t bits = 0;        // encoding of an instruction that the interpreter executes; 0 when it must look
  TimeFormula time;
  const void* link = nullptr;  // behind the call that came back
  Exit exit = Exit::dispatch;
  std::uint32_t reserved_inline = 0;  // not 0: code did an LR or SC itself, what the hart had reserved is void
  Routines routines;
  // Functions of the engine; they get `owner` and give 0 when the code must be left. `find_function` gives the code for
  // the guest's pc, and touches neither MXCSR nor the budget.
  std::uint64_t (*find_function)(void*) = [](void*) { return std::uint64_t{0}; };
  std::uint64_t (*access_function)(void*) = nullptr;
  std::uint64_t (*interpret_function)(void*) = nullptr;
  std::uint64_t (*refill_function)(void*) = nullptr;  // 0 says that the TLB cannot have the page of `address`
  std::uint64_t (*check_function)(void*) = nullptr;   // 0 says that the path whose check `site` is cannot be used
  void* owner = nullptr;
  // Constants of floating-point code.
  std::uint64_t sign64 = 1ULL << 63, sign32 = 1ULL << 31, canonical64 = 0x7ff8'0000'0000'0000,
                canonical32 = 0x7fc0'0000;
  std::array<std::uint8_t, 64> float_flags{};  // the guest's exception flags for the low six bits of MXCSR
  std::array<std::uint64_t, 4> scratch{};
  std::array<double, 16> vectors{};
  // What code has most to do with, next to the guest's registers, which lie behind: there an offset has one byte.
  const void* to_link = nullptr;         // Routines that are called
  const void* slow_access = nullptr;     // likewise, with the Site on the stack
  std::uint64_t address = 0, value = 0;  // of a slow access
  CodeJump* jumps = nullptr;
  std::uint64_t page = 0;  // the virtual address of the page that the running code is in
  std::int64_t limit = 0;  // code is left when fewer instructions than this are in the budget; other threads raise it
  TlbEntry* tlb = nullptr;
};
/// How many bytes at the end of ExecutionState, and begin of the guest's state, an offset of one byte should reach.
inline constexpr std::int32_t near_bytes = 8 * 8;
static_assert(sizeof(ExecutionState) - offsetof(ExecutionState, to_link) == near_bytes);

/// Where in a block a slow path was entered, and how.
struct Site {
  static constexpr std::uint8_t paired = 1;  // as size: an SC, and between its LR and it the block has nothing else
  std::uint16_t offset;                      // of the instruction in its page
  std::uint8_t left;                         // instructions of the block behind it
  std::uint8_t size;                         // of an access in bytes
  bool sign;                                 // a load is extended by its sign
  bool half = false;                         // the instruction has two bytes, not four
  bool store = false;                        // of an access
  constexpr std::uint32_t pack() const {
    return offset | std::uint32_t(store) << 12 | std::uint32_t(half) << 15 | std::uint32_t(left) << 16 |
           std::uint32_t(size) << 24 | std::uint32_t(sign) << 31;
  }
  static constexpr Site unpack(std::uint32_t bits) {
    return {std::uint16_t(bits & 0xfff), std::uint8_t(bits >> 16), std::uint8_t(bits >> 24 & 0x7f), bool(bits >> 31),
            bool(bits >> 15 & 1),        bool(bits >> 12 & 1)};
  }
};

}  // namespace doppel::ir
