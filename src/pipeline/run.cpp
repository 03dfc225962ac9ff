#include "r1/pipeline/run.h"

#include <torch/torch.h>

#include <algorithm>
#include <cstdio>
#include <map>
#include <numeric>

#include "closing_table.h"
#include "kernels/parallel.h"
#include "r1/train/stage_loop.h"
#include "r1/util/error.h"
#include "r1/util/log.h"
#include "r1/util/random.h"
#include "r1/util/strings.h"
#include "run_directory.h"
#include "stage_key.h"

namespace r1::pipeline {
namespace {

// All that the stages read, loaded before anything else: a missing file must not stop a run after hours.
struct RunData {
  std::optional<ProblemSet> problems;
  std::map<std::filesystem::path, std::vector<TextExample>> texts;  // by file
};

bool needs_problems(const StageEntry& entry) {
  const auto* text = std::get_if<TextStageEntry>(&entry.config);
  return text == nullptr || text->config.eval;
}

RunData load_data(const RunConfig& config) {
  RunData data;
  for (const auto& entry : config.stages) {
    if (needs_problems(entry) && !data.problems) data.problems = load_problems(config.require_problems());
    if (const auto* text = std::get_if<TextStageEntry>(&entry.config)) {
      for (const auto& source : text->data.sources) {
        if (!source.file.empty() && !data.texts.contains(source.file)) data.texts[source.file] = read_text_examples(source.file);
      }
    }
  }
  return data;
}

train::TextSource make_source(const RunConfig& config, const TextSourceConfig& source, const std::string& stage,
                              const std::filesystem::path& run_dir, const RunData& data) {
  if (source.worked) {
    const auto corpus = std::make_shared<WorkedArithmetic>(std::get<ArithmeticConfig>(config.problems->source), *source.worked, config.seed);
    return [corpus](int64_t i) { return corpus->document(i).text; };
  }
  auto examples = source.stage.empty() ? data.texts.at(source.file) : read_text_folder(run_dir / "data" / source.stage);
  return train::shuffled_texts(std::move(examples), config.seed, stage);
}

// Text i of a mixture: its source is drawn by weight, and the source gives its own text i.
train::TextSource make_texts(const RunConfig& config, const TextDataConfig& data, const std::string& stage,
                             const std::filesystem::path& run_dir, const RunData& loaded) {
  std::vector<train::TextSource> sources;
  std::vector<double> weights;
  for (const auto& source : data.sources) {
    sources.push_back(make_source(config, source, stage, run_dir, loaded));
    weights.push_back(source.weight);
  }
  if (sources.size() == 1) return sources[0];
  const double total = std::accumulate(weights.begin(), weights.end(), 0.0);
  return [sources, weights, total, seed = config.seed, id = stage_id(stage.c_str())](int64_t i) {
    double rest = total * draw_uniform({.seed = seed,
                                        .stream = Stream::kMixture,
                                        .stage = id,
                                        .step = static_cast<uint32_t>(i >> 32),
                                        .prompt = static_cast<uint32_t>(i)});
    size_t s = 0;
    while (s + 1 < sources.size() && rest >= weights[s]) rest -= weights[s++];
    return sources[s](i);
  };
}

std::unique_ptr<train::Stage> make_stage(const RunConfig& config, const StageEntry& entry, const train::StageContext& context,
                                         const RunData& data) {
  if (const auto* text = std::get_if<TextStageEntry>(&entry.config)) {
    std::optional<train::Evaluator> evaluator;
    if (text->config.eval) evaluator.emplace(*text->config.eval, Reward(*config.reward), data.problems->eval);
    return std::make_unique<train::TextStage>(context, text->config, make_texts(config, text->data, entry.name, context.run_dir, data),
                                              std::move(evaluator));
  }
  if (const auto* rejection = std::get_if<train::RejectionConfig>(&entry.config)) {
    return std::make_unique<train::RejectionStage>(context, *rejection, Reward(*config.reward), *data.problems);
  }
  return std::make_unique<train::GrpoStage>(context, std::get<train::GrpoStageConfig>(entry.config), Reward(*config.reward),
                                            *data.problems);
}

// Weights that a stage begins with: the last checkpoint of the stage it names, or the config's. An older checkpoint of
// that stage will not do: the run would go on from other weights than the unbroken one.
void load_start(const RunConfig& config, const RunDirectory& directory, const StageEntry& entry, model::Transformer& model) {
  if (!entry.from.empty()) {
    const auto folder = directory.path() / "checkpoints" / entry.from;
    const int64_t last_step = directory.finished_stage(entry.from)->at("steps");
    const auto found = train::newest_checkpoint(folder);
    if (!found || found->step != last_step) {
      throw Error(cat(folder.string(), ": the last checkpoint of the finished stage '", entry.from, "', of step ", last_step,
                      ", is not there or damaged; found: ", found ? cat("step ", found->step) : "none", ".\n  Remove ",
                      (directory.path() / "stages" / (entry.from + ".json")).string(),
                      " and resume: that stage then goes on from what is left."));
    }
    train::CheckpointReader(*found).load_group("model", model->named_tensors());
  } else if (entry.model.path.empty()) {
    model->initialize(config.seed);
  } else {
    model->load_weights(*model::open_weights(entry.model.path));
  }
}

// The lines that differ, for people.
std::string difference(const std::vector<std::string>& before, const std::vector<std::string>& now) {
  std::vector<std::string> lines;
  for (const auto& line : now) {
    if (std::find(before.begin(), before.end(), line) == before.end()) lines.push_back(line);
  }
  for (const auto& line : before) {
    const auto key = line.substr(0, line.find(": ") + 2);
    if (std::none_of(now.begin(), now.end(), [&](const std::string& l) { return l.starts_with(key); })) lines.push_back(key + "(absent)");
  }
  return "now " + join(lines, ", ");
}

// Whether a stage that has begun would go on from other weights or texts than it began with.
bool inputs_differ(const std::vector<std::string>& before, const std::vector<std::string>& now) {
  const auto outputs = [](const std::vector<std::string>& lines) {
    std::vector<std::string> kept;
    std::copy_if(lines.begin(), lines.end(), std::back_inserter(kept), [](const std::string& l) { return l.starts_with("output of "); });
    return kept;
  };
  return outputs(before) != outputs(now);
}

void run_stages(const RunConfig& config, const RunData& data, const RunDirectory& directory, bool resumed, const std::string& until) {
  if (config.threads > 0) {
    torch::set_num_threads(static_cast<int>(config.threads));
    kernels::set_num_threads(static_cast<int>(config.threads));
  }
  set_log_file(directory.path() / "log.txt");
  const auto plan = describe_plan(config);
  std::printf("%s\n", plan.c_str());
  std::fflush(stdout);
  const auto tokenizer = Tokenizer::load(directory.path() / "tokenizer");
  const auto output_of = [&](const std::string& name) { return directory.finished_stage(name)->value("output", ""); };
  for (const auto& entry : config.stages) {
    const auto settings = stage_settings(config, entry, output_of);
    if (const auto done = directory.finished_stage(entry.name)) {
      if (done->value("settings", settings) == settings) {
        log_info(cat("stage '", entry.name, "' is complete"));
        if (entry.name == until) break;
        continue;
      }
      log_warning(cat("stage '", entry.name, "' runs again: ", difference(done->at("settings"), settings)));
      directory.set_aside(entry.name);
    } else if (const auto begun = directory.begun_with(entry.name); !begun.empty() && inputs_differ(begun, settings)) {
      log_warning(cat("stage '", entry.name, "' starts over: ", difference(begun, settings)));
      directory.set_aside(entry.name);
    }
    directory.begin_stage(entry.name, settings);
    model::Transformer model(entry.model.config);
    load_start(config, directory, entry, model);
    train::StageContext context{entry.name, directory.path(), config.seed, model, tokenizer, true};
    const auto stage = make_stage(config, entry, context, data);
    auto summary = train::run_stage(*stage, context, {config.checkpoint, resumed});
    summary["settings"] = settings;
    summary["output"] = output_hash(directory.path(), entry);
    directory.finish_stage(entry.name, summary);
    if (entry.name == until) break;
  }
  std::printf("%s", closing_table(config, directory).c_str());
  std::fflush(stdout);
}

// Finished stages that `config` would run again: their own settings differ, or those of a stage that they read from.
std::vector<std::string> stages_to_repeat(const RunConfig& before, const RunConfig& config, const RunDirectory& directory) {
  std::vector<std::string> repeated;
  const auto placeholder = [](const std::string&) { return std::string("?"); };
  for (const auto& entry : config.stages) {
    if (!directory.finished_stage(entry.name)) continue;
    const auto old = std::find_if(before.stages.begin(), before.stages.end(), [&](const StageEntry& e) { return e.name == entry.name; });
    const auto inputs = inputs_of(entry);
    const bool stale = std::any_of(inputs.begin(), inputs.end(), [&](const std::string& name) {
      return std::find(repeated.begin(), repeated.end(), name) != repeated.end();
    });
    if (stale || old == before.stages.end() || stage_settings(before, *old, placeholder) != stage_settings(config, entry, placeholder)) {
      repeated.push_back(entry.name);
    }
  }
  return repeated;
}

void require_stage(const RunConfig& config, const std::string& name) {
  std::vector<std::string> names;
  for (const auto& entry : config.stages) names.push_back(entry.name);
  if (!name.empty() && std::find(names.begin(), names.end(), name) == names.end()) {
    throw Error(cat("--until is ", name, "; accepted: a stage of the pipeline: ", join(names, ", "), "."));
  }
}

}  // namespace

void run(const RunConfig& config, const std::string& command_line, const std::string& until) {
  require_stage(config, until);
  RunDirectory::require_new(config);  // before the data is read, which may take long
  const auto data = load_data(config);
  const auto directory = RunDirectory::create(config, command_line);
  run_stages(config, data, directory, false, until);
}

void resume(const std::filesystem::path& run_dir, const std::vector<std::string>& overrides, bool allow_changes,
            const std::string& command_line, const std::string& until) {
  const auto directory = RunDirectory::open(run_dir, command_line);
  const auto before = ConfigNode::load(run_dir / "config.yaml");
  auto config = RunConfig::load(run_dir / "config.yaml", overrides);
  config.run_dir = run_dir;
  require_stage(config, until);
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
  if (!matters.empty()) {
    const auto repeated = stages_to_repeat(RunConfig::load(run_dir / "config.yaml", {}), config, directory);
    if (!allow_changes) {
      throw Error(cat(run_dir.string(), ": the config differs from the one that the run began with:\n  ", join(matters, "\n  "),
                      "\n  These keys change results, so the rest would not equal the unbroken run. Leave them as they were, begin a new "
                      "run, or say --allow-changes",
                      repeated.empty() ? "." : cat("; that runs again what depends on them: ", join(repeated, ", "), ".")));
    }
    for (const auto& line : matters) log_warning("changed, and results will differ from the unbroken run: " + line);
    directory.replace_config(config);
  }
  run_stages(config, load_data(config), directory, true, until);
}

}  // namespace r1::pipeline
