#pragma once
#include <vector>

#include "r1/model/layers.h"

// Multi-token prediction of depth 1 (arXiv:2412.19437v2 section 2.2).
namespace r1::model {

/// The module that predicts the token after the next. With h_i the trunk's hidden state of token t_i after the final norm:
///
///   x_i  = W_eh [ enorm(embed(t_{i+1})) ; hnorm(h_i) ]      eq. (21)
///   h'_i = block(x)_i                                       eq. (22): causal, at position i
///   q_i  = softmax(head(shared_head.norm(h'_i)))            eq. (23): the distribution of t_{i+2}
///
/// Embedding and head are the trunk's. Parameters carry the names of DeepSeek-V3's checkpoint, below model.layers.<num_layers>. .
/// Two things the report leaves open follow the modelling code that comes with DeepSeek-R1-0528's MTP weights, vLLM's and SGLang's:
/// the embedding comes first in the concatenation, and h_i is taken after the final norm (docs/model.md).
struct MtpModuleImpl : BlockImpl {
  MtpModuleImpl(const ModelConfig& config, at::TensorOptions options, const ExpertRanks& experts);
  /// x of M rows: embed(t_{i+1}) and h_i [M, C] -> [M, C].
  at::Tensor combine(const at::Tensor& embedded_MC, const at::Tensor& hidden_MC);
  RmsNorm enorm{nullptr}, hnorm{nullptr}, head_norm{nullptr};
  Linear eh_proj{nullptr};
};

/// The module's rows of a packed batch. Every row of the trunk's layout with an earlier position has one: the token of that row is
/// t_{i+1}, and h_i is of the row before it in its sequence, which for a completion's first row is its prompt's last one. So a
/// shared prompt stands once here too, and what the module predicts at trunk row r is what the trunk predicts there.
struct MtpLayout {
  ops::PackedLayout layout;     ///< M rows
  at::Tensor token_rows_M;      ///< [M] int64: trunk row of t_{i+1}
  at::Tensor hidden_rows_M;     ///< [M] int64: trunk row of h_i
  std::vector<int64_t> row_of;  ///< [N]: trunk row -> row here; -1 for a sequence's first token

  explicit MtpLayout(const ops::PackedLayout& trunk);
};

/// Which of the module's inputs pass its gradient on.
enum class MtpGradient {
  kWithTrunk,   ///< pre-training: it shapes the trunk, the embedding and the head
  kModuleAlone  ///< RL: the module follows the trunk and changes nothing else
};

}  // namespace r1::model
