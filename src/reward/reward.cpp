#include "r1/reward/reward.h"

#include <cmath>
#include <limits>
#include <map>
#include <optional>

#include "r1/reward/countdown.h"
#include "r1/reward/format.h"
#include "r1/util/strings.h"

namespace r1 {
namespace {

const std::map<std::string, RewardKind> kKinds = {{"exact_answer", RewardKind::kExactAnswer},
                                                  {"format", RewardKind::kFormat},
                                                  {"countdown", RewardKind::kCountdown},
                                                  {"code", RewardKind::kCode}};
const std::map<std::string, Extract> kExtracts = {{"answer_tag", Extract::kAnswerTag},
                                                  {"boxed", Extract::kBoxed},
                                                  {"hashes", Extract::kHashes},
                                                  {"last_number", Extract::kLastNumber},
                                                  {"first_line", Extract::kFirstLine}};
const std::map<std::string, Compare> kCompares = {{"auto", Compare::kAuto},
                                                  {"number", Compare::kNumber},
                                                  {"text", Compare::kText},
                                                  {"maths", Compare::kMaths}};

const std::map<std::string, CodeLanguage> kLanguages = {{"python", CodeLanguage::kPython},
                                                        {"cpp", CodeLanguage::kCpp}};
const std::map<std::string, PartialCredit> kPartialCredits = {{"all", PartialCredit::kAll},
                                                              {"fraction", PartialCredit::kFraction}};

template <typename Value>
std::vector<std::string> names_of(const std::map<std::string, Value>& values) {
  std::vector<std::string> names;
  for (const auto& [name, value] : values) names.push_back(name);
  return names;
}

/// "answer_tag, boxed" -> names without white space.
std::vector<std::string> split_names(const std::string& text) {
  std::vector<std::string> names(1);
  for (const char c : text) {
    if (c == ',') {
      names.emplace_back();
    } else if (c != ' ' && c != '\t') {
      names.back() += c;
    }
  }
  return names;
}

Accept<std::string> extractors() {
  Accept<std::string> accept;
  accept.test = [](const std::string& text) {
    for (const auto& name : split_names(text)) {
      if (!kExtracts.contains(name)) return false;
    }
    return true;
  };
  accept.text = cat("one or more of ", join(names_of(kExtracts), ", "), ", separated by commas");
  return accept;
}

Accept<double> finite_number() {
  Accept<double> accept;
  accept.test = [](const double& weight) { return std::isfinite(weight); };
  accept.text = "a finite number";
  return accept;
}

CodeConfig parse_code(const ConfigNode& node) {
  CodeConfig code;
  std::string language = "python", partial_credit = "all";
  node.read("language", language, one_of(names_of(kLanguages)));
  node.read("timeout_s", code.timeout_s, between(0.01, 3600.0));
  node.read("memory_mb", code.memory_mb, between<int64_t>(32, 1 << 20), "Python alone needs about 10 MB.");
  node.read("partial_credit", partial_credit, one_of(names_of(kPartialCredits)));
  node.read("tolerance", code.tolerance, between(0.0, 1.0));
  node.read("unsandboxed", code.unsandboxed);
  code.language = kLanguages.at(language);
  code.partial_credit = kPartialCredits.at(partial_credit);
  return code;
}

RewardPart parse_part(const std::string& name, const ConfigNode& node) {
  RewardPart part;
  part.name = name;
  std::string kind, extract = "answer_tag", compare = "auto";
  node.require("kind", kind, one_of(names_of(kKinds)));
  part.kind = kKinds.at(kind);
  node.read("weight", part.weight, finite_number());
  if (part.kind == RewardKind::kCode) {
    part.code = parse_code(node);
  } else if (part.kind != RewardKind::kFormat) {
    node.read("extract", extract, extractors(), "Extractors are tried in the order given.");
    part.extract.clear();
    for (const auto& extractor : split_names(extract)) part.extract.push_back(kExtracts.at(extractor));
  }
  if (part.kind == RewardKind::kExactAnswer) {
    node.read("compare", compare, one_of(names_of(kCompares)));
    part.compare = kCompares.at(compare);
  }
  if (part.kind == RewardKind::kCountdown) node.read("use_all_numbers", part.use_all_numbers);
  return part;
}

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
  double value = 0;  ///< of code; elsewhere the verdict says it
};

PartResult score_code(const CodeVerifier& verifier, const RewardRequest& request, const RewardPart& part,
                      bool think_opened) {
  const auto task = code_task(request.extra);
  if (!task) return {Verdict::kGoldUnreadable, ""};
  const auto code = extract_code(request.completion, part.code.language, think_opened);
  if (!code) return {Verdict::kAnswerUnreadable, ""};
  const auto result = verifier.check(*code, *task);
  return {result.verdict, *code, result.value};
}

PartResult score_part(const RewardPart& part, const CodeVerifier* verifier, const RewardRequest& request,
                      bool think_opened) {
  if (part.kind == RewardKind::kFormat) {
    const bool right = has_think_answer_format(request.completion, think_opened);
    return {right ? Verdict::kRight : Verdict::kWrong, ""};
  }
  if (part.kind == RewardKind::kCode) return score_code(*verifier, request, part, think_opened);
  PartResult result;
  const auto answer = extract_answer(request.completion, part.extract, think_opened);
  result.extracted = answer.value_or("");
  if (part.kind == RewardKind::kExactAnswer) {
    result.verdict = compare_answers(result.extracted, request.gold, part.compare);
    return result;
  }
  const auto task = countdown_task(request.extra);
  if (!task) {
    result.verdict = Verdict::kGoldUnreadable;
  } else if (!answer) {
    result.verdict = Verdict::kAnswerUnreadable;
  } else {
    result.verdict = check_countdown(*answer, task->numbers, task->target, part.use_all_numbers);
  }
  return result;
}

}  // namespace

