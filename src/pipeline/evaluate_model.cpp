#include "r1/pipeline/evaluate_model.h"

#include <torch/torch.h>

#include "r1/data/problem_file.h"
#include "r1/data/prompt_template.h"
#include "r1/model/weights.h"
#include "r1/pipeline/model_files.h"
#include "r1/util/error.h"
#include "r1/util/log.h"
#include "r1/util/random.h"
#include "r1/util/strings.h"

namespace r1::pipeline {
namespace {

// DeepSeek-R1's recommended directive for mathematics, and the same for functions that are tested.
constexpr const char* kMathsPrompt =
    "{prompt}\nPlease reason step by step, and put your final answer within \\boxed{}.";
constexpr const char* kCodePrompt =
    "Write this Python function. Answer with the whole function and its imports in one ```python "
    "block.\n\n```python\n{prompt}\n```\n";
constexpr const char* kMathsReward =
    "parts: {accuracy: {kind: exact_answer, extract: \"boxed, answer_tag, hashes, last_number\", compare: "
    "maths}}";
constexpr const char* kCodeReward = "parts: {accuracy: {kind: code}}";

// Everything that evaluation needs beside the model.
struct Task {
  Tokenizer tokenizer;
  std::filesystem::path tokenizer_path;
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
    } else if (const auto* text = std::get_if<TextStageEntry>(&stage.config);
               text != nullptr && text->config.eval) {
      eval = text->config.eval;
    } else if (const auto* stage_eval = std::get_if<EvalEntry>(&stage.config)) {
      eval = stage_eval->eval;
      engine = stage_eval->engine;
    }
  }
  if (!eval)
    config.source.reject("pipeline", "a stage with an `eval:` section", "Its sampling settings are used.");
  auto set = load_problems(config.require_problems());
  return {config.load_tokenizer(),
          config.tokenizer_path.empty() ? "tokenizer.characters" : config.tokenizer_path,
          std::move(set.eval),
          Reward(*config.reward),
          *eval,
          engine,
          config.seed};
}

Task from_file(const EvaluationRequest& request) {
  const auto tokenizer_path = request.tokenizer.empty() ? request.model : request.tokenizer;
  auto tokenizer = Tokenizer::load(tokenizer_path);
  auto problems = read_benchmark(request.data);
  const bool code = problems.front().extra.contains("asserts");
  const std::string text = !request.prompt.empty() ? request.prompt : code ? kCodePrompt : kMathsPrompt;
  for (auto& problem : problems) {
    problem.prompt = fill_template(text, {{"prompt", problem.prompt}});
    if (request.chat) problem.prompt = apply_chat_template(tokenizer, {{"user", problem.prompt}});
  }
  const auto reward =
      RewardConfig::parse(ConfigNode::parse_text(code ? kCodeReward : kMathsReward, request.data.string()));
  train::EvalConfig eval;
  eval.problems = static_cast<int64_t>(problems.size());
  eval.sampling.rule.temperature = 0;
  eval.sampling.max_completion_tokens = 1024;
  rollout::EngineConfig engine;
  engine.kv_cache_bytes = int64_t{8} << 30;  // an upper bound: pages are made for what these prompts can need
  return {std::move(tokenizer), tokenizer_path, std::move(problems), Reward(reward), eval, engine, 1};
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
  if (request.problems > count)
    log_warning(cat(request.problems, " problems were asked for; there are ", count));
  if (count == 0) {
    throw Error(
        "evaluation: the config holds no problem out; accepted: at least one.\n  Raise "
        "problems.eval_fraction, or name a file with --data.");
  }
  const auto source = model::open_weights(request.model);
  check_vocabulary(task.tokenizer, task.tokenizer_path, source->config(), request.model);
  const auto choice = request.device ? *request.device : request.config ? request.config->device : DeviceChoice::kAuto;
  const auto device = choose_device(choice, request.device || !request.config ? "--device" : request.config->source.where("device"));
  auto model = load_model(request.model, compute_dtype(device), device);
  rollout::Engine engine(model, task.tokenizer, task.engine);
  train::ScoringSeconds seconds;
  const train::Sharing alone;
  return train::evaluate({engine, task.tokenizer, task.reward, alone, seconds}, task.problems, count, task.eval.samples, sampling,
                         {request.seed.value_or(task.seed), stage_id("eval"), 0}, listener);
}

}  // namespace r1::pipeline
