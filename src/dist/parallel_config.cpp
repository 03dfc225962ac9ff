#include "r1/dist/launch.h"
#include "r1/util/error.h"
#include "r1/util/strings.h"

namespace r1::dist {

ParallelConfig ParallelConfig::parse(ConfigNode node) {
  ParallelConfig c;
  node.read("data", c.data, at_least<int64_t>(0), "0 takes all ranks that `expert` leaves");
  node.read("expert", c.expert, at_least<int64_t>(1));
  node.read("zero", c.zero);
  node.read("deadline_s", c.deadline_s, above(0.0), "a collective that takes longer ends the job; 1800 is half an hour");
  node.read("heartbeat_s", c.heartbeat_s, at_least(1.0), "a rank tells of itself up to five times a second; 10 is usual");
  node.reject_unknown_keys();
  return c;
}

void ParallelConfig::check_grid(int world_size) const {
  const int64_t left = world_size / expert;
  if (world_size % expert == 0 && (data == 0 || data * expert == world_size)) return;
  const std::string found = data == 0 ? cat("parallel: expert ", expert, " does not divide ", world_size, " ranks")
                                      : cat("parallel: data ", data, " x expert ", expert, " = ", data * expert, " ranks, and ", world_size,
                                            world_size == 1 ? " was started" : " were started");
  std::vector<std::string> grids;
  for (int64_t e = 1; e <= world_size; ++e) {
    if (world_size % e == 0) grids.push_back(cat(world_size / e, " x ", e));
  }
  throw Error(cat(found, "; accepted for ", world_size, " (data x expert): ", join(grids, ", "), ".\n  ",
                  data != 0 ? cat("Start ", data * expert, " ranks, or leave parallel.data out: it is then what `expert` leaves.")
                            : cat("Choose an `expert` of that list, or start ", expert * std::max<int64_t>(1, left), " ranks.")));
}

}  // namespace r1::dist
