#pragma once
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "r1/pipeline/run_config.h"

namespace r1::pipeline {

/// The folder of one run: config.yaml, run.json, tokenizer/, metrics.jsonl, tb/, rollouts/, checkpoints/<stage>/,
/// stages/<stage>.json (a stage that is complete). Holds a lock as long as it lives.
class RunDirectory {
 public:
  /// Makes it. Throws Error when it exists already.
  static RunDirectory create(const RunConfig& config, const std::string& command_line);
  /// Opens an existing one. Throws Error when it is no run directory or another process works in it.
  static RunDirectory open(const std::filesystem::path& path, const std::string& command_line);
  ~RunDirectory();
  RunDirectory(RunDirectory&& other) noexcept;
  RunDirectory& operator=(RunDirectory&&) = delete;

  const std::filesystem::path& path() const { return path_; }
  std::optional<nlohmann::json> finished_stage(const std::string& name) const;
  void finish_stage(const std::string& name, const nlohmann::json& summary) const;

 private:
  explicit RunDirectory(std::filesystem::path path);
  void record(const std::string& command_line) const;
  std::filesystem::path path_;
  int lock_ = -1;
};

}  // namespace r1::pipeline
