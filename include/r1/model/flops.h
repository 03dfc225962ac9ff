#pragma once
#include <cstdint>

#include "r1/model/model_config.h"
#include "r1/ops/packed.h"

// The one place where work becomes FLOPs, for the ledger of a run and for the plan before it. A multiplication and an
// addition count apart. Norms, rotations, softmax and sampling are left out: below 1 % of a model of useful size.
namespace r1::model {

/// What passes through the transformer computed; adds up over calls.
struct PassCounts {
  double tokens = 0;      ///< rows that went through all blocks
  double logit_rows = 0;  ///< rows that went through the head
  double attended = 0;    ///< (query, key) pairs of one layer: a token at position t attends to t + 1

  PassCounts& operator+=(const PassCounts& other);
  PassCounts operator-(const PassCounts& other) const;
};

/// One pass over packed sequences of which `logit_rows` rows reach the head.
PassCounts counts_of(const ops::PackedLayout& layout, int64_t logit_rows);

/// `sequences` of `length` tokens each after a context of `context` tokens, whose keys are there already; every token's
/// logits are made.
PassCounts counts_of(double sequences, double context, double length);

/// What rows through the MTP module cost (with its head), in rows through the trunk. `rows` counts the module's tokens, logit rows
/// and pairs.
PassCounts mtp_counts(const ModelConfig& config, const PassCounts& rows);

/// What a token costs in a model, dense or mixture of experts; the trunk alone.
struct FlopShape {
  double block_parameters = 0;    ///< that one token meets in the blocks (a mixture's active ones); no embedding, no head
  double head_parameters = 0;     ///< V C
  double attention_per_pair = 0;  ///< of all layers: 2 L H (width of a key + width of a value)

  static FlopShape of(const ModelConfig& config);
};

/// 2 block_parameters tokens + 2 head_parameters logit_rows + attention_per_pair attended.
/// Source: arXiv:2001.08361 section 2.1 (forward 2 N + attention per token).
double forward_flops(const FlopShape& shape, const PassCounts& counts);

/// Forward and backward: three times the blocks and the attention (arXiv:2001.08361: backward twice the forward pass),
/// four times with activation checkpointing; the head four times, since its logits are made again in the backward pass.
double training_flops(const FlopShape& shape, const PassCounts& counts, bool activation_checkpointing);

}  // namespace r1::model
