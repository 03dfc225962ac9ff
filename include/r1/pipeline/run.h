#pragma once
#include <filesystem>
#include <string>
#include <vector>

#include "r1/pipeline/run_config.h"

namespace r1::pipeline {

/// Runs all stages of `config` in a new run directory. Prints the plan, progress, and a closing table on stdout.
/// `until`: the stage after which it ends, by default the last; resume goes on from there. `already_s`: seconds that the
/// process has spent before, which the ledger counts too.
/// Throws Error when the directory exists or there is no such stage, train::Interrupted after a stop signal.
void run(const RunConfig& config, const std::string& command_line, const std::string& until = "",
         double already_s = 0);

/// Runs stage `from` and all that depends on it again, in the run directory that `config` names; what these had made is
/// set aside under replaced/. Throws Error when there is no such directory, or when a stage that is still needed is not
/// complete there or was made with other settings.
void run_from(const RunConfig& config, const std::string& from, const std::string& command_line, const std::string& until = "",
              double already_s = 0);

/// What run, resume or run_from (`from` not empty) would do with each stage, and why; nothing is written. Without a run
/// directory every stage runs.
std::string describe_states(const RunConfig& config, const std::string& from = "", const std::string& until = "");

/// Goes on with the run in `run_dir` where its newest complete checkpoints stand; `overrides` as on the command line.
/// A changed key that alters results is refused, naming it and the finished stages that depend on it, unless
/// `allow_changes`: these then run again, what they had made is set aside, and config.yaml holds the new keys.
void resume(const std::filesystem::path& run_dir, const std::vector<std::string>& overrides, bool allow_changes,
            const std::string& command_line, const std::string& until = "", double already_s = 0);

}  // namespace r1::pipeline
