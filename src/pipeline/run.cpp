#include "r1/pipeline/run.h"

#include <sched.h>
#include <torch/torch.h>

#include <algorithm>
#include <cstdio>
#include <thread>
#include <map>
#include <numeric>

#include "checked_texts.h"
#include "closing_table.h"
#include "export_stage.h"
#include "kernels/parallel.h"
#include "r1/dist/launch.h"
#include "r1/pipeline/ledger.h"
#include "r1/pipeline/plan.h"
#include "r1/train/eval_stage.h"
#include "r1/train/stage_loop.h"
#include "r1/util/error.h"
#include "r1/util/log.h"
#include "r1/util/progress.h"
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
  std::map<const TextSourceConfig*, CheckedTexts> checked;          // of files whose source has checks
  std::map<std::filesystem::path, std::vector<PreferenceExample>> preferences;
};

const std::vector<Problem>& held_out_of(const RunData& data) {
  static const std::vector<Problem> none;
  return data.problems ? data.problems->eval : none;
}

void load_texts(const TextSourceConfig& source, RunData& data) {
  if (source.file.empty()) {
    TextChecker(source.checks, {});  // texts of a stage come later; that the evaluation files can be read is seen now
  } else if (source.checks.any()) {
    data.checked[&source] = check_texts(source.checks, source.file.string(), read_text_examples(source.file), held_out_of(data));
  } else if (!data.texts.contains(source.file)) {
    data.texts[source.file] = read_text_examples(source.file);
  }
}

RunData load_data(const RunConfig& config) {
  RunData data;
  for (const auto& entry : config.stages) {
    if (reads_problems(entry) && !data.problems) data.problems = load_problems(config.require_problems());
    if (const auto* text = std::get_if<TextStageEntry>(&entry.config)) {
      for (const auto& source : text->data.sources) load_texts(source, data);
    }
    if (const auto* reward_model = std::get_if<RewardModelEntry>(&entry.config); reward_model && !reward_model->file.empty()) {
      data.preferences[reward_model->file] = read_preferences(reward_model->file);
    }
  }
  return data;
}

// Texts in an endless order, and how many different ones there are; 0 when they are generated.
struct Texts {
  train::TextSource at;
  int64_t count = 0;
};

// `findings`: what the source's checks found is added.
Texts make_source(const RunConfig& config, const TextSourceConfig& source, const std::string& stage, const std::filesystem::path& run_dir,
                  const RunData& data, std::vector<nlohmann::ordered_json>& findings) {
  if (source.worked) {
    const auto corpus = std::make_shared<WorkedArithmetic>(std::get<ArithmeticConfig>(config.problems->source), *source.worked, config.seed);
    return {[corpus](int64_t i) { return corpus->document(i).text; }, 0};
  }
  std::vector<TextExample> examples;
  if (!source.checks.any()) {
    examples = source.stage.empty() ? data.texts.at(source.file) : read_text_folder(run_dir / "data" / source.stage);
  } else {
    auto checked = source.stage.empty() ? data.checked.at(&source)
                                        : check_texts(source.checks, "stage " + source.stage, read_text_folder(run_dir / "data" / source.stage),
                                                      held_out_of(data));
    findings.insert(findings.end(), checked.findings.begin(), checked.findings.end());
    examples = std::move(checked.examples);
  }
  const auto count = static_cast<int64_t>(examples.size());
  return {train::shuffled_texts(std::move(examples), config.seed, stage), count};
}

