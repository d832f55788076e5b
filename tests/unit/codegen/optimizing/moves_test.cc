// Values change places where a path is left or goes round: a move in the wrong order loses a guest register.
#include "codegen/optimizing/moves.h"

#include <gtest/gtest.h>

#include <map>
#include <random>

namespace doppel::optimizing {
namespace {

using Kind = Location::Kind;

bool operator<(const Location& x, const Location& y) {
  return std::tuple(x.kind, x.number, x.value) < std::tuple(y.kind, y.number, y.value);
}
struct Before {
  bool operator()(const Location& x, const Location& y) const { return x < y; }
};

TEST(Moves, HappenAsIfAtOnce) {
  std::mt19937 random(1);
  for (int round = 0; round < 3000; round++) {
    std::vector<Location> places;
    for (std::uint16_t n = 0; n < 12; n++) places.push_back({.kind = Kind::gp, .number = n});
    for (std::uint16_t n = 0; n < 6; n++) places.push_back({.kind = Kind::home, .number = n});
    std::map<Location, int, Before> content, wanted;
    for (const auto& place : places) content[place] = int(content.size());
    auto targets = places;
    std::shuffle(targets.begin(), targets.end(), random);
    targets.resize(random() % targets.size() + 1);
    std::vector<Move> moves = {{.to = places[0], .from = places[1]}};  // not of these
    for (const auto& to : targets) {
      const auto from = places[random() % places.size()];
      moves.push_back({.to = to, .from = from});
      wanted[to] = content[from];
    }
    ASSERT_TRUE(put_in_order(moves, 1, 16));
    for (std::size_t n = 1; n < moves.size(); n++) content[moves[n].to] = content[moves[n].from];
    for (const auto& [place, value] : wanted) ASSERT_EQ(content[place], value);
  }
}

TEST(Moves, CirclesNeedSpareWords) {
  const Location a{.kind = Kind::gp, .number = 0}, b{.kind = Kind::gp, .number = 1};
  std::vector<Move> moves = {{.to = a, .from = b}, {.to = b, .from = a}};
  auto too_few = moves;
  EXPECT_FALSE(put_in_order(too_few, 0, 0));
  EXPECT_TRUE(put_in_order(moves, 0, 1));
  EXPECT_EQ(moves.size(), 3u);
}

}  // namespace
}  // namespace doppel::optimizing
