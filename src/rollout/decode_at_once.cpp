#include <torch/torch.h>

#include <deque>

#include "decode_step.h"

namespace r1::rollout {
namespace {

class StepAtOnce : public DecodeStep {
 public:
  StepAtOnce(model::Transformer model, model::KvCache& cache, bool record_routes, bool keep_hidden)
      : model_(std::move(model)), cache_(&cache), record_routes_(record_routes), keep_hidden_(keep_hidden) {}

  size_t steps_ahead() const override { return 0; }

  void begin(const ops::SamplingRule& rule, int64_t) override {
    rule_ = rule;
    done_.clear();
  }

  void first(const at::Tensor& logits_RV, const std::vector<int64_t>& row_of, const std::vector<DecodeRow>& rows) override {
    std::vector<double> uniforms;
    StepResult result;
    for (size_t i = 0; i < rows.size(); ++i) {
      uniforms.push_back(draw_uniform(rows[i].draw));
      result.first.push_back(static_cast<int64_t>(i));
    }
    result.drawn = ops::sample_tokens(logits_RV, row_of, uniforms, rule_);
    done_.push_back(std::move(result));
  }

  void next(const std::vector<DecodeRow>& rows) override {
    std::vector<int64_t> ids, row_of;
    std::vector<double> uniforms;
    std::vector<ops::CacheRun> runs;
    StepResult result;
    for (const auto& row : rows) {
      const auto first = static_cast<int64_t>(ids.size());
      const int64_t tokens = row.draft < 0 ? 1 : 2;
      result.first.push_back(first);
      runs.push_back({first, tokens, row.position, row.pages});
      ids.push_back(row.token);
      if (row.draft >= 0) ids.push_back(row.draft);
      auto draw = row.draw;
      for (int64_t k = 0; k < tokens; ++k, ++draw.position) {
        row_of.push_back(first + k);
        uniforms.push_back(draw_uniform(draw));
      }
    }
    const auto routing = record_routes_ ? std::make_shared<model::Routing>() : nullptr;
    const auto hidden_NC = model_->hidden_cached(torch::tensor(ids, torch::kLong), *cache_, runs, routing);
    result.drawn = ops::sample_tokens(model_->logits(hidden_NC), row_of, uniforms, rule_);
    result.routes_NLK = routes_of(routing);
    if (keep_hidden_) result.hidden_NC = hidden_NC;
    done_.push_back(std::move(result));
  }

  StepResult collect() override {
    auto result = std::move(done_.front());
    done_.pop_front();
    return result;
  }

 private:
  model::Transformer model_;
  model::KvCache* cache_;
  bool record_routes_, keep_hidden_;
  ops::SamplingRule rule_;
  std::deque<StepResult> done_;
};

}  // namespace

std::unique_ptr<DecodeStep> make_step_at_once(model::Transformer model, model::KvCache& cache, bool record_routes, bool keep_hidden) {
  return std::make_unique<StepAtOnce>(std::move(model), cache, record_routes, keep_hidden);
}

at::Tensor routes_of(const model::RoutingPtr& routing) {
  if (!routing || routing->experts.empty()) return {};
  return torch::stack(routing->experts, 1).cpu();  // sync: for the host's records
}

}  // namespace r1::rollout