// Text i of a mixture: its source is drawn by weight, and the source gives its own text i.
Texts make_texts(const RunConfig& config, const TextDataConfig& data, const std::string& stage, const std::filesystem::path& run_dir,
                 const RunData& loaded, const dist::Communicator& ranks) {
  std::vector<Texts> sources;
  std::vector<double> weights;
  std::vector<nlohmann::ordered_json> findings;
  bool checked = false;
  int64_t count = 0;
  for (const auto& source : data.sources) {
    sources.push_back(make_source(config, source, stage, run_dir, loaded, findings));
    weights.push_back(source.weight);
    checked = checked || source.checks.any();
    count += sources.back().count;
  }
  if (checked && ranks.is_first()) write_findings(run_dir, stage, findings);
  if (sources.size() == 1) return sources[0];
  const double total = std::accumulate(weights.begin(), weights.end(), 0.0);
  const auto drawn = [sources, weights, total, seed = config.seed, id = stage_id(stage.c_str())](int64_t i) {
    double rest = total * draw_uniform({.seed = seed,
                                        .stream = Stream::kMixture,
                                        .stage = id,
                                        .step = static_cast<uint32_t>(i >> 32),
                                        .prompt = static_cast<uint32_t>(i)});
    size_t s = 0;
    while (s + 1 < sources.size() && rest >= weights[s]) rest -= weights[s++];
    return sources[s].at(i);
  };
  return {drawn, count};
}

// The last checkpoint of a finished stage. An older one will not do: the run would go on from other weights than the
// unbroken one. Collective.
train::FoundCheckpoint last_checkpoint(const RunDirectory& directory, const std::string& stage) {
  const auto folder = directory.path() / "checkpoints" / stage;
  const int64_t last_step = directory.finished_stage(stage)->at("steps");
  const auto found = train::newest_checkpoint(folder, directory.ranks());
  if (!found || found->step != last_step) {
    throw Error(cat(folder.string(), ": the last checkpoint of the finished stage '", stage, "', of step ", last_step,
                    ", is not there or damaged; found: ", found ? cat("step ", found->step) : "none", ".\n  Remove ",
                    (directory.path() / "stages" / (stage + ".json")).string(),
                    " and resume: that stage then goes on from what is left."));
  }
  return *found;
}

std::unique_ptr<train::Stage> make_stage(const RunConfig& config, const RunDirectory& directory, const StageEntry& entry,
                                         const train::StageContext& context, const RunData& data) {
  if (const auto* text = std::get_if<TextStageEntry>(&entry.config)) {
    std::optional<train::Evaluator> evaluator;
    if (text->config.eval) evaluator.emplace(*text->config.eval, Reward(*entry.reward), data.problems->eval);
    const auto texts = make_texts(config, text->data, entry.name, context.run_dir, data, directory.ranks());
    auto settings = text->config;
    settings.resolve_epochs(static_cast<double>(texts.count));
    return std::make_unique<train::TextStage>(context, settings, texts.at, std::move(evaluator));
  }
  if (const auto* rejection = std::get_if<train::RejectionConfig>(&entry.config)) {
    return std::make_unique<train::RejectionStage>(context, *rejection, Reward(*entry.reward), *data.problems);
  }
  if (const auto* reward_model = std::get_if<RewardModelEntry>(&entry.config)) {
    return std::make_unique<train::RewardModelStage>(context, reward_model->config,
                                                     reward_model->stage.empty() ? data.preferences.at(reward_model->file)
                                                                                 : read_preferences(context.run_dir / "data" / reward_model->stage));
  }
  if (const auto* eval = std::get_if<EvalEntry>(&entry.config)) {
    return std::make_unique<train::EvalStage>(context, eval->engine, train::Evaluator(eval->eval, Reward(*entry.reward), data.problems->eval));
  }
  if (const auto* exported = std::get_if<ExportEntry>(&entry.config)) {
    const auto source = entry.from.empty() ? entry.model.path : last_checkpoint(directory, entry.from).path;
    return std::make_unique<ExportStage>(ModelTransfer{source, context.run_dir / exported->path, {}, exported->dtype, true}, context.sharing.ranks);
  }
  const auto& grpo = std::get<train::GrpoStageConfig>(entry.config);
  std::optional<train::PreferenceModel> preference;
  if (grpo.preference) {
    const auto judge = std::find_if(config.stages.begin(), config.stages.end(), [&](const auto& e) { return e.name == grpo.preference->stage; });
    preference = train::PreferenceModel::load(judge->model.config, train::CheckpointReader(last_checkpoint(directory, judge->name)),
                                              at::TensorOptions(context.model->device()).dtype(compute_dtype(context.model->device())));
  }
  return std::make_unique<train::GrpoStage>(context, grpo, Reward(*entry.reward), *data.problems, std::move(preference));
}

