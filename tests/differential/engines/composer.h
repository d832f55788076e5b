#pragma once
// Makes the items of one piece. compose_<chapter>.cc have the items; composer.cc what they are made with.
#include <string_view>
#include <vector>

#include "../random.h"
#include "program.h"

namespace doppel::differential::engines {

class Composer {
 public:
  Composer(Random& random, const Program& program, Piece& piece, std::vector<Target>& patchable);
  /// Adds items until the piece has about so many instructions, then what ends it.
  void fill(unsigned instructions);

 private:
  struct Choice {
    unsigned weight;
    void (Composer::*make)();
    bool (Composer::*possible)() const;
  };
  static const std::vector<Choice>& choices();
  void make_item();
  void begin_item();
  void end_item();

  // ---- Registers. Some are left to loops and links, which nothing else writes. ----
  static constexpr unsigned link_of_level[] = {0, 1, 5};
  static constexpr unsigned written_link = 31;  // of code that a program wrote
  static bool reserved(unsigned r) { return r == 1 || r == 5 || r >= 26; }
  unsigned any_register() { return random_.pick(sources_); }
  unsigned short_register() { return 8 + unsigned(random_.below(8)); }
  /// One that may be written, not x0 and none of these.
  unsigned temporary(unsigned but = 0, unsigned and_not = 0);
  unsigned result() { return random_.one_in(24) ? 0 : temporary(); }
  unsigned rounding();
  I64 immediate(const Row& row);
  Fields any_fields(const Row& row);

  // ---- Instructions of the item. ----
  unsigned next() const { return unsigned(item_.code.size()); }
  void add(const Row& row, const Fields& fields, std::uint32_t bits);
  void add(std::string_view name, const Fields& fields);
  void add_bits(std::uint32_t bits, std::string_view row_of_length);
  /// With random fields, after `adjust` had its say.
  template <typename F>
  Fields add_random(const Row& row, F&& adjust) {
    for (;;) {
      Fields fields = any_fields(row);
      adjust(fields);
      if (const auto bits = encode(row, fields)) return add(row, fields, *bits), fields;
    }
  }
  Fields add_random(const Row& row) {
    return add_random(row, [](Fields&) {});
  }
  void set(unsigned r, U64 value);  // sign-extended from 32 bits
  void set_satp(unsigned r, U64 value);
  void set_place(unsigned r, Target to, U64 base);          // base + where in the code
  void set_address(unsigned r, Target to, I64 addend = 0);  // by AUIPC
  void csr(std::string_view name, unsigned rd, unsigned number, unsigned rs);
  Target ahead(unsigned most) { return {piece_.id, id_ + 1 + unsigned(random_.below(most)), 0}; }
  Target here(unsigned instruction) const { return {piece_.id, id_, instruction}; }

  // ---- What the piece is. ----
  World world() const { return piece_.setting.world; }
  bool is_paged() const { return paged(world()); }
  bool user_mode() const { return world() == World::user || world() == World::bare_user; }
  bool machine_mode() const { return world() == World::machine; }
  bool supervisor_mode() const { return !user_mode() && !machine_mode(); }
  bool privileged() const { return !user_mode(); }
  bool paged_privileged() const { return privileged() && !program_.mappings.empty(); }
  bool paged_supervisor() const { return world() == World::supervisor; }
  bool identity() const { return world() == World::identity; }
  bool is_segment() const { return piece_.level == 0; }
  bool alone() const { return program_.way != Way::pair; }  // else the harts' codes are one page's neighbours
  U64 window(U64 user, U64 supervisor) const { return program_.windows + (user_mode() ? user : supervisor); }
  U64 device_base() const { return is_paged() ? window(place::user_device, place::supervisor_device) : place::device; }
  U64 written_base() const {
    return is_paged() ? window(place::user_written, place::supervisor_written) : place::written;
  }
  U64 write_base() const { return is_paged() ? window(place::user_write, place::supervisor_write) : place::code; }

  // ---- compose_computation.cc ----
  void computation();
  void patchable_instruction();
  void constant();
  void spin();
  void float_flags();

  // ---- compose_memory.cc ----
  U64 offset_in_page(unsigned size, bool aligned);
  U64 data_address(unsigned size, bool aligned);
  U64 address(unsigned size, bool aligned, bool& room_around);
  unsigned size_of(const Row& row) const;
  unsigned base_of(const Row& row);
  void access(const Row& row, unsigned base, I64 offset);
  void access_once(const Row& row);
  void accesses();
  void walk();
  void copy_loop();
  void cache_block();
  void atomic();
  void reservation();
  void reserve_with_access(const Row& lr, const Row& sc, unsigned base);
  void reserve_in_loop(const Row& lr, const Row& sc, unsigned base);

  // ---- compose_flow.cc ----
  void branch_ahead();
  void jump_ahead();
  void jump_register_ahead();
  void jump_table();
  void overlapping();
  void call();
  void loop_begin();
  void loop_end();
  void end_piece();

  // ---- compose_system.cc ----
  void csr_access();
  void status_bits();
  void system_call();
  void illegal();
  void wait();
  void interrupt_enables();
  void software_interrupt();
  void timer();
  void device_access();
  void return_from_trap();
  void trap_vector();
  void restrict_memory();
  void modify_privilege();

  // ---- compose_change.cc ----
  void fence_translations();
  void begin_change(unsigned r);
  void end_change();
  void change_space();
  void toggle_paging();
  void remap();
  void write_entry(unsigned space, U64 table, U64 index, U64 entry, U64 covered);
  void patch();
  void write_code();

  Random& random_;
  const Program& program_;
  Piece& piece_;
  std::vector<Target>& patchable_;
  std::vector<unsigned> sources_, results_;
  unsigned id_ = 0;
  Item item_;
  struct Loop {
    unsigned begin, counter;
  };
  std::vector<Loop> loops_;
};

/// A random leaf for a page of the data windows: mostly usable by the mode it is for.
U64 data_entry(Random& random, bool user);
/// Such for a page of code.
U64 code_entry(const Program& program, unsigned page, bool twin, bool user, bool writable);
/// An instruction that may stand for a patchable one.
std::uint32_t patchable_bits(Random& random, unsigned d, unsigned s);

}  // namespace doppel::differential::engines
