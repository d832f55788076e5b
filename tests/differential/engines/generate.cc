#include "generate.h"

#include <algorithm>

#include "../operands.h"
#include "composer.h"
#include "guest/riscv64/instruction.h"
#include "guest/riscv64/privileged.h"
#include "handlers.h"

namespace doppel::differential::engines {
namespace {

namespace pte = riscv64::pte;
namespace status = riscv64::status;
namespace envcfg = riscv64::envcfg;
using riscv64::Paging;

class Generator {
 public:
  explicit Generator(U64 seed) : random_(seed) { program_.seed = seed; }

  Program generate() {
    choose_machine();
    choose_worlds();
    choose_registers();
    if (paged_) map_everything();
    compose();
    for (auto count = 24 + random_.below(40); count > 0; count--) add_stop();
    add_last_stops();
    return std::move(program_);
  }

 private:
  void choose_machine() {
    constexpr std::array<Way, 16> choices = {Way::plain, Way::plain, Way::plain, Way::plain, Way::plain, Way::plain,
                                             Way::plain, Way::exact, Way::exact, Way::exact, Way::exact, Way::pair,
                                             Way::pair,  Way::pair,  Way::calls, Way::hot};
    program_.way = random_.pick(choices);
    paged_ = !random_.one_in(6);
    scattered_ = paged_ && random_.one_in(2);
    program_.levels = random_.one_in(6) ? 4 + unsigned(random_.below(2)) : 3;
    program_.asids = random_.one_in(4) ? 4 : 1;
    program_.windows = random_.one_in(2) ? place::high : place::low;
    program_.restricts = random_.one_in(6);
    for (unsigned page = 0; page < place::code_pages; page++) program_.frame[page] = page;
    if (scattered_)
      for (unsigned page = 1; page < place::code_pages; page++)
        std::swap(program_.frame[page], program_.frame[random_.below(page + 1)]);
    choose_registers_of_machine();
  }

  void choose_registers_of_machine() {
    auto& p = program_;
    constexpr U64 no_calls_of_supervisor = ~(1ULL << 9), no_illegal = ~(1ULL << 2);
    p.medeleg = (random_.one_in(4) ? 0 : random_.one_in(2) ? ~0ULL : random_.next()) & 0xb3ff & no_calls_of_supervisor;
    if (p.restricts) p.medeleg &= no_illegal;  // the supervisor's handler could not go on
    p.mideleg = (random_.one_in(4) ? 0 : random_.one_in(2) ? ~0ULL : random_.next()) & 0x222;
    const U64 caches = random_.one_in(4) ? random_.next() : ~0ULL;
    p.menvcfg = (caches & (envcfg::cbcfe | envcfg::cbze | 1 << 4)) | (random_.one_in(2) ? envcfg::adue : 0) |
                (random_.one_in(4) ? 0 : envcfg::stce) | (random_.one_in(2) ? envcfg::pbmte : 0);
    p.senvcfg = p.menvcfg & envcfg::supervisor_writable & (random_.one_in(4) ? random_.next() : ~0ULL);
    p.mcounteren = random_.one_in(4) ? random_.below(8) : 7;
    p.scounteren = random_.one_in(4) ? random_.below(8) : 7;
    p.fcsr = std::uint8_t(random_.below(5) << 5 | random_.below(32));
  }

  void choose_worlds() {
    if (!paged_) {
      worlds_ = {World::bare_user, World::bare_supervisor, World::machine};
      return;
    }
    worlds_ = {World::user, World::user, World::supervisor, World::supervisor};
    if (scattered_) return;
    if (random_.one_in(2)) worlds_.push_back(World::identity);
    if (random_.one_in(2)) worlds_.push_back(World::machine);
  }

  void choose_registers() {
    for (auto& registers : program_.registers) {
      for (auto& r : registers.x) r = integer_operand(random_);
      for (auto& r : registers.f) r = floating_operand(random_);
      registers.x[0] = 0;
    }
  }

