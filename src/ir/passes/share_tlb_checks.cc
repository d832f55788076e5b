#include <algorithm>

#include "ir/passes/passes.h"

namespace doppel::ir {
namespace {

/// Bytes that a window may span: the longer it is, the more often it lies on two pages and cannot be used.
constexpr std::int64_t longest_window = 1024;
constexpr std::uint32_t no_group = ~0U;
constexpr unsigned page_bits = 12;

bool is_store(Op op) { return op == Op::store || op == Op::storef; }
bool is_access(Op op) { return op == Op::load || op == Op::loadf || is_store(op); }

/// Accesses of one kind off one value, near enough to each other.
struct Group {
  Value root;
  bool store;
  std::uint32_t accesses;
  std::int64_t low, high;  // bytes from the root on, the last one exclusive
  Value first;             // access
  std::int64_t seen;       // where the root was in its page, on a path; a multiple of pages may be added
  Value window = no_value;
};

/// A value as another one plus a constant.
struct Sum {
  Value root;
  std::int64_t offset;
};

class Sharing {
 public:
  explicit Sharing(Code& code) : code_(code) {}

  void run() {
    find_groups();
    const bool any = std::ranges::any_of(groups_, [&](const Group& g) { return has_window(g); });
    if (any) insert_windows();
  }

 private:
  /// On a path, which has no slow ways to access memory, every access is in a window.
  bool has_window(const Group& group) const { return group.accesses > 1 || code_.path; }

  void find_groups() {
    const auto& list = code_.instructions;
    sums_.resize(list.size());
    group_of_.assign(list.size(), no_group);
    for (Value n = 0; n < list.size(); n++) {
      const auto& i = list[n];
      sums_[n] = {n, 0};
      if (i.op == Op::add && i.type == Type::i64 && list[i.b].op == Op::constant)
        sums_[n] = {sums_[i.a].root, sums_[i.a].offset + list[i.b].imm};
      else if (i.op == Op::interpret || (i.op == Op::set_state && i.flag))
        open_ = std::uint32_t(groups_.size());  // mappings may be others behind it
      else if (is_access(i.op))
        group_of_[n] = join(n);
    }
  }

  std::uint32_t join(Value access) {
    const auto& i = code_.instructions[access];
    const auto [root, offset] = sums_[i.a];
    const auto low = offset + i.imm, high = low + bytes(i.type);
    for (auto n = groups_.size(); n-- > open_;) {
      auto& g = groups_[n];
      // Who goes along a path gets to the stores too, nearly always: their look-ups are good for loads.
      if (g.root != root || (g.store != is_store(i.op) && !code_.path)) continue;
      const auto from = std::min(g.low, low), to = std::max(g.high, high);
      if (to - from > longest_window) continue;
      if (code_.path && ((g.seen + from) >> page_bits) != ((g.seen + to - 1) >> page_bits)) continue;
      g.low = from, g.high = to;
      g.store |= is_store(i.op);
      g.accesses++;
      return std::uint32_t(n);
    }
    groups_.push_back({.root = root,
                       .store = is_store(i.op),
                       .accesses = 1,
                       .low = low,
                       .high = high,
                       .first = access,
                       .seen = seen_root(i, low)});
    return std::uint32_t(groups_.size() - 1);
  }

  static std::int64_t seen_root(const Instruction& i, std::int64_t low) { return std::int64_t(i.size) - 1 - low; }

  void insert_windows() {
    const auto old = std::move(code_.instructions);
    auto& list = code_.instructions;
    list.clear();
    list.reserve(old.size() + groups_.size());
    std::vector<Value> moved(old.size());
    for (Value n = 0; n < old.size(); n++) {
      auto i = old[n];
      for (auto* argument : {&i.a, &i.b, &i.c})
        if (*argument != no_value) *argument = moved[*argument];
      if (group_of_[n] != no_group && has_window(groups_[group_of_[n]])) {
        auto& g = groups_[group_of_[n]];
        if (g.first == n) {
          auto window = i;
          window.op = Op::window;
          window.type = Type::i64;
          window.flag = g.store;
          window.b = no_value;
          window.imm = g.low - sums_[old[n].a].offset;
          window.size = std::uint16_t(g.high - g.low);
          g.window = Value(list.size());
          list.push_back(window);
        }
        (is_store(i.op) ? i.c : i.b) = g.window;
      }
      moved[n] = Value(list.size());
      list.push_back(i);
    }
  }

  Code& code_;
  std::vector<Sum> sums_;
  std::vector<std::uint32_t> group_of_;
  std::vector<Group> groups_;
  std::uint32_t open_ = 0;  // groups from here on take more
};

}  // namespace

void share_tlb_checks(Code& code) {
  const auto accesses = std::ranges::count_if(code.instructions, [](const auto& i) { return is_access(i.op); });
  if (accesses > (code.path ? 0 : 1)) Sharing(code).run();
}

}  // namespace doppel::ir
