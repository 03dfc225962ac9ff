#include "r1/model/expert_ranks.h"

#include <ATen/Functions.h>

namespace r1::model {

bool ExpertRanks::any(bool mine) const {
  if (!dealt()) return mine;
  const auto some = at::full({1}, mine ? 1 : 0, at::TensorOptions(group->device()).dtype(at::kLong));
  group->all_reduce(some, dist::Reduce::kMax, "passes to make").wait();
  return some.item<int64_t>() != 0;  // sync: the host decides
}

}  // namespace r1::model
