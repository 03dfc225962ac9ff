#pragma once
#include <memory>
#include <vector>

#include "r1/model/transformer.h"
#include "r1/ops/sampling.h"
#include "r1/util/random.h"

// The part of the engine that differs between a CPU and a device: one decoding step.
namespace r1::rollout {

/// A sequence in a step: its last token goes through the model and the next one is drawn.
struct DecodeRow {
  int64_t slot = 0;                             ///< its own among max_batch, from its first token to its end
  int32_t token = -1;                           ///< the last one; -1: not known yet, the step before drew it
  int64_t position = 0;                         ///< of the last token
  const std::vector<int32_t>* pages = nullptr;  ///< of its keys and values, the last token's included; used during the call alone
  size_t group = 0;                             ///< neighbours of one group ...
  int64_t prefix_tokens = 0;                    ///< ... have their first tokens, whole pages, in common
  DrawKey draw;                                 ///< of the next token; of the one behind an accepted draft, position + 1
  int32_t draft = -1;                           ///< goes through the model behind the last token; -1: none
};

/// What a step gave, for its rows in order.
struct StepResult {
  ops::SampledTokens drawn;  ///< a row's next token, then, if it had a draft, the one behind the draft
  std::vector<int64_t> first;  ///< of a row, in `drawn` and in the rows below
  at::Tensor routes_NLK;  ///< int64 on the host: the experts of the tokens that went through; undefined where nothing is recorded
  at::Tensor hidden_NC;   ///< of them; undefined where nobody drafts
};

/// Tokens come out in the order in which they were asked for, up to steps_ahead() steps later: a device works while the host looks at
/// what came before.
class DecodeStep {
 public:
  virtual ~DecodeStep() = default;

  /// How many steps may be under way when the host waits for the oldest.
  virtual size_t steps_ahead() const = 0;
  /// Before the first step of a call of Engine::sample: how tokens are drawn and how many completions a prompt has.
  virtual void begin(const ops::SamplingRule& rule, int64_t completions_per_prompt) = 0;
  /// Draws the first tokens of sequences, for rows[i] from row row_of[i] of logits_RV.
  virtual void first(const at::Tensor& logits_RV, const std::vector<int64_t>& row_of, const std::vector<DecodeRow>& rows) = 0;
  virtual void next(const std::vector<DecodeRow>& rows) = 0;
  /// The oldest step that was not collected; waits for it.
  virtual StepResult collect() = 0;
};

/// For a CPU, and for a device where drafts are verified: every step is done when it returns.
std::unique_ptr<DecodeStep> make_step_at_once(model::Transformer model, model::KvCache& cache, bool record_routes, bool keep_hidden);
/// For a device: a graph of launches per bucket of rows and of keys, one step ahead of the host. The cache must outlive it.
std::unique_ptr<DecodeStep> make_step_by_graph(model::Transformer model, model::KvCache& cache, int64_t max_batch, bool record_routes);

/// `routing` as [N, expert layers, K] int64 on the host; undefined for null.
at::Tensor routes_of(const model::RoutingPtr& routing);

}  // namespace r1::rollout
