#include "r1/data/worked_arithmetic.h"

#include <algorithm>
#include <cmath>

#include "r1/data/prompt_template.h"
#include "r1/util/error.h"
#include "r1/util/random.h"
#include "r1/util/strings.h"

namespace r1 {
namespace {

constexpr std::array<const char*, kNumWorkedKinds> kKindNames = {
    "correct", "wrong_answer", "wrong_work", "broken_tags", "no_tags", "answer_only", "chatter"};

/// What each draw of a document is for: its coordinate `position`.
enum class Choice : uint32_t { kTask, kKind, kSlipStep, kSlipSign, kDelta, kBreak, kWords = 16 };

DrawKey key_of(uint64_t seed, int64_t index, Choice choice, uint32_t more = 0) {
  return {seed,
          Stream::kProblems,
          stage_id("worked"),
          static_cast<uint32_t>(index >> 32),
          static_cast<uint32_t>(index),
          0,
          static_cast<uint32_t>(choice) + more};
}

void erase_all(std::string& text, const std::string& part) {
  for (size_t at = text.find(part); at != std::string::npos; at = text.find(part, at))
    text.erase(at, part.size());
}

void replace_first(std::string& text, const std::string& from, const std::string& to) {
  if (const size_t at = text.find(from); at != std::string::npos) text.replace(at, from.size(), to);
}

constexpr uint64_t kNumBreaks = 8;

/// One of the ways in which a tag can be absent, doubled or in the wrong place.
std::string break_tags(std::string text, uint64_t way) {
  switch (way) {
    case 0:
      erase_all(text, "<think>");
      break;
    case 1:
      erase_all(text, "</think>");
      break;
    case 2:
      erase_all(text, "<answer>");
      break;
    case 3:
      erase_all(text, "</answer>");
      break;
    case 4:
      erase_all(text, "<answer>");
      erase_all(text, "</answer>");
      break;
    case 5:
      replace_first(text, "</think>", "<think>");
      break;
    case 6:
      replace_first(text, "</answer>", "<answer>");
      break;
    default:
      replace_first(text, "</think>", "</think> </think>");
  }
  return text;
}

std::string chatter(uint64_t seed, int64_t index) {
  constexpr std::array<const char*, 24> kWords = {
      "the", "sum",   "of", "two", "numbers", "is",   "not",   "here", "we",  "add", "them", "then",
      "see", "again", "it", "was", "more",    "than", "maybe", "so",   "all", "in",  "one",  "line"};
  std::string text;
  const uint64_t count = 3 + draw_below(key_of(seed, index, Choice::kWords), 8);
  for (uint32_t i = 0; i < count; ++i) {
    text += cat(" ", kWords[draw_below(key_of(seed, index, Choice::kWords, 1 + i), kWords.size())]);
  }
  return text + "\n";
}

}  // namespace

const char* worked_kind_name(WorkedKind kind) { return kKindNames[static_cast<size_t>(kind)]; }

WorkedConfig WorkedConfig::parse(ConfigNode node) {
  WorkedConfig config;
  std::string kind = "arithmetic_worked";
  node.read("kind", kind, one_of({"arithmetic_worked"}));
  node.read("completion", config.completion);
  require_placeholders(node, "completion", config.completion, {"steps", "answer"});
  const ConfigNode mixture = node.child("mixture");
  if (!mixture.keys().empty()) config.mixture.fill(0);
  double sum = 0;
  for (size_t i = 0; i < config.mixture.size(); ++i) {
    mixture.read(kKindNames[i], config.mixture[i], between(0.0, 1e6), "A weight; 0 leaves this kind out.");
  }
  node.reject_unknown_keys();
  for (const double weight : config.mixture) sum += weight;
  if (!(sum > 0))
    node.reject("mixture", "weights of which at least one is above 0", "For example {correct: 1}.");
  return config;
}

WorkedArithmetic::WorkedArithmetic(ArithmeticConfig problems, WorkedConfig config, uint64_t seed)
    : problems_(std::move(problems)), config_(std::move(config)), seed_(seed) {
  for (const auto& task : arithmetic_tasks(problems_)) {
    if (!is_held_out(task, problems_.split)) tasks_.push_back(task);
  }
  if (tasks_.empty()) {
    throw Error(cat(problems_.split.where,
                    ": every problem is held out, none is left to pre-train on.\n"
                    "  Widen the ranges or lower eval_fraction."));
  }
}

WorkedDocument WorkedArithmetic::document(int64_t index) const {
  const auto& task = tasks_[draw_below(key_of(seed_, index, Choice::kTask), tasks_.size())];
  WorkedDocument document;
  document.text.prompt = arithmetic_prompt(problems_, task);

  double sum = 0;
  for (const double weight : config_.mixture) sum += weight;
  double left = draw_uniform(key_of(seed_, index, Choice::kKind)) * sum;
  size_t kind = 0, last = 0;
  for (size_t i = 0; i < config_.mixture.size(); ++i) {
    if (config_.mixture[i] > 0) last = i;  // where rounding would run past the end
  }
  while (kind < last && left >= config_.mixture[kind]) left -= config_.mixture[kind++];
  document.kind = static_cast<WorkedKind>(kind);

  auto solution = work_out(task);
  if (document.kind == WorkedKind::kWrongWork) {
    // The note "-(83-47)" of a swapped subtraction is no step that could slip.
    const bool swapped = task.op == '-' && task.a < task.b;
    const uint64_t steps = solution.steps.size() - (swapped ? 1 : 0);
    WorkedSlip slip;
    slip.index = static_cast<int64_t>(draw_below(key_of(seed_, index, Choice::kSlipStep), steps));
    slip.delta = draw_below(key_of(seed_, index, Choice::kSlipSign), 2) == 0 ? -1 : 1;
    solution = work_out(task, slip);
  } else if (document.kind == WorkedKind::kWrongAnswer) {
    constexpr std::array<int64_t, 8> kDeltas = {1, -1, 2, -2, 3, -3, 10, -10};
    int64_t delta = kDeltas[draw_below(key_of(seed_, index, Choice::kDelta), kDeltas.size())];
    if (solution.result >= 0 && solution.result + delta < 0) delta = -delta;
    solution.result += delta;
  }

  const std::string steps = join(solution.steps, " "), answer = std::to_string(solution.result);
  const std::string tagged = fill_template(config_.completion, {{"steps", steps}, {"answer", answer}});
  switch (document.kind) {
    case WorkedKind::kBrokenTags:
      document.text.completion =
          break_tags(tagged, draw_below(key_of(seed_, index, Choice::kBreak), kNumBreaks));
      break;
    case WorkedKind::kNoTags:
      document.text.completion = cat(" ", steps, steps.empty() ? "" : " ", answer, "\n");
      break;
    case WorkedKind::kAnswerOnly:
      document.text.completion = cat(" ", answer, "\n");
      break;
    case WorkedKind::kChatter:
      document.text.completion = chatter(seed_, index);
      break;
    default:
      document.text.completion = tagged;
  }
  return document;
}

}  // namespace r1
