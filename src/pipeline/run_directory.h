#pragma once
#include <filesystem>
#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "r1/dist/communicator.h"
#include "r1/pipeline/run_config.h"

namespace r1::pipeline {

/// The folder of one run: config.yaml, run.json, tokenizer/, metrics.jsonl, tb/, rollouts/, checkpoints/<stage>/,
/// stages/<stage>.json (a stage that is complete). The first rank holds a lock as long as it lives, and writes; what changes the
/// folder is collective, and every rank sees the change when its call returns.
class RunDirectory {
 public:
  /// Throws Error when the config's run directory exists already.
  static void require_new(const RunConfig& config);
  /// Makes it. Throws Error when it exists already.
  static RunDirectory create(const RunConfig& config, const std::string& command_line, std::shared_ptr<dist::Communicator> ranks);
  /// Opens an existing one. Throws Error when it is no run directory or another process works in it.
  static RunDirectory open(const std::filesystem::path& path, const std::string& command_line, std::shared_ptr<dist::Communicator> ranks);
  ~RunDirectory();
  RunDirectory(RunDirectory&& other) noexcept;
  RunDirectory& operator=(RunDirectory&&) = delete;

  const std::filesystem::path& path() const { return path_; }
  dist::Communicator& ranks() const { return *ranks_; }
  const std::shared_ptr<dist::Communicator>& shared_ranks() const { return ranks_; }
  std::optional<nlohmann::json> finished_stage(const std::string& name) const { return finished_stage(path_, name); }
  /// The same without the lock, for those who only look.
  static std::optional<nlohmann::json> finished_stage(const std::filesystem::path& run_dir, const std::string& name);
  void finish_stage(const std::string& name, const nlohmann::json& summary) const;
  /// The settings that a stage which is not complete began with; empty when it has not begun.
  std::vector<std::string> begun_with(const std::string& name) const;
  void begin_stage(const std::string& name, const std::vector<std::string>& settings) const;
  /// Moves all that a stage has made, its metrics included, to replaced/<n>/, so that it can run again.
  void set_aside(const std::string& name) const;
  /// Replaces config.yaml by what the run goes on with.
  void replace_config(const RunConfig& config) const;

 private:
  RunDirectory(std::filesystem::path path, std::shared_ptr<dist::Communicator> ranks);
  void lock();
  void first_rank(const std::string& what, const std::function<void()>& work) const;
  void require_shared(const std::string& file) const;
  void record(const std::string& command_line) const;
  std::filesystem::path path_;
  std::shared_ptr<dist::Communicator> ranks_;
  int lock_ = -1;
};

}  // namespace r1::pipeline
