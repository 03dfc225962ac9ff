#pragma once
#include <filesystem>
#include <optional>
#include <string>

#include "r1/pipeline/run_config.h"
#include "r1/train/evaluation.h"

namespace r1::pipeline {

/// What `r1 eval` does: a model answers the held-out problems of a config, or the problems of a file.
struct EvaluationRequest {
  std::filesystem::path model;  ///< Hugging Face folder, checkpoint or .gguf
  std::optional<DeviceChoice> device;  ///< by default the config's `device`, or auto

  /// Problems, reward, tokenizer and the settings of the last stage that evaluates come from a config ...
  std::optional<RunConfig> config;

  /// ... or from a file of problems with recognised fields (r1/data/problem_fields.h): answers are taken from
  /// \boxed{}, an answer tag, after #### or as the last number and compared by meaning; code is run against
  /// its tests.
  std::filesystem::path data;
  std::filesystem::path tokenizer;  ///< the model's own when empty
  std::string prompt;  ///< template with {prompt}; empty: asks for a \boxed{} answer or a ```python block
  bool chat = false;   ///< the prompt is the user's turn of the tokenizer's chat template

  int64_t problems = 0;  ///< 0: as the config says, or all of the file
  int64_t samples = 0;   ///< 0: as the config says, or 1
  std::optional<double> temperature, top_p;
  std::optional<int64_t> max_completion_tokens;
  std::optional<uint64_t> seed;
};

/// Throws Error for a model, config or file that does not fit, before anything is sampled.
train::EvalResult evaluate_model(const EvaluationRequest& request, const train::EvalListener& listener = {});

}  // namespace r1::pipeline
