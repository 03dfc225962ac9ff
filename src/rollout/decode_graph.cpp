#include <torch/torch.h>

#include <algorithm>
#include <bit>
#include <deque>
#include <map>

#include "decode_batch.h"
#include "decode_step.h"

// A step on a device without a word from the host: the tokens that a step draws stay in slots, from which the next step takes its
// inputs. The host queues step t, and only then looks at the tokens of step t - 1; a sequence that had ended there has been computed
// once too often, which harms nobody: its pages and its slot are handed on in the order of the stream.
namespace r1::rollout {
namespace {

class StepByGraph : public DecodeStep {
 public:
  StepByGraph(model::Transformer model, model::KvCache& cache, int64_t max_batch, bool record_routes)
      : model_(std::move(model)),
        cache_(&cache),
        max_batch_(max_batch),
        record_routes_(record_routes && !model_->expert_layers().empty()),
        batch_(max_batch, model_->config().max_positions, model_->device()) {
    const auto here = torch::TensorOptions(model_->device());
    // Idle rows read slot max_batch and whatever token lies in their place of tokens_: both must be a token.
    slot_tokens_ = torch::zeros({max_batch + 1}, here.dtype(torch::kLong));
    tokens_ = torch::zeros({max_batch}, here.dtype(torch::kLong));
    logprobs_ = torch::zeros({max_batch}, here.dtype(torch::kFloat));
    const auto& c = model_->config();
    const std::vector<int64_t> routes{max_batch, c.num_expert_layers(), c.num_experts_per_tok};
    if (record_routes_) routes_ = torch::zeros(routes, here.dtype(torch::kLong));
    for (auto& place : places_) {
      place.tokens = ops::host_buffer({max_batch}, torch::kLong, model_->device());
      place.logprobs = ops::host_buffer({max_batch}, torch::kFloat, model_->device());
      if (record_routes_) place.routes = ops::host_buffer(routes, torch::kLong, model_->device());
    }
    model_->reserve_positions(c.max_positions);
  }

  size_t steps_ahead() const override { return 1; }

  void begin(const ops::SamplingRule& rule, int64_t completions_per_prompt) override {
    while (!under_way_.empty()) collect();  // of a call that broke off
    rule_ = rule;
    const auto group_rows = static_cast<int64_t>(std::bit_ceil(static_cast<uint64_t>(completions_per_prompt)));
    auto weights = weight_addresses();
    if (group_rows != max_group_rows_ || weights != weights_) graphs_.clear();
    max_group_rows_ = group_rows;
    weights_ = std::move(weights);
  }

  void first(const at::Tensor& logits_RV, const std::vector<int64_t>& row_of, const std::vector<DecodeRow>& rows) override {
    const auto n = static_cast<int64_t>(rows.size());
    const int place = next_place();
    batch_.upload_first(rows, row_of, rule_, place);
    ops::draw_tokens(logits_RV, batch_.draws(n), tokens_.narrow(0, 0, n), logprobs_.narrow(0, 0, n));
    slot_tokens_.index_copy_(0, batch_.slots(n), tokens_.narrow(0, 0, n));
    fetch(place, n, false);
  }

  void next(const std::vector<DecodeRow>& rows) override {
    const auto bounds = bounds_of(rows, max_batch_);
    auto& graph = graph_for(bounds);
    const int place = next_place();
    batch_.upload(rows, bounds, rule_, place);
    graph.replay();
    fetch(place, static_cast<int64_t>(rows.size()), record_routes_);
  }

  StepResult collect() override {
    auto& place = places_[static_cast<size_t>(under_way_.front())];
    under_way_.pop_front();
    place.fetch.wait();  // sync: with the step before the one that was queued last
    StepResult result;
    for (int64_t i = 0; i < place.rows; ++i) {
      result.first.push_back(i);
      result.drawn.tokens.push_back(static_cast<int32_t>(place.tokens.data_ptr<int64_t>()[i]));
      result.drawn.logprobs.push_back(place.logprobs.data_ptr<float>()[i]);
    }
    if (place.with_routes) result.routes_NLK = place.routes.narrow(0, 0, place.rows);
    return result;
  }

