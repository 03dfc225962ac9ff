#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "r1/ops/packed.h"

namespace r1::train {

/// A prompt and texts that continue it. Only the continuations' tokens are trained on.
struct TokenTree {
  std::vector<int32_t> prompt;                     ///< at least one token: it predicts the first of each continuation
  std::vector<std::vector<int32_t>> continuations;
};

/// One micro-batch: packed tokens without padding, in which a prompt stands once for all its continuations.
///
/// Letters: N packed tokens, M trained tokens. A continuation's last token predicts nothing and is not among the N.
struct PackedBatch {
  at::Tensor tokens_N;    ///< int64
  ops::PackedLayout layout;
  at::Tensor rows_M;      ///< int64: the row whose hidden state predicts trained token m
  at::Tensor targets_M;   ///< int64: trained token m
  at::Tensor sequence_M;  ///< int64: which of `members` it belongs to
  /// (tree, continuation) of each sequence in this micro-batch, empty continuations included.
  std::vector<std::pair<size_t, size_t>> members;
  /// (tree, continuation) of each segment of the layout; -1: the tree's prompt.
  std::vector<std::pair<size_t, int64_t>> segment_members;

  /// The same with its tensors there, for a pass on a device: one queued copy each, no wait.
  PackedBatch to(at::Device device) const;
};

/// Packs trees, in order, into micro-batches of at most `max_tokens` packed tokens. A tree that does not fit is split
/// between continuations, its prompt repeated; a single continuation longer than that stands alone with its prompt.
/// With `share_prompts` false each continuation gets its own copy of the prompt (the plain form, for comparison).
std::vector<PackedBatch> pack_micro_batches(const std::vector<TokenTree>& trees, int64_t max_tokens,
                                            bool share_prompts = true);

}  // namespace r1::train
