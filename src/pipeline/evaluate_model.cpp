#include "r1/pipeline/evaluate_model.h"

#include <torch/torch.h>

#include "r1/data/problem_file.h"
#include "r1/data/prompt_template.h"
#include "r1/model/weights.h"
#include "r1/util/error.h"
#include "r1/util/log.h"
#include "r1/util/random.h"
#include "r1/util/strings.h"

namespace r1::pipeline {
namespace {

// DeepSeek-R1's recommended directive for mathematics, and the same for functions that are tested.
constexpr const char* kMathsPrompt = "{prompt}\nPlease reason step by step, and put your final answer within \\boxed{}.";
constexpr const char* kCodePrompt =
    "Write this Python function. Answer with the whole function and its imports in one ```python block.\n\n```python\n{prompt}\n```\n";
constexpr const char* kMathsReward = "parts: {accuracy: {kind: exact_answer, extract: \"boxed, answer_tag, hashes, last_number\", compare: maths}}";
constexpr const char* kCodeReward = "parts: {accuracy: {kind: code}}";

// Everything that evaluation needs beside the model.
struct Task {
  Tokenizer tokenizer;
  std::vector<Problem> problems;
  Reward reward;
  train::EvalConfig eval;
  rollout::EngineConfig engine;
  uint64_t seed = 1;
};

Task from_config(const RunConfig& config) {
  if (!config.reward) config.source.reject("reward", "a section with parts", "Evaluation needs a verifier.");
  std::optional<train::EvalConfig> eval;
  rollout::EngineConfig engine;
  for (const auto& stage : config.stages) {
    if (const auto* grpo = std::get_if<train::GrpoStageConfig>(&stage.config)) {
      eval = grpo->eval;
      engine = grpo->engine;
    } else if (const auto* text = std::get_if<TextStageEntry>(&stage.config); text != nullptr && text->config.eval) {
      eval = text->config.eval;
    }
  }
  if (!eval) config.source.reject("pipeline", "a stage with an `eval:` section", "Its sampling settings are used.");
  auto set = load_problems(config.require_problems());
  return {config.load_tokenizer(), std::move(set.eval), Reward(*config.reward), *eval, engine, config.seed};
}

Task from_file(const EvaluationRequest& request) {
  auto tokenizer = Tokenizer::load(request.tokenizer.empty() ? request.model : request.tokenizer);
  auto problems = read_benchmark(request.data);
  const bool code = problems.front().extra.contains("asserts");
  const std::string text = !request.prompt.empty() ? request.prompt : code ? kCodePrompt : kMathsPrompt;
  for (auto& problem : problems) {
    problem.prompt = fill_template(text, {{"prompt", problem.prompt}});
    if (request.chat) problem.prompt = apply_chat_template(tokenizer, {{"user", problem.prompt}});
  }
  const auto reward = RewardConfig::parse(ConfigNode::parse_text(code ? kCodeReward : kMathsReward, request.data.string()));
  train::EvalConfig eval;
  eval.problems = static_cast<int64_t>(problems.size());
  eval.sampling.rule.temperature = 0;
  eval.sampling.max_completion_tokens = 1024;
  rollout::EngineConfig engine;
  engine.kv_cache_bytes = int64_t{8} << 30;  // an upper bound: pages are made for what these prompts can need
  return {std::move(tokenizer), std::move(problems), Reward(reward), eval, engine, 1};
}

// Problems whose prompt leaves no room for an answer are an error only when they are asked.
void check_task(const Task& task, const EvaluationRequest& request, const model::ModelConfig& model) {
  if (task.problems.empty()) {
    throw Error("evaluation: the config holds no problem out; accepted: at least one.\n  Raise problems.eval_fraction, or name a file with --data.");
  }
  if (task.tokenizer.vocab_size() > model.vocab_size) {
    throw Error(cat(request.model.string(), ": the embedding has ", model.vocab_size, " rows, the tokenizer ", task.tokenizer.vocab_size(),
                    " tokens; accepted: at most as many tokens as rows.\n  Use the tokenizer that belongs to these weights."));
  }
}

}  // namespace

train::EvalResult evaluate_model(const EvaluationRequest& request, const train::EvalListener& listener) {
  Task task = request.config ? from_config(*request.config) : from_file(request);
  auto& sampling = task.eval.sampling;
  if (request.temperature) sampling.rule.temperature = *request.temperature;
  if (request.top_p) sampling.rule.top_p = *request.top_p;
  if (request.max_completion_tokens) sampling.max_completion_tokens = *request.max_completion_tokens;
  if (request.samples > 0) task.eval.samples = request.samples;
  const int64_t wanted = request.problems > 0 ? request.problems : task.eval.problems;
  const int64_t count = std::min(wanted, static_cast<int64_t>(task.problems.size()));
  if (request.problems > count) log_warning(cat(request.problems, " problems were asked for; there are ", count));
  const auto source = model::open_weights(request.model);
  check_task(task, request, source->config());
  model::Transformer model(source->config());
  model->load_weights(*source);
  rollout::Engine engine(model, task.tokenizer, task.engine);
  return train::evaluate(engine, task.tokenizer, task.reward, task.problems, count, task.eval.samples, sampling,
                         {request.seed.value_or(task.seed), stage_id("eval"), 0}, listener);
}

}  // namespace r1::pipeline