 private:
  // Where a step's results arrive.
  struct Place {
    at::Tensor tokens, logprobs, routes;
    ops::Fetch fetch;
    int64_t rows = 0;
    bool with_routes = false;
  };

  // Alternating: the step before the last has been collected, so nobody reads its place.
  int next_place() {
    TORCH_INTERNAL_ASSERT(under_way_.size() < 2, "a decoding step is queued while two are under way");
    last_place_ = 1 - last_place_;
    return last_place_;
  }

  void fetch(int at, int64_t n, bool with_routes) {
    auto& place = places_[static_cast<size_t>(at)];
    place.rows = n;
    place.with_routes = with_routes;
    std::vector<std::pair<at::Tensor, at::Tensor>> copies{{tokens_.narrow(0, 0, n), place.tokens.narrow(0, 0, n)},
                                                          {logprobs_.narrow(0, 0, n), place.logprobs.narrow(0, 0, n)}};
    if (with_routes) copies.emplace_back(routes_.narrow(0, 0, n), place.routes.narrow(0, 0, n));
    place.fetch.start(copies);
    under_way_.push_back(at);
  }

  ops::LaunchGraph& graph_for(const StepBounds& bounds) {
    auto& graph = graphs_[bounds];
    if (graph) return *graph;
    batch_.upload({}, bounds, rule_, DecodeBatch::kIdlePlace);  // idle rows: running them changes nothing
    const auto recorded = std::find_if(graphs_.begin(), graphs_.end(), [](const auto& g) { return g.second != nullptr; });
    const auto* other = recorded == graphs_.end() ? nullptr : recorded->second.get();
    auto fresh = std::make_unique<ops::LaunchGraph>();
    fresh->record(model_->device(), [this, bounds] { launch(bounds); }, other);
    graph = std::move(fresh);
    return *graph;
  }

  void launch(const StepBounds& bounds) {
    const torch::NoGradGuard no_grad;
    const int64_t B = bounds.rows;
    const auto slots_B = batch_.slots(B);
    const auto routing = record_routes_ ? std::make_shared<model::Routing>() : nullptr;
    const auto hidden_BC =
        model_->hidden_cached(slot_tokens_.index_select(0, slots_B), *cache_, batch_.runs(bounds, max_group_rows_), routing);
    ops::draw_tokens(model_->logits(hidden_BC), batch_.draws(B), tokens_.narrow(0, 0, B), logprobs_.narrow(0, 0, B));
    slot_tokens_.index_copy_(0, slots_B, tokens_.narrow(0, 0, B));
    if (routing) routes_.narrow(0, 0, B).copy_(torch::stack(routing->experts, 1));
  }

  // What a graph has written into itself.
  std::vector<const void*> weight_addresses() const {
    std::vector<const void*> addresses;
    for (const auto& p : model_->parameters()) addresses.push_back(p.const_data_ptr());
    for (const auto& b : model_->buffers()) addresses.push_back(b.const_data_ptr());
    return addresses;
  }

  model::Transformer model_;
  model::KvCache* cache_;
  int64_t max_batch_;
  bool record_routes_;
  DecodeBatch batch_;
  ops::SamplingRule rule_;
  int64_t max_group_rows_ = 0;
  std::vector<const void*> weights_;
  at::Tensor slot_tokens_;                 // [max_batch + 1]: the last token of a slot
  at::Tensor tokens_, logprobs_, routes_;  // what the last step drew, before it is fetched
  std::map<StepBounds, std::unique_ptr<ops::LaunchGraph>> graphs_;
  Place places_[2];
  int last_place_ = 1;
  std::deque<int> under_way_;
};

}  // namespace

std::unique_ptr<DecodeStep> make_step_by_graph(model::Transformer model, model::KvCache& cache, int64_t max_batch, bool record_routes) {
  return std::make_unique<StepByGraph>(std::move(model), cache, max_batch, record_routes);
}

}  // namespace r1::rollout
