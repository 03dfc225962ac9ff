#include "r1/pipeline/run.h"

#include <torch/torch.h>

#include <cstdio>
#include <map>

#include "closing_table.h"
#include "kernels/parallel.h"
#include "r1/train/stage_loop.h"
#include "r1/util/error.h"
#include "r1/util/log.h"
#include "r1/util/random.h"
#include "r1/util/strings.h"
#include "run_directory.h"

namespace r1::pipeline {
namespace {

// All that the stages read, loaded before anything else: a missing file must not stop a run after hours.
struct RunData {
  std::optional<ProblemSet> problems;
  std::map<std::string, std::vector<TextExample>> texts;  // by stage
};

RunData load_data(const RunConfig& config) {
  RunData data;
  for (const auto& entry : config.stages) {
    if (const auto* text = std::get_if<TextStageEntry>(&entry.config)) {
      if (!text->data.worked) data.texts[entry.name] = read_text_examples(text->data.file);
    } else if (!data.problems) {
      data.problems = load_problems(config.require_problems());
    }
  }
  return data;
}

train::TextSource make_texts(const RunConfig& config, const TextDataConfig& data, const std::string& stage, const RunData& loaded) {
  if (data.worked) {
    const auto corpus = std::make_shared<WorkedArithmetic>(std::get<ArithmeticConfig>(config.problems->source), *data.worked, config.seed);
    return [corpus](int64_t i) { return corpus->document(i).text; };
  }
  return train::shuffled_texts(loaded.texts.at(stage), config.seed, stage);
}

std::unique_ptr<train::Stage> make_stage(const RunConfig& config, const StageEntry& entry, const train::StageContext& context,
                                         const RunData& data) {
  if (const auto* text = std::get_if<TextStageEntry>(&entry.config)) {
    return std::make_unique<train::TextStage>(context, text->config, make_texts(config, text->data, entry.name, data));
  }
  return std::make_unique<train::GrpoStage>(context, std::get<train::GrpoStageConfig>(entry.config), Reward(*config.reward),
                                            *data.problems);
}

// Weights that a stage begins with: the last checkpoint of the last complete stage, else the config's. An older checkpoint
// of that stage will not do: the run would go on from other weights than the unbroken one.
void load_start(const RunConfig& config, const RunDirectory& directory, const std::string& last_stage, model::Transformer& model) {
  if (!last_stage.empty()) {
    const auto folder = directory.path() / "checkpoints" / last_stage;
    const int64_t last_step = directory.finished_stage(last_stage)->at("steps");
    const auto found = train::newest_checkpoint(folder);
    if (!found || found->step != last_step) {
      throw Error(cat(folder.string(), ": the last checkpoint of the finished stage '", last_stage, "', of step ", last_step,
                      ", is not there or damaged; found: ", found ? cat("step ", found->step) : "none", ".\n  Remove ",
                      (directory.path() / "stages" / (last_stage + ".json")).string(),
                      " and resume: that stage then goes on from what is left."));
    }
    train::CheckpointReader(*found).load_group("model", model->named_tensors());
  } else if (config.model_path.empty()) {
    model->initialize(config.seed);
  } else {
    model->load_weights(*model::open_weights(config.model_path));
  }
}

void run_stages(const RunConfig& config, const RunData& data, const RunDirectory& directory, bool resumed) {
  if (config.threads > 0) {
    torch::set_num_threads(static_cast<int>(config.threads));
    kernels::set_num_threads(static_cast<int>(config.threads));
  }
  set_log_file(directory.path() / "log.txt");
  const auto plan = describe_plan(config);
  std::printf("%s\n", plan.c_str());
  std::fflush(stdout);
  model::Transformer model(config.model);
  const auto tokenizer = Tokenizer::load(directory.path() / "tokenizer");
  std::string last_stage;
  bool loaded = false;
  for (const auto& entry : config.stages) {
    if (directory.finished_stage(entry.name)) {
      log_info(cat("stage '", entry.name, "' is complete"));
      last_stage = entry.name;
      continue;
    }
    if (!loaded) load_start(config, directory, last_stage, model);
    loaded = true;
    train::StageContext context{entry.name, directory.path(), config.seed, model, tokenizer, true};
    const auto stage = make_stage(config, entry, context, data);
    const auto summary = train::run_stage(*stage, context, {config.checkpoint, resumed});
    directory.finish_stage(entry.name, summary);
    last_stage = entry.name;
  }
  std::printf("%s", closing_table(config, directory).c_str());
  std::fflush(stdout);
}

// Keys whose change alters no result: they may differ on resume.
bool is_harmless(const std::string& key) {
  for (const char* part : {"checkpoint.", "threads", "run_dir", "name", ".activation_checkpointing", ".rollout.", ".log_rollouts"}) {
    const std::string_view p = part;
    if (p.starts_with('.') ? key.find(p) != std::string::npos : key == p || (p.ends_with('.') && key.starts_with(p))) return true;
  }
  return false;
}

}  // namespace

void run(const RunConfig& config, const std::string& command_line) {
  const auto data = load_data(config);
  const auto directory = RunDirectory::create(config, command_line);
  run_stages(config, data, directory, false);
}

void resume(const std::filesystem::path& run_dir, const std::vector<std::string>& overrides, bool allow_changes,
            const std::string& command_line) {
  const auto directory = RunDirectory::open(run_dir, command_line);
  const auto before = ConfigNode::load(run_dir / "config.yaml");
  auto config = RunConfig::load(run_dir / "config.yaml", overrides);
  config.run_dir = run_dir;
  const auto old_leaves = before.leaves(), new_leaves = config.source.leaves();
  const std::map<std::string, std::string> was(old_leaves.begin(), old_leaves.end()), is(new_leaves.begin(), new_leaves.end());
  std::vector<std::string> matters, harmless;
  const auto note = [&](const std::string& key, const std::string& from, const std::string& to) {
    (is_harmless(key) ? harmless : matters).push_back(cat(key, ": ", from, " -> ", to));
  };
  for (const auto& [key, value] : is) {
    const auto it = was.find(key);
    if (it == was.end()) note(key, "(absent)", value);
    else if (it->second != value) note(key, it->second, value);
  }
  for (const auto& [key, value] : was) {
    if (!is.contains(key)) note(key, value, "(absent)");
  }
  for (const auto& line : harmless) log_info("changed, without effect on results: " + line);
  if (!matters.empty() && !allow_changes) {
    throw Error(cat(run_dir.string(), ": the config differs from the one that the run began with:\n  ", join(matters, "\n  "),
                    "\n  These keys change results, so the rest would not equal the unbroken run. Leave them as they were, begin a new "
                    "run, or say --allow-changes."));
  }
  for (const auto& line : matters) log_warning("changed, and results will differ from the unbroken run: " + line);
  run_stages(config, load_data(config), directory, true);
}

train::EvalResult evaluate_model(const RunConfig& config, const std::filesystem::path& model_path, int64_t problems) {
  const train::GrpoStageConfig* grpo = nullptr;
  for (const auto& stage : config.stages) {
    if (const auto* g = std::get_if<train::GrpoStageConfig>(&stage.config)) grpo = g;
  }
  if (grpo == nullptr || !config.reward) throw Error("evaluation needs a config with a grpo stage, problems and a reward");
  const auto source = model::open_weights(model_path);
  model::Transformer model(source->config());
  model->load_weights(*source);
  rollout::Engine engine(model, config.load_tokenizer(), grpo->engine);
  const auto set = load_problems(config.require_problems());
  return train::evaluate(engine, config.load_tokenizer(), Reward(*config.reward), set.eval,
                         problems > 0 ? problems : grpo->eval.problems, grpo->eval.sampling, {config.seed, stage_id("eval"), 0});
}

}  // namespace r1::pipeline
