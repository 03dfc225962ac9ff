#include "r1/reward/reward.h"

#include <cmath>
#include <limits>
#include <optional>

#include "r1/reward/countdown.h"
#include "r1/reward/format.h"
#include "r1/reward/repetition.h"

namespace r1 {
namespace {

/// The countdown task inside RewardRequest::extra, or nothing when it is not readable.
struct CountdownTask {
  std::vector<int64_t> numbers;
  int64_t target = 0;
};

std::optional<CountdownTask> countdown_task(const nlohmann::json& extra) {
  if (!extra.is_object() || !extra.contains("numbers") || !extra.contains("target")) return std::nullopt;
  const auto& numbers = extra["numbers"];
  if (!numbers.is_array() || numbers.empty() || !extra["target"].is_number_integer()) return std::nullopt;
  CountdownTask task;
  task.target = extra["target"].get<int64_t>();
  for (const auto& number : numbers) {
    if (!number.is_number_integer()) return std::nullopt;
    task.numbers.push_back(number.get<int64_t>());
  }
  return task;
}

struct PartResult {
  Verdict verdict = Verdict::kWrong;
  std::string extracted;
  double value = 0;
};

PartResult judged(Verdict verdict, std::string extracted = "") {
  return {verdict, std::move(extracted), verdict == Verdict::kRight ? 1.0 : 0.0};
}

/// Of a part that has no right or wrong.
PartResult measured(double value) { return {value >= 1 ? Verdict::kRight : Verdict::kWrong, "", value}; }

PartResult score_code(const CodeVerifier& verifier, const RewardRequest& request, const RewardPart& part,
                      bool think_opened) {
  const auto task = code_task(request.extra);
  if (!task) return judged(Verdict::kGoldUnreadable);
  const auto code = extract_code(request.completion, part.code.language, think_opened);
  if (!code) return judged(Verdict::kAnswerUnreadable);
  const auto result = verifier.check(*code, *task);
  return {result.verdict, *code, result.value};
}

PartResult score_countdown(const RewardRequest& request, const RewardPart& part, bool think_opened) {
  const auto answer = extract_answer(request.completion, part.extract, think_opened);
  const auto task = countdown_task(request.extra);
  if (!task) return judged(Verdict::kGoldUnreadable, answer.value_or(""));
  if (!answer) return judged(Verdict::kAnswerUnreadable);
  return judged(check_countdown(*answer, task->numbers, task->target, part.use_all_numbers), *answer);
}

PartResult score_language(const RewardRequest& request, const LanguageConfig& config, bool think_opened) {
  const std::string text =
      config.thinking ? thinking_of(request.completion, think_opened) : request.completion;
  auto target = config.target;
  if (!target) target = main_language(request.prompt);
  if (!target) target = main_language(text);
  return measured(target ? language_share(text, *target) : 0);
}

PartResult score_part(const RewardPart& part, const CodeVerifier* verifier, const RewardRequest& request,
                      bool think_opened) {
  switch (part.kind) {
    case RewardKind::kExactAnswer: {
      const auto answer = extract_answer(request.completion, part.extract, think_opened).value_or("");
      return judged(compare_answers(answer, request.gold, part.compare), answer);
    }
    case RewardKind::kFormat:
      return judged(has_think_answer_format(request.completion, think_opened) ? Verdict::kRight
                                                                              : Verdict::kWrong);
    case RewardKind::kCountdown:
      return score_countdown(request, part, think_opened);
    case RewardKind::kCode:
      return score_code(*verifier, request, part, think_opened);
    case RewardKind::kLanguage:
      return score_language(request, part.language, think_opened);
    case RewardKind::kRepetition:
      return measured(-repetition_share(request.completion, part.ngram));
    case RewardKind::kLength:
      break;  // needs the others' verdict
  }
  return {};
}

}  // namespace

Reward::Reward(RewardConfig config) : config_(std::move(config)) {
  for (const auto& part : config_.parts)
    verifiers_.push_back(part.kind == RewardKind::kCode ? std::make_shared<const CodeVerifier>(part.code)
                                                        : nullptr);
}

Score Reward::score(const RewardRequest& request) const {
  constexpr double kUnreadable = std::numeric_limits<double>::quiet_NaN();
  Score score;
  for (size_t i = 0; i < config_.parts.size(); ++i) {
    const auto& part = config_.parts[i];
    auto result = score_part(part, verifiers_[i].get(), request, config_.think_opened);
    score.parts.emplace_back(part.name,
                             result.verdict == Verdict::kGoldUnreadable ? kUnreadable : result.value);
    if (i == 0) score.verdict = result.verdict;
    if (checks_answer(part.kind))
      score.answers.push_back({part.name, result.verdict, std::move(result.extracted)});
  }
  if (!score.answers.empty()) {
    score.verdict = score.answers[0].verdict;
    score.extracted = score.answers[0].extracted;
  }
  for (size_t i = 0; i < config_.parts.size(); ++i) {
    const auto& part = config_.parts[i];
    double& value = score.parts[i].second;
    if (part.kind == RewardKind::kLength) {
      const bool unknown = score.verdict == Verdict::kGoldUnreadable;
      value = unknown ? kUnreadable
                      : length_value(request.completion, score.verdict == Verdict::kRight, part.length);
    }
    if (part.weight != 0) score.total += part.weight * value;
  }
  if (std::isnan(score.total)) score.verdict = Verdict::kGoldUnreadable;
  return score;
}

}  // namespace r1
