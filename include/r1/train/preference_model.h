#pragma once
#include <memory>
#include <vector>

#include "r1/model/flops.h"
#include "r1/model/transformer.h"
#include "r1/tokenizer/tokenizer.h"
#include "r1/train/batch.h"
#include "r1/train/checkpoint.h"
#include "r1/train/scored_group.h"

namespace r1::train {

/// A reward model: the transformer with a scalar head in place of the vocabulary's,
///
///   r(x, y) = w . norm(h_end),  w [C]
///
/// where h_end is the last layer's hidden state at the text's end: at EOS, which is put behind every text, or at its last
/// token where the vocabulary has no EOS. Source: InstructGPT (arXiv:2203.02155) section 3.5, and DeepSeek-R1
/// (arXiv:2501.12948v2) section 3.1, "a reward head that predicts scalar preference scores".
class PreferenceModel {
 public:
  /// Works on `backbone`, whose weights it shares. The head begins at zero: every text has the score 0.
  explicit PreferenceModel(model::Transformer backbone);
  /// A trained one, for scoring: the groups "model" and "score" of a reward_model stage's checkpoint.
  static PreferenceModel load(const model::ModelConfig& config, const CheckpointReader& reader,
                              at::TensorOptions options = at::TensorOptions().dtype(at::kFloat));

  /// A prompt's ids with completions of it as score() reads them. A completion that does not fit into the context loses
  /// its last tokens. Throws Error when the prompt alone does not fit.
  TokenTree tree(const Tokenizer& tokenizer, std::vector<int32_t> prompt, std::vector<std::vector<int32_t>> completions) const;

  /// Scores of all members of `batch` [S], made of trees of tree(), with gradients where these are on.
  at::Tensor score(const PackedBatch& batch) const;

  /// Appends the part `name` = sigmoid(r) to every score of `groups` and adds weight * sigmoid(r) to its total. The
  /// sigmoid, ours, keeps it within 0 and 1 as the other parts are. At most `max_tokens` are computed at once. Returns
  /// what was computed.
  model::PassCounts add_part(std::vector<ScoredGroup>& groups, const Tokenizer& tokenizer, const std::string& name, double weight,
                int64_t max_tokens) const;

  model::Transformer backbone() const { return backbone_; }
  NamedTensors head() const { return {{"score.weight", weight_1C_}}; }  ///< the parameter itself

 private:
  model::Transformer backbone_;
  at::Tensor weight_1C_;
};

/// Splits trees, in order, into runs of at most `max_tokens` tokens and packs each whole: the two completions of a pair
/// stay in one micro-batch. A single tree may be larger.
std::vector<PackedBatch> pack_whole_trees(const std::vector<TokenTree>& trees, int64_t max_tokens);

}  // namespace r1::train
