#include <gtest/gtest.h>

#include "r1/dist/launch.h"
#include "r1/util/error.h"

namespace r1::dist {
namespace {

std::string grid_error(int64_t data, int64_t expert, int world_size) {
  ParallelConfig c;
  c.data = data;
  c.expert = expert;
  try {
    c.check_grid(world_size);
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

TEST(ParallelConfig, ReadsItsSectionAndRefusesWhatIsNoGrid) {
  const auto c = ParallelConfig::parse(ConfigNode::parse_text("{data: 2, expert: 4, zero: true, deadline_s: 60, heartbeat_s: 5}", "a.yaml"));
  EXPECT_EQ(c.data, 2);
  EXPECT_EQ(c.expert, 4);
  EXPECT_TRUE(c.zero);
  EXPECT_EQ(c.deadline_s, 60);
  EXPECT_EQ(c.heartbeat_s, 5);
  EXPECT_THROW(ParallelConfig::parse(ConfigNode::parse_text("expert: 0", "a.yaml")), Error);
  EXPECT_THROW(ParallelConfig::parse(ConfigNode::parse_text("experts: 2", "a.yaml")), Error);
}

TEST(ParallelConfig, GridMustBeTheNumberOfRanks) {
  EXPECT_EQ(grid_error(0, 1, 1), "");
  EXPECT_EQ(grid_error(0, 2, 6), "");
  EXPECT_EQ(grid_error(3, 2, 6), "");
  EXPECT_EQ(grid_error(4, 2, 6),
            "parallel: data 4 x expert 2 = 8 ranks, and 6 were started; accepted for 6 (data x expert): 6 x 1, 3 x 2, 2 x 3, 1 x 6.\n"
            "  Start 8 ranks, or leave parallel.data out: it is then what `expert` leaves.");
  EXPECT_EQ(grid_error(0, 4, 6),
            "parallel: expert 4 does not divide 6 ranks; accepted for 6 (data x expert): 6 x 1, 3 x 2, 2 x 3, 1 x 6.\n"
            "  Choose an `expert` of that list, or start 4 ranks.");
  EXPECT_NE(grid_error(2, 1, 1).find("and 1 was started"), std::string::npos);
}

}  // namespace
}  // namespace r1::dist