RewardConfig RewardConfig::parse(ConfigNode node) {
  RewardConfig config;
  node.read("think_opened", config.think_opened);
  const ConfigNode parts = node.child("parts");
  for (const auto& name : parts.keys()) config.parts.push_back(parse_part(name, parts.child(name)));
  node.reject_unknown_keys();
  if (config.parts.empty()) {
    node.reject("parts", "at least one part",
                "Without a reward nothing is learned. For example\n"
                "    parts: {accuracy: {kind: exact_answer, weight: 1.0}}");
  }
  return config;
}

Reward::Reward(RewardConfig config) : config_(std::move(config)) {
  for (const auto& part : config_.parts)
    verifiers_.push_back(part.kind == RewardKind::kCode ? std::make_unique<CodeVerifier>(part.code)
                                                        : nullptr);
}

Score Reward::score(const RewardRequest& request) const {
  constexpr double kUnreadable = std::numeric_limits<double>::quiet_NaN();
  Score score;
  bool has_verdict = false, has_answer = false, gold_unreadable = false;
  for (size_t i = 0; i < config_.parts.size(); ++i) {
    const auto& part = config_.parts[i];
    auto result = score_part(part, verifiers_[i].get(), request, config_.think_opened);
    const bool unreadable = result.verdict == Verdict::kGoldUnreadable;
    const double value = unreadable ? kUnreadable : (result.verdict == Verdict::kRight ? 1.0 : result.value);
    score.parts.emplace_back(part.name, value);
    if (part.weight != 0) score.total += part.weight * value;
    gold_unreadable |= unreadable && part.weight != 0;
    const bool checks_answer = part.kind != RewardKind::kFormat;
    if (!has_verdict || (checks_answer && !has_answer)) {
      score.verdict = result.verdict;
      score.extracted = std::move(result.extracted);
      has_verdict = true;
      has_answer = checks_answer;
    }
  }
  if (gold_unreadable) score.verdict = Verdict::kGoldUnreadable;
  return score;
}

}  // namespace r1
