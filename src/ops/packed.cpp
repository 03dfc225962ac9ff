#include "r1/ops/packed.h"

#include <ATen/ATen.h>

#include "device.h"

namespace r1::ops {

Segment PackedLayout::add_sequence(int64_t num_tokens) {
  segments.push_back({num_rows, num_tokens, 0, num_rows});
  num_rows += num_tokens;
  return segments.back();
}

Segment PackedLayout::add_continuation(const Segment& prefix, int64_t num_tokens) {
  segments.push_back({num_rows, num_tokens, prefix.num_rows, prefix.first_row});
  num_rows += num_tokens;
  return segments.back();
}

void PackedLayout::finish() {
  device_plans = make_device_plans();
  positions_N = at::empty({num_rows}, at::kLong);
  auto* positions = positions_N.mutable_data_ptr<int64_t>();
  for (const auto& s : segments) {
    for (int64_t i = 0; i < s.num_rows; ++i) positions[s.first_row + i] = s.first_position + i;
  }
}

}  // namespace r1::ops
