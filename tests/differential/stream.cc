#include "stream.h"

#include <algorithm>
#include <cstdlib>

#include "operands.h"

namespace doppel::differential {

namespace {

const Row& any_row(Random& random) {
  static const std::vector<const Row*> list = [] {
    std::vector<const Row*> all;
    for (const auto& row : rows())
      if (row.kind != Kind::left_out) all.push_back(&row);
    return all;
  }();
  return *random.pick(list);
}

constexpr std::int64_t fflags = 1, frm = 2, fcsr = 3, cycle = 0xc00, instret = 0xc02;

bool is_floating_point(const Row& row) {
  using enum riscv64::Extension;
  return row.extension == F || row.extension == D || row.extension == Zfa || row.extension == Zfhmin;
}

/// Makes the items of one stream.
class Composer {
 public:
  Composer(Random& random, unsigned spill) : random_(random) {
    // Few registers make long chains of dependent instructions; x8 to x15 are what most compressed rows can name.
    const bool few = random_.one_in(2);
    for (unsigned r = 0; r < 32; r++)
      if (!few || r == spill || r == 0 || random_.one_in(r >= 8 && r < 16 ? 2 : 8)) registers_.push_back(r);
    for (unsigned r = 8; r < 16; r++)
      if (std::count(registers_.begin(), registers_.end(), r) || !few) short_registers_.push_back(r);
    if (short_registers_.size() < 2) short_registers_ = {8, 9, 15};
  }

  Item item() {
    const Row& row = any_row(random_);
    item_ = {};
    switch (row.kind) {
      case Kind::memory:
      case Kind::cache_block:
      case Kind::atomic:
        memory(row);
        break;
      case Kind::reserve:
        reserve_pair(row, row_named(row.name == "lr_w" ? "sc_w" : "sc_d"));
        break;
      case Kind::conditional:
        reserve_pair(row_named(row.name == "sc_w" ? "lr_w" : "lr_d"), row);
        break;
      case Kind::branch:
      case Kind::jump:
      case Kind::jump_register:
        transfer(row);
        break;
      case Kind::csr:
        csr(row);
        break;
      default:
        computation(row);
    }
    return item_;
  }

 private:
  unsigned any_register() { return random_.pick(registers_); }
  unsigned any_register(const Row& row, char letter) {
    return row.short_field(letter) ? random_.pick(short_registers_) : any_register();
  }
  /// A register that can hold an address: not x0, and nameable where `row` names it.
  unsigned address_register(const Row& row) {
    if (!row.field('s')) return 2;  // c.lwsp and its like
    for (;;)
      if (const unsigned r = any_register(row, 's'); r != 0) return r;
  }
  unsigned rounding() { return random_.one_in(2) ? 7 : unsigned(random_.below(5)); }

  std::int64_t immediate(const Row& row) {
    switch (random_.below(8)) {
      case 0:
        return immediate_from(row, 0);
      case 1:
        return immediate_from(row, ~0ULL);
      case 2:
        return immediate_from(row, random_.below(16));
      default:
        return immediate_from(row, random_.next());
    }
  }

  Fields any_fields(const Row& row) {
    return {.d = any_register(row, 'd'),
            .s = any_register(row, 's'),
            .t = any_register(row, 't'),
            .u = any_register(),
            .m = rounding(),
            .a = unsigned(random_.below(2)),
            .l = unsigned(random_.below(2)),
            .i = immediate(row),
            .ignored = std::uint32_t(random_.next())};
  }

  void add(const Row& row, const Fields& fields, std::uint32_t bits) { item_.code.push_back({&row, fields, bits}); }
  void add(std::string_view name, const Fields& fields) { item_.code.push_back(make(name, fields)); }

  /// Adds an instruction of the row with random fields, after `adjust` had its say about them.
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

  void set_address(unsigned r, std::uint64_t address) {
    add("lui", {.d = r, .i = std::int64_t((address + 0x800) & ~0xfffULL)});
    add("addi", {.d = r, .s = r, .i = std::int64_t((address & 0xfff) ^ 0x800) - 0x800});
  }
  /// Puts an operand of the pool into a register, through an address in `base`.
  void fresh(std::string_view load, unsigned r, unsigned base, char format) {
    add("lui", {.d = base, .i = std::int64_t(place::pool + random_.below(place::pool_pages) * 0x1000)});
    add(load, {.d = r, .s = base, .i = std::int64_t(choose_operand(format, random_)) * 8 - page_operands * 8 / 2});
  }
  void fresh_integer(unsigned r) {
    if (r != 0) fresh("ld", r, r, 'x');
  }
  void fresh_float(unsigned r, char format) { fresh("fld", r, address_register(row_named("fld")), format); }

