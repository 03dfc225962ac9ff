#include "r1/train/stage_loop.h"

#include <torch/torch.h>

#include "r1/train/metrics.h"
#include "r1/util/error.h"
#include "r1/util/file.h"
#include "r1/util/log.h"
#include "r1/util/progress.h"
#include "r1/util/stop_signal.h"
#include "r1/util/strings.h"

namespace r1::train {
namespace {

CheckpointContents contents_of(Stage& stage, const StageContext& context, double seconds) {
  CheckpointContents contents{stage.steps_done(), stage.checkpoint_groups(), stage.checkpoint_state(), {}};
  contents.state["wall_seconds"] = seconds;
  contents.state["tokenizer_hash"] = context.tokenizer.hash();
  contents.extra_files.emplace_back("config.json", context.model->config().to_hf_json().dump(2) + "\n");
  const auto folder = context.run_dir / "tokenizer";
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    contents.extra_files.emplace_back(entry.path().filename().string(), read_file(entry.path()));
  }
  return contents;
}

// The sum over ranks of what was computed; times are the first rank's.
Usage of_all_ranks(const Usage& own, dist::Communicator& ranks) {
  if (ranks.alone()) return own;
  auto sum = own;
  std::vector<double> counts;
  const auto all = {&Usage::sampling, &Usage::reference, &Usage::training};
  for (const auto kind : all) {
    for (const auto count : {&model::PassCounts::tokens, &model::PassCounts::logit_rows, &model::PassCounts::attended}) counts.push_back(own.*kind.*count);
  }
  const auto tokens = {&Usage::prompt_tokens, &Usage::generated_tokens, &Usage::trained_tokens};
  for (const auto kind : tokens) counts.push_back(static_cast<double>(own.*kind));
  auto values = torch::tensor(counts, torch::kDouble).to(ranks.device());
  ranks.all_reduce(values, dist::Reduce::kSum, "usage").wait();
  values = values.cpu();  // sync: once per rollout, for the ledger
  const auto* value = values.data_ptr<double>();
  for (const auto kind : all) {
    for (const auto count : {&model::PassCounts::tokens, &model::PassCounts::logit_rows, &model::PassCounts::attended}) sum.*kind.*count = *value++;
  }
  for (const auto kind : tokens) sum.*kind = static_cast<int64_t>(*value++);
  return sum;
}

// Tells the account what a stage has spent since it was told last. Collective, as is all that is told.
class Spending {
 public:
  Spending(const Stage& stage, const Account& account, dist::Communicator& ranks) : stage_(stage), account_(account), ranks_(ranks) {}
  /// Times a piece of the loop.
  template <typename Work>
  void timed(double Usage::*phase, const Work& work) {
    const double start_s = monotonic_s();
    work();
    loop_.*phase += monotonic_s() - start_s;
  }
  /// The stage's sums have jumped to those of its checkpoint, which were told when they were spent.
  void restored(double seconds) {
    told_ = stage_.usage();
    loop_.load_s += seconds;
  }
  void tell() {
    if (!account_) return;
    const auto now = stage_.usage();
    auto spent = of_all_ranks(now - told_, ranks_);
    spent.eval_s += loop_.eval_s;
    spent.checkpoint_s = loop_.checkpoint_s;
    spent.load_s = loop_.load_s;
    account_(stage_.steps_done(), spent);
    told_ = now;
    loop_ = {};
  }

 private:
  const Stage& stage_;
  const Account& account_;
  dist::Communicator& ranks_;
  Usage told_, loop_;
};

// The signal that some rank has got, the same on all of them: a launcher may tell one rank before another.
int stop_signal_of_any(dist::Communicator& ranks) {
  if (ranks.alone()) return stop_signal();
  const auto signal = torch::tensor({static_cast<int64_t>(stop_signal())}, torch::kLong).to(ranks.device());
  ranks.all_reduce(signal, dist::Reduce::kMax, "stop signal").wait();
  return static_cast<int>(signal.item<int64_t>());  // sync: once per step, as the figures
}

}  // namespace

