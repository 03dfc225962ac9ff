#pragma once
#include <functional>
#include <optional>

#include "r1/data/text_examples.h"
#include "r1/train/evaluation.h"
#include "r1/train/mtp.h"
#include "r1/train/stage.h"

namespace r1::train {

/// A stage of kind `pretrain` or `sft`.
struct TextStageConfig {
  UpdateConfig update;
  int64_t steps = 100;             ///< 0 until resolve_epochs when `epochs` is given
  double epochs = 0;               ///< in place of `steps`: how often every text is trained on
  int64_t texts_per_step = 32;
  int64_t max_text_tokens = 0;     ///< a longer text is an error; 0: the model's context
  bool train_on_prompt = false;  ///< pre-training: the prompt's tokens count too
  MtpConfig mtp;                   ///< `mtp:`
  std::optional<EvalConfig> eval;  ///< `eval:` held-out problems answered before, during and after
  rollout::EngineConfig engine;    ///< `rollout:` for these
  static TextStageConfig parse(ConfigNode node, bool pretrain);
  /// With `epochs`: steps = ceil(epochs num_texts / texts_per_step), and a decay ends there unless it says otherwise.
  void resolve_epochs(double num_texts);
};

/// Text i of an endless order; a function of i alone.
using TextSource = std::function<TextExample(int64_t)>;

/// Maximum likelihood on packed texts: loss = - sum of the trained tokens' log-probabilities / their number in the step, and
/// mtp.loss_weight times the same of the MTP module's predictions where the model has one, whose gradient reaches the trunk.
/// Sequences are packed without padding and attend to themselves alone; a text ends in EOS where the vocabulary has one.
class TextStage : public Stage {
 public:
  /// `evaluator` is there when config.eval is.
  TextStage(StageContext context, TextStageConfig config, TextSource texts, std::optional<Evaluator> evaluator = std::nullopt);
  ~TextStage() override;
  int64_t total_steps() const override { return config_.steps; }
  int64_t steps_done() const override { return step_; }
  Metrics advance() override;
  std::string progress_note() const override;
  Metrics evaluate_if_due() override;
  std::vector<CheckpointGroup> checkpoint_groups() override;
  nlohmann::json checkpoint_state() const override;
  void restore(const CheckpointReader& reader) override;
  nlohmann::json summary() const override;
  Usage usage() const override;

 private:
  StageContext context_;
  TextStageConfig config_;
  TextSource texts_;
  std::optional<Evaluator> evaluator_;
  AdamW optimizer_;
  ExpertBalance experts_;
  int64_t step_ = 0, tokens_ = 0;
  double last_loss_ = 0, last_tokens_per_s_ = 0;
  Usage usage_;
};

/// Text i of `examples`: epoch after epoch, each in its own permutation keyed by (seed, stage, epoch).
TextSource shuffled_texts(std::vector<TextExample> examples, uint64_t seed, const std::string& stage);

}  // namespace r1::train
