#include "r1/report/samples.h"

#include <algorithm>
#include <charconv>
#include <map>

#include "r1/report/text_signs.h"
#include "r1/util/error.h"
#include "r1/util/jsonl.h"
#include "r1/util/strings.h"
#include "row_file.h"
#include "sample_choice.h"

namespace r1::report {
namespace fs = std::filesystem;
using nlohmann::json;
namespace {

constexpr double kRepetitive = 0.5;
constexpr size_t kRepetitiveBytes = 40;  // a short text repeats its few words without going round in circles

struct StepFile {
  int64_t step = 0;
  fs::path path;
  uint64_t bytes = 0;
};

// step-000010.jsonl.zst, by step.
std::vector<StepFile> step_files(const fs::path& folder) {
  std::vector<StepFile> files;
  std::error_code error;
  for (fs::directory_iterator entry(folder, error), end; !error && entry != end; entry.increment(error)) {
    const auto name = entry->path().filename().string();
    if (!name.starts_with("step-") || !name.ends_with(".jsonl.zst")) continue;
    StepFile file{0, entry->path(), 0};
    std::from_chars(name.data() + 5, name.data() + name.size(), file.step);
    std::error_code ignored;
    file.bytes = entry->file_size(ignored);
    files.push_back(std::move(file));
  }
  std::sort(files.begin(), files.end(), [](const StepFile& a, const StepFile& b) { return a.step < b.step; });
  return files;
}

std::vector<StepFile> chosen_files(std::vector<StepFile> files, const SampleLimits& limits) {
  uint64_t bytes = 0;
  for (const auto& file : files) bytes += file.bytes;
  size_t count = limits.files_per_stage;
  if (bytes > limits.packed_bytes_per_stage) {
    const auto fitting = static_cast<double>(files.size()) *
                         static_cast<double>(limits.packed_bytes_per_stage) / static_cast<double>(bytes);
    count = std::clamp<size_t>(static_cast<size_t>(fitting), 2, count);
  }
  std::vector<StepFile> chosen;
  for (const size_t i : pick_evenly(files.size(), count)) chosen.push_back(files[i]);
  return chosen;
}

class StepReader {
 public:
  StepReader(const RunRecord& run, const SampleLimits& limits, std::string stage, int64_t step)
      : format_parts_(run.format_parts()), limits_(limits), stage_(std::move(stage)), step_(step) {}

  void add(const json& row) {
    const auto id = row.contains("prompt_id") ? row["prompt_id"] : row.value("problem_id", json());
    const auto key = id.dump(-1, ' ', false, json::error_handler_t::replace) + text_of(row, "prompt");
    const auto [it, is_new] = places_.try_emplace(key, groups_.size());
    if (is_new) {
      size_t cut = 0;
      groups_.push_back({{"stage", stage_},
                         {"step", step_},
                         {"id", id},
                         {"gold", shorten(text_of(row, "gold"), 500, cut)},
                         {"prompt", shorten(text_of(row, "prompt"), limits_.text_bytes, cut)},
                         {"completions", json::array()}});
    }
    auto& completions = groups_[it->second]["completions"];
    if (row.contains("chosen")) {
      completions.push_back(completion(row, "chosen", "chosen"));
      completions.push_back(completion(row, "rejected", "rejected"));
    } else if (row.contains("completion")) {
      completions.push_back(completion(row, "completion", "kept"));
    } else {
      completions.push_back(completion(row, "text", text_of(row, "verdict")));
    }
  }

  /// Marks the groups and puts those that show most first; `signs` gets the figures of the whole file.
  std::vector<json> finish(TextSigns& signs) {
    signs = {step_, completions_, 0, 0};
    if (completions_ > 0) {
      signs.reflective_words = static_cast<double>(reflective_) / static_cast<double>(completions_);
      signs.repetitive = static_cast<double>(repetitive_) / static_cast<double>(completions_);
    }
    for (auto& group : groups_) mark(group);
    return ranked();
  }
  int64_t num_groups() const { return static_cast<int64_t>(groups_.size()); }