nlohmann::json run_stage(Stage& stage, StageContext& context, const StageLoopOptions& options) {
  const auto folder = context.run_dir / "checkpoints" / context.stage;
  double seconds_before = 0;
  int64_t saved_step = -1;
  auto& ranks = *context.sharing.ranks;
  Spending spending(stage, options.account, ranks);
  if (options.resume) {
    const double load_start_s = monotonic_s();
    std::vector<std::string> damaged;
    const auto found = newest_checkpoint(folder, ranks, &damaged);
    if (!found && !damaged.empty()) {
      throw Error(cat("no complete checkpoint is left in ", folder.string(), ":\n  ", join(damaged, "\n  "),
                      "\n  Remove that folder to begin the stage '", context.stage, "' again."));
    }
    if (found) {
      const CheckpointReader reader(*found);
      if (reader.state().at("tokenizer_hash") != context.tokenizer.hash()) {
        throw Error(cat(found->path.string(), " was made with another vocabulary (hash ",
                        reader.state().at("tokenizer_hash").get<std::string>(), ", the run's is ", context.tokenizer.hash(),
                        "). Use the tokenizer that the run began with."));
      }
      stage.restore(reader);
      seconds_before = reader.state().at("wall_seconds");
      saved_step = reader.step();
      log_info(cat("stage '", context.stage, "': going on after step ", reader.step(), " from ", found->path.string()));
    }
    spending.restored(monotonic_s() - load_start_s);
  }
  const MetricsOptions metrics_options{context.stage, {}};
  // One rank writes the figures, which all have.
  std::optional<MetricsWriter> metrics;
  ranks.together("metrics", [&] {
    if (!ranks.is_first()) return;
    if (options.resume) metrics.emplace(MetricsWriter::open_resumed(context.run_dir, saved_step, metrics_options));
    else metrics.emplace(context.run_dir, metrics_options);
  });
  const auto write = [&](const Metrics& figures) {
    ranks.together("metrics", [&] {
      if (metrics) metrics->write(stage.steps_done(), figures);
    });
  };
  const double start_s = monotonic_s();
  const auto elapsed = [&] { return seconds_before + monotonic_s() - start_s; };
  const auto save = [&] {
    spending.timed(&Usage::checkpoint_s, [&] { save_checkpoint(folder, contents_of(stage, context, elapsed()), options.checkpoint, ranks); });
    saved_step = stage.steps_done();
  };
  const auto evaluate = [&] {
    Metrics figures;
    spending.timed(&Usage::eval_s, [&] { figures = stage.evaluate_if_due(); });
    if (figures.empty()) return;
    write(figures);
    std::string line = cat("stage '", context.stage, "' step ", stage.steps_done(), ":");
    for (const auto& [name, value] : figures) line += cat("  ", name, " ", value);
    if (ranks.is_first()) log_info(line);
  };
  std::optional<Progress> progress;
  if (context.show_progress && ranks.is_first()) progress.emplace(context.stage, stage.total_steps());
  evaluate();
  spending.tell();
  while (stage.steps_done() < stage.total_steps()) {
    if (const int signal = stop_signal_of_any(ranks); signal != 0) {
      if (saved_step != stage.steps_done()) save();
      spending.tell();
      throw Interrupted{signal};
    }
    const int64_t before = stage.steps_done();
    const auto figures = stage.advance();
    write(figures);
    evaluate();
    if (progress) progress->update(stage.steps_done(), stage.progress_note());
    const int64_t every = options.checkpoint.every_steps;
    const bool due = every > 0 && stage.steps_done() / every != before / every;
    if (due || stage.steps_done() >= stage.total_steps()) save();
    spending.tell();
  }
  if (saved_step != stage.steps_done()) save();
  spending.tell();
  if (progress) progress->finish(stage.progress_note());
  auto summary = stage.summary();
  summary["seconds"] = elapsed();
  return summary;
}

}  // namespace r1::train
