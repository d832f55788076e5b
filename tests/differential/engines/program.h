#pragma once
// A program that every engine must execute alike, as a value: generate.h makes it from a seed, link.h places it in
// memory, shrink.h makes it smaller while it still shows a difference.
#include <array>
#include <cstdint>
#include <vector>

#include "../random.h"
#include "../stream.h"
#include "places.h"

namespace doppel::differential::engines {

/// Names an instruction of an item of a piece. An item that is not there any more stands for the next one that is.
struct Target {
  unsigned piece = 0, item = 0, instruction = 0;
};

/// An immediate that linking fills in.
struct Fix {
  enum class Form : std::uint8_t { whole, high, low };  // high and low are LUI's or AUIPC's and ADDI's part
  static constexpr int nothing = -1;
  unsigned at = 0;  // which instruction of the item
  Form form = Form::whole;
  Target target;
  int anchor =
      nothing;  // which instruction's address is subtracted; if nothing, the target counts from the code's begin
  I64 addend = 0;
};

/// Instructions that make sense only together: what shrinking removes as a whole.
struct Item {
  unsigned id = 0;  // ascending in its piece
  std::vector<Coded> code;
  std::vector<Fix> fixes;
  std::vector<Target> needs;  // must be there, or else this item is left out
  bool patchable = false;     // one instruction with a 12-bit immediate that nothing relies on
  bool whole = false;         // without a part of it, such as its fence, the manual would leave open what happens
};

/// How a piece of code executes: where its instructions and its data are.
enum class World : std::uint8_t { user, supervisor, identity, machine, bare_user, bare_supervisor };
inline constexpr bool paged(World world) { return world <= World::identity; }
inline constexpr bool at_physical_addresses(World world) { return world >= World::identity; }

struct Setting {
  World world = World::machine;
  bool alias = false;  // execute through the second window
  unsigned hart = 0;
  U64 status = 0;  // mstatus to begin with
  U64 satp = 0;
};

/// A run of items in one place: a segment, which firmware starts and which ends in a trap, or a function that returns.
struct Piece {
  unsigned id = 0;
  unsigned level = 0;  // 0 is a segment, 1 and 2 are functions; each calls higher ones only
  Setting setting;
  U64 offset = 0;  // in the code
  std::vector<Item> items;
};

/// What kind of machine executes a program.
enum class Way : std::uint8_t {
  plain,  // one hart; time stands still between stops
  exact,  // one hart, time is a count of instructions
  pair,   // two harts that take turns, time is a count of instructions
  calls,  // as plain; the host serves the supervisor's calls
  hot,    // as plain; loops run for long, so that paths are found that go round
};
inline constexpr unsigned ways = 5;
inline constexpr bool time_is_instructions(Way way) { return way == Way::exact || way == Way::pair; }
inline constexpr unsigned harts_of(Way way) { return way == Way::pair ? 2 : 1; }

/// After so many instructions of a hart all engines must agree; then something happens.
struct Stop {
  enum class Event : std::uint8_t { none, raise, lower, time, device_write };
  std::uint32_t steps = 0;
  unsigned hart = 0;
  Event event = Event::none;
  U64 where = 0;  // raise, lower: which interrupt; device_write: the physical address
  U64 value = 0;  // time: by how many ticks; device_write: the bytes
};

/// An entry of a page table.
struct Mapping {
  unsigned space;
  U64 table, index;  // place::windows_table and its like
  U64 entry;
};

struct Program {
  U64 seed = 0;
  Way way = Way::plain;
  unsigned levels = 3;  // of page tables
  unsigned asids = 1;   // numbers that each address space goes by
  U64 windows = place::low;
  bool restricts = false;                      // mstatus.TVM, TW or TSR may be set
  std::array<U64, place::code_pages> frame{};  // where the code's pages are, from place::code
  U64 medeleg = 0, mideleg = 0, menvcfg = 0, senvcfg = 0, mcounteren = 0, scounteren = 0;
  std::uint8_t fcsr = 0;
  struct Registers {
    std::array<U64, 32> x{}, f{};
  };
  std::array<Registers, place::harts> registers;
  std::vector<Mapping> mappings;
  std::vector<Piece> pieces;  // in the order of their ids; segments execute in this order
  std::vector<Stop> stops;

  const Piece* piece(unsigned id) const;
  U64 satp_of(unsigned space, unsigned alias) const;
  /// An address space that only this hart executes in and changes: a change is fenced where it is made, so for another
  /// hart the manual would leave open when it is seen.
  unsigned any_space(Random& random, unsigned hart) const;
  /// What addresses of code of this world count from.
  U64 code_base(const Setting& setting) const;
  /// The physical address of a place in the code, or in its twin.
  U64 physical(U64 offset, bool twin = false) const;
};

/// The number of instructions of a program's pieces.
std::size_t count_instructions(const Program& program);

}  // namespace doppel::differential::engines
