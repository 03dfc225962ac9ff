#pragma once
#include <functional>
#include <string>
#include <vector>

#include "r1/pipeline/run_config.h"

namespace r1::pipeline {

/// Names of the stages whose output `entry` reads: the weights it begins with and the texts that were kept for it.
std::vector<std::string> inputs_of(const StageEntry& entry);

/// Everything that decides a stage's result, as lines "key: value" in a fixed order: its own section, the seed, the
/// vocabulary, the problems, reward and model where it uses them, hashes of files that it reads, and of its inputs'
/// outputs (`output_of` gives them by name). Two equal lists give equal results, bit for bit. Keys that change no result
/// (threads, checkpoint policy, what is logged, how sampling is batched) are left out.
std::vector<std::string> stage_settings(const RunConfig& config, const StageEntry& entry,
                                        const std::function<std::string(const std::string&)>& output_of);

/// Whether a stage samples answers to the run's problems, in training or in an evaluation, and so needs their reward.
bool needs_problems(const StageEntry& entry);

/// Whether a stage reads the run's problems: needs_problems, or its texts are checked against the held-out ones.
bool reads_problems(const StageEntry& entry);

/// True for a dotted key of the config whose change alters no result.
bool is_harmless(const std::string& key);

/// What later stages read of a finished one: the hash of its weights, or of its kept texts.
std::string output_hash(const std::filesystem::path& run_dir, const StageEntry& entry);

}  // namespace r1::pipeline