 private:
  // Texts that rejection sampling kept have no verdict of their own: `verdict` says what became of them.
  json completion(const json& row, const char* field, const std::string& verdict) {
    const auto text = text_of(row, field);
    const int64_t reflective = count_reflective_words(text);
    ++completions_;
    reflective_ += reflective;
    if (text.size() >= kRepetitiveBytes && repeated_share(text) >= kRepetitive) ++repetitive_;
    size_t cut = 0, ignored = 0;
    json out{{"text", shorten(text, limits_.text_bytes, cut)},
             {"tokens", row.value("num_tokens", json())},
             {"finish", text_of(row, "finish_reason")},
             {"reward", row.value("reward", json())},
             {"parts", row.value("rewards", json::object())},
             {"verdict", verdict},
             {"extracted", shorten(text_of(row, "extracted"), 500, ignored)},
             {"advantage", row.value("advantage", json())},
             {"reflective", reflective},
             {"bytes", text.size()}};
    return out;
  }

  void mark(json& group) const {
    bool any_right = false, any_judged = false, format_only = false;
    for (const auto& c : group["completions"]) {
      const auto verdict = text_of(c, "verdict");
      const bool right = verdict == "right" || verdict == "kept" || verdict == "chosen";
      const bool judged = verdict != "gold_unreadable" && !verdict.empty();
      any_right |= right;
      any_judged |= judged;
      if (right || !judged || format_parts_.empty() || !c["parts"].is_object()) continue;
      format_only |= std::all_of(format_parts_.begin(), format_parts_.end(), [&](const std::string& name) {
        return number_of(c["parts"], name.c_str(), 0) >= 1;
      });
    }
    group["all_wrong"] = any_judged && !any_right;
    group["format_only"] = format_only;
  }

  static bool is_mixed(const json& group) {
    if (group["all_wrong"] == true) return false;
    const auto& all = group["completions"];
    return std::any_of(all.begin(), all.end(), [](const json& c) {
      return c["verdict"] != "right" && c["verdict"] != "kept" && c["verdict"] != "chosen";
    });
  }

  std::vector<json> ranked() {
    std::vector<size_t> order;
    const auto take = [&](size_t i) {
      if (i < groups_.size() && std::find(order.begin(), order.end(), i) == order.end()) order.push_back(i);
    };
    const auto first = [&](const auto& test) {
      return static_cast<size_t>(std::find_if(groups_.begin(), groups_.end(), test) - groups_.begin());
    };
    take(first([](const json& g) { return g["all_wrong"] == true; }));
    take(first([](const json& g) { return g["format_only"] == true; }));
    take(first(is_mixed));
    for (const size_t i : pick_evenly(groups_.size(), limits_.groups_per_file)) take(i);
    order.resize(std::min(order.size(), limits_.groups_per_file));
    std::vector<json> out;
    for (const size_t i : order) {
      out.push_back(std::move(groups_[i]));
      out.back()["place"] = i;
    }
    return out;
  }

  std::vector<std::string> format_parts_;
  SampleLimits limits_;
  std::string stage_;
  int64_t step_;
  std::vector<json> groups_;
  std::map<std::string, size_t> places_;
  int64_t completions_ = 0, reflective_ = 0, repetitive_ = 0;
};

}  // namespace

std::vector<StageSamples> read_samples(RunRecord& run, const SampleLimits& limits) {
  std::vector<StageSamples> stages;
  std::vector<GroupsOfFiles> by_file;
  for (const auto& stage : run.stages) {
    auto files = step_files(run.dir / "rollouts" / stage.name);
    if (files.empty()) files = step_files(run.dir / "data" / stage.name);
    if (files.empty()) continue;
    StageSamples samples;
    samples.stage = stage.name;
    samples.files = static_cast<int64_t>(files.size());
    by_file.emplace_back();
    for (const auto& file : chosen_files(files, limits)) {
      StepReader reader(run, limits, stage.name, file.step);
      try {
        read_jsonl(file.path, [&](int64_t, const json& row) { reader.add(row); });
      } catch (const std::exception& error) {  // a file that a run takes away meanwhile, or a damaged one
        run.notes.push_back(cat("left out: ", error.what()));
        continue;
      }
      samples.groups_read += reader.num_groups();
      samples.steps_read.push_back(file.step);
      TextSigns signs;
      by_file.back().push_back(reader.finish(signs));
      samples.signs.push_back(signs);
    }
    stages.push_back(std::move(samples));
  }
  keep_fitting(stages, by_file, limits);
  return stages;
}

}  // namespace r1::report
