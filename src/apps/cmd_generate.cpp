// r1 generate: completions of prompts by the engine that training samples with.
#include <torch/torch.h>

#include <iostream>
#include <memory>

#include "command_line.h"
#include "commands.h"
#include "json_lines.h"
#include "r1/pipeline/device.h"
#include "r1/pipeline/model_files.h"
#include "output.h"
#include "r1/rollout/engine.h"
#include "r1/util/error.h"
#include "r1/util/progress.h"
#include "r1/util/random.h"
#include "r1/util/strings.h"

namespace r1::apps {
namespace {

struct GenerateOptions {
  std::filesystem::path model, tokenizer;
  std::vector<std::string> prompts;
  std::string system;
  bool chat = false, json = false;
  rollout::SamplingConfig sampling;
  int64_t completions = 1;
  uint64_t seed = 1;
  std::string device = "auto";
};

std::vector<std::string> read_prompts() {
  std::vector<std::string> prompts;
  for (std::string line; std::getline(std::cin, line);) {
    if (line.ends_with('\r')) line.pop_back();
    if (!line.empty()) prompts.push_back(line);
  }
  if (prompts.empty()) throw Error("stdin: no prompt; accepted: one prompt per line, or --prompt TEXT");
  return prompts;
}

// BOS goes before a prompt as in training: where the vocabulary says so, and always in a character
// vocabulary.
std::vector<int32_t> prompt_tokens(const GenerateOptions& options, const Tokenizer& tokenizer,
                                   const std::string& prompt) {
  std::string text = prompt;
  if (options.chat) {
    std::vector<ChatMessage> messages;
    if (!options.system.empty()) messages.push_back({"system", options.system});
    messages.push_back({"user", prompt});
    text = apply_chat_template(tokenizer, messages);
  }
  std::vector<int32_t> ids;
  if ((tokenizer.add_bos() || tokenizer.kind() == "characters") && tokenizer.bos_id())
    ids.push_back(*tokenizer.bos_id());
  const auto body = tokenizer.encode(text);
  ids.insert(ids.end(), body.begin(), body.end());
  return ids;
}

std::string json_row(const std::string& prompt, int64_t sample, const rollout::RolloutGroup& group,
                     const rollout::Completion& completion, const std::string& text) {
  nlohmann::ordered_json row;
  add_text(row, "prompt", prompt);
  row["sample"] = sample;
  add_text(row, "completion", text);
  row["finish"] = rollout::finish_name(completion.finish);
  row["prompt_ids"] = group.prompt.tokens;
  row["ids"] = completion.tokens;
  row["logprobs"] = completion.rollout_logprobs;
  return row.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
}

int generate(const GenerateOptions& options) {
  const auto tokenizer_path = options.tokenizer.empty() ? options.model : options.tokenizer;
  const auto tokenizer = Tokenizer::load(tokenizer_path);
  const auto texts = options.prompts.empty() ? read_prompts() : options.prompts;
  const auto device = pipeline::choose_device(pipeline::device_of_name(options.device), "--device");
  auto model = pipeline::load_model(options.model, pipeline::compute_dtype(device), device);
  pipeline::check_vocabulary(tokenizer, tokenizer_path, model->config(), options.model);
  std::vector<rollout::Prompt> prompts;
  for (const auto& text : texts) {
    prompts.push_back({prompt_tokens(options, tokenizer, text), static_cast<uint32_t>(prompts.size())});
  }
  rollout::EngineConfig engine_config;
  engine_config.kv_cache_bytes = int64_t{8}
                                 << 30;  // an upper bound: pages are made for what these prompts can need
  rollout::Engine engine(model, tokenizer, engine_config);
  Progress progress("generate", static_cast<int64_t>(prompts.size()) * options.completions);
  const auto groups = engine.sample(prompts, options.completions, options.sampling,
                                    {.seed = options.seed, .stage = stage_id("generate"), .step = 0},
                                    [&](int64_t done, int64_t) { progress.update(done); });
  progress.finish();
  const bool single = groups.size() == 1 && options.completions == 1;
  for (size_t p = 0; p < groups.size(); ++p) {
    for (size_t s = 0; s < groups[p].completions.size(); ++s) {
      const auto& completion = groups[p].completions[s];
      const std::string text = tokenizer.decode(completion.tokens, {.skip_special = true});
      if (options.json) {
        print(json_row(texts[p], static_cast<int64_t>(s), groups[p], completion, text));
      } else if (single) {
        print(text + "\n");
      } else {
        print(cat("--- prompt ", p + 1, ", completion ", s + 1, ", ", completion.tokens.size(),
                  " tokens, ended by ", rollout::finish_name(completion.finish), "\n", text, "\n"));
      }
    }
  }
  return 0;
}

}  // namespace

void add_generate_command(CLI::App& app, Action& action) {
  auto* command = app.add_subcommand("generate", "completions of prompts");
  const auto options = std::make_shared<GenerateOptions>();
  auto& rule = options->sampling.rule;
  command->add_option("--model", options->model, "HF folder, a run's checkpoint or a .gguf file")->required();
  command->add_option("--tokenizer", options->tokenizer, "folder or file; default: the model's own");
  add_device_option(*command, options->device);
  command
      ->add_option("--prompt", options->prompts,
                   "text to continue, may be repeated; default: the lines of stdin")
      ->take_all()
      ->allow_extra_args(false);
  command->add_flag("--chat", options->chat,
                    "put each prompt into the chat template (ChatML) as the user's turn");
  command->add_option("--system", options->system, "system message of --chat")->needs("--chat");
  command->add_option("--temperature", rule.temperature, "0: always the likeliest token")
      ->check(from_to(0, 100))
      ->capture_default_str();
  command->add_option("--top-k", rule.top_k, "keep the k likeliest tokens; 0: all")
      ->check(from_to(0, 1e9))
      ->capture_default_str();
  command->add_option("--top-p", rule.top_p, "keep the likeliest tokens that reach this share; 1: all")
      ->check(from_to(1e-6, 1))
      ->capture_default_str();
  command
      ->add_option("--min-p", rule.min_p, "drop tokens below this part of the largest probability; 0: none")
      ->check(from_to(0, 1))
      ->capture_default_str();
  command
      ->add_option("--max-tokens", options->sampling.max_completion_tokens, "length of a completion at most")
      ->check(from_to(1, 1e9))
      ->capture_default_str();
  command
      ->add_option("--stop", options->sampling.stop,
                   "text that ends a completion, may be repeated; it is kept")
      ->take_all()
      ->allow_extra_args(false)
      ->check([](const std::string& text) { return text.empty() ? "is empty; accepted: a text" : ""; }, "");
  command->add_option("--n", options->completions, "completions of each prompt")
      ->check(from_to(1, 1e6))
      ->capture_default_str();
  command->add_option("--seed", options->seed, "the same seed gives the same text")->capture_default_str();
  command->add_flag_callback(
      "--ignore-eos", [options] { options->sampling.stop_at_eos = false; },
      "do not stop at end-of-sequence tokens");
  command->add_flag("--json", options->json,
                    "one JSON object per completion: ids, logprobs and why it ended too");
  set_examples(
      *command,
      "  r1 generate --model smollm2.gguf --chat --prompt 'What is 12 + 7?' --temperature 0\n"
      "  r1 generate --model runs/tiny/checkpoints/r1_zero/latest --prompt '12+7=' --n 8 --seed 3\n"
      "  r1 generate --model MODEL --json --max-tokens 32 < prompts.txt > completions.jsonl\n"
      "logprobs are natural logarithms under the distribution that was sampled from, temperature and cuts\n"
      "included (at temperature 0: under temperature 1). A text depends on prompt, place of the prompt, "
      "sample\n"
      "number and seed, not on what else is sampled with it.\n");
  command->callback([options, &action] { action = [options] { return generate(*options); }; });
}

}  // namespace r1::apps
