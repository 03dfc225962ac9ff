#include "drafter.h"

#include <torch/torch.h>

#include "r1/ops/devices.h"

namespace r1::rollout {
namespace {

torch::Tensor long_tensor(const std::vector<int64_t>& values) { return torch::tensor(values, torch::kLong); }

torch::Tensor rows_of(const torch::Tensor& x, const std::vector<int64_t>& rows) { return x.index_select(0, ops::to_device(long_tensor(rows), x.device())); }

}  // namespace

model::PassCounts Drafter::add_prompts(const at::Tensor& tokens_N, const at::Tensor& normed_NC, const std::vector<ops::CacheRun>& runs) {
  std::vector<int64_t> hidden_rows, token_rows;
  std::vector<ops::CacheRun> own;
  model::PassCounts counts;
  for (const auto& run : runs) {
    if (run.num_rows < 2) continue;
    own.push_back({static_cast<int64_t>(hidden_rows.size()), run.num_rows - 1, 0, run.pages});
    for (int64_t i = 0; i + 1 < run.num_rows; ++i) {
      hidden_rows.push_back(run.first_row + i);
      token_rows.push_back(run.first_row + i + 1);
    }
    counts += model::counts_of(1, 0, static_cast<double>(run.num_rows - 1));
  }
  if (own.empty()) return {};
  counts.logit_rows = 0;
  model_->mtp_hidden_cached(rows_of(tokens_N, token_rows), rows_of(normed_NC, hidden_rows), *cache_, own);
  return model::mtp_counts(model_->config(), counts);
}

model::PassCounts Drafter::propose(const std::vector<Request>& requests) {
  if (requests.empty()) return {};
  std::vector<int64_t> tokens, last_rows, rows;
  std::vector<at::Tensor> hidden;
  std::vector<ops::CacheRun> runs;
  std::vector<double> uniforms;
  model::PassCounts counts;
  for (const auto& r : requests) {
    const auto count = static_cast<int64_t>(r.draft->waiting.size());
    TORCH_INTERNAL_ASSERT(count > 0, "a sequence has a token that its MTP module has not seen");
    runs.push_back({static_cast<int64_t>(tokens.size()), count, r.draft->rows, r.pages});
    tokens.insert(tokens.end(), r.completion->end() - count, r.completion->end());
    hidden.insert(hidden.end(), r.draft->waiting.begin(), r.draft->waiting.end());
    last_rows.push_back(static_cast<int64_t>(tokens.size()) - 1);
    rows.push_back(static_cast<int64_t>(rows.size()));
    uniforms.push_back(r.uniform);
    counts += model::counts_of(1, static_cast<double>(r.draft->rows), static_cast<double>(count));
    r.draft->rows += count;
    r.draft->waiting.clear();
  }
  counts.logit_rows = static_cast<double>(requests.size());
  const auto hidden_MC = model_->mtp_hidden_cached(long_tensor(tokens), torch::cat(hidden), *cache_, runs);
  const auto logits = model_->mtp_logits(rows_of(hidden_MC, last_rows));
  const auto drawn = ops::sample_tokens(logits, rows, uniforms, rule_);
  for (size_t i = 0; i < requests.size(); ++i) requests[i].draft->token = drawn.tokens[i];
  return model::mtp_counts(model_->config(), counts);
}

}  // namespace r1::rollout
