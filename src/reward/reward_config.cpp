#include <algorithm>
#include <cmath>
#include <map>
#include <thread>

#include "r1/reward/reward.h"
#include "r1/util/strings.h"

namespace r1 {
namespace {

const std::map<std::string, RewardKind> kKinds = {{"exact_answer", RewardKind::kExactAnswer},
                                                  {"format", RewardKind::kFormat},
                                                  {"countdown", RewardKind::kCountdown},
                                                  {"code", RewardKind::kCode},
                                                  {"language", RewardKind::kLanguage},
                                                  {"repetition", RewardKind::kRepetition},
                                                  {"length", RewardKind::kLength}};
const std::map<std::string, Extract> kExtracts = {{"answer_tag", Extract::kAnswerTag},
                                                  {"boxed", Extract::kBoxed},
                                                  {"hashes", Extract::kHashes},
                                                  {"last_number", Extract::kLastNumber},
                                                  {"first_line", Extract::kFirstLine}};
const std::map<std::string, Compare> kCompares = {{"auto", Compare::kAuto},
                                                  {"number", Compare::kNumber},
                                                  {"text", Compare::kText},
                                                  {"maths", Compare::kMaths}};

const std::map<std::string, CodeLanguage> kCodeLanguages = {{"python", CodeLanguage::kPython},
                                                            {"cpp", CodeLanguage::kCpp}};
const std::map<std::string, PartialCredit> kPartialCredits = {{"all", PartialCredit::kAll},
                                                              {"fraction", PartialCredit::kFraction}};

const std::map<std::string, std::optional<Language>> kLanguages = {
    {"prompt", std::nullopt},      {"english", Language::kEnglish}, {"chinese", Language::kChinese},
    {"french", Language::kFrench}, {"german", Language::kGerman},   {"spanish", Language::kSpanish}};

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
  node.read("language", language, one_of(names_of(kCodeLanguages)));
  node.read("timeout_s", code.timeout_s, between(0.01, 3600.0));
  node.read("memory_mb", code.memory_mb, between<int64_t>(32, 1 << 20), "Python alone needs about 10 MB.");
  node.read("partial_credit", partial_credit, one_of(names_of(kPartialCredits)));
  node.read("tolerance", code.tolerance, between(0.0, 1.0));
  node.read("unsandboxed", code.unsandboxed);
  code.language = kCodeLanguages.at(language);
  code.partial_credit = kPartialCredits.at(partial_credit);
  return code;
}

LanguageConfig parse_language(const ConfigNode& node) {
  LanguageConfig config;
  std::string language = "prompt", of = "thinking";
  node.read("language", language, one_of(names_of(kLanguages)));
  node.read("of", of, one_of({"thinking", "completion"}));
  config.target = kLanguages.at(language);
  config.thinking = of == "thinking";
  return config;
}

void parse_extract(const ConfigNode& node, RewardPart& part) {
  std::string extract = "answer_tag";
  node.read("extract", extract, extractors(), "Extractors are tried in the order given.");
  part.extract.clear();
  for (const auto& extractor : split_names(extract)) part.extract.push_back(kExtracts.at(extractor));
}

RewardPart parse_part(const std::string& name, const ConfigNode& node) {
  RewardPart part;
  part.name = name;
  std::string kind, compare = "auto";
  node.require("kind", kind, one_of(names_of(kKinds)));
  part.kind = kKinds.at(kind);
  node.read("weight", part.weight, finite_number());
  switch (part.kind) {
    case RewardKind::kExactAnswer:
      parse_extract(node, part);
      node.read("compare", compare, one_of(names_of(kCompares)));
      part.compare = kCompares.at(compare);
      break;
    case RewardKind::kFormat:
      break;
    case RewardKind::kCountdown:
      parse_extract(node, part);
      node.read("use_all_numbers", part.use_all_numbers);
      break;
    case RewardKind::kCode:
      part.code = parse_code(node);
      break;
    case RewardKind::kLanguage:
      part.language = parse_language(node);
      break;
    case RewardKind::kRepetition:
      node.read("ngram", part.ngram, between<int64_t>(1, 1000));
      break;
    case RewardKind::kLength:
      part.length = LengthConfig::parse(node);
      break;
  }
  return part;
}

}  // namespace

bool checks_answer(RewardKind kind) {
  return kind == RewardKind::kExactAnswer || kind == RewardKind::kCountdown || kind == RewardKind::kCode;
}

int64_t RewardConfig::num_workers() const {
  const bool runs_code = std::any_of(parts.begin(), parts.end(),
                                     [](const auto& part) { return part.kind == RewardKind::kCode; });
  return workers == 0 && runs_code ? std::max<int64_t>(1, std::thread::hardware_concurrency()) : workers;
}

RewardConfig RewardConfig::parse(ConfigNode node) {
  RewardConfig config;
  node.read("think_opened", config.think_opened);
  node.read("workers", config.workers, between<int64_t>(0, 1024));
  const ConfigNode parts = node.child("parts");
  for (const auto& name : parts.keys()) config.parts.push_back(parse_part(name, parts.child(name)));
  node.reject_unknown_keys();
  const auto has = [&](auto test) {
    return std::any_of(config.parts.begin(), config.parts.end(),
                       [&](const auto& part) { return test(part.kind); });
  };
  if (has([](RewardKind kind) { return kind == RewardKind::kLength; }) && !has(checks_answer)) {
    node.reject("parts", "a part of kind length beside one of exact_answer, countdown or code",
                "It asks whether the answer is right.");
  }
  if (config.parts.empty()) {
    node.reject("parts", "at least one part",
                "Without a reward nothing is learned. For example\n"
                "    parts: {accuracy: {kind: exact_answer, weight: 1.0}}");
  }
  return config;
}

}  // namespace r1
