#pragma once
#include <ATen/core/Tensor.h>

#include <vector>

#include "decode_step.h"
#include "r1/ops/cache.h"
#include "r1/ops/device_decode.h"

namespace r1::rollout {

/// How large a step may be: what the grids of its launches are made for.
struct StepBounds {
  int64_t rows = 1;           ///< B
  int64_t tokens = 256;       ///< keys that a row sees
  int64_t prefix_tokens = 0;  ///< keys of the longest prefix; 0: nothing is shared
  auto operator<=>(const StepBounds&) const = default;
};
/// The smallest bounds out of few that `rows` fit into: powers of two, rows up to max_batch, keys from 256.
StepBounds bounds_of(const std::vector<DecodeRow>& rows, int64_t max_batch);

/// A step's inputs at fixed places on a device, and the page-locked places on the host that they come from: one is filled while
/// the device may still read another.
class DecodeBatch {
 public:
  /// For up to max_batch rows that see max_tokens keys; slots 0 .. max_batch - 1, and one more for idle rows.
  DecodeBatch(int64_t max_batch, int64_t max_tokens, at::Device device);

  static constexpr int kIdlePlace = 2;

  /// Queues the copies of a step to the device. `place` on the host: 0, 1 or kIdlePlace, for a step without rows that is over before
  /// the next one of its kind. Rows behind the last one are idle.
  void upload(const std::vector<DecodeRow>& rows, const StepBounds& bounds, const ops::SamplingRule& rule, int place);
  /// The same of first tokens: draws from logits row row_of[i] for rows[i].
  void upload_first(const std::vector<DecodeRow>& rows, const std::vector<int64_t>& row_of, const ops::SamplingRule& rule, int place);

  /// On the device, of the first B rows.
  at::Tensor slots(int64_t B) const { return slots_.narrow(0, 0, B); }
  at::Tensor draws(int64_t B) const { return draws_.narrow(0, 0, B); }
  ops::DeviceRuns runs(const StepBounds& bounds, int64_t max_group_rows) const;

 private:
  struct Views {
    explicit Views(const at::Tensor& bytes, int64_t max_batch);
    at::Tensor slots, positions_N, positions, prefix_tokens, first_rows, first_runs, draws;
  };
  static int64_t num_bytes(int64_t max_batch);
  void fill_idle(int place, int64_t from, int64_t to);
  void fill_tables(const std::vector<DecodeRow>& rows, const StepBounds& bounds, int place);

  int64_t max_batch_;
  at::Tensor bytes_, tables_;                  // on the device
  at::Tensor host_bytes_[3], host_tables_[3];  // page-locked
  std::vector<Views> host_;
  at::Tensor slots_, positions_N_, positions_, prefix_tokens_, first_rows_, first_runs_, draws_;  // views of bytes_
  std::vector<int32_t> sent_tables_;  // what tables_ holds, in rows of sent_pages_; -1: unknown
  int64_t sent_pages_ = 0;
};

}  // namespace r1::rollout
