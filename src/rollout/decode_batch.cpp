#include "decode_batch.h"

#include <torch/torch.h>

#include <algorithm>
#include <bit>
#include <cstring>

namespace r1::rollout {
namespace {

constexpr int64_t kLeastTokens = 256;

int64_t power_of_two(int64_t x) { return static_cast<int64_t>(std::bit_ceil(static_cast<uint64_t>(x))); }
int64_t padded(int64_t bytes) { return (bytes + 15) / 16 * 16; }

}  // namespace

StepBounds bounds_of(const std::vector<DecodeRow>& rows, int64_t max_batch) {
  StepBounds b;
  b.rows = std::min(max_batch, power_of_two(std::max<int64_t>(1, static_cast<int64_t>(rows.size()))));
  b.tokens = kLeastTokens;
  for (const auto& row : rows) {
    b.tokens = std::max(b.tokens, power_of_two(row.position + 1));
    if (row.prefix_tokens > 0) b.prefix_tokens = std::max({b.prefix_tokens, kLeastTokens, power_of_two(row.prefix_tokens)});
  }
  return b;
}

int64_t DecodeBatch::num_bytes(int64_t B) {
  return 2 * padded(8 * B) + 2 * padded(4 * B) + 2 * padded(4 * (B + 1)) + padded(static_cast<int64_t>(sizeof(ops::Draw)) * B);
}

DecodeBatch::Views::Views(const at::Tensor& bytes, int64_t B) {
  int64_t at = 0;
  const auto take = [&](int64_t count, int64_t size) {
    const auto part = bytes.narrow(0, at, count * size);
    at += padded(count * size);
    return part;
  };
  slots = take(B, 8).view(torch::kLong);
  positions_N = take(B, 8).view(torch::kLong);
  positions = take(B, 4).view(torch::kInt);
  prefix_tokens = take(B, 4).view(torch::kInt);
  first_rows = take(B + 1, 4).view(torch::kInt);
  first_runs = take(B + 1, 4).view(torch::kInt);
  draws = take(B, sizeof(ops::Draw)).view({B, static_cast<int64_t>(sizeof(ops::Draw))});
}

DecodeBatch::DecodeBatch(int64_t max_batch, int64_t max_tokens, at::Device device) : max_batch_(max_batch) {
  const auto here = torch::TensorOptions(device);
  const int64_t pages = max_batch * (std::max(kLeastTokens, power_of_two(max_tokens)) / ops::page_tokens());
  bytes_ = torch::zeros({num_bytes(max_batch)}, here.dtype(torch::kByte));
  tables_ = torch::zeros({pages}, here.dtype(torch::kInt));
  for (int place = 0; place <= kIdlePlace; ++place) {
    host_bytes_[place] = ops::host_buffer({num_bytes(max_batch)}, torch::kByte, device);
    host_tables_[place] = ops::host_buffer({pages}, torch::kInt, device);
    host_.emplace_back(host_bytes_[place], max_batch);
    for (int64_t r = 0; r <= max_batch; ++r) host_[static_cast<size_t>(place)].first_rows.data_ptr<int32_t>()[r] = static_cast<int32_t>(r);
    fill_idle(place, 0, max_batch);
  }
  const Views views(bytes_, max_batch);
  slots_ = views.slots;
  positions_N_ = views.positions_N;
  positions_ = views.positions;
  prefix_tokens_ = views.prefix_tokens;
  first_rows_ = views.first_rows;
  first_runs_ = views.first_runs;
  draws_ = views.draws;
}

void DecodeBatch::fill_idle(int place, int64_t from, int64_t to) {
  auto& h = host_[static_cast<size_t>(place)];
  const auto idle = ops::make_draw(-1, {}, {});
  for (int64_t r = from; r < to; ++r) {
    h.slots.data_ptr<int64_t>()[r] = max_batch_;
    h.positions_N.data_ptr<int64_t>()[r] = 0;
    h.positions.data_ptr<int32_t>()[r] = -1;
    h.prefix_tokens.data_ptr<int32_t>()[r] = 0;
    std::memcpy(h.draws.data_ptr<uint8_t>() + r * static_cast<int64_t>(sizeof(idle)), &idle, sizeof(idle));
  }
}

void DecodeBatch::upload(const std::vector<DecodeRow>& rows, const StepBounds& bounds, const ops::SamplingRule& rule, int place) {
  auto& h = host_[static_cast<size_t>(place)];
  const auto n = static_cast<int64_t>(rows.size());
  auto* first_runs = h.first_runs.data_ptr<int32_t>();
  int64_t groups = 0;
  for (int64_t r = 0; r < n; ++r) {
    const auto& row = rows[static_cast<size_t>(r)];
    h.slots.data_ptr<int64_t>()[r] = row.slot;
    h.positions_N.data_ptr<int64_t>()[r] = row.position;
    h.positions.data_ptr<int32_t>()[r] = static_cast<int32_t>(row.position);
    h.prefix_tokens.data_ptr<int32_t>()[r] = static_cast<int32_t>(row.prefix_tokens);
    const auto draw = ops::make_draw(r, rule, row.draw);
    std::memcpy(h.draws.data_ptr<uint8_t>() + r * static_cast<int64_t>(sizeof(draw)), &draw, sizeof(draw));
    if (r == 0 || row.group != rows[static_cast<size_t>(r) - 1].group) first_runs[groups++] = static_cast<int32_t>(r);
  }
  std::fill(first_runs + groups, first_runs + max_batch_ + 1, static_cast<int32_t>(n));  // the other groups are empty
  fill_idle(place, n, max_batch_);
  bytes_.copy_(host_bytes_[place], /*non_blocking=*/true);
  fill_tables(rows, bounds, place);
}

void DecodeBatch::fill_tables(const std::vector<DecodeRow>& rows, const StepBounds& bounds, int place) {
  const int64_t pages = bounds.tokens / ops::page_tokens(), n = static_cast<int64_t>(rows.size());
  if (pages != sent_pages_) sent_tables_.clear();
  sent_pages_ = pages;
  if (static_cast<int64_t>(sent_tables_.size()) < n * pages) sent_tables_.resize(static_cast<size_t>(n * pages), -1);
  bool differs = false;
  for (int64_t r = 0; r < n; ++r) {
    const auto& row = rows[static_cast<size_t>(r)];
    const int64_t used = row.position / ops::page_tokens() + 1;
    auto* sent = sent_tables_.data() + r * pages;
    if (std::equal(sent, sent + used, row.pages->begin())) continue;
    std::copy(row.pages->begin(), row.pages->begin() + used, sent);
    differs = true;
  }
  if (!differs) return;
  std::copy(sent_tables_.begin(), sent_tables_.begin() + n * pages, host_tables_[place].data_ptr<int32_t>());
  tables_.narrow(0, 0, n * pages).copy_(host_tables_[place].narrow(0, 0, n * pages), /*non_blocking=*/true);
}

void DecodeBatch::upload_first(const std::vector<DecodeRow>& rows, const std::vector<int64_t>& row_of, const ops::SamplingRule& rule,
                               int place) {
  auto& h = host_[static_cast<size_t>(place)];
  for (size_t r = 0; r < rows.size(); ++r) {
    h.slots.data_ptr<int64_t>()[r] = rows[r].slot;
    const auto draw = ops::make_draw(row_of[r], rule, rows[r].draw);
    std::memcpy(h.draws.data_ptr<uint8_t>() + r * sizeof(draw), &draw, sizeof(draw));
  }
  bytes_.copy_(host_bytes_[place], /*non_blocking=*/true);
}

ops::DeviceRuns DecodeBatch::runs(const StepBounds& bounds, int64_t max_group_rows) const {
  const int64_t B = bounds.rows, pages = bounds.tokens / ops::page_tokens();
  ops::DeviceRuns runs;
  runs.positions_N = positions_N_.narrow(0, 0, B);
  runs.first_rows = first_rows_.narrow(0, 0, B + 1);
  runs.positions = positions_.narrow(0, 0, B);
  runs.tables = tables_.narrow(0, 0, B * pages).view({B, pages});
  if (bounds.prefix_tokens > 0) {
    runs.prefix_tokens = prefix_tokens_.narrow(0, 0, B);
    runs.first_runs = first_runs_.narrow(0, 0, B + 1);
    runs.max_group_rows = std::min(B, max_group_rows);
    runs.max_prefix_tokens = bounds.prefix_tokens;
  }
  runs.max_tokens = bounds.tokens;
  runs.split_keys = true;
  return runs;
}

}  // namespace r1::rollout
