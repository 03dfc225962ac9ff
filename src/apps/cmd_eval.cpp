// r1 eval: pass@1, cons@k and pass@k of a model on held-out problems or on a benchmark file.
#include <cmath>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "command_line.h"
#include "commands.h"
#include "json_lines.h"
#include "output.h"
#include "r1/pipeline/evaluate_model.h"
#include "r1/util/error.h"
#include "r1/util/jsonl.h"
#include "r1/util/progress.h"
#include "r1/util/strings.h"

namespace r1::apps {
namespace {

struct EvalOptions {
  pipeline::EvaluationRequest request;
  std::filesystem::path config, out;
  std::vector<std::string> overrides;
  std::string device;
  bool json = false;
};

nlohmann::ordered_json number(double value) {
  return std::isfinite(value) ? nlohmann::ordered_json(value) : nlohmann::ordered_json();
}

// One line of --out.
nlohmann::ordered_json sample_row(const train::ScoredGroup& group, size_t sample) {
  const auto& score = group.scores[sample];
  const auto& completion = group.group.completions[sample];
  nlohmann::ordered_json row{
      {"problem", group.problem.id}, {"sample", sample}, {"verdict", verdict_name(score.verdict)}};
  add_text(row, "extracted", score.extracted);
  add_text(row, "gold", group.problem.answer);
  row["reward"] = number(score.total);
  for (const auto& [name, value] : score.parts) row["rewards"][name] = number(value);
  row["num_tokens"] = completion.tokens.size();
  row["finish_reason"] = rollout::finish_name(completion.finish);
  add_text(row, "prompt", group.problem.prompt);
  add_text(row, "completion", group.texts[sample]);
  return row;
}

std::string percent_line(const std::string& name, double value, const train::Interval& interval) {
  char text[96];
  std::snprintf(text, sizeof text, "%-20s %6.2f %%   95 %% interval %6.2f to %6.2f %%\n", name.c_str(),
                100 * value, 100 * interval.low, 100 * interval.high);
  return text;
}

std::string table(const train::EvalResult& r) {
  std::string out = cat("problems             ", r.problems, ", ", r.samples,
                        r.samples == 1 ? " sample" : " samples", " of each");
  if (r.gold_unreadable > 0)
    out += cat("; ", r.gold_unreadable, " left out, their gold answer cannot be read");
  out += "\n" + percent_line("pass@1", r.accuracy, r.accuracy_interval);
  for (const auto& [j, estimate] : r.pass_at)
    out += percent_line(cat("pass@", j), estimate.value, estimate.interval);
  if (r.cons) out += percent_line(cat("cons@", r.samples), r.cons->value, r.cons->interval);
  const auto line = [&](const std::string& name, const char* format, double value) {
    char text[96];
    std::snprintf(text, sizeof text, format, value);
    out += cat(name, std::string(name.size() < 20 ? 21 - name.size() : 1, ' '), text, "\n");
  };
  for (const auto& [name, value] : r.parts) line("reward " + name, "%6.4f", value);
  line("tokens", "%6.1f per completion", r.mean_tokens);
  line("truncated", "%6.2f %%", 100 * r.truncated);
  line("answer unreadable", "%6.2f %%", 100 * r.answer_unreadable);
  if (r.timed_out > 0) line("timed out", "%6.2f %% of the verdicts", 100 * r.timed_out);
  return out;
}

int evaluate(EvalOptions& options) {
  auto& request = options.request;
  if (!options.device.empty()) request.device = pipeline::device_of_name(options.device);
  if (options.config.empty() == request.data.empty()) {
    throw Error("eval: give a config, for its held-out problems, or --data FILE, one of the two");
  }
  if (!options.config.empty()) {
    if (!request.prompt.empty() || request.chat || !request.tokenizer.empty()) {
      throw Error(
          "eval: --prompt, --chat and --tokenizer go with --data; a config has its own (override with "
          "problems.prompt=...)");
    }
    request.config = pipeline::RunConfig::load(options.config, options.overrides);
  } else if (!request.prompt.empty() && request.prompt.find("{prompt}") == std::string::npos) {
    throw Error(
        "eval: --prompt holds no {prompt}; accepted: a template such as 'Question: {prompt}\\nAnswer:'");
  }
  std::optional<JsonlWriter> samples;
  if (!options.out.empty()) {
    if (std::filesystem::exists(options.out))
      throw Error(cat(options.out.string(), " exists; name another file for --out"));
    samples.emplace(options.out);
  }
  std::optional<Progress> progress;
  const auto result = pipeline::evaluate_model(
      request, {.group =
                    [&](const train::ScoredGroup& group) {
                      for (size_t i = 0; samples && i < group.texts.size(); ++i)
                        samples->write(sample_row(group, i));
                    },
                .progress =
                    [&, start_s = monotonic_s()](int64_t done, int64_t total, int64_t tokens) {
                      if (!progress) progress.emplace("eval", total);
                      const double per_s =
                          static_cast<double>(tokens) / std::max(monotonic_s() - start_s, 1e-3);
                      progress->update(done, cat(human_count(static_cast<double>(tokens)), " tokens, ",
                                                 human_count(per_s), " tok/s"));
                    }});
  if (progress) progress->finish();
  if (!options.json) {
    print(table(result));
    return 0;
  }
  nlohmann::ordered_json json;
  for (const auto& [name, value] : figures_of(result)) json[name] = number(value);
  print(json.dump() + "\n");
  return 0;
}

}  // namespace

void add_eval_command(CLI::App& app, Action& action) {
  auto* command = app.add_subcommand(
      "eval", "pass@1, cons@k and pass@k with intervals, on held-out problems or a benchmark file");
  const auto options = std::make_shared<EvalOptions>();
  auto& request = options->request;
  command->add_option("config", options->config,
                      "YAML file, for example <run_dir>/config.yaml: its held-out problems and its reward");
  command->add_option("overrides", options->overrides, "key=value");
  command->add_option("--model", request.model, "HF folder, checkpoint or .gguf")->required();
  command->add_option(
      "--data", request.data,
      "instead of a config: problems as JSON lines (.jsonl, .jsonl.zst) or one array (.json), in the form of "
      "GSM8K, MATH, AIME, HumanEval or MBPP");
  command->add_option("--prompt", request.prompt,
                      "with --data: template with {prompt}; default: asks for \\boxed{} or a code block");
  command->add_flag("--chat", request.chat,
                    "with --data: put the prompt into the chat template as the user's turn");
  command->add_option("--tokenizer", request.tokenizer,
                      "with --data: folder or file; default: the model's own");
  command
      ->add_option("--problems", request.problems,
                   "how many, drawn by a fixed key; 0: eval.problems of the config, or all")
      ->check(from_to(0, 1e9));
  command
      ->add_option("--samples", request.samples,
                   "completions of each problem; 0: eval.samples of the config, or 1")
      ->check(from_to(0, 1e6));
  command
      ->add_option("--temperature", request.temperature,
                   "0: always the likeliest token; default: as the config says, or 0")
      ->check(from_to(0, 100));
  command->add_option("--top-p", request.top_p, "keep the likeliest tokens that reach this share; 1: all")
      ->check(from_to(1e-6, 1));
  command
      ->add_option("--max-tokens", request.max_completion_tokens,
                   "length of a completion at most; default: as the config says, or 1024")
      ->check(from_to(1, 1e9));
  add_device_option(*command, options->device, "; default: the config's, or auto");
  command->add_option("--seed", request.seed, "of the draws; default: the config's, or 1");
  command->add_option("--out", options->out,
                      "a new file: one JSON line for every completion, with verdict and extracted answer");
  command->add_flag("--json", options->json, "one JSON line instead of the table");
  set_examples(
      *command,
      "  r1 eval runs/tiny_r1_zero/config.yaml --model runs/tiny_r1_zero/checkpoints/r1_zero/latest\n"
      "  r1 eval --data gsm8k_test.jsonl --model smollm2.gguf --chat --problems 100\n"
      "  r1 eval --data aime24.jsonl --model MODEL --chat --samples 64 --temperature 0.6 --top-p 0.95 "
      "--max-tokens 32768 \\\n"
      "          --out samples.jsonl\n"
      "The last line is how the DeepSeek-R1 paper evaluates. pass@1 is the mean over problems of the share "
      "of right samples,\n"
      "cons@k the share of problems whose most frequent answer is right, pass@k the chance that one of k "
      "samples is right.\n"
      "Intervals count problems, not samples: docs/evaluation.md has the formulas.\n");
  command->callback([options, &action] { action = [options] { return evaluate(*options); }; });
}

}  // namespace r1::apps