  // ---- Page tables ----
  void map(unsigned space, U64 table, U64 window, U64 entry) {
    program_.mappings.push_back({space, table, window >> page_shift & 511, entry});
  }
  static U64 leaf(U64 physical, U64 bits) { return physical >> page_shift << pte::ppn_shift | pte::v | pte::a | bits; }

  void map_everything() {
    constexpr U64 rw = pte::r | pte::w | pte::d, rwx = rw | pte::x;
    for (unsigned space = 0; space < place::spaces; space++) {
      map_code(space);
      map_data(space);
      map(space, place::windows_table, place::user_written, leaf(place::written, rwx | pte::u));
      map(space, place::windows_table, place::supervisor_written, leaf(place::written, rwx));
      map(space, place::windows_table, place::user_device, leaf(place::device, rw | pte::u));
      map(space, place::windows_table, place::supervisor_device, leaf(place::device, rw));
      for (U64 page = 0; page < place::spaces * place::tables_of_space; page += page_size)
        map(space, place::windows_table, place::tables_window + page, leaf(place::tables + page, rw));
      const U64 large = leaf(place::ram, rw | (random_.one_in(2) ? pte::u : 0));
      program_.mappings.push_back({space, place::middle, (program_.windows + place::superpage) >> 21 & 511, large});
    }
  }

  void map_code(unsigned space) {
    constexpr std::array<std::pair<U64, bool>, 4> windows = {std::pair{place::user_code, true},
                                                             {place::user_alias, true},
                                                             {place::supervisor_code, false},
                                                             {place::supervisor_alias, false}};
    for (unsigned page = 0; page < place::code_pages; page++) {
      for (const auto [window, user] : windows) {
        auto entry = code_entry(program_, page, random_.one_in(4), user, false);
        if (random_.one_in(12)) entry &= ~pte::a;
        if (random_.one_in(60)) entry &= ~(random_.one_in(2) ? pte::v : pte::x);
        map(space, place::windows_table, window + page * page_size, entry);
      }
      for (const auto [window, user] : {std::pair{place::user_write, true}, {place::supervisor_write, false}})
        map(space, place::windows_table, window + page * page_size,
            code_entry(program_, page, random_.one_in(8), user, true));
    }
  }

  void map_data(unsigned space) {
    for (unsigned page = 0; page < place::data_window_pages; page++) {
      auto entry = data_entry(random_, random_.one_in(2));
      if (page < 2)
        entry = leaf(place::data + page * page_size, pte::r | pte::w | pte::d | pte::g | (page ? pte::u : 0));
      if (page >= 2 && random_.one_in(20)) entry |= 1ULL << 61;  // Svpbmt, if it is enabled
      map(space, place::windows_table, place::data_window + page * page_size, entry);
    }
    const U64 bits = pte::r | pte::w | pte::d | pte::n | (random_.one_in(2) ? pte::u : 0);
    for (U64 page = 0; page < place::data_pages; page++)
      map(space, place::windows_table, place::napot + page * page_size,
          leaf(place::data, bits) | 8ULL << pte::ppn_shift);
  }

  // ---- Code ----
  void compose() {
    // Functions first: who calls must know them.
    for (const unsigned level : {2U, 1U})
      for (const auto world : worlds_)
        for (unsigned hart = 0; hart < harts_of(program_.way); hart++)
          for (auto count = level == 1 ? 2U : 1U; count > 0; count--) compose_piece(level, world, hart);
    const auto segments = 6 + random_.below(10);
    for (unsigned n = 0; n < segments; n++)
      for (unsigned hart = 0; hart < harts_of(program_.way); hart++) compose_piece(0, random_.pick(worlds_), hart);
  }

  void compose_piece(unsigned level, World world, unsigned hart) {
    Piece piece;
    piece.id = next_id_++;
    piece.level = level;
    piece.setting = setting(world, hart);
    Composer(random_, program_, piece, patchable_).fill(level == 0 ? 30 + unsigned(random_.below(100)) : 12);
    if (place_piece(piece))
      program_.pieces.push_back(std::move(piece));
    else
      std::erase_if(patchable_, [&](const Target& t) { return t.piece == piece.id; });
  }

