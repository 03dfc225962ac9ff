#include "plan_lengths.h"

#include <algorithm>
#include <cmath>

#include "r1/data/text_examples.h"
#include "r1/util/strings.h"

namespace r1::pipeline {
namespace {

constexpr int64_t kLooksAt = 200;           // problems and texts: their mean is then known to a few percent
constexpr double kUnknownPromptTokens = 128;  // a short question in a template

double rounded(double value) { return std::round(value * 10) / 10; }

int64_t limit_of(const StageEntry& entry) {
  if (const auto* grpo = std::get_if<train::GrpoStageConfig>(&entry.config)) return grpo->sampling.max_completion_tokens;
  if (const auto* rejection = std::get_if<train::RejectionConfig>(&entry.config)) return rejection->sampling.max_completion_tokens;
  if (const auto* eval = std::get_if<EvalEntry>(&entry.config)) return eval->eval.sampling.max_completion_tokens;
  const auto* text = std::get_if<TextStageEntry>(&entry.config);
  return text != nullptr && text->config.eval ? text->config.eval->sampling.max_completion_tokens : 0;
}

// The limit of a rollout, averaged over the stage where it changes.
double mean_limit_of(const StageEntry& entry) {
  const auto* grpo = std::get_if<train::GrpoStageConfig>(&entry.config);
  const auto limit = static_cast<double>(limit_of(entry));
  if (grpo == nullptr || grpo->longer.after_step == 0 || grpo->longer.after_step >= grpo->steps) return limit;
  const double later = static_cast<double>(grpo->steps - grpo->longer.after_step) / static_cast<double>(grpo->steps);
  return limit * (1 - later) + static_cast<double>(grpo->longer.max_completion_tokens) * later;
}

}  // namespace

MeasuredLengths::MeasuredLengths(const RunConfig& config) : config_(config) {
  if (!config.characters.empty() || std::filesystem::exists(config.tokenizer_path)) tokenizer_ = config.load_tokenizer();
}

double MeasuredLengths::prompt_tokens() {
  if (prompt_tokens_) return *prompt_tokens_;
  prompt_tokens_ = 0;
  if (!tokenizer_ || !config_.problems) return 0;
  if (const auto* file = std::get_if<ProblemFileConfig>(&config_.problems->source); file != nullptr && !std::filesystem::exists(file->file)) return 0;
  const auto problems = load_problems(*config_.problems).train;
  const auto count = std::min<size_t>(kLooksAt, problems.size());
  double tokens = 0;
  for (size_t i = 0; i < count; ++i) tokens += static_cast<double>(tokenizer_->encode(problems[i * (problems.size() / count)].prompt).size());
  const bool bos = (tokenizer_->add_bos() || tokenizer_->kind() == "characters") && tokenizer_->bos_id();
  if (count > 0) prompt_tokens_ = tokens / static_cast<double>(count) + (bos ? 1 : 0);
  return *prompt_tokens_;
}

void MeasuredLengths::measure_texts(const TextStageEntry& entry, Lengths& out) {
  double tokens = 0, weights = 0, texts = 0;
  for (const auto& source : entry.data.sources) {
    std::vector<TextExample> examples;
    if (source.worked) {
      const WorkedArithmetic corpus(std::get<ArithmeticConfig>(config_.problems->source), *source.worked, config_.seed);
      for (int64_t i = 0; i < kLooksAt; ++i) examples.push_back(corpus.document(i).text);
    } else if (!source.file.empty() && std::filesystem::exists(source.file)) {
      examples = read_text_examples(source.file);
      texts += static_cast<double>(examples.size());
    }
    if (examples.empty() || !tokenizer_) return;
    const auto count = std::min<size_t>(kLooksAt, examples.size());
    double sum = 0;
    for (size_t i = 0; i < count; ++i) {
      const auto& example = examples[i * (examples.size() / count)];
      sum += static_cast<double>(tokenizer_->encode(example.prompt + example.completion).size()) + 1;
    }
    tokens += source.weight * sum / static_cast<double>(count);
    weights += source.weight;
  }
  if (out.text == 0) {
    out.text = tokens / weights;
    out.notes.push_back(cat("texts of ", rounded(out.text), " tokens: the mean of ", kLooksAt));
  }
  if (out.texts == 0) out.texts = texts;
}

Lengths MeasuredLengths::of(const StageEntry& entry) {
  Lengths out;
  const auto& said = entry.plan;
  const auto context = static_cast<double>(entry.model.config.max_positions);
  if (const auto* text = std::get_if<TextStageEntry>(&entry.config)) {
    out.text = said.text_tokens;
    out.texts = said.texts;
    if (out.text > 0) out.notes.push_back(cat("texts of ", rounded(out.text), " tokens: assumed in the config"));
    measure_texts(*text, out);
    if (out.text == 0) {
      const auto limit = text->config.max_text_tokens > 0 ? static_cast<double>(text->config.max_text_tokens) : context;
      out.text = limit;
      out.notes.push_back(cat("texts of ", limit, " tokens, the most that is allowed: their data is not there yet; plan.text_tokens says better"));
    }
    if (text->config.epochs > 0 && said.texts > 0) out.notes.push_back(cat(human_count(said.texts), " texts: assumed in the config"));
  }
  if (std::holds_alternative<RewardModelEntry>(entry.config)) {
    out.text = said.text_tokens > 0 ? said.text_tokens : context;
    out.notes.push_back(cat("texts of ", rounded(out.text), " tokens: ", said.text_tokens > 0 ? "assumed in the config" : "the context; plan.text_tokens says better"));
  }
  if (limit_of(entry) == 0) return out;
  out.prompt = said.prompt_tokens;
  if (out.prompt > 0) {
    out.notes.push_back(cat("prompts of ", rounded(out.prompt), " tokens: assumed in the config"));
  } else if ((out.prompt = prompt_tokens()) > 0) {
    out.notes.push_back(cat("prompts of ", rounded(out.prompt), " tokens: the mean of ", kLooksAt, " problems"));
  } else {
    out.prompt = kUnknownPromptTokens;
    out.notes.push_back(cat("prompts of ", out.prompt, " tokens: their data is not there; plan.prompt_tokens says better"));
  }
  const double limit = std::min(mean_limit_of(entry), context - out.prompt);
  out.completion = said.completion_tokens > 0 ? std::min(said.completion_tokens, limit) : limit;
  out.longest = said.longest_tokens > 0 ? std::min(said.longest_tokens, limit) : limit;
  out.notes.push_back(said.completion_tokens > 0 ? cat("completions of ", rounded(out.completion), " tokens: assumed in the config")
                                                 : cat("completions of ", rounded(out.completion), " tokens, the most that is allowed; plan.completion_tokens says better"));
  if (out.longest > out.completion) {
    out.notes.push_back(cat("the longest completion of a rollout has ", rounded(out.longest), " tokens", said.longest_tokens > 0 ? ": assumed in the config" : ", the limit"));
  }
  return out;
}

}  // namespace r1::pipeline
