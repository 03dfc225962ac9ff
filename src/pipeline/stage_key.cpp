#include "stage_key.h"

#include <algorithm>

#include "r1/train/checkpoint.h"
#include "r1/util/file.h"
#include "r1/util/strings.h"

namespace r1::pipeline {
namespace {

// Weights of a file or of a Hugging Face folder, by their bytes.
std::string hash_weights(const std::filesystem::path& path) {
  if (!std::filesystem::is_directory(path)) return hash_file(path);
  std::vector<std::filesystem::path> files;
  for (const auto& entry : std::filesystem::directory_iterator(path)) {
    if (entry.path().extension() == ".safetensors" || entry.path().filename() == "config.json") files.push_back(entry.path());
  }
  std::sort(files.begin(), files.end());
  std::string hashes;
  for (const auto& file : files) hashes += hash_file(file);
  return hash_bytes(hashes);
}

size_t index_of(const RunConfig& config, const StageEntry& entry) {
  size_t i = 0;
  while (config.stages[i].name != entry.name) ++i;
  return i;
}

}  // namespace

std::vector<std::string> inputs_of(const StageEntry& entry) {
  std::vector<std::string> names;
  if (!entry.from.empty()) names.push_back(entry.from);
  if (const auto* text = std::get_if<TextStageEntry>(&entry.config)) {
    for (const auto& source : text->data.sources) {
      if (!source.stage.empty()) names.push_back(source.stage);
    }
  }
  if (const auto* reward_model = std::get_if<RewardModelEntry>(&entry.config); reward_model && !reward_model->stage.empty()) {
    names.push_back(reward_model->stage);
  }
  if (const auto* grpo = std::get_if<train::GrpoStageConfig>(&entry.config); grpo && grpo->preference) {
    names.push_back(grpo->preference->stage);
  }
  return names;
}

bool is_harmless(const std::string& key) {
  for (const char* part : {"checkpoint.", "cost.", "parallel.", "plan.", "threads", "device", "run_dir", "name", ".activation_checkpointing", ".rollout.", ".log_rollouts", ".plan.", "model.shape", ".model.shape"}) {
    const std::string_view p = part;
    if (p.starts_with('.') ? key.find(p) != std::string::npos : key == p || (p.ends_with('.') && key.starts_with(p))) return true;
  }
  return false;
}

std::vector<std::string> stage_settings(const RunConfig& config, const StageEntry& entry,
                                        const std::function<std::string(const std::string&)>& output_of) {
  const auto* text = std::get_if<TextStageEntry>(&entry.config);
  const bool uses_reward = needs_problems(entry);
  bool uses_problems = reads_problems(entry);
  std::vector<std::string> lines;
  const auto add_file = [&](const std::string& what, const std::filesystem::path& file) {
    if (!file.empty()) lines.push_back(cat(what, ": ", hash_file(file)));
  };
  const auto add_checks = [&](const TextCheckConfig& checks) {
    for (const auto& file : checks.against) add_file("evaluation file " + file.string(), file);
  };
  if (const auto* reward_model = std::get_if<RewardModelEntry>(&entry.config)) {
    add_file("file " + reward_model->file.string(), reward_model->file);
  }
  if (text != nullptr) {
    for (const auto& source : text->data.sources) {
      uses_problems = uses_problems || source.worked;
      add_file("file " + source.file.string(), source.file);
      add_checks(source.checks);
    }
  }
  lines.push_back("vocabulary: " + config.load_tokenizer().hash());
  if (uses_problems) {
    if (const auto* problems = std::get_if<ProblemFileConfig>(&config.problems->source)) {
      add_file("problems", problems->file);
      add_file("held-out problems", problems->eval_file);
      add_checks(problems->checks);
    }
  }
  const std::string own = cat("pipeline.", index_of(config, entry), ".");
  for (const auto& [key, value] : config.source.leaves()) {
    const bool mine = key.starts_with(own);
    const bool shared = key == "seed" || key.starts_with("tokenizer.") || (uses_problems && key.starts_with("problems.")) ||
                        (uses_reward && key.starts_with("reward.")) || (entry.from.empty() && key.starts_with("model."));
    if ((mine || shared) && !is_harmless(key)) lines.push_back(cat(mine ? key.substr(own.size()) : key, ": ", value));
  }
  if (entry.from.empty() && !entry.model.path.empty()) lines.push_back("weights: " + hash_weights(entry.model.path));
  for (const auto& name : inputs_of(entry)) lines.push_back(cat("output of ", name, ": ", output_of(name)));
  return lines;
}

bool needs_problems(const StageEntry& entry) {
  if (const auto* text = std::get_if<TextStageEntry>(&entry.config)) return text->config.eval.has_value();
  return !std::holds_alternative<RewardModelEntry>(entry.config) && !std::holds_alternative<ExportEntry>(entry.config);
}

bool reads_problems(const StageEntry& entry) {
  const auto* text = std::get_if<TextStageEntry>(&entry.config);
  if (needs_problems(entry) || text == nullptr) return needs_problems(entry);
  return std::any_of(text->data.sources.begin(), text->data.sources.end(),
                     [](const TextSourceConfig& source) { return source.checks.against_held_out; });
}

std::string output_hash(const std::filesystem::path& run_dir, const StageEntry& entry) {
  using Output = StageEntry::Output;
  const auto weights = run_dir / "checkpoints" / entry.name / "latest";
  switch (entry.output()) {
    case Output::kNothing: return "";
    case Output::kWeights: return train::group_hash(weights, "model");
    case Output::kRewardModel: return hash_bytes(train::group_hash(weights, "model") + train::group_hash(weights, "score"));
    case Output::kTexts:
    case Output::kPairs: break;
  }
  std::vector<std::filesystem::path> files;
  for (const auto& file : std::filesystem::directory_iterator(run_dir / "data" / entry.name)) files.push_back(file.path());
  std::sort(files.begin(), files.end());
  std::string hashes;
  for (const auto& file : files) hashes += hash_file(file);
  return hash_bytes(hashes);
}

}  // namespace r1::pipeline
