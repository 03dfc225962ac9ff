#pragma once
#include <map>
#include <string>
#include <vector>

#include "r1/pipeline/run_config.h"

namespace r1::pipeline {

/// Lengths that a plan reckons with, in tokens, and where each comes from.
struct Lengths {
  double prompt = 0, completion = 0;  ///< means
  double longest = 0;                 ///< of a rollout's completions
  double text = 0;                    ///< mean of a training text
  double texts = 0;                   ///< different ones; 0: generated without end
  std::vector<std::string> notes;     ///< "prompts of 54 tokens, the mean of 200 problems"
};

/// The mean length of a config's problems and texts, read once. What is not there yet is unknown (0).
class MeasuredLengths {
 public:
  explicit MeasuredLengths(const RunConfig& config);
  Lengths of(const StageEntry& entry);

 private:
  double prompt_tokens();
  void measure_texts(const TextStageEntry& entry, Lengths& out);

  const RunConfig& config_;
  std::optional<Tokenizer> tokenizer_;
  std::optional<double> prompt_tokens_;
};

}  // namespace r1::pipeline
