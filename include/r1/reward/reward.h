#pragma once
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "r1/reward/answer.h"
#include "r1/reward/code.h"
#include "r1/reward/language.h"
#include "r1/reward/length.h"
#include "r1/util/config.h"

namespace r1 {

enum class RewardKind {
  kExactAnswer,  ///< 1 when the extracted answer equals the gold one, else 0
  kFormat,       ///< 1 when the completion has the think-answer shape, else 0
  kCountdown,    ///< 1 when the extracted expression reaches the target with the given numbers, else 0
  kCode,         ///< what the last code block is worth by its tests (code.h)
  kLanguage,     ///< share of words in the target language (language.h): 0 to 1
  kRepetition,   ///< minus the share of n-grams that are not new (repetition.h): -1 to 0, a penalty
  kLength,       ///< a cosine of the length, another for right than for wrong answers (length.h)
};

/// Whether a part judges the answer, as exact_answer, countdown and code do.
bool checks_answer(RewardKind kind);

/// The keys of a `language` part beside kind and weight.
struct LanguageConfig {
  std::optional<Language>
      target;            ///< none: the prompt's; when the prompt has no words, the text's own main language
  bool thinking = true;  ///< of the thinking alone, else of the whole completion
};

/// One entry of `reward.parts`.
struct RewardPart {
  std::string name;  ///< the entry's key: the name in metrics
  RewardKind kind = RewardKind::kExactAnswer;
  double weight = 1;                                     ///< 0: measured and logged, not rewarded
  std::vector<Extract> extract = {Extract::kAnswerTag};  ///< tried in order
  Compare compare = Compare::kAuto;                      ///< exact_answer only
  bool use_all_numbers = true;                           ///< countdown only
  CodeConfig code;                                       ///< code only
  LanguageConfig language;                               ///< language only
  int64_t ngram = 8;                                     ///< repetition only: words
  LengthConfig length;                                   ///< length only
};

/// The `reward:` section.
///
///   reward:
///     think_opened: false                    # true when the prompt ends in <think>
///     parts:                                 # rewards are summed with their weights, each is logged apart
///       accuracy: {kind: exact_answer, weight: 1.0, extract: "answer_tag, boxed", compare: auto}
///       format:   {kind: format, weight: 0.2}
///       one_language: {kind: language, weight: 0.1, language: prompt, of: thinking}
///       repetition:   {kind: repetition, weight: 0.5, ngram: 8}
///       brevity:      {kind: length, weight: 0.1, max_characters: 8000, right_short: 1, right_long: 0}
///
/// workers: threads that check answers beside generation; 0: one per core when a part runs code, else none.
/// extract: one or more of answer_tag, boxed, hashes, last_number, first_line. compare: auto, number, text,
/// maths. countdown reads extract and use_all_numbers. code reads
///   language: python | cpp, timeout_s: 10, memory_mb: 512, partial_credit: all | fraction, tolerance: 0,
///   unsandboxed: false                       # true: run it with this user's rights where no sandbox works
/// language reads language: prompt | english | chinese | french | german | spanish and of: thinking |
/// completion. length reads LengthConfig; its answer is right when the first part that checks one says so.
struct RewardConfig {
  bool think_opened = false;
  int64_t workers = 0;
  std::vector<RewardPart> parts;
  /// Threads to score on beside the caller's: `workers`, or what 0 stands for.
  int64_t num_workers() const;
  /// Throws Error for no part, an unknown kind or extractor, a weight that is not finite, a length part
  /// without one that checks an answer, an unknown key.
  static RewardConfig parse(ConfigNode node);
};

struct RewardRequest {
  std::string prompt;
  std::string completion;
  std::string gold;
  nlohmann::json extra;  ///< countdown: {"numbers": [3, 7, 25], "target": 46}; code: see code_task
};

/// What a part that checks an answer found.
struct PartAnswer {
  std::string part;
  Verdict verdict = Verdict::kWrong;
  std::string extracted;  ///< empty when none was found
};

struct Score {
  /// sum over parts of weight * value; NaN when a weighted part's gold answer is unreadable, so that it
  /// cannot pass for a 0 or a 1: the caller takes such a problem out.
  double total = 0;
  std::vector<std::pair<std::string, double>> parts;  ///< (name, unweighted value) in config order
  /// Of the first part that checks an answer, or of the first part; kGoldUnreadable whenever total is NaN.
  /// kTimedOut counts 0: an answer that is too large to be told from another is none.
  Verdict verdict = Verdict::kWrong;
  std::string extracted;            ///< what that part took for the answer; empty when none was found
  std::vector<PartAnswer> answers;  ///< of each part that checks an answer, in config order
};

/// Text in, numbers out: a function of the request alone, but for a program that runs near its limits. Holds
/// no state that changes, so threads may share it; code is checked on as many cores as threads call.
class Reward {
 public:
  /// Throws Error when a part runs code and this machine has no sandbox or no interpreter for it.
  explicit Reward(RewardConfig config);
  /// Linear in the lengths of the texts, beside what solutions take; any bytes; never throws for what a model
  /// wrote.
  Score score(const RewardRequest& request) const;
  const RewardConfig& config() const { return config_; }

 private:
  RewardConfig config_;
  std::vector<std::shared_ptr<const CodeVerifier>>
      verifiers_;  ///< one per part; null where the part runs no code
};

}  // namespace r1
