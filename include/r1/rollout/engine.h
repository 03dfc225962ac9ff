#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "r1/model/flops.h"
#include "r1/model/transformer.h"
#include "r1/rollout/sampling_config.h"
#include "r1/rollout/speculation.h"
#include "r1/tokenizer/tokenizer.h"

namespace r1::rollout {

class DecodeStep;

struct Prompt {
  std::vector<int32_t> tokens;
  uint32_t index = 0;  ///< its place in the step: a coordinate of its draws
};

enum class Finish { kEos, kStopText, kLength };
const char* finish_name(Finish finish);

/// A sampled completion; tokens stay ids from here to the loss.
struct Completion {
  std::vector<int32_t> tokens;          ///< the ending EOS included
  std::vector<float> rollout_logprobs;  ///< nats, of the distribution each token was drawn from
  Finish finish = Finish::kLength;
  std::vector<int16_t> routes;          ///< experts of tokens 0 .. size - 2, [token][expert layer][K]; with record_routes alone
};

/// A prompt with its G completions.
struct RolloutGroup {
  Prompt prompt;
  std::vector<Completion> completions;
  std::vector<int16_t> prompt_routes;  ///< of the prompt's tokens; with record_routes alone
};

/// Where in a run the draws belong: with the prompt's index, the sample's number and the position they are the only
/// things that a draw depends on.
struct DrawOrigin {
  uint64_t seed = 0;
  uint32_t stage = 0;
  uint32_t step = 0;
};

/// The `rollout:` section.
struct EngineConfig {
  int64_t max_batch = 64;                ///< sequences decoded together
  int64_t prefill_tokens = 1024;         ///< prompt tokens computed together
  int64_t kv_cache_bytes = 1LL << 30;    ///< upper bound; fewer pages are made when fewer can be needed
  Speculation speculation = Speculation::kAuto;  ///< drafts by the model's MTP module, where it has one
  static EngineConfig parse(ConfigNode node);
};

struct EngineStats {
  int64_t prompt_tokens = 0;     ///< computed, each prompt once
  int64_t generated_tokens = 0;
  int64_t decode_steps = 0;
  model::PassCounts computed;    ///< prefill and decoding together, drafting included
  SpeculationStats speculation;
};

/// How an engine comes by its prompts where several share them. Whatever it is, a completion is the same bits.
struct PromptSupply {
  std::function<std::optional<size_t>()> next;  ///< the place of the next prompt for this engine; nothing when none is left
  int64_t max_sequences = 0;                    ///< started at once, so that one engine does not take all before the others begin
};

/// Samples completions by continuous batching over a paged KV cache.
///
/// A prompt is computed once for its G completions, which share its whole pages. A sequence is admitted when the pages
/// it could need at most are free, so none is ever evicted. When one ends, the next takes its place.
///
/// A model with an MTP module may draft: its proposal for a sequence's next token goes through the trunk together with the last
/// one, and when the trunk draws the same token, the row behind it gives one more. Every token is drawn from the trunk's logits with
/// the uniform of its place, so texts and log-probabilities are the same bits with and without (docs/speculation.md).
class Engine {
 public:
  Engine(model::Transformer model, Tokenizer tokenizer, EngineConfig config);
  ~Engine();

  /// Called when a completion has ended, with its places in the result.
  using OnCompletion = std::function<void(size_t prompt, size_t sample, const Completion&)>;

  /// G completions for every prompt, in order; with `supply` for those that it gives, and the others stay without tokens.
  /// `progress(finished, total)` is called after every decode step.
  /// Throws Error for an empty prompt, a prompt that leaves no room in the model's context, or a cache too small for
  /// one sequence.
  std::vector<RolloutGroup> sample(const std::vector<Prompt>& prompts, int64_t completions_per_prompt,
                                   const SamplingConfig& sampling, const DrawOrigin& origin,
                                   const std::function<void(int64_t, int64_t)>& progress = {},
                                   const OnCompletion& on_completion = {}, const PromptSupply& supply = {});

  const EngineStats& stats() const { return stats_; }

  /// Keep the experts that every token went to (a model of at most 32,767 experts a layer).
  bool record_routes = false;
  /// Takes the place of the policy that decides, by the number of sequences, whether the next decoding pass drafts.
  std::function<bool(int64_t)> decide_drafting;

 private:
  struct Run;  // the state of one call of sample
  bool may_draft() const;
  model::Transformer model_;
  Tokenizer tokenizer_;
  EngineConfig config_;
  std::unique_ptr<model::KvCache> cache_;
  std::unique_ptr<DecodeStep> step_;  // over cache_
  bool step_records_routes_ = false;
  SpeculationPolicy policy_;
  EngineStats stats_;
};

}  // namespace r1::rollout
