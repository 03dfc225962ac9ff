#pragma once
#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "r1/data/arithmetic.h"
#include "r1/data/text_examples.h"
#include "r1/util/config.h"

namespace r1 {

/// How a document of worked arithmetic is right or wrong.
enum class WorkedKind {
  kCorrect,      ///< right work, right answer, right tags
  kWrongAnswer,  ///< right work and tags, another number as the answer
  kWrongWork,    ///< one step slips, the rest and the answer follow from it
  kBrokenTags,   ///< right work and answer, a tag absent, doubled or in the wrong place
  kNoTags,       ///< right work and answer without tags
  kAnswerOnly,   ///< only the right answer
  kChatter,      ///< words that do not answer
};
constexpr int kNumWorkedKinds = 7;
const char* worked_kind_name(WorkedKind kind);  ///< the key under `mixture:`

/// Pre-training text for a tiny base model that shall know the format a little and answer poorly.
///
///   data:
///     kind: arithmetic_worked
///     completion: "<think> {steps} </think> <answer> {answer} </answer>\n"
///     mixture:                # weights, divided by their sum; when one is named, the others are 0
///       correct: 0.4
///       wrong_answer: 0.2
///       wrong_work: 0.2
///       broken_tags: 0.1
///       no_tags: 0.05
///       answer_only: 0
///       chatter: 0.05
struct WorkedConfig {
  std::string completion = "<think> {steps} </think> <answer> {answer} </answer>\n";
  std::array<double, kNumWorkedKinds> mixture = {0.4, 0.2, 0.2, 0.1, 0.05, 0, 0.05};  ///< by WorkedKind
  static WorkedConfig parse(ConfigNode node);
};

/// A step that goes wrong: step `index` gets a result that is off by `delta` (1 or -1). index -1: none.
struct WorkedSlip {
  int64_t index = -1;
  int64_t delta = 1;
};

struct WorkedSolution {
  std::vector<std::string> steps;
  int64_t result = 0;
};

/// Column by column from the right, carry or borrow as a third term:
///   47+85  7+5=12 4+8+1=13               -> 132
///   83-47  13-7=6 8-4-1=3                -> 36
///   47-83  -(83-47) 13-7=6 8-4-1=3       -> -36
///   47*8   7*8=56 4*8+5=37               -> 376
///   12*34  12*4=48 12*30=360 48+360=408  -> 408
/// With a slip the result differs from the right one.
WorkedSolution work_out(const ArithmeticTask& task, WorkedSlip slip = {});

struct WorkedDocument {
  TextExample text;
  WorkedKind kind = WorkedKind::kCorrect;
};

/// An endless corpus: document i is a function of (configs, seed, i) alone. Its questions are training tasks
/// of the problem source (the same held-out rule, no shots), so evaluation never meets a text that was
/// pre-trained on.
class WorkedArithmetic {
 public:
  /// Throws Error when no training task is left.
  WorkedArithmetic(ArithmeticConfig problems, WorkedConfig config, uint64_t seed);
  WorkedDocument document(int64_t index) const;

 private:
  ArithmeticConfig problems_;
  WorkedConfig config_;
  uint64_t seed_ = 0;
  std::vector<ArithmeticTask> tasks_;
};

}  // namespace r1
