#pragma once
#include <condition_variable>
#include <filesystem>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include "r1/model/flops.h"
#include "r1/pipeline/cost.h"
#include "r1/train/usage.h"
#include "r1/util/jsonl.h"

namespace r1::pipeline {

class EnergyMeter;

/// ledger.jsonl in the run directory: what the run has cost, over all its processes, work that a kill threw away included.
/// One JSON object per line, each the increment since the line before:
///
///   {"time": unix seconds, "session": 2, "stage": "rl_1", "step": 40,
///    "seconds": {"rollout", "reward", "update", "eval", "checkpoint", "load", "other"}, "devices": 1,
///    "tokens_in", "tokens_out", "trained_tokens", "flops", "joules", "joules_source": "rapl" or "assumed"}
///
/// A session is one process; its seconds begin at the process's start. A row follows an advance of the stage, at most one a
/// second, and the begin and end of a stage. Between rows a thread notes 20 times a second in ledger.alive how far the clock
/// is; when a process was killed, the next one adds the seconds that no row holds as a row with "lost": true. Nothing that
/// a stage computes depends on the ledger.
class Ledger {
 public:
  /// `already_s`: seconds that the process has spent before. Throws Error when the files cannot be opened.
  Ledger(const std::filesystem::path& run_dir, const CostConfig& cost, double already_s);
  /// The last row; ledger.alive goes.
  ~Ledger();
  Ledger(const Ledger&) = delete;
  Ledger& operator=(const Ledger&) = delete;

  /// What comes belongs to this stage. Time since the last row goes to the stage before, and to `load` of this one when
  /// there is none before.
  void begin_stage(const std::string& stage, const model::FlopShape& shape, bool activation_checkpointing);
  /// Adds what was spent since the last call; time that `spent` does not name is `other`. Written at once with `now`.
  void add(int64_t step, const train::Usage& spent, bool now = false);
  /// Writes what is not written yet: a summary made now holds everything.
  void add_up();

 private:
  struct Sums;
  void write(bool lost);
  void charge_killed_session();
  void note_alive();
  void watch();

  std::filesystem::path alive_file_;
  CostConfig cost_;
  std::unique_ptr<JsonlWriter> out_;
  std::unique_ptr<EnergyMeter> energy_;
  std::unique_ptr<Sums> sums_;
  model::FlopShape shape_;
  bool activation_checkpointing_ = false;
  std::mutex mutex_;  ///< between the stage's thread and the one that writes ledger.alive
  std::condition_variable stop_;
  bool stopping_ = false;
  std::thread watcher_;
};

}  // namespace r1::pipeline