  /// Makes operands depend on each other, so that results are exact, cancel or come out equal.
  void relate(const Row& row, const Fields& f) {
    const char format = row.name.back();
    if (format != 's' && format != 'd') return;
    const bool single = format == 's';
    const unsigned rm = rounding();
    if (row.field('u'))
      add(single ? "fmul_s" : "fmul_d",
          {.d = f.u, .s = f.s, .t = f.t, .m = rm});  // the sum is the product's rounding error
    else if (row.name.starts_with("fdiv"))
      add(single ? "fmul_s" : "fmul_d", {.d = f.s, .s = f.s, .t = f.t, .m = rm});
    else if (row.name.starts_with("fsqrt"))
      add(single ? "fmul_s" : "fmul_d", {.d = f.s, .s = f.s, .t = f.s, .m = rm});
    else if (row.field('t'))
      add(single ? "fsgnjn_s" : "fsgnjn_d", {.d = f.t, .s = f.s, .t = random_.one_in(2) ? f.s : f.t});
  }

  void computation(const Row& row) {
    Fields fields;
    do fields = any_fields(row);
    while (!encode(row, fields));
    for (auto [letter, r] : {std::pair('s', fields.s), {'t', fields.t}, {'u', fields.u}}) {
      if (!row.field(letter) || !random_.one_in(2)) continue;
      row.kind == Kind::floating ? fresh_float(r, row.name.back()) : fresh_integer(r);
    }
    if (row.kind == Kind::floating && random_.one_in(4)) relate(row, fields);
    // Exception flags are sticky: they tell about one instruction only where they are set before it and read after it.
    // QEMU 10 forgets the flags of fround and froundnx when nothing reads their result: reading the flags makes it keep
    // them.
    const bool flags = row.name.starts_with("fround") || (is_floating_point(row) && random_.one_in(2));
    if (flags) add("csrrwi", {.s = random_.one_in(2) ? 0 : unsigned(random_.below(32)), .i = fflags});
    add(row, fields, *encode(row, fields));
    if (flags) add("csrrs", {.d = any_register(), .i = fflags});
  }

  std::uint64_t scratch_address(std::uint64_t size, bool aligned) {
    const std::uint64_t middle = place::scratch_size / 2;
    std::uint64_t offset = random_.below(place::scratch_size - size + 1);
    if (random_.one_in(4))
      offset = middle - size + 1 + random_.below(2 * size - 1);  // on the border of the pages or at it
    offset = std::min(offset, place::scratch_size - size);
    return place::scratch + (aligned || random_.one_in(2) ? offset & ~(size - 1) : offset);
  }

  void memory(const Row& row) {
    const bool aligned = row.kind == Kind::atomic;
    const unsigned base = address_register(row);
    Fields fields;
    do {
      fields = any_fields(row);
      fields.s = base;
    } while (!encode(row, fields));
    set_address(base, scratch_address(8, aligned) - std::uint64_t(fields.i));
    add(row, fields, *encode(row, fields));
  }

  /// LR and SC: together, with computation or a store between them, or so that the SC must fail.
  void reserve_pair(const Row& reserve, const Row& conditional) {
    const unsigned base = address_register(reserve);
    auto at_base = [&](Fields& f) { f.s = base; };
    auto keeping_base = [&](Fields& f) { f.s = base, f.d = f.d == base ? 0 : f.d; };
    set_address(base, scratch_address(8, true) & ~0x80ULL);
    add_random(reserve, keeping_base);
    switch (random_.below(5)) {
      case 0:
        break;
      case 1:
        add_random(row_named("xor_"), [&](Fields& f) { f.d = f.d == base ? 0 : f.d; });
        break;
      case 2:
        add_random(conditional, keeping_base);
        break;  // the second has no reservation
      case 3:
        add("addi", {.d = base, .s = base, .i = 0x80});
        break;  // another granule than the reserved one
      case 4:
        return store_between(base, conditional);
    }
    add_random(conditional, at_base);
  }

  /// With a store in between, implementations may let an SC fail now and then: retry as all code must.
  void store_between(unsigned base, const Row& conditional) {
    const unsigned reserve = unsigned(item_.code.size() - 1);
    unsigned result = 0;
    while (result == 0 || result == base) result = unsigned(random_.below(32));
    add("sd", {.s = base, .t = any_register(), .i = 0x80});
    add_random(conditional, [&](Fields& f) { f.s = base, f.d = result, f.t = f.t == result ? 0 : f.t; });
    add("bne", {.s = result, .t = 0, .i = 0});
    item_.fixes.push_back({.at = reserve + 3, .anchor = reserve + 3, .inside = true, .target = reserve});
    // What was stored must not change from one round to the next.
    if (auto& store = item_.code[reserve + 1];
        store.fields.t == result || store.fields.t == item_.code[reserve].fields.d)
      store = make("sd", {.s = base, .t = 0, .i = 0x80});
    if (auto& sc = item_.code[reserve + 2]; sc.fields.t == item_.code[reserve].fields.d) {
      sc.fields.t = 0;
      sc.bits = *encode(conditional, sc.fields);
    }
  }

  /// A branch or jump over some of the items that follow, or back to an instruction of this item.
  void transfer(const Row& row) {
    if (random_.one_in(4)) return transfer_back(row);
    add_transfer(row, {.target = unsigned(random_.below(5))});
  }

