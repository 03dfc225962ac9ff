#pragma once
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "r1/pipeline/verify_resume.h"
#include "r1/util/file.h"
#include "r1/util/jsonl.h"
#include "r1/util/strings.h"

namespace r1::pipeline::test {

/// Both kinds of stage in a second: pre-training, then GRPO with a reference, a checkpoint every two steps.
inline const char* const kTinyRun = R"(name: tiny
seed: 5
threads: 1
model:
  hidden_size: 16
  intermediate_size: 24
  num_layers: 1
  num_heads: 2
  max_positions: 160
  tie_embeddings: true
tokenizer:
  kind: characters
  characters: "\n !\"'()*+,-./0123456789:;<=>?ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
problems:
  kind: arithmetic
  a: [0, 9]
  b: [0, 9]
  prompt: "{a}{op}{b}="
  eval_size: 4
reward:
  parts:
    accuracy: {kind: exact_answer, extract: last_number}
    format: {kind: format, weight: 0.2}
checkpoint:
  every_steps: 2
device: cpu
pipeline:
  - name: pretrain
    kind: pretrain
    data: {kind: arithmetic_worked}
    steps: 4
    texts_per_step: 2
    schedule: {lr: 1.0e-2}
  - name: zero
    kind: grpo
    steps: 6
    prompts_per_step: 2
    group_size: 4
    steps_per_rollout: 1
    schedule: {lr: 1.0e-2}
    loss: {kl_coef: 0.05}
    sampling: {temperature: 0.9, max_completion_tokens: 8}
    eval: {every_steps: 3}
)";

/// A folder of its own for one test, with the config in it; removed at the end.
class Folder {
 public:
  explicit Folder(const std::string& name) : path_(std::filesystem::temp_directory_path() / cat("r1_pipeline_test_", ::getpid(), "_", name)) {
    std::filesystem::remove_all(path_);
    std::filesystem::create_directories(path_);
    write_file_atomic(config(), kTinyRun);
  }
  ~Folder() { std::filesystem::remove_all(path_); }
  std::filesystem::path operator/(const std::string& name) const { return path_ / name; }
  std::filesystem::path config() const { return path_ / "tiny.yaml"; }

 private:
  std::filesystem::path path_;
};

/// Rows of metrics.jsonl without times and speeds.
inline std::vector<nlohmann::json> rows_of(const std::filesystem::path& run_dir) {
  std::vector<nlohmann::json> rows;
  read_jsonl(run_dir / "metrics.jsonl", [&](int64_t, const nlohmann::json& row) {
    nlohmann::json kept = row;
    for (const auto& [key, value] : row.items()) {
      if (is_timing(key)) kept.erase(key);
    }
    rows.push_back(std::move(kept));
  });
  return rows;
}

/// Relative path and hash of every file.
inline std::map<std::string, std::string> contents_of(const std::filesystem::path& folder) {
  std::map<std::string, std::string> out;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(folder)) {
    if (entry.is_regular_file()) out[std::filesystem::relative(entry.path(), folder).string()] = hash_file(entry.path());
  }
  return out;
}

inline void expect_text(const std::string& text, const std::vector<std::string>& parts) {
  for (const auto& part : parts) EXPECT_NE(text.find(part), std::string::npos) << "no '" << part << "' in:\n" << text;
}

template <typename Function>
std::string error_of(Function&& function) {
  try {
    function();
  } catch (const std::exception& error) {
    return error.what();
  }
  return "(no error)";
}

}  // namespace r1::pipeline::test