// Weights that a stage begins with: the last checkpoint of the stage it names, or the config's.
void load_start(const RunConfig& config, const RunDirectory& directory, const StageEntry& entry, model::Transformer& model) {
  if (!entry.from.empty()) {
    train::load_model_group(train::CheckpointReader(last_checkpoint(directory, entry.from)), "model", model, {model->named_tensors()});
  } else if (entry.model.path.empty()) {
    model->initialize(config.seed);
  } else {
    const auto weights = model::open_weights(entry.model.path);
    if (entry.model.config.has_mtp() && !weights->config().has_mtp()) model->initialize(config.seed);  // a new module on old weights
    model->load_weights(*weights);
  }
}

// Where the stage's optimizer is to keep float32 masters, it makes the bf16 copies itself.
void place(model::Transformer& model, at::Device device, const StageEntry& entry) {
  if (device.is_cpu()) return;
  const auto output = entry.output();
  const bool trains = output == StageEntry::Output::kWeights || output == StageEntry::Output::kRewardModel;
  model->place(device, trains ? at::kFloat : compute_dtype(device));
}

bool contains(const std::vector<std::string>& names, const std::string& name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

// The lines that differ, for people.
std::string difference(const std::vector<std::string>& before, const std::vector<std::string>& now) {
  std::vector<std::string> lines;
  for (const auto& line : now) {
    if (!contains(before, line)) lines.push_back(line);
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

bool uses_activation_checkpointing(const StageEntry& entry) {
  if (const auto* text = std::get_if<TextStageEntry>(&entry.config)) return text->config.update.activation_checkpointing;
  if (const auto* grpo = std::get_if<train::GrpoStageConfig>(&entry.config)) return grpo->update.activation_checkpointing;
  const auto* reward = std::get_if<RewardModelEntry>(&entry.config);
  return reward != nullptr && reward->config.update.activation_checkpointing;
}

// Every rank of a node would take all of its cores: where the launcher has not bound them, they share.
int threads_of(const RunConfig& config, const dist::Launch& launch) {
  if (config.threads > 0) return static_cast<int>(config.threads);
  cpu_set_t allowed;
  CPU_ZERO(&allowed);
  const int cores = static_cast<int>(std::thread::hardware_concurrency());
  const bool bound = ::sched_getaffinity(0, sizeof allowed, &allowed) == 0 && CPU_COUNT(&allowed) < cores;
  return launch.local_size == 1 || bound ? 0 : std::max(1, cores / launch.local_size);
}

// Whether the experts of every stage's model can be dealt over parallel.expert ranks.
void check_experts(const RunConfig& config) {
  const int64_t ranks = config.parallel.expert;
  const auto reject = [&](const std::string& accepted, const std::string& why) { config.source.child("parallel").reject("expert", accepted, why); };
  for (const auto& entry : config.stages) {
    const int64_t experts = entry.model.config.n_routed_experts;
    if (experts == 0) reject("1", cat("The model of stage '", entry.name, "' has no experts."));
    if (experts < ranks) reject(cat("1 to ", experts), cat("The model of stage '", entry.name, "' has ", experts, " routed experts in a layer."));
  }
}

// The job that the launcher has started, as this rank sees it.
std::shared_ptr<dist::Communicator> join_ranks(const RunConfig& config) {
  const auto launch = dist::read_launch();
  const auto device = choose_device(config.device, config.source.where("device"), launch.local_rank);
  if (config.parallel.expert > 1) check_experts(config);
  config.parallel.check_grid(launch.world_size);
  if (const int threads = threads_of(config, launch); threads > 0) {
    torch::set_num_threads(threads);
    kernels::set_num_threads(threads);
  }
  auto ranks = dist::connect(launch, config.parallel, !device.is_cpu());
  set_log_to_stderr(ranks->is_first());
  return ranks;
}

// Whether the stage is complete; else it is ready to run: what it had made with other settings is set aside. Collective.
bool is_complete(const StageEntry& entry, const std::vector<std::string>& settings, const RunDirectory& directory) {
  auto& ranks = directory.ranks();
  enum : char { kComplete = 'c', kAnew = 'a', kRun = 'r' };
  std::string next(1, kRun);
  ranks.together("stage " + entry.name, [&] {
    if (!ranks.is_first()) return;
    if (const auto done = directory.finished_stage(entry.name)) {
      if (done->value("settings", settings) == settings) {
        log_info(cat("stage '", entry.name, "' is complete"));
        next[0] = kComplete;
      } else {
        log_warning(cat("stage '", entry.name, "' runs again: ", difference(done->at("settings"), settings)));
        next[0] = kAnew;
      }
    } else if (const auto begun = directory.begun_with(entry.name); !begun.empty() && inputs_differ(begun, settings)) {
      log_warning(cat("stage '", entry.name, "' starts over: ", difference(begun, settings)));
      next[0] = kAnew;
    }
  });
  next = ranks.broadcast_bytes(next, 0, "what is next");
  if (next[0] == kComplete) return true;
  if (next[0] == kAnew) directory.set_aside(entry.name);
  directory.begin_stage(entry.name, settings);
  return false;
}

// What each rank does, in a file of its own while the job lives.
void show_status(dist::Communicator& ranks, const std::filesystem::path& folder) {
  if (ranks.alone()) return;
  ranks.together("the ranks' status", [&] {
    if (!ranks.is_first()) return;
    std::filesystem::remove_all(folder);  // of a job of more ranks
    std::filesystem::create_directories(folder);
  });
  ranks.together("the ranks' status", [&] { dist::show_status_in(folder.string()); });
}

void run_stages(const RunConfig& config, const RunData& data, const RunDirectory& directory, bool resumed, const std::string& until,
                Ledger* ledger) {
  auto& ranks = directory.ranks();
  set_log_file(directory.path() / (ranks.is_first() ? "log.txt" : cat("log.rank-", ranks.rank(), ".txt")));
  show_status(ranks, directory.path() / "ranks");
  const auto device = ranks.alone() ? choose_device(config.device, config.source.where("device")) : ranks.device();
  log_info(cat("device: ", describe_device(device), ranks.alone() ? "" : cat("; ranks: ", ranks.size(), ", ", kernels::num_threads(), " threads each")));
  if (ranks.is_first()) {
    std::printf("%s\n", describe_plan(config).c_str());
    std::fflush(stdout);
    if (data.problems && !data.problems->checks.empty()) write_findings(directory.path(), "problems", data.problems->findings);
  }
  const auto tokenizer = Tokenizer::load(directory.path() / "tokenizer");
  train::Sharing sharing{directory.shared_ranks(), config.numerics, config.parallel.zero && !ranks.alone()};
  model::ExpertRanks experts;
  if (config.parallel.expert > 1) {
    sharing.experts = train::ExpertSharing::of(ranks, static_cast<int>(config.parallel.expert));
    experts = {sharing.experts->group, config.numerics == train::Numerics::kExact && device.is_cpu()};
  }
  const auto output_of = [&](const std::string& name) { return directory.finished_stage(name)->value("output", ""); };
  for (const auto& entry : config.stages) {
    const auto settings = stage_settings(config, entry, output_of);
    if (is_complete(entry, settings, directory)) {
      if (entry.name == until) break;
      continue;
    }
    if (ledger) ledger->begin_stage(entry.name, model::FlopShape::of(entry.model.config), uses_activation_checkpointing(entry));
    const double load_start_s = monotonic_s();
    model::Transformer model(entry.model.config, at::TensorOptions(at::kFloat), experts);
    load_start(config, directory, entry, model);
    place(model, device, entry);
    train::StageContext context{entry.name, directory.path(), config.seed, model, tokenizer, true, sharing};
    const auto stage = make_stage(config, directory, entry, context, data);
    train::Usage loaded;
    loaded.load_s = monotonic_s() - load_start_s;
    if (ledger) ledger->add(0, loaded, true);
    const auto account = [&](int64_t step, const train::Usage& spent) {
      if (ledger) ledger->add(step, spent);
    };
    auto summary = train::run_stage(*stage, context, {config.checkpoint, resumed, account});
    summary["settings"] = settings;
    if (ranks.is_first()) summary["output"] = output_hash(directory.path(), entry);
    directory.finish_stage(entry.name, summary);
    if (entry.name == until) break;
  }
  if (!ranks.is_first()) return;
  ledger->add_up();
  std::printf("%s", closing_table(config, directory).c_str());
  std::fflush(stdout);
}

// Of all ranks' work; the first one keeps it.
std::unique_ptr<Ledger> open_ledger(const RunConfig& config, const RunDirectory& directory, double already_s) {
  std::unique_ptr<Ledger> ledger;
  directory.ranks().together("opening the ledger", [&] {
    if (directory.ranks().is_first()) ledger = std::make_unique<Ledger>(directory.path(), config.cost, already_s);
  });
  return ledger;
}

// Finished stages that `config` would run again: their own settings differ, or those of a stage that they read from.
std::vector<std::string> stages_to_repeat(const RunConfig& before, const RunConfig& config, const RunDirectory& directory) {
  std::vector<std::string> repeated;
  const auto placeholder = [](const std::string&) { return std::string("?"); };
  for (const auto& entry : config.stages) {
    if (!directory.finished_stage(entry.name)) continue;
    const auto old = std::find_if(before.stages.begin(), before.stages.end(), [&](const StageEntry& e) { return e.name == entry.name; });
    const auto inputs = inputs_of(entry);
    const bool stale = std::any_of(inputs.begin(), inputs.end(), [&](const std::string& name) { return contains(repeated, name); });
    if (stale || old == before.stages.end() || stage_settings(before, *old, placeholder) != stage_settings(config, entry, placeholder)) {
      repeated.push_back(entry.name);
    }
  }
  return repeated;
}

// The stages that read, directly or not, what `from` makes; itself included.
std::vector<std::string> depending_on(const RunConfig& config, const std::string& from) {
  std::vector<std::string> names{from};
  for (const auto& entry : config.stages) {
    const auto inputs = inputs_of(entry);
    const bool reads = std::any_of(inputs.begin(), inputs.end(), [&](const auto& name) { return contains(names, name); });
    if (reads && !contains(names, entry.name)) names.push_back(entry.name);
  }
  return names;
}

void require_stage(const RunConfig& config, const std::string& name, const std::string& option) {
  std::vector<std::string> names;
  for (const auto& entry : config.stages) names.push_back(entry.name);
  if (!name.empty() && std::find(names.begin(), names.end(), name) == names.end()) {
    throw Error(cat(option, " is ", name, "; accepted: a stage of the pipeline: ", join(names, ", "), "."));
  }
}

}  // namespace

std::string describe_states(const RunConfig& config, const std::string& from, const std::string& until) {
  require_stage(config, from, "--from");
  require_stage(config, until, "--until");
  std::string text;
  std::vector<std::string> again = from.empty() ? std::vector<std::string>{} : depending_on(config, from);
  const bool exists = std::filesystem::exists(config.run_dir / "run.json");
  bool ended = false;
  for (const auto& entry : config.stages) {
    std::string what = "runs";
    if (exists) {
      const auto inputs = inputs_of(entry);
      const bool stale = std::any_of(inputs.begin(), inputs.end(), [&](const auto& name) { return contains(again, name); });
      const auto done = RunDirectory::finished_stage(config.run_dir, entry.name);
      if (contains(again, entry.name) || (done && stale)) {
        what = entry.name == from ? "runs again" : "runs again: what it reads is made anew";
      } else if (done) {
        const auto settings = stage_settings(config, entry, [&](const auto& name) {
          const auto input = RunDirectory::finished_stage(config.run_dir, name);
          return input ? input->value("output", "") : "";
        });
        const bool same = done->value("settings", settings) == settings;
        what = same ? "complete, left as it is" : "runs again: " + difference(done->at("settings"), settings);
      } else if (const auto found = train::newest_checkpoint(config.run_dir / "checkpoints" / entry.name)) {
        what = cat("goes on after step ", found->step);
      }
      if (what.starts_with("runs again") && !contains(again, entry.name)) again.push_back(entry.name);
    }
    text += cat("stage ", entry.name, " (", entry.kind, "): ", ended ? "not reached" : what, "\n");
    ended = ended || entry.name == until;
  }
  return text;
}

void run_from(const RunConfig& config, const std::string& from, const std::string& command_line, const std::string& until, double already_s) {
  const double start_s = monotonic_s();
  require_stage(config, from, "--from");
  require_stage(config, until, "--until");
  const auto directory = RunDirectory::open(config.run_dir, command_line, join_ranks(config));
  const auto data = load_data(config);
  const auto repeated = depending_on(config, from);
  const auto output_of = [&](const std::string& name) { return directory.finished_stage(name)->value("output", ""); };
  // What the repeated stages read of the stages before `from`, directly or not, must stand as it would be made now; stages
  // behind it that are not complete have their turn later.
  std::vector<std::string> needed = repeated;
  for (auto entry = config.stages.rbegin(); entry != config.stages.rend(); ++entry) {
    if (!contains(needed, entry->name)) continue;
    for (const auto& name : inputs_of(*entry)) needed.push_back(name);
  }
  for (const auto& entry : config.stages) {
    if (entry.name == from) break;
    if (!contains(needed, entry.name)) continue;
    const auto done = directory.finished_stage(entry.name);
    const auto settings = done ? stage_settings(config, entry, output_of) : std::vector<std::string>{};
    if (!done || done->value("settings", settings) != settings) {
      throw Error(cat("--from is ", from, ", which needs stage '", entry.name, "'; in ", config.run_dir.string(), " that one ",
                      done ? "was made with other settings: " + difference(done->at("settings"), settings) : "is not complete",
                      ".\n  Write --from ", entry.name, " to begin with it, or resume the run."));
    }
  }
  for (const auto& name : repeated) {
    if (directory.finished_stage(name) || !directory.begun_with(name).empty()) directory.set_aside(name);
  }
  directory.replace_config(config);
  const auto ledger = open_ledger(config, directory, already_s + monotonic_s() - start_s);
  run_stages(config, data, directory, true, until, ledger.get());
}

void run(const RunConfig& config, const std::string& command_line, const std::string& until, double already_s) {
  const double start_s = monotonic_s();
  require_stage(config, until, "--until");
  const auto ranks = join_ranks(config);
  ranks->together("reading the data", [&] {
    if (ranks->is_first()) RunDirectory::require_new(config);  // before the data is read, which may take long
  });
  const auto data = load_data(config);
  const auto directory = RunDirectory::create(config, command_line, ranks);
  const auto ledger = open_ledger(config, directory, already_s + monotonic_s() - start_s);
  run_stages(config, data, directory, false, until, ledger.get());
}

void resume(const std::filesystem::path& run_dir, const std::vector<std::string>& overrides, bool allow_changes,
            const std::string& command_line, const std::string& until, double already_s) {
  const double start_s = monotonic_s();
  if (!std::filesystem::exists(run_dir / "config.yaml")) RunDirectory::open(run_dir, command_line, dist::single());  // says what is wrong
  const auto before = ConfigNode::load(run_dir / "config.yaml");
  auto config = RunConfig::load(run_dir / "config.yaml", overrides);
  config.run_dir = run_dir;
  require_stage(config, until, "--until");
  const auto directory = RunDirectory::open(run_dir, command_line, join_ranks(config));
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
  const auto data = load_data(config);
  const auto ledger = open_ledger(config, directory, already_s + monotonic_s() - start_s);
  run_stages(config, data, directory, true, until, ledger.get());
}

}  // namespace r1::pipeline