  void transfer_back(const Row& row) {
    add("jal", {.d = 0, .i = 4});  // over the two that follow
    add_random(row_named("addi"));
    add("jal", {.d = 0, .i = 4});  // out
    item_.fixes.push_back({.at = 0, .anchor = 0, .inside = true, .target = 3});
    item_.fixes.push_back({.at = 2, .anchor = 2});
    add_transfer(row, {.inside = true, .target = 1});
  }

  void add_transfer(const Row& row, Fix fix) {
    if (row.kind != Kind::jump_register) {
      const auto fields = add_random(row);
      fix.at = fix.anchor = unsigned(item_.code.size() - 1);
      if (row.kind == Kind::branch && random_.one_in(3)) equal_operands(row, fields);
      item_.fixes.push_back(fix);
      return;
    }
    const unsigned base = address_register(row);
    const Coded auipc = make("auipc", {.d = base, .i = 0});
    fix.anchor = unsigned(item_.code.size());
    fix.at = fix.anchor + 1;
    item_.code.push_back(auipc);
    add("addi", {.d = base, .s = base, .i = 0});
    const auto fields = add_random(
        row, [&](Fields& f) { f.s = base, f.i = row.field('i') ? std::int64_t(random_.below(2048)) - 1024 : 0; });
    fix.addend = std::int64_t(random_.below(2)) - fields.i;  // bit 0 of the target is ignored
    item_.fixes.push_back(fix);
  }

  void equal_operands(const Row& row, Fields fields) {
    fields.t = row.field('t') ? fields.s : 0;
    item_.code.back() = {&row, fields, *encode(row, fields)};
  }

  /// A floating-point CSR; afterwards frm holds a rounding mode again.
  void csr(const Row& row) {
    constexpr std::array<std::int64_t, 3> floating = {fflags, frm, fcsr};
    constexpr std::array<std::int64_t, 2> counters = {cycle, instret};
    if (random_.one_in(8) && (row.name == "csrrs" || row.name == "csrrsi")) {
      add(row.name, {.i = random_.pick(counters)});  // to x0: the value is not the same everywhere
      return;
    }
    Fields fields = any_fields(row);
    fields.i = random_.pick(floating);
    if (row.name.back() != 'i' && fields.s != 0 && random_.one_in(2))
      add("addi", {.d = fields.s, .s = 0, .i = std::int64_t(random_.below(4096)) - 2048});
    add(row, fields, *encode(row, fields));
    add("csrrwi", {.d = any_register(), .s = unsigned(random_.below(5)), .i = frm});
  }

  Random& random_;
  std::vector<unsigned> registers_, short_registers_;
  Item item_;
};

}  // namespace

Coded make(std::string_view name, const Fields& fields) {
  const Row& row = row_named(name);
  const auto bits = encode(row, fields);
  if (!bits) std::abort();
  return {&row, fields, *bits};
}

std::uint64_t bytes_of(const std::vector<Coded>& code) {
  std::uint64_t bytes = 0;
  for (const auto& c : code) bytes += c.row->length();
  return bytes;
}

Stream make_stream(std::uint64_t seed, unsigned slot, unsigned instructions) {
  Random random(seed);
  Stream stream;
  stream.seed = seed;
  stream.slot = slot;
  stream.spill = 1 + unsigned(random.below(31));
  for (auto& r : stream.x) r = integer_operand(random);
  stream.x[0] = 0;
  for (auto& r : stream.f) r = floating_operand(random);
  stream.fcsr = random.below(5) << 5 | random.below(32);
  for (unsigned i = 0; i < place::scratch_size / 8; i++)
    stream.scratch.push_back(random.one_in(2) ? integer_operand(random) : floating_operand(random));
  Composer composer(random, stream.spill);
  for (unsigned count = 0; count < instructions; count += unsigned(stream.items.back().code.size()))
    stream.items.push_back(composer.item());
  return stream;
}

std::vector<Coded> link(const Stream& stream, std::uint64_t address) {
  std::vector<std::vector<std::uint64_t>> at;  // the address of each instruction of each item
  for (const auto& item : stream.items) {
    at.emplace_back();
    for (const auto& c : item.code) {
      at.back().push_back(address);
      address += c.row->length();
    }
    at.back().push_back(address);
  }
  std::vector<Coded> linked;
  for (std::size_t n = 0; n < stream.items.size(); n++) {
    auto code = stream.items[n].code;
    for (const auto& fix : stream.items[n].fixes) {
      const std::size_t after = n + 1 + fix.target;
      const std::uint64_t target = fix.inside ? at[n][fix.target] : after < at.size() ? at[after][0] : address;
      auto& fixed = code[fix.at];
      fixed.fields.i = std::int64_t(target - at[n][fix.anchor]) + fix.addend;
      const auto bits = encode(*fixed.row, fixed.fields);
      if (!bits) std::abort();
      fixed.bits = *bits;
    }
    linked.insert(linked.end(), code.begin(), code.end());
  }
  return linked;
}

}  // namespace doppel::differential
