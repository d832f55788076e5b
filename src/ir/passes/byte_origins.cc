#include "ir/passes/byte_origins.h"

#include <algorithm>

namespace doppel::ir {
namespace {

bool changes_memory(Op op) {
  const auto& t = traits(op);
  return !t.pure && !t.leaves && op != Op::get && op != Op::set && op != Op::setf && op != Op::load && op != Op::loadf;
}

}  // namespace

std::optional<std::int64_t> ByteOrigins::constant(Value value) const {
  if (value == no_value || at(value).op != Op::constant) return std::nullopt;
  return at(value).imm;
}

void ByteOrigins::appended(const Instruction& i) {
  if (changes_memory(i.op)) version_++;
  note(i.op == Op::load ? of_load(i, Value(list_.size() - 1)) : of(i));
}

void ByteOrigins::note(const std::optional<Origin>& found) {
  index_.push_back(0);
  if (!found || origins_.size() == UINT16_MAX) return;
  origins_.push_back(*found);
  index_.back() = std::uint16_t(origins_.size());
}

std::optional<ByteOrigins::Origin> ByteOrigins::of_load(const Instruction& i, Value value) const {
  auto root = i.a;
  auto offset = i.imm;
  if (at(root).op == Op::add && at(root).type == Type::i64)
    if (const auto more = constant(at(root).b)) root = at(root).a, offset += *more;
  if (offset < INT32_MIN / 2 || offset > INT32_MAX / 2) return std::nullopt;
  Origin o{.root = root, .version = version_, .first = value, .lowest = value, .at = {}};
  o.at.fill(i.flag ? unknown : zero);
  for (unsigned k = 0; k < bytes(i.type); k++) o.at[k] = std::int32_t(offset) + std::int32_t(k);
  return o;
}

/// Of what shifts bytes, extends them or puts them together.
std::optional<ByteOrigins::Origin> ByteOrigins::of(const Instruction& i) const {
  const auto* a = origin(i.a);
  if (!a || is_float(i.type)) return std::nullopt;
  auto o = *a;
  switch (i.op) {
    case Op::shl: {
      const auto amount = constant(i.b);
      if (!amount || *amount % 8 != 0) return std::nullopt;
      const auto by = unsigned(*amount) % (8 * bytes(i.type)) / 8;
      for (unsigned k = 8; k-- > 0;) o.at[k] = k >= by ? o.at[k - by] : zero;
      break;
    }
    case Op::sext:
    case Op::zext:
      std::fill(o.at.begin() + bytes(i.type), o.at.end(), i.op == Op::zext ? zero : unknown);
      return o;
    case Op::or_:
    case Op::xor_:
    case Op::add: {
      const auto* b = origin(i.b);
      const auto sum = b ? both(o, *b) : std::nullopt;
      if (!sum) return std::nullopt;
      o = *sum;
      break;
    }
    default:
      return std::nullopt;
  }
  if (i.type == Type::i32) std::fill(o.at.begin() + 4, o.at.end(), unknown);
  return o;
}

std::optional<ByteOrigins::Origin> ByteOrigins::both(const Origin& x, const Origin& y) const {
  if (x.root != y.root || x.version != y.version) return std::nullopt;
  auto o = x;
  for (unsigned k = 0; k < 8; k++) {
    if (x.at[k] != zero && y.at[k] != zero) {
      // What is not known may carry into what is above it.
      std::fill(o.at.begin() + k, o.at.end(), unknown);
      break;
    }
    o.at[k] = x.at[k] != zero ? x.at[k] : y.at[k];
  }
  o.first = std::min(x.first, y.first);
  const auto offset = [&](const Origin& of) {
    auto least = unknown;
    for (const auto byte : of.at)
      if (byte != zero) least = std::min(least, byte);
    return least;
  };
  o.lowest = offset(x) <= offset(y) ? x.lowest : y.lowest;
  return o;
}

/// Whether the bytes were read once each: read again, their values might have come in another order.
bool ByteOrigins::only_these(const Origin& o, std::int32_t low, unsigned size) const {
  std::uint64_t seen = 0;
  for (auto n = o.first; n < list_.size(); n++) {
    const auto* load = at(n).op == Op::load ? origin(n) : nullptr;
    if (!load || load->root != o.root || load->first != n) continue;
    for (const auto byte : load->at) {
      if (byte == zero || byte == unknown || byte < low || byte >= low + std::int32_t(size)) continue;
      if (seen >> (byte - low) & 1) return false;
      seen |= 1ULL << (byte - low);
    }
  }
  return true;
}

std::optional<ByteOrigins::Joined> ByteOrigins::joined(const Instruction& i) const {
  const bool extends = i.op == Op::sext || i.op == Op::zext;
  if (!extends && i.op != Op::or_ && i.op != Op::xor_ && i.op != Op::add) return std::nullopt;
  const auto found = of(i);
  if (!found || found->version != version_) return std::nullopt;
  auto& o = *found;
  const auto runs = [&](unsigned size, std::int32_t step) {
    for (unsigned k = 0; k < size; k++)
      if (o.at[k] == zero || o.at[k] == unknown || o.at[k] != o.at[0] + step * std::int32_t(k)) return false;
    return true;
  };
  for (const auto type : {Type::i64, Type::i32, Type::i16}) {
    const auto size = bytes(type);
    const bool rest_is_zero = std::all_of(o.at.begin() + size, o.at.end(), [](auto byte) { return byte == zero; });
    const bool sign = i.op == Op::sext && i.type == type, rest_is_nothing = !extends && i.type == type;
    const bool swapped = runs(size, -1);
    if (!(rest_is_zero || sign || rest_is_nothing) || !(swapped || runs(size, 1))) continue;
    if (swapped && (type == Type::i16 || sign)) return std::nullopt;  // there is no operation for it
    auto load = at(o.lowest);
    const auto low = swapped ? o.at[size - 1] : o.at[0];
    if ((extends && bytes(load.type) >= size) || !only_these(o, low, size)) return std::nullopt;
    load.type = type, load.flag = sign;
    load.offset = i.offset, load.length = i.length, load.left = i.left;
    auto origin = o;
    origin.at.fill(sign ? unknown : zero);
    for (unsigned k = 0; k < size; k++) origin.at[k] = low + std::int32_t(k);
    return Joined{.load = load, .swapped = swapped, .origin = origin};
  }
  return std::nullopt;
}

}  // namespace doppel::ir
