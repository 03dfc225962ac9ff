#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <vector>

namespace r1::ops {

/// Consecutive tokens of one sequence among N packed rows. Rows first_row + i have position first_position + i; the
/// token at position t attends to positions 0..t. When first_position > 0, positions 0..first_position - 1 are the rows
/// prefix_row, prefix_row + 1, ... of an earlier segment: a prompt that several completions share.
struct Segment {
  int64_t first_row = 0;
  int64_t num_rows = 0;
  int64_t first_position = 0;
  int64_t prefix_row = 0;
};

/// What a device's attention works by: made of a layout at the first pass, used by all layers and passes.
struct DevicePlans;

/// Which packed row is which token of which sequence; rows are covered once, in order.
struct PackedLayout {
  std::vector<Segment> segments;
  int64_t num_rows = 0;
  at::Tensor positions_N;  ///< [N] int64
  std::shared_ptr<DevicePlans> device_plans;  ///< shared by copies; null without CUDA

  /// Appends a sequence of its own; returns its segment.
  Segment add_sequence(int64_t num_tokens);
  /// Appends a continuation of `prefix` (a sequence of its own that was added before).
  Segment add_continuation(const Segment& prefix, int64_t num_tokens);
  /// Fills positions_N and begins device_plans; call once after the last add.
  void finish();
};

}  // namespace r1::ops
