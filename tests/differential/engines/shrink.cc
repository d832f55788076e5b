#include "shrink.h"

#include <algorithm>

#include "handlers.h"

namespace doppel::differential::engines {
namespace {

using Fails = std::function<bool(const Program&)>;

class Shrinker {
 public:
  Shrinker(Program program, const Fails& fails) : program_(std::move(program)), fails_(fails) {}

  Program shrink() {
    shorten();
    for (bool smaller = true; smaller;) {
      const auto before = size();
      remove_pieces();
      for (std::size_t n = 0; n < program_.pieces.size(); n++) remove_items(n);
      for (std::size_t n = 0; n < program_.pieces.size(); n++) remove_instructions(n);
      simplify();
      merge_stops();
      shorten();
      smaller = size() < before;
    }
    return std::move(program_);
  }

 private:
  std::size_t size() const { return count_instructions(program_) + program_.stops.size() + program_.pieces.size(); }

  template <typename F>
  bool attempt(F&& change) {
    auto candidate = program_;
    change(candidate);
    if (!fails_(candidate)) return false;
    program_ = std::move(candidate);
    return true;
  }

  /// Nothing behind the stop that shows the difference, and that as early as can be.
  void shorten() {
    std::size_t low = 0, high = program_.stops.size();
    while (low + 1 < high) {
      const auto middle = (low + high) / 2;
      if (attempt([&](Program& p) { p.stops.resize(middle); }))
        high = middle;
      else
        low = middle;
    }
    std::uint32_t none = 0, some = program_.stops.back().steps;
    while (none + 1 < some) {
      const auto middle = (none + some) / 2;
      if (attempt([&](Program& p) { p.stops.back().steps = middle; }))
        some = middle;
      else
        none = middle;
    }
  }

  void remove_pieces() {
    for (std::size_t n = program_.pieces.size(); n-- > 0;)
      attempt([&](Program& p) { p.pieces.erase(p.pieces.begin() + std::ptrdiff_t(n)); });
  }

  /// Half of them, a quarter, and so on; what ends the piece stays. Either what follows moves up, or what is before
  /// moves down, so that what lies on the border of two pages may stay there.
  void remove_items(std::size_t piece) {
    for (auto part = std::max<std::size_t>(program_.pieces[piece].items.size() / 2, 1);; part /= 2) {
      for (std::size_t begin = 0; begin + 1 < program_.pieces[piece].items.size();) {
        const auto end = std::min(begin + part, program_.pieces[piece].items.size() - 1);
        const auto remove = [&](Program& p, bool moves_down) {
          auto& items = p.pieces[piece].items;
          U64 bytes = 0;
          for (auto n = begin; n < end; n++) bytes += bytes_of(items[n].code);
          items.erase(items.begin() + std::ptrdiff_t(begin), items.begin() + std::ptrdiff_t(end));
          if (moves_down) p.pieces[piece].offset += bytes;
        };
        if (!attempt([&](Program& p) { remove(p, false); }) && !attempt([&](Program& p) { remove(p, true); }))
          begin += part;
      }
      if (part <= 1) return;
    }
  }

  /// Of items that have no jump inside.
  void remove_instructions(std::size_t piece) {
    for (std::size_t item = 0; item + 1 < program_.pieces[piece].items.size(); item++)
      for (std::size_t n = program_.pieces[piece].items[item].code.size(); n-- > 0;) {
        const auto& present = program_.pieces[piece].items[item];
        if (!present.fixes.empty() || present.whole || present.code.size() < 2) break;
        attempt([&](Program& p) {
          auto& code = p.pieces[piece].items[item].code;
          code.erase(code.begin() + std::ptrdiff_t(n));
        });
      }
  }

  void simplify() {
    if (program_.way == Way::exact) attempt([](Program& p) { p.way = Way::plain; });
    attempt([](Program& p) { p.windows = place::low; });
    attempt([](Program& p) { p.registers = {}; });
    for (auto& registers : program_.registers) {
      const auto hart = &registers - program_.registers.data();
      for (unsigned n = 1; n < 32; n++)
        if (program_.registers[hart].x[n]) attempt([&](Program& p) { p.registers[hart].x[n] = 0; });
      for (unsigned n = 0; n < 32; n++)
        if (program_.registers[hart].f[n]) attempt([&](Program& p) { p.registers[hart].f[n] = 0; });
    }
    attempt([](Program& p) { p.medeleg = 0; });
    attempt([](Program& p) { p.mideleg = 0; });
    attempt([](Program& p) { p.fcsr = 0; });
    for (std::size_t n = 0; n < program_.pieces.size(); n++)
      attempt([&](Program& p) { p.pieces[n].setting.alias = false; });
    for (std::size_t n = 0; n < program_.stops.size(); n++)
      if (program_.stops[n].event != Stop::Event::none)
        attempt([&](Program& p) { p.stops[n].event = Stop::Event::none; });
  }

  void merge_stops() {
    for (std::size_t n = program_.stops.size() - 1; n-- > 0;)
      attempt([&](Program& p) {
        p.stops[n + 1].steps += p.stops[n].steps;
        p.stops.erase(p.stops.begin() + std::ptrdiff_t(n));
      });
    for (std::size_t n = program_.stops.size() - 1; n-- > 0;)
      attempt([&](Program& p) { p.stops.erase(p.stops.begin() + std::ptrdiff_t(n)); });
  }

  Program program_;
  const Fails& fails_;
};

}  // namespace

Program shrink(Program program, const Fails& fails) { return Shrinker(std::move(program), fails).shrink(); }

}  // namespace doppel::differential::engines
