#pragma once
#include <vector>

#include "r1/model/flops.h"
#include "r1/model/transformer.h"
#include "r1/ops/sampling.h"

namespace r1::rollout {

/// What the MTP module still has to see of a sequence, and what it proposes.
struct Draft {
  int64_t rows = 0;                 ///< of the module's cache that are filled
  std::vector<at::Tensor> waiting;  ///< [1, C] each: the trunk's normed hidden states for the rows that follow
  int32_t token = -1;               ///< proposed for the sequence's next place; -1: none
};

/// Runs the MTP module over the cached sequences of one call of Engine::sample. Its row i stands at position i of the cache's last
/// layer, for the hidden state of token i and the token i + 1.
class Drafter {
 public:
  Drafter(model::Transformer model, model::KvCache& cache, const ops::SamplingRule& rule)
      : model_(std::move(model)), cache_(&cache), rule_(rule) {}

  /// Fills the module's cache for prompts that the trunk has just computed: all rows but the last, whose next token each completion
  /// draws for itself. `runs` are the trunk's, tokens_N its tokens, normed_NC its hidden states after the final norm.
  model::PassCounts add_prompts(const at::Tensor& tokens_N, const at::Tensor& normed_NC, const std::vector<ops::CacheRun>& runs);

  struct Request {
    Draft* draft;
    const std::vector<int32_t>* completion;  ///< whose last `waiting` tokens are those that the waiting rows are given
    const std::vector<int32_t>* pages;
    double uniform;                          ///< that the trunk's draw of the place will take
  };
  /// Proposes a token for each: by the rule and the very uniform of the trunk's draw, so that equal distributions give equal tokens.
  model::PassCounts propose(const std::vector<Request>& requests);

 private:
  model::Transformer model_;
  model::KvCache* cache_;
  ops::SamplingRule rule_;
};

}  // namespace r1::rollout
