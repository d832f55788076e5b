#include "link.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <map>

#include "../operands.h"
#include "composer.h"
#include "guest/riscv64/privileged.h"
#include "handlers.h"

namespace doppel::differential::engines {
namespace {

namespace pte = riscv64::pte;

/// Fills in immediates.
class Linker {
 public:
  explicit Linker(const Program& program) : program_(program) {
    for (const auto& piece : program.pieces) place(piece);
  }

  std::vector<Placed> link() const {
    std::vector<Placed> out;
    for (const auto& piece : places_)
      for (const auto& item : piece.items) {
        auto code = item.item->code;
        for (const auto& fix : item.item->fixes) apply(fix, item, code);
        for (std::size_t n = 0; n < code.size(); n++)
          out.push_back(
              {piece.id, item.item->id, item.at[n], code[n].bits, code[n].row->length(), item.item->patchable});
      }
    return out;
  }

 private:
  struct PlacedItem {
    const Item* item;
    std::vector<U64> at;  // the offset of each instruction, and of what follows
  };
  struct PlacedPiece {
    unsigned id;
    U64 end;
    std::vector<PlacedItem> items;
  };

  void place(const Piece& piece) {
    PlacedPiece out{piece.id, piece.offset, {}};
    for (const auto& item : piece.items) {
      if (!possible(item)) continue;
      PlacedItem placed{&item, {}};
      for (const auto& c : item.code) placed.at.push_back(out.end), out.end += c.row->length();
      placed.at.push_back(out.end);
      out.items.push_back(std::move(placed));
    }
    places_.push_back(std::move(out));
  }

  /// Whether all that the item cannot do without is there.
  bool possible(const Item& item) const {
    const auto is_there = [&](const Target& t) {
      const auto* piece = program_.piece(t.piece);
      return piece && std::ranges::find(piece->items, t.item, &Item::id) != piece->items.end();
    };
    return std::ranges::all_of(item.needs, is_there) &&
           std::ranges::all_of(item.fixes, [&](const Fix& f) { return program_.piece(f.target.piece) != nullptr; });
  }

  U64 offset_of(const Target& target) const {
    const auto piece = std::ranges::find(places_, target.piece, &PlacedPiece::id);
    const auto item =
        std::ranges::lower_bound(piece->items, target.item, {}, [](const PlacedItem& p) { return p.item->id; });
    if (item == piece->items.end()) return piece->end;
    if (item->item->id != target.item) return item->at[0];
    return item->at[std::min<std::size_t>(target.instruction, item->at.size() - 1)];
  }

  void apply(const Fix& fix, const PlacedItem& item, std::vector<Coded>& code) const {
    auto& fixed = code[fix.at];
    const U64 anchor = fix.anchor == Fix::nothing ? 0 : item.at[std::size_t(fix.anchor)];
    const auto value = I64(offset_of(fix.target) - anchor) + fix.addend;
    const auto rounded = (value + 0x800) & ~I64{0xfff};
    fixed.fields.i = fix.form == Fix::Form::high ? rounded : fix.form == Fix::Form::low ? value - rounded : value;
    auto bits = encode(*fixed.row, fixed.fields);
    if (!bits) {  // too far: to what follows
      fixed.fields.i = I64(item.at.back() - anchor);
      bits = encode(*fixed.row, fixed.fields);
    }
    if (!bits) std::abort();
    fixed.bits = *bits;
  }

  const Program& program_;
  std::vector<PlacedPiece> places_;
};

class Memory {
 public:
  explicit Memory(std::vector<Image::Chunk>& chunks) : chunks_(chunks) {}
  std::byte* region(U64 address, U64 size) {
    chunks_.push_back({address, std::vector<std::byte>(size)});
    return chunks_.back().bytes.data();
  }

