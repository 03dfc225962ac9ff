#include "r1/pipeline/run_config.h"

#include <algorithm>
#include <set>

#include "r1/model/weights.h"
#include "r1/util/error.h"
#include "r1/util/strings.h"

namespace r1::pipeline {
namespace {

ModelSource parse_model(ConfigNode node, LoadFor purpose) {
  ModelSource m;
  if (!node.has("path")) {
    m.config = model::ModelConfig::parse(node);
    return m;
  }
  node.read("path", m.path);
  std::filesystem::path shape;
  node.read("shape", shape);
  for (const auto& key : node.keys()) {
    if (key != "path" && key != "shape" && key != "num_nextn_predict_layers") {
      node.reject(key, "nothing beside model.path: the shape is read from the weights",
                  "Remove this key, or model.path to begin with new weights.");
    }
  }
  if (purpose == LoadFor::kPlan && !shape.empty()) {
    if (!std::filesystem::exists(shape)) node.reject("shape", "a file of configs/models/ that exists", "Relative paths begin at the working directory.");
    m.shape = ModelShape::load(shape);
    m.config = m.shape->as_config();
    return m;
  }
  if (!std::filesystem::exists(m.path)) {
    node.reject("path", "a Hugging Face folder or a .gguf file that exists",
                shape.empty() ? "Relative paths begin at the working directory." : "Put the weights there; `r1 plan` needs none.");
  }
  m.config = model::open_weights(m.path)->config();
  node.read("num_nextn_predict_layers", m.config.num_nextn_predict_layers, between<int64_t>(0, 1), "One module, of depth 1, can be had.");
  return m;
}

void parse_tokenizer(ConfigNode node, RunConfig& c) {
  std::string kind = c.base.path.empty() ? "characters" : "file";
  node.read("kind", kind, one_of({"characters", "file"}));
  if (kind == "characters") {
    node.require("characters", c.characters, {}, "The text of all characters of a tiny model's vocabulary.");
    return;
  }
  c.tokenizer_path = c.base.path;
  node.read("path", c.tokenizer_path);
  if (c.tokenizer_path.empty()) node.require("path", c.tokenizer_path);
}

// The vocabulary's size and special tokens, where the shape left them open; throws when the vocabulary does not fit.
void fit_to_tokenizer(ModelSource& m, const std::optional<Tokenizer>& known, const std::string& where_tokenizer, const std::string& where_model) {
  if (m.shape || !known) return;  // only planned
  const auto& tokenizer = *known;
  if (m.config.vocab_size == 0) {
    m.config.vocab_size = tokenizer.vocab_size();
    if (tokenizer.bos_id()) m.config.bos_token_id = *tokenizer.bos_id();
    m.config.eos_token_ids.assign(tokenizer.eos_ids().begin(), tokenizer.eos_ids().end());
  }
  if (tokenizer.vocab_size() > m.config.vocab_size) {
    throw Error(cat(where_tokenizer, ": the vocabulary has ", tokenizer.vocab_size(), " entries, the model's embedding ",
                    m.config.vocab_size, " rows; accepted: at most as many entries as rows.\n  Use the tokenizer that belongs to "
                    "these weights", m.path.empty() ? ", or leave model.vocab_size out." : "."));
  }
  m.config.validate(where_model);
}

const StageEntry* find_stage(const RunConfig& c, const std::string& name) {
  for (const auto& stage : c.stages) {
    if (stage.name == name) return &stage;
  }
  return nullptr;
}

// Refuses `stage:` unless it names an earlier stage with that output.
void require_stage_of(const ConfigNode& node, const RunConfig& c, const std::string& name, StageEntry::Output output,
                      const std::string& kind) {
  std::vector<std::string> names;
  for (const auto& stage : c.stages) {
    if (stage.output() != output) continue;
    if (stage.name == name) return;
    names.push_back(stage.name);
  }
  node.reject("stage", cat("the name of an earlier stage of kind ", kind, names.empty() ? "; there is none" : ": " + join(names, ", ")),
              "Stages run in the order of the list.");
}

TextSourceConfig parse_text_source(ConfigNode node, const RunConfig& c, bool in_mixture) {
  TextSourceConfig source;
  std::string kind;
  std::vector<std::string> kinds = {"jsonl", "arithmetic_worked", "stage"};
  if (!in_mixture) kinds.push_back("mixture");
  node.require("kind", kind, one_of(kinds));
  if (in_mixture) node.read("weight", source.weight, above(0.0));
  if (kind == "jsonl") {
    node.require("file", source.file);
  } else if (kind == "stage") {
    node.require("stage", source.stage);
    require_stage_of(node, c, source.stage, StageEntry::Output::kTexts, "rejection_sample");
  } else {
    if (!c.problems || !std::holds_alternative<ArithmeticConfig>(c.problems->source)) {
      node.reject("kind", "arithmetic_worked only beside `problems: {kind: arithmetic}`",
                  "Its texts are worked solutions of those problems.");
    }
    source.worked = WorkedConfig::parse(node);
    return source;
  }
  source.checks = TextCheckConfig::parse(node);
  if (source.checks.against_held_out && (!c.problems || !std::holds_alternative<ProblemFileConfig>(c.problems->source))) {
    node.reject("decontaminate", "held_out only beside `problems:` of kind jsonl or json_array", "Generated problems are held out by their numbers.");
  }
  return source;
}

TextDataConfig parse_text_data(ConfigNode node, const RunConfig& c) {
  std::string kind;
  node.read("kind", kind);
  if (kind != "mixture") return {{parse_text_source(node, c, false)}};
  TextDataConfig data;
  for (const auto& source : node.children("sources")) data.sources.push_back(parse_text_source(source, c, true));
  if (data.sources.empty()) node.reject("sources", "a list of at least one source with kind and weight", "See docs/configs.md.");
  return data;
}

// `from:` and the model that the stage works on.
void parse_start(ConfigNode node, const RunConfig& c, const std::optional<Tokenizer>& tokenizer, LoadFor purpose, StageEntry& entry) {
  for (const auto& stage : c.stages) {
    if (stage.makes_weights()) entry.from = stage.name;
  }
  if (node.has("from")) {
    node.read("from", entry.from);
    if (entry.from == "base") {
      entry.from.clear();
    } else if (const auto* stage = find_stage(c, entry.from); stage == nullptr || !stage->makes_weights()) {
      std::vector<std::string> names = {"base"};
      for (const auto& s : c.stages) {
        if (s.makes_weights()) names.push_back(s.name);
      }
      node.reject("from", "an earlier stage that has weights, or base: " + join(names, ", "),
                  "Stages run in the order of the list.");
    }
  }
  if (!entry.from.empty()) {
    if (node.has("model")) {
      node.reject("model", "no model where the weights come from a stage", cat("Write from: base, or leave model out."));
    }
    entry.model.config = find_stage(c, entry.from)->model.config;
    entry.model.shape = find_stage(c, entry.from)->model.shape;
    return;
  }
  entry.model = c.base;
  if (node.has("model")) {
    const auto section = node.child("model");
    entry.model = parse_model(section, purpose);
    fit_to_tokenizer(entry.model, tokenizer, c.source.where("tokenizer"), node.where("model"));
  }
}

// Other weights of the run's reward parts, for one stage.
void read_weights(const ConfigNode& node, std::optional<RewardConfig>& reward) {
  std::vector<std::string> names;
  for (const auto& part : reward ? reward->parts : std::vector<RewardPart>{}) names.push_back(part.name);
  for (const auto& key : node.keys()) {
    const auto i = std::find(names.begin(), names.end(), key) - names.begin();
    if (i == static_cast<std::ptrdiff_t>(names.size())) node.reject(key, "a name of reward.parts: " + join(names, ", "), "");
    node.read(key, reward->parts[static_cast<size_t>(i)].weight, between(-1e3, 1e3));
  }
}

RewardModelEntry parse_reward_model(ConfigNode node, const RunConfig& c) {
  RewardModelEntry entry{train::RewardModelConfig::parse(node), {}, {}};
  if (!node.has("data")) node.reject("data", "a section with kind jsonl or stage", "A reward model needs preferences.");
  const auto data = node.child("data");
  std::string kind;
  data.require("kind", kind, one_of({"jsonl", "stage"}));
  if (kind == "jsonl") {
    data.require("file", entry.file);
  } else {
    data.require("stage", entry.stage);
    require_stage_of(data, c, entry.stage, StageEntry::Output::kPairs, "rejection_sample with keep: pairs");
  }
  return entry;
}

ExportEntry parse_export(ConfigNode node) {
  ExportEntry entry;
  node.require("path", entry.path);
  const auto clean = entry.path.lexically_normal();
  if (entry.path.is_absolute() || clean.empty() || *clean.begin() == ".." || clean == ".") {
    node.reject("path", "a path below the run directory, for example export/model.gguf", "A name that ends in .gguf makes a file, any other a folder.");
  }
  const bool gguf = entry.path.extension() == ".gguf";
  node.read("dtype", entry.dtype, gguf ? one_of({"f32", "f16", "q8_0"}) : one_of({"f32", "f16", "bf16"}));
  return entry;
}

StageEntry parse_stage(ConfigNode node, const RunConfig& c, const std::optional<Tokenizer>& tokenizer, LoadFor purpose) {
  StageEntry entry;
  node.require("name", entry.name);
  if (entry.name.empty() || entry.name == "base" ||
      entry.name.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789_-") != std::string::npos) {
    node.reject("name", "lower-case letters, digits, '_' and '-', and not `base`", "It names folders and metrics.");
  }
  node.require("kind", entry.kind, one_of({"pretrain", "sft", "grpo", "rejection_sample", "reward_model", "distill", "eval", "export"}));
  parse_start(node, c, tokenizer, purpose, entry);
  entry.plan = StageAssumptions::parse(node.child("plan"));
  const bool samples = entry.kind == "grpo" || entry.kind == "rejection_sample" || entry.kind == "eval";
  if (samples || node.has("eval")) {
    const std::string key = samples ? "kind" : "eval", what = samples ? entry.kind : "evaluation";
    if (!c.problems) node.reject(key, what + " only with a `problems:` section", "Add problems: {kind: arithmetic, ...}.");
    if (!c.reward) {
      node.reject(key, what + " only with a `reward:` section", "Add reward: {parts: {accuracy: {kind: exact_answer}}}.");
    }
  }
  entry.reward = c.reward;
  if (node.has("reward_weights")) read_weights(node.child("reward_weights"), entry.reward);
  if (samples) {
    if (entry.kind == "grpo") {
      const auto grpo = train::GrpoStageConfig::parse(node);
      if (grpo.preference) {
        require_stage_of(node.child("preference"), c, grpo.preference->stage, StageEntry::Output::kRewardModel, "reward_model");
      }
      entry.config = grpo;
    } else if (entry.kind == "rejection_sample") {
      entry.config = train::RejectionConfig::parse(node, *entry.reward);
    } else {
      entry.config = EvalEntry{train::EvalConfig::parse(node.child("eval"), {}), rollout::EngineConfig::parse(node.child("rollout"))};
    }
    return entry;
  }
  if (entry.kind == "reward_model") {
    entry.config = parse_reward_model(node, c);
    return entry;
  }
  if (entry.kind == "export") {
    entry.config = parse_export(node);
    if (entry.from.empty() && entry.model.path.empty()) {
      node.reject("from", "an earlier stage that has weights", "There is nothing yet to export.");
    }
    return entry;
  }
  TextStageEntry text{train::TextStageConfig::parse(node, entry.kind == "pretrain"), {}};
  if (!node.has("data")) {
    node.reject("data", "a section with kind jsonl, arithmetic_worked, stage or mixture", "A text stage needs texts.");
  }
  text.data = parse_text_data(node.child("data"), c);
  if (text.config.epochs > 0) {
    for (const auto& source : text.data.sources) {
      if (source.worked) node.reject("epochs", "steps, where texts are generated without end", "Write steps instead of epochs.");
    }
  }
  entry.config = text;
  return entry;
}

// The sampling settings of a stage that samples.
const rollout::SamplingConfig* sampling_of(const StageEntry& stage) {
  if (const auto* grpo = std::get_if<train::GrpoStageConfig>(&stage.config)) return &grpo->sampling;
  if (const auto* rejection = std::get_if<train::RejectionConfig>(&stage.config)) return &rejection->sampling;
  return nullptr;
}

void check_across(const RunConfig& c) {
  std::set<std::string> names;
  for (const auto& stage : c.stages) {
    if (!names.insert(stage.name).second) {
      c.source.reject("pipeline", "stages of different names", cat("'", stage.name, "' is there twice."));
    }
    const auto* sampling = sampling_of(stage);
    int64_t longest = sampling == nullptr ? 0 : sampling->max_completion_tokens;
    if (const auto* grpo = std::get_if<train::GrpoStageConfig>(&stage.config)) longest = std::max(longest, grpo->longer.max_completion_tokens);
    if (longest >= stage.model.config.max_positions) {
      throw Error(cat(c.source.where("pipeline"), ": stage '", stage.name, "' has max_completion_tokens ",
                      longest, ", the model's context is ", stage.model.config.max_positions,
                      " tokens; accepted: less than that, with room for the prompt.\n  Lower sampling.max_completion_tokens "
                      "or raise model.max_positions."));
    }
  }
}

}  // namespace

StageEntry::Output StageEntry::output() const {
  if (const auto* rejection = std::get_if<train::RejectionConfig>(&config)) {
    return rejection->keep == train::RejectionConfig::Keep::kPairs ? Output::kPairs : Output::kTexts;
  }
  if (std::holds_alternative<RewardModelEntry>(config)) return Output::kRewardModel;
  if (std::holds_alternative<EvalEntry>(config) || std::holds_alternative<ExportEntry>(config)) return Output::kNothing;
  return Output::kWeights;
}

RunConfig RunConfig::load(const std::filesystem::path& file, const std::vector<std::string>& overrides, LoadFor purpose) {
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
  c.device = read_device(node);
  std::string numerics = "exact";
  node.read("numerics", numerics, one_of({"exact", "fast"}), "exact: the same bits on any number of ranks; fast: less memory and traffic.");
  c.numerics = numerics == "fast" ? train::Numerics::kFast : train::Numerics::kExact;
  c.parallel = dist::ParallelConfig::parse(node.child("parallel"));
  if (!node.has("model")) node.reject("model", "a section with path, or with the shape of a new model", "See configs/tiny/r1_zero.yaml.");
  c.base = parse_model(node.child("model"), purpose);
  parse_tokenizer(node.child("tokenizer"), c);
  if (node.has("problems")) c.problems = ProblemsConfig::parse(node.child("problems"));
  if (node.has("reward")) c.reward = RewardConfig::parse(node.child("reward"));
  c.checkpoint = train::CheckpointPolicy::parse(node.child("checkpoint"));
  c.cost = CostConfig::parse(node.child("cost"));
  c.plan = PlanConfig::parse(node.child("plan"));
  std::optional<Tokenizer> tokenizer;
  if (purpose == LoadFor::kRun || !c.characters.empty() || std::filesystem::exists(c.tokenizer_path)) tokenizer = c.load_tokenizer();
  fit_to_tokenizer(c.base, tokenizer, c.source.where("tokenizer"), c.source.where("model"));
  if (!node.has("pipeline")) node.reject("pipeline", "a list of stages, each with name and kind", "See configs/tiny/r1_zero.yaml.");
  for (const auto& stage : node.children("pipeline")) c.stages.push_back(parse_stage(stage, c, tokenizer, purpose));
  if (c.stages.empty()) node.reject("pipeline", "at least one stage", "See configs/tiny/r1_zero.yaml.");
  node.reject_unknown_keys();
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