  Setting setting(World world, unsigned hart) {
    Setting s{.world = world, .alias = random_.one_in(4), .hart = hart};
    U64 bits = status::uxl64 | status::sxl64 | (random_.one_in(2) ? status::sum : 0) |
               (random_.one_in(2) ? status::sie : 0) | (random_.one_in(2) ? status::mpie : 0);
    const U64 fs = random_.one_in(6) ? random_.below(3) : 3;
    bits |= fs << status::fs_shift | (fs == 3 ? status::sd : 0);
    const bool supervisor = world == World::supervisor || world == World::identity || world == World::bare_supervisor;
    const U64 mode = world == World::machine ? 3 : supervisor ? 1 : 0;
    bits |= mode << status::mpp_shift;
    if (program_.restricts) bits |= random_.next() & (status::tw | status::tsr);
    // Who changes page tables must be able to fence.
    if (program_.restricts && !paged_) bits |= random_.next() & status::tvm;
    s.status = bits;
    if (paged_) {
      const auto space = program_.any_space(random_, hart);
      s.satp = program_.satp_of(space, unsigned(random_.below(4)));
    }
    return s;
  }

  /// Anywhere, but often over the border of two pages; not where pages of code hold data.
  bool place_piece(Piece& piece) {
    U64 size = 0;
    for (const auto& item : piece.items) size += bytes_of(item.code);
    for (unsigned tries = 0; tries < 60; tries++) {
      const U64 page = random_.below(place::code_pages) * page_size;
      U64 begin = page + random_.below(page_size);
      if (random_.one_in(2)) begin = page + page_size - random_.below(size);
      begin &= ~1ULL;
      const U64 end = begin + size;
      const bool in_code = end <= place::code_pages * page_size;
      const bool over_data = [&] {
        for (U64 p = 0; p < place::code_pages * page_size; p += page_size)
          if (begin < p + place::code_data_end && end > p + place::code_data) return true;
        return false;
      }();
      const bool taken = std::ranges::any_of(taken_, [&](const auto& t) { return begin < t.second && end > t.first; });
      // Where pages are not neighbours, an address that does not come from the windows could not go over a border.
      if (!in_code || over_data || taken) continue;
      taken_.push_back({begin, end});
      piece.offset = begin;
      return true;
    }
    return false;
  }

  // ---- Stops ----
  void add_stop() {
    Stop stop;
    const auto kind = random_.below(10);
    stop.steps = std::uint32_t(1 + (kind == 0 ? random_.below(4) : kind < 6 ? random_.below(80) : random_.below(500)));
    if (random_.one_in(50)) stop.steps = 100'000;  // more than a slice
    stop.hart = unsigned(random_.below(harts_of(program_.way)));
    const auto event = random_.below(24);
    using Event = Stop::Event;
    constexpr std::array<U64, 4> lines = {3, 9, 9, 11};
    if (event < 3) stop.event = Event::raise, stop.where = random_.pick(lines);
    if (event == 3 || event == 4) stop.event = Event::lower, stop.where = 9;
    if (event == 5 || event == 6) stop.event = Event::time, stop.value = random_.below(200);
    if (event == 7)
      stop.event = Event::device_write, stop.where = place::data + random_.below(place::data_pages * page_size / 8) * 8,
      stop.value = random_.next();
    program_.stops.push_back(stop);
  }

  /// Firmware takes back segments that do not end.
  void add_last_stops() {
    constexpr unsigned rounds = 30;
    const unsigned steps = program_.way == Way::hot ? 4000 : 400;
    for (unsigned round = 0; round < rounds; round++)
      for (unsigned hart = 0; hart < harts_of(program_.way); hart++)
        program_.stops.push_back(
            {.steps = steps, .hart = hart, .event = Stop::Event::raise, .where = riscv64::interrupt::mei, .value = 0});
  }

  Random random_;
  Program program_;
  bool paged_ = false, scattered_ = false;
  std::vector<World> worlds_;
  std::vector<Target> patchable_;
  std::vector<std::pair<U64, U64>> taken_;
  unsigned next_id_ = 0;
};

}  // namespace

Program generate(U64 seed) { return Generator(seed).generate(); }

}  // namespace doppel::differential::engines
