#pragma once
#include <filesystem>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "r1/data/problem_source.h"
#include "r1/data/worked_arithmetic.h"
#include "r1/model/model_config.h"
#include "r1/reward/reward.h"
#include "r1/tokenizer/tokenizer.h"
#include "r1/train/checkpoint.h"
#include "r1/train/grpo_stage.h"
#include "r1/train/text_stage.h"
#include "r1/util/config.h"

namespace r1::pipeline {

/// Where a text stage's texts come from: its `data:` section.
struct TextDataConfig {
  std::filesystem::path file;            ///< kind jsonl: {"prompt", "completion"} or {"text"} per line
  std::optional<WorkedConfig> worked;    ///< kind arithmetic_worked: generated from the run's `problems:`
};

struct TextStageEntry {
  train::TextStageConfig config;
  TextDataConfig data;
};

/// One item of `pipeline:`. Its kind is pretrain, sft or grpo; each stage starts from the weights of the one before.
struct StageEntry {
  std::string name;
  std::string kind;
  std::variant<TextStageEntry, train::GrpoStageConfig> config;
};

/// A whole run: everything is read and checked before anything is allocated.
struct RunConfig {
  ConfigNode source;                    ///< for messages and for the copy in the run directory
  std::string name;
  std::filesystem::path run_dir;        ///< `run_dir:`, runs/<name> by default
  uint64_t seed = 1;
  int64_t threads = 0;                  ///< 0: all cores
  std::filesystem::path model_path;     ///< `model.path`: HF directory or GGUF; empty: a new model
  model::ModelConfig model;             ///< of the file, or the `model:` section
  std::filesystem::path tokenizer_path;  ///< `tokenizer.path`; model.path by default
  std::string characters;               ///< `tokenizer.kind: characters`
  std::optional<ProblemsConfig> problems;
  std::optional<RewardConfig> reward;
  std::vector<StageEntry> stages;
  train::CheckpointPolicy checkpoint;

  /// Throws Error with file:line:key for anything wrong, checks across sections included.
  static RunConfig load(const std::filesystem::path& file, const std::vector<std::string>& overrides);

  Tokenizer load_tokenizer() const;
  /// The held-out problems' settings of the only problem source. Throws Error when the config has none.
  const ProblemsConfig& require_problems() const;
};

/// The batch arithmetic and the memory of a run in words, printed before step 1.
std::string describe_plan(const RunConfig& config);

}  // namespace r1::pipeline
