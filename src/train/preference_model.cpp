#include "r1/train/preference_model.h"

#include <torch/torch.h>

#include <algorithm>
#include <limits>

#include "r1/ops/devices.h"
#include "r1/ops/ops.h"
#include "r1/util/error.h"
#include "r1/util/strings.h"
#include "tokens.h"

namespace r1::train {

PreferenceModel::PreferenceModel(model::Transformer backbone)
    : backbone_(std::move(backbone)),
      weight_1C_(torch::zeros({1, backbone_->config().hidden_size},
                              torch::TensorOptions(backbone_->device()).dtype(torch::kFloat).requires_grad(true))) {}

PreferenceModel PreferenceModel::load(const model::ModelConfig& config, const CheckpointReader& reader, at::TensorOptions options) {
  PreferenceModel model{model::Transformer(config, options)};
  reader.load_group("model", model.backbone_->named_tensors());
  reader.load_group("score", {{"score.weight", model.weight_1C_.detach()}});
  for (auto& p : model.backbone_->parameters()) p.requires_grad_(false);
  model.weight_1C_.requires_grad_(false);
  return model;
}

TokenTree PreferenceModel::tree(const Tokenizer& tokenizer, std::vector<int32_t> prompt,
                                std::vector<std::vector<int32_t>> completions) const {
  const auto eos = tokenizer.eos_id();
  const auto& ends = tokenizer.eos_ids();
  const int64_t room = backbone_->config().max_positions - static_cast<int64_t>(prompt.size()) - (eos ? 1 : 0);
  if (room < 1) {
    throw Error(cat("a prompt of ", prompt.size(), " tokens leaves no room in the reward model's context of ",
                    backbone_->config().max_positions, " tokens. Shorten it, or leave it out."));
  }
  for (auto& tokens : completions) {
    if (!tokens.empty() && std::find(ends.begin(), ends.end(), tokens.back()) != ends.end()) tokens.pop_back();
    if (static_cast<int64_t>(tokens.size()) > room) tokens.resize(static_cast<size_t>(room));
    if (eos) tokens.push_back(*eos);
    // What follows the text is never read: the packed batch holds a row for every token but a continuation's last.
    tokens.push_back(0);
  }
  return {std::move(prompt), std::move(completions)};
}

at::Tensor PreferenceModel::score(const PackedBatch& batch) const {
  // The row that would predict what follows a text is the row of its end.
  const auto num_members = static_cast<int64_t>(batch.members.size());
  auto end_S = torch::zeros({num_members}, torch::kLong);
  const auto* rows = batch.rows_M.data_ptr<int64_t>();
  const auto* sequences = batch.sequence_M.data_ptr<int64_t>();
  for (int64_t m = 0; m < batch.rows_M.size(0); ++m) end_S.data_ptr<int64_t>()[sequences[m]] = rows[m];
  end_S = ops::to_device(end_S, weight_1C_.device());
  const auto hidden_SC = gather_rows(backbone_.ptr()->hidden(batch.tokens_N, batch.layout), end_S);
  // In float32 on a device too: scores are compared with each other.
  return ops::linear(backbone_.ptr()->final_norm(hidden_SC).to(torch::kFloat), weight_1C_.to(torch::kFloat)).squeeze(-1);
}

model::PassCounts PreferenceModel::add_part(std::vector<ScoredGroup>& groups, const Tokenizer& tokenizer, const std::string& name,
                                            double weight, int64_t max_tokens) const {
  model::PassCounts computed;
  const torch::NoGradGuard no_grad;
  std::vector<TokenTree> trees;
  for (const auto& g : groups) {
    std::vector<std::vector<int32_t>> completions;
    for (const auto& completion : g.group.completions) completions.push_back(completion.tokens);
    trees.push_back(tree(tokenizer, g.group.prompt.tokens, std::move(completions)));
  }
  size_t first = 0;
  for (const auto& batch : pack_whole_trees(trees, max_tokens)) {
    const auto values_S = torch::sigmoid(score(batch)).to(torch::kDouble).cpu();  // sync: rewards are the host's
    computed += model::counts_of(batch.layout, 0);
    size_t last = first;
    for (size_t s = 0; s < batch.members.size(); ++s) {
      const auto [tree, index] = batch.members[s];
      auto& result = groups[first + tree].scores[index];
      const double value = values_S[static_cast<int64_t>(s)].item<double>();
      result.parts.emplace_back(name, value);
      result.total += weight * value;
      last = first + tree + 1;
    }
    first = last;
  }
  return computed;
}

std::vector<PackedBatch> pack_whole_trees(const std::vector<TokenTree>& trees, int64_t max_tokens) {
  std::vector<PackedBatch> batches;
  std::vector<TokenTree> run;
  int64_t tokens = 0;
  const auto flush = [&] {
    if (run.empty()) return;
    auto packed = pack_micro_batches(run, std::numeric_limits<int64_t>::max());
    batches.push_back(std::move(packed.at(0)));
    run.clear();
    tokens = 0;
  };
  for (const auto& tree : trees) {
    auto size = static_cast<int64_t>(tree.prompt.size());
    for (const auto& continuation : tree.continuations) size += static_cast<int64_t>(continuation.size()) - 1;
    if (tokens + size > max_tokens) flush();
    run.push_back(tree);
    tokens += size;
  }
  flush();
  return batches;
}

}  // namespace r1::train