 private:
  std::vector<Image::Chunk>& chunks_;
};

void put(std::byte* at, U64 value, unsigned size = 8) { std::memcpy(at, &value, size); }

const std::vector<std::byte>& operand_pool() {
  static const auto pool = [] {
    std::vector<std::byte> bytes(place::data_pages * page_size);
    Random random(1);
    for (std::size_t n = 0; n < bytes.size(); n += 8)
      put(bytes.data() + n, random.one_in(2) ? integer_operand(random) : floating_operand(random));
    return bytes;
  }();
  return pool;
}

void put_data(const Program& program, Memory& memory) {
  const auto& pool = operand_pool();
  auto* at = memory.region(place::data, pool.size() + page_size);  // what lies behind is written to, too
  const auto turn = (program.seed * 0x9e37'79b9 >> 8) % (pool.size() / 8) * 8;
  std::copy(pool.begin() + std::ptrdiff_t(turn), pool.end(), at);
  std::copy_n(pool.begin(), turn, at + (pool.size() - turn));
  memory.region(place::ram + place::ram_size - page_size, page_size);
}

/// The code, its twin, and the page that programs write code to: functions that return at once.
void put_code(const Program& program, Memory& memory) {
  auto* code = memory.region(place::code, place::code_pages * page_size);
  auto* twin = memory.region(place::twin, place::code_pages * page_size);
  const auto& pool = operand_pool();
  for (unsigned page = 0; page < place::code_pages; page++)
    for (auto* pages : {code, twin})
      std::copy_n(pool.data() + page * 1024, place::code_data_end - place::code_data,
                  pages + page * page_size + place::code_data);
  Random random(program.seed + 1);
  for (const auto& p : link(program)) {
    auto other = p.bits;
    if (p.patchable) other = (other & 0xf'ffff) | std::uint32_t(random.next() << 20);
    for (unsigned byte = 0; byte < p.length; byte++) {
      const auto at = program.physical(p.offset + byte) - place::code;
      code[at] = std::byte(p.bits >> 8 * byte);
      twin[at] = std::byte(other >> 8 * byte);
    }
  }
  auto* written = memory.region(place::written, page_size);
  for (U64 at = 0; at < page_size; at += 4) put(written + at, make("jalr", {.s = 31}).bits, 4);
}

U64 pointer(U64 table) { return table >> page_shift << pte::ppn_shift | pte::v; }

/// What all programs have: the way to the leaves, and firmware where its physical addresses are.
void put_tables(const Program& program, Memory& memory) {
  if (program.mappings.empty()) return;
  auto* all = memory.region(place::tables, place::spaces * place::tables_of_space);
  const auto entry = [&](U64 space, U64 table, U64 index) {
    return all + space * place::tables_of_space + table + index * 8;
  };
  for (unsigned space = 0; space < place::spaces; space++) {
    const U64 base = place::tables + space * place::tables_of_space;
    for (const auto [table, below] :
         {std::pair{place::root, place::middle}, {place::root48, place::root}, {place::root57, place::root48}})
      for (const U64 index : {0, 511}) put(entry(space, table, index), pointer(base + below));
    put(entry(space, place::middle, program.windows >> 21 & 511), pointer(base + place::windows_table));
    put(entry(space, place::middle, place::ram >> 21 & 511), pointer(base + place::identity_table));
    constexpr U64 all_bits = pte::v | pte::r | pte::a | pte::d | pte::g;
    const auto identity = [&](U64 address, U64 bits) {
      put(entry(space, place::identity_table, address >> page_shift & 511), pointer(address) | all_bits | bits);
    };
    for (U64 page = 0; page < place::code_pages; page++) identity(place::code + page * page_size, pte::x);
    for (U64 hart = 0; hart < place::harts; hart++) identity(place::handlers + hart * page_size, pte::x);
    for (U64 page = 0; page < place::harts * place::records_of_hart; page += page_size)
      identity(place::records + page, pte::w);
  }
  for (const auto& m : program.mappings) put(entry(m.space, m.table, m.index), m.entry);
}

/// What a hart's firmware wants to know: where to log, and what to start.
void put_records(const Program& program, unsigned hart, Memory& memory) {
  auto* at = memory.region(records_of(hart), page_size);
  const auto base = records_of(hart);
  const auto& handlers = handlers_of(hart);
  const auto& x = program.registers[hart].x;
  put(at + saved_x5, x[5]), put(at + saved_x6, x[6]), put(at + saved_x7, x[7]);
  put(at + log_at, base + place::machine_log);
  put(at + supervisor_saved + log_at, base + place::supervisor_log);
  put(at + descriptor_at, base + place::descriptors);
  auto* to = at + place::descriptors;
  const auto describe = [&](const Descriptor& d) {
    if (to + sizeof d > at + page_size) return;
    std::memcpy(to, &d, sizeof d);
    to += sizeof d;
  };
  Random random(program.seed + 2);
  for (const auto& piece : program.pieces) {
    if (piece.level != 0 || piece.setting.hart != hart) continue;
    const U64 enables = machine_external | (random.next() & 0x2aa);
    describe({program.code_base(piece.setting) + piece.offset, piece.setting.status, piece.setting.satp,
              handlers.supervisor | random.below(2), enables});
  }
  to = std::min(to, at + page_size - sizeof(Descriptor));
  describe({handlers.idle, riscv64::status::mpp, program.mappings.empty() ? 0 : program.satp_of(hart, 0),
            handlers.supervisor, 0});
}

riscv64::HartState begin(const Program& program, unsigned hart) {
  riscv64::HartState s;
  const auto& handlers = handlers_of(hart);
  std::ranges::copy(program.registers[hart].x, s.x.begin());
  s.f = program.registers[hart].f;
  s.x[5] = records_of(hart);
  s.pc = handlers.next;
  s.hartid = hart;
  s.mtvec = handlers.machine | (program.seed & 1);
  s.stvec = handlers.supervisor;
  s.medeleg = program.medeleg, s.mideleg = program.mideleg;
  s.menvcfg = program.menvcfg, s.senvcfg = program.senvcfg;
  s.mcounteren = program.mcounteren, s.scounteren = program.scounteren;
  s.fflags = program.fcsr & 31, s.frm = program.fcsr >> 5;
  s.pmpcfg[15] = 0x1f;  // NAPOT, all memory, read write execute
  s.pmpaddr[15] = ~0ULL >> 10;
  return s;
}

}  // namespace

std::vector<Placed> link(const Program& program) { return Linker(program).link(); }

Image make_image(const Program& program) {
  Image image;
  Memory memory(image.chunks);
  put_data(program, memory);
  put_code(program, memory);
  put_tables(program, memory);
  for (unsigned hart = 0; hart < harts_of(program.way); hart++) {
    put_records(program, hart, memory);
    image.harts[hart] = begin(program, hart);
  }
  return image;
}

}  // namespace doppel::differential::engines
