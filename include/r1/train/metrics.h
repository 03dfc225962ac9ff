#pragma once
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace r1 {

class TensorBoardFile;

struct MetricsOptions {
  std::string stage;  ///< put into every row and before every TensorBoard tag ("grpo/"); "": neither
  std::function<double()> wall_time_s;  ///< seconds since 1970 for TensorBoard; the system clock when empty
};

/// Figures of a run, one row per step, in two forms under its directory:
///
///   metrics.jsonl  {"stage": "grpo", "step": 10, "reward": 0.41, ...}: keys in the order given, doubles in
///   the fewest
///                  digits that read back to the same bits; JSON has no NaN and no infinity, so these are the
///                  texts "NaN", "Infinity" and "-Infinity"
///   tb/            TensorBoard event files with the same scalars (float32, as its format has it) and texts
///
/// Every row is handed to the operating system whole before write() returns.
class MetricsWriter {
 public:
  /// Appends to <run_dir>/metrics.jsonl and opens a new event file; creates what is missing.
  /// Throws Error naming path and reason.
  explicit MetricsWriter(std::filesystem::path run_dir, MetricsOptions options = {});
  ~MetricsWriter();
  MetricsWriter(MetricsWriter&& other) noexcept;
  MetricsWriter& operator=(MetricsWriter&& other) noexcept;

  /// As the constructor, after dropping (atomically) what lies beyond `last_step`, the step of the checkpoint
  /// that the run goes on from: the first row of this stage with a larger step, everything after it, and a
  /// half-written last line. The new event file tells TensorBoard to forget its older scalars from last_step +
  /// 1 on. Throws Error "metrics.jsonl:<line>" for a broken line that is not the last.
  static MetricsWriter open_resumed(std::filesystem::path run_dir, int64_t last_step,
                                    MetricsOptions options = {});

  void write(int64_t step, const std::vector<std::pair<std::string, double>>& values);
  /// TensorBoard only: Markdown under `tag`, for example sampled completions.
  void write_text(int64_t step, const std::string& tag, const std::string& text);

 private:
  MetricsWriter(std::filesystem::path run_dir, MetricsOptions options, int64_t purge_step);
  std::string tag(const std::string& name) const;

  std::filesystem::path rows_path_;
  MetricsOptions options_;
  std::ofstream rows_;
  std::unique_ptr<TensorBoardFile> board_;
};

/// Takes all rows of one stage out of <run_dir>/metrics.jsonl (atomically) and returns them as they stood.
std::string take_stage_rows(const std::filesystem::path& run_dir, const std::string& stage);

}  // namespace r1
