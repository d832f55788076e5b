// What `doppel stats` shows is what the machine counted.
#include "api/statistics_record.h"

#include <gtest/gtest.h>

namespace doppel {
namespace {

using nlohmann::json;

TEST(StatisticsRecords, ComeBackAsTheyWere) {
  MachineStatistics s;
  s.seconds = 1.5, s.seconds_waiting = 0.25, s.cpus = 2, s.dirty_pages = 7, s.memory_hash = ~0ULL;
  s.harts.instructions = 1ULL << 60;
  s.harts.dispatches = 3;
  s.harts.interpreted[5] = 11;
  s.engine = EngineCounters{.translations = 4, .path_loops = 9};
  s.code_store = CodeStoreCounters{.known = 1, .rejected = 2, .problem = "full"};
  s.places = {{0xffffffff80000000, 'S'}, {0x1000, 'M'}};
  const auto text = statistics_json(s).dump();
  const auto back = read_statistics(json::parse(text));
  EXPECT_EQ(statistics_json(back).dump(), text);
  EXPECT_EQ(back.harts.instructions, s.harts.instructions);
  EXPECT_EQ(back.harts.interpreted[5], 11u);
  EXPECT_EQ(back.engine->path_loops, 9u);
  EXPECT_EQ(back.code_store->problem, "full");
  EXPECT_EQ(back.places[0].pc, s.places[0].pc);
  EXPECT_EQ(back.memory_hash, ~0ULL);
}

TEST(StatisticsRecords, OfStrangersAreReadWithoutHarm) {
  for (const auto* text : {"1", "[]", "{}", "{\"harts\":[],\"engine\":7,\"places\":{}}",
                           "{\"places\":[1,{}, {\"mode\":\"\\u001b\",\"pc\":-1}]}",
                           "{\"seconds\":\"x\",\"cpus\":-1,\"interpreted\":[]}"}) {
    const auto s = read_statistics(json::parse(text));
    EXPECT_EQ(s.harts.instructions, 0u);
    EXPECT_EQ(s.cpus, 0u);
  }
}

}  // namespace
}  // namespace doppel
