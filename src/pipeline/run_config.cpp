#include "r1/pipeline/run_config.h"

#include <set>

#include "r1/model/weights.h"
#include "r1/util/error.h"
#include "r1/util/strings.h"

namespace r1::pipeline {
namespace {

void parse_model(ConfigNode node, RunConfig& c) {
  if (node.has("path")) {
    node.read("path", c.model_path);
    for (const auto& key : node.keys()) {
      if (key != "path") {
        node.reject(key, "nothing beside model.path: the shape is read from the weights",
                    "Remove this key, or model.path to begin with new weights.");
      }
    }
    if (!std::filesystem::exists(c.model_path)) {
      node.reject("path", "a Hugging Face folder or a .gguf file that exists", "Relative paths begin at the working directory.");
    }
    c.model = model::open_weights(c.model_path)->config();
    return;
  }
  c.model = model::ModelConfig::parse(node);
}

void parse_tokenizer(ConfigNode node, RunConfig& c) {
  std::string kind = c.model_path.empty() ? "characters" : "file";
  node.read("kind", kind, one_of({"characters", "file"}));
  if (kind == "characters") {
    node.require("characters", c.characters, {}, "The text of all characters of a tiny model's vocabulary.");
    return;
  }
  c.tokenizer_path = c.model_path;
  node.read("path", c.tokenizer_path);
  if (c.tokenizer_path.empty()) node.require("path", c.tokenizer_path);
}

TextDataConfig parse_text_data(ConfigNode node, const RunConfig& c) {
  TextDataConfig data;
  std::string kind;
  node.require("kind", kind, one_of({"jsonl", "arithmetic_worked"}));
  if (kind == "jsonl") {
    node.require("file", data.file);
    return data;
  }
  if (!c.problems || !std::holds_alternative<ArithmeticConfig>(c.problems->source)) {
    node.reject("kind", "arithmetic_worked only beside `problems: {kind: arithmetic}`",
                "Its texts are worked solutions of those problems.");
  }
  data.worked = WorkedConfig::parse(node);
  return data;
}

StageEntry parse_stage(ConfigNode node, const RunConfig& c) {
  StageEntry entry;
  node.require("name", entry.name);
  if (entry.name.empty() || entry.name.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789_-") != std::string::npos) {
    node.reject("name", "lower-case letters, digits, '_' and '-'", "It names folders and metrics.");
  }
  node.require("kind", entry.kind, one_of({"pretrain", "sft", "grpo"}));
  if (entry.kind == "grpo") {
    if (!c.problems) node.reject("kind", "grpo only with a `problems:` section", "Add problems: {kind: arithmetic, ...}.");
    if (!c.reward) node.reject("kind", "grpo only with a `reward:` section", "Add reward: {parts: {accuracy: {kind: exact_answer}}}.");
    entry.config = train::GrpoStageConfig::parse(node);
    return entry;
  }
  TextStageEntry text{train::TextStageConfig::parse(node, entry.kind == "pretrain"), {}};
  if (!node.has("data")) node.reject("data", "a section with kind jsonl or arithmetic_worked", "A text stage needs texts.");
  text.data = parse_text_data(node.child("data"), c);
  entry.config = text;
  return entry;
}

void check_across(const RunConfig& c) {
  std::set<std::string> names;
  for (const auto& stage : c.stages) {
    if (!names.insert(stage.name).second) {
      c.source.reject("pipeline", "stages of different names", cat("'", stage.name, "' is there twice."));
    }
    const auto* grpo = std::get_if<train::GrpoStageConfig>(&stage.config);
    if (grpo != nullptr && grpo->sampling.max_completion_tokens >= c.model.max_positions) {
      throw Error(cat(c.source.where("pipeline"), ": stage '", stage.name, "' has max_completion_tokens ",
                      grpo->sampling.max_completion_tokens, ", the model's context is ", c.model.max_positions,
                      " tokens; accepted: less than that, with room for the prompt.\n  Lower sampling.max_completion_tokens "
                      "or raise model.max_positions."));
    }
  }
}

}  // namespace

RunConfig RunConfig::load(const std::filesystem::path& file, const std::vector<std::string>& overrides) {
  RunConfig c;
  c.source = ConfigNode::load(file, overrides);
  const auto& node = c.source;
  c.name = file.stem().string();
  node.read("name", c.name);
  c.run_dir = std::filesystem::path("runs") / c.name;
  node.read("run_dir", c.run_dir);
  int64_t seed = 1;
  node.read("seed", seed, at_least<int64_t>(0));
  c.seed = static_cast<uint64_t>(seed);
  node.read("threads", c.threads, between<int64_t>(0, 1024));
  if (!node.has("model")) node.reject("model", "a section with path, or with the shape of a new model", "See configs/tiny/r1_zero.yaml.");
  parse_model(node.child("model"), c);
  parse_tokenizer(node.child("tokenizer"), c);
  if (node.has("problems")) c.problems = ProblemsConfig::parse(node.child("problems"));
  if (node.has("reward")) c.reward = RewardConfig::parse(node.child("reward"));
  c.checkpoint = train::CheckpointPolicy::parse(node.child("checkpoint"));
  if (!node.has("pipeline")) node.reject("pipeline", "a list of stages, each with name and kind", "See configs/tiny/r1_zero.yaml.");
  for (const auto& stage : node.children("pipeline")) c.stages.push_back(parse_stage(stage, c));
  if (c.stages.empty()) node.reject("pipeline", "at least one stage", "See configs/tiny/r1_zero.yaml.");
  node.reject_unknown_keys();

  const auto tokenizer = c.load_tokenizer();
  if (c.model.vocab_size == 0) {
    c.model.vocab_size = tokenizer.vocab_size();
    if (tokenizer.bos_id()) c.model.bos_token_id = *tokenizer.bos_id();
    c.model.eos_token_ids.assign(tokenizer.eos_ids().begin(), tokenizer.eos_ids().end());
  }
  if (tokenizer.vocab_size() > c.model.vocab_size) {
    throw Error(cat(c.source.where("tokenizer"), ": the vocabulary has ", tokenizer.vocab_size(), " entries, the model's embedding ",
                    c.model.vocab_size, " rows; accepted: at most as many entries as rows.\n  Use the tokenizer that belongs to "
                    "these weights", c.model_path.empty() ? ", or leave model.vocab_size out." : "."));
  }
  c.model.validate(c.source.where("model"));
  check_across(c);
  return c;
}

Tokenizer RunConfig::load_tokenizer() const {
  if (!characters.empty()) return Tokenizer::characters(characters, {"<pad>", "<bos>", "<eos>"});
  return Tokenizer::load(tokenizer_path);
}

const ProblemsConfig& RunConfig::require_problems() const {
  if (!problems) source.reject("problems", "a section with kind", "Evaluation needs held-out problems.");
  return *problems;
}

}  // namespace r1::pipeline
