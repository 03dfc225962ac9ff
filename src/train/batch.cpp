#include "r1/train/batch.h"

#include <torch/torch.h>

#include <algorithm>

#include "r1/ops/devices.h"

namespace r1::train {
namespace {

class Packer {
 public:
  Packer(int64_t max_tokens, bool share_prompts) : max_tokens_(max_tokens), share_(share_prompts) {}

  void add(size_t tree, size_t index, const TokenTree& t) {
    TORCH_CHECK(!t.prompt.empty(), "pack_micro_batches: a prompt needs a token that predicts the first continuation");
    const auto& text = t.continuations[index];
    const int64_t rows = std::max<int64_t>(0, static_cast<int64_t>(text.size()) - 1);
    const auto P = static_cast<int64_t>(t.prompt.size());
    const bool prompt_there = share_ && open_tree_ == static_cast<int64_t>(tree);
    if (batch_.layout.num_rows + rows + (prompt_there ? 0 : P) > max_tokens_) flush();
    if (!share_ || open_tree_ != static_cast<int64_t>(tree)) {
      prefix_ = batch_.layout.add_sequence(P);
      batch_.segment_members.push_back({tree, -1});
      tokens_.insert(tokens_.end(), t.prompt.begin(), t.prompt.end());
      open_tree_ = static_cast<int64_t>(tree);
    }
    const int64_t first = batch_.layout.num_rows;
    if (rows > 0) {
      batch_.layout.add_continuation(prefix_, rows);
      batch_.segment_members.push_back({tree, static_cast<int64_t>(index)});
    }
    tokens_.insert(tokens_.end(), text.begin(), text.begin() + rows);
    for (size_t i = 0; i < text.size(); ++i) {
      rows_.push_back(i == 0 ? prefix_.first_row + P - 1 : first + static_cast<int64_t>(i) - 1);
      targets_.push_back(text[i]);
      sequence_.push_back(static_cast<int64_t>(batch_.members.size()));
    }
    batch_.members.emplace_back(tree, index);
  }

  void flush() {
    if (batch_.members.empty()) return;
    batch_.layout.finish();
    batch_.tokens_N = torch::tensor(tokens_, torch::kLong);
    batch_.rows_M = torch::tensor(rows_, torch::kLong);
    batch_.targets_M = torch::tensor(targets_, torch::kLong);
    batch_.sequence_M = torch::tensor(sequence_, torch::kLong);
    batches_.push_back(std::move(batch_));
    batch_ = {};
    tokens_.clear();
    rows_.clear();
    targets_.clear();
    sequence_.clear();
    open_tree_ = -1;
  }

  std::vector<PackedBatch> take() {
    flush();
    return std::move(batches_);
  }

 private:
  int64_t max_tokens_;
  bool share_;
  int64_t open_tree_ = -1;
  ops::Segment prefix_;
  PackedBatch batch_;
  std::vector<int64_t> tokens_, rows_, targets_, sequence_;
  std::vector<PackedBatch> batches_;
};

}  // namespace

PackedBatch PackedBatch::to(at::Device device) const {
  PackedBatch there = *this;
  for (auto* x : {&there.tokens_N, &there.layout.positions_N, &there.rows_M, &there.targets_M, &there.sequence_M}) {
    *x = ops::to_device(*x, device);
  }
  return there;
}

std::vector<PackedBatch> pack_micro_batches(const std::vector<TokenTree>& trees, int64_t max_tokens, bool share_prompts) {
  Packer packer(max_tokens, share_prompts);
  for (size_t t = 0; t < trees.size(); ++t) {
    for (size_t i = 0; i < trees[t].continuations.size(); ++i) packer.add(t, i, trees[t]);
  }
  return packer.take();
}

}  // namespace r1::train
