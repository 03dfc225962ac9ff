#pragma once
#include <filesystem>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "r1/data/problem_source.h"
#include "r1/data/text_check.h"
#include "r1/data/worked_arithmetic.h"
#include "r1/dist/launch.h"
#include "r1/model/model_config.h"
#include "r1/pipeline/cost.h"
#include "r1/pipeline/device.h"
#include "r1/pipeline/model_shape.h"
#include "r1/pipeline/plan_config.h"
#include "r1/reward/reward.h"
#include "r1/tokenizer/tokenizer.h"
#include "r1/train/checkpoint.h"
#include "r1/train/grpo_stage.h"
#include "r1/train/rejection_stage.h"
#include "r1/train/reward_model_stage.h"
#include "r1/train/text_stage.h"
#include "r1/util/config.h"

namespace r1::pipeline {

/// One source of texts: generated, a file or folder of JSONL, or what a stage of kind rejection_sample kept.
struct TextSourceConfig {
  std::filesystem::path file;          ///< kind jsonl: {"prompt", "completion"} or {"text"} per line
  std::optional<WorkedConfig> worked;  ///< kind arithmetic_worked: generated from the run's `problems:`
  std::string stage;                   ///< kind stage: the kept completions of an earlier stage
  double weight = 1;                   ///< in a mixture: share of the texts, divided by the sum of all
  TextCheckConfig checks;              ///< kinds jsonl and stage: `decontaminate:`, `identity:`, `deduplicate:`
};

/// Where a text stage's texts come from: its `data:` section, one source or `kind: mixture` with `sources:`.
struct TextDataConfig {
  std::vector<TextSourceConfig> sources;
};

struct TextStageEntry {
  train::TextStageConfig config;
  TextDataConfig data;
};

struct RewardModelEntry {
  train::RewardModelConfig config;
  std::filesystem::path file;  ///< `data: {kind: jsonl, file}`: preferences, or
  std::string stage;           ///< `data: {kind: stage, stage}`: the pairs that an earlier stage kept
};

struct EvalEntry {
  train::EvalConfig eval;
  rollout::EngineConfig engine;
};

struct ExportEntry {
  std::filesystem::path path;  ///< below the run directory; .gguf: a file, else a HF folder
  std::string dtype = "f32";
};

/// Weights to begin with: a file's, or new ones of a shape.
struct ModelSource {
  std::filesystem::path path;  ///< HF directory or GGUF; empty: a new model
  model::ModelConfig config;
  std::optional<ModelShape> shape;  ///< of `model.shape`, when it is read for a plan and not to run
};

/// One item of `pipeline:`. Its kind is pretrain, sft, grpo, rejection_sample, reward_model, distill, eval or export.
struct StageEntry {
  std::string name;
  std::string kind;
  /// `from:` the stage whose weights it begins with, by default the one before that has weights; empty: `base`, the
  /// run's model or the stage's own `model:`.
  std::string from;
  ModelSource model;  ///< what it works on; the path counts only where `from` is empty
  std::optional<RewardConfig> reward;  ///< the run's, with the stage's own `reward_weights: {part: weight}`
  std::variant<TextStageEntry, train::GrpoStageConfig, train::RejectionConfig, RewardModelEntry, EvalEntry, ExportEntry> config;
  StageAssumptions plan;  ///< `plan:`

  /// What later stages can read: a language model's weights, kept texts or pairs, a reward model, or nothing.
  enum class Output { kWeights, kTexts, kPairs, kRewardModel, kNothing };
  Output output() const;
  bool makes_weights() const { return output() == Output::kWeights; }
};

/// What a config is read for. To plan, weights, vocabulary and data need not be there: `model.shape` names counts.
enum class LoadFor { kRun, kPlan };

/// A whole run: everything is read and checked before anything is allocated.
struct RunConfig {
  ConfigNode source;                    ///< for messages and for the copy in the run directory
  std::string name;
  std::filesystem::path run_dir;        ///< `run_dir:`, runs/<name> by default
  uint64_t seed = 1;
  int64_t threads = 0;                  ///< 0: all cores
  DeviceChoice device = DeviceChoice::kAuto;  ///< `device:`, decided once when the run starts
  train::Numerics numerics = train::Numerics::kExact;  ///< `numerics:`
  dist::ParallelConfig parallel;                       ///< `parallel:`
  ModelSource base;                     ///< `model:` with a path, or the shape of a new model
  std::filesystem::path tokenizer_path;  ///< `tokenizer.path`; model.path by default
  std::string characters;               ///< `tokenizer.kind: characters`
  std::optional<ProblemsConfig> problems;
  std::optional<RewardConfig> reward;
  std::vector<StageEntry> stages;
  train::CheckpointPolicy checkpoint;
  CostConfig cost;
  PlanConfig plan;

  /// Throws Error with file:line:key for anything wrong, checks across sections included.
  static RunConfig load(const std::filesystem::path& file, const std::vector<std::string>& overrides, LoadFor purpose = LoadFor::kRun);

  Tokenizer load_tokenizer() const;
  /// The held-out problems' settings of the only problem source. Throws Error when the config has none.
  const ProblemsConfig& require_problems() const;
};

}  // namespace r1::pipeline
