#pragma once
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace r1::pipeline {

struct VerifyResumeOptions {
  std::filesystem::path program;       ///< this executable
  std::filesystem::path config;
  std::vector<std::string> overrides;
  std::filesystem::path work_dir;      ///< gets unbroken/ and killed/; must not exist
  int64_t kills = 20;
  uint64_t seed = 1;                   ///< of the moments
};

/// Proves that a resumed run equals the unbroken one: runs the config once, then again as a process that is killed with
/// SIGKILL at random moments (every third time while a checkpoint is being written) and resumed until it ends; then
/// compares every figure of metrics.jsonl but times and speeds, and every byte of every weight, optimizer and reference
/// file of the last checkpoints. Prints what it does. Returns true when all are equal; throws Error when a run fails.
bool verify_resume(const VerifyResumeOptions& options);

/// Figures that measure time and so differ between equal runs: names that end in "seconds" or "_per_s", or begin with "speculation_".
bool is_timing(const std::string& metric);

}  // namespace r1::pipeline
