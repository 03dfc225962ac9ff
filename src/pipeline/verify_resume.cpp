#include "r1/pipeline/verify_resume.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <map>
#include <nlohmann/json.hpp>
#include <thread>

#include "r1/pipeline/run_config.h"
#include "r1/train/checkpoint.h"
#include "r1/util/error.h"
#include "r1/util/file.h"
#include "r1/util/jsonl.h"
#include "r1/util/progress.h"
#include "r1/util/random.h"
#include "r1/util/strings.h"

namespace r1::pipeline {
namespace {

using std::filesystem::path;

class Process {
 public:
  Process(const std::vector<std::string>& command, const path& log) {
    pid_ = ::fork();
    if (pid_ < 0) throw Error("cannot start a process");
    if (pid_ == 0) {
      const int out = ::open(log.c_str(), O_CREAT | O_WRONLY | O_APPEND, 0644);
      ::dup2(out, 1);
      ::dup2(out, 2);
      std::vector<char*> argv;
      for (const auto& word : command) argv.push_back(const_cast<char*>(word.c_str()));
      argv.push_back(nullptr);
      ::execv(argv[0], argv.data());
      ::_exit(127);
    }
  }
  /// True when it has ended; then code() is its exit code.
  bool ended() {
    if (done_) return true;
    int status = 0;
    if (::waitpid(pid_, &status, WNOHANG) != pid_) return false;
    finish(status);
    return true;
  }
  int wait() {
    int status = 0;
    if (!done_) {
      ::waitpid(pid_, &status, 0);
      finish(status);
    }
    return code_;
  }
  void kill() {
    ::kill(pid_, SIGKILL);
    wait();
  }

 private:
  void finish(int status) {
    done_ = true;
    code_ = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  }
  pid_t pid_ = -1;
  bool done_ = false;
  int code_ = -1;
};

void pause_s(double seconds) { std::this_thread::sleep_for(std::chrono::duration<double>(seconds)); }

// By the process that began at `since`: what a killed one left half-written is older.
bool checkpoint_is_being_written(const path& run_dir, std::filesystem::file_time_type since) {
  std::error_code error;
  for (std::filesystem::recursive_directory_iterator it(run_dir / "checkpoints", error), end; !error && it != end; it.increment(error)) {
    if (!it->path().filename().string().ends_with(".partial")) continue;
    std::error_code gone;
    if (it->last_write_time(gone) > since && !gone) return true;
  }
  return false;
}

// The stage that has begun and is not complete; empty between stages and before the first.
std::string stage_at_work(const path& run_dir) {
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(run_dir / "stages", error)) {
    const auto name = entry.path().filename().string();
    const std::string_view begun = ".begun.json";
    if (!name.ends_with(begun)) continue;
    const auto stage = name.substr(0, name.size() - begun.size());
    if (!std::filesystem::exists(run_dir / "stages" / (stage + ".json"))) return stage;
  }
  return "";
}

[[noreturn]] void fail_run(const path& log, int code) {
  throw Error(cat("a run ended with exit code ", code, "; its messages are in ", log.string()));
}

struct Kills {
  int64_t total = 0, in_checkpoint = 0;
  std::map<std::string, int64_t> by_stage;
};

struct StageTime {
  std::string name;
  double seconds = 0;
};

std::vector<StageTime> stage_times(const VerifyResumeOptions& o, const path& unbroken) {
  std::vector<StageTime> times;
  for (const auto& entry : RunConfig::load(o.config, o.overrides).stages) {
    times.push_back({entry.name, nlohmann::json::parse(read_file(unbroken / "stages" / (entry.name + ".json"))).at("seconds")});
  }
  return times;
}

// How many stages of `times`, from the first on, are complete.
size_t stages_done(const path& run_dir, const std::vector<StageTime>& times) {
  size_t done = 0;
  while (done < times.size() && std::filesystem::exists(run_dir / "stages" / (times[done].name + ".json"))) ++done;
  return done;
}

// Runs to the end, killed on the way.
Kills run_killed(const VerifyResumeOptions& o, const path& run_dir, const path& log, const std::vector<StageTime>& times) {
  std::vector<std::string> first{o.program.string(), "run", o.config.string(), "run_dir=" + run_dir.string()};
  first.insert(first.end(), o.overrides.begin(), o.overrides.end());
  const std::vector<std::string> again{o.program.string(), "resume", run_dir.string()};
  Kills kills;
  while (true) {
    const auto since = std::filesystem::file_time_type::clock::now();
    Process process(std::filesystem::exists(run_dir / "config.yaml") ? again : first, log);
    if (kills.total >= o.kills) {
      if (const int code = process.wait(); code != 0) fail_run(log, code);
      return kills;
    }
    const auto i = static_cast<uint32_t>(kills.total);
    const bool in_checkpoint = i % 3 == 2;
    // The kills are dealt over the stages in order: the process runs into its stage, and on for a random part of the time
    // that the stage takes, which may end in the next one or between the two.
    const size_t target = static_cast<size_t>(kills.total) * times.size() / static_cast<size_t>(o.kills);
    while (!process.ended() && stages_done(run_dir, times) < target) pause_s(0.01);
    const double moment = draw_uniform({.seed = o.seed, .stream = Stream::kTest, .sample = i}) * times[target].seconds;
    const double start_s = monotonic_s();
    while (!process.ended() && (monotonic_s() - start_s < moment || (in_checkpoint && !checkpoint_is_being_written(run_dir, since)))) {
      pause_s(in_checkpoint && monotonic_s() - start_s >= moment ? 0.0002 : 0.01);
    }
    if (process.ended()) {
      if (const int code = process.wait(); code != 0) fail_run(log, code);
      return kills;
    }
    const bool hit = checkpoint_is_being_written(run_dir, since);
    process.kill();
    ++kills.total;
    kills.in_checkpoint += hit ? 1 : 0;
    const auto stage = stage_at_work(run_dir);
    ++kills.by_stage[stage.empty() ? "between stages" : stage];
    std::printf("kill %2lld after %6.2f s %s%s\n", static_cast<long long>(kills.total), monotonic_s() - start_s,
                stage.empty() ? "between stages" : ("in stage " + stage).c_str(), hit ? ", while a checkpoint was written" : "");
    std::fflush(stdout);
  }
}

std::vector<nlohmann::json> rows_of(const path& file) {
  std::vector<nlohmann::json> rows;
  read_jsonl(file, [&](int64_t, const nlohmann::json& row) {
    nlohmann::json kept = row;
    for (const auto& [key, value] : row.items()) {
      if (is_timing(key)) kept.erase(key);
    }
    rows.push_back(std::move(kept));
  });
  return rows;
}

bool compare_metrics(const path& a, const path& b) {
  const auto left = rows_of(a / "metrics.jsonl"), right = rows_of(b / "metrics.jsonl");
  size_t figures = 0;
  for (size_t i = 0; i < std::max(left.size(), right.size()); ++i) {
    if (i >= left.size() || i >= right.size() || left[i] != right[i]) {
      std::printf("metrics.jsonl differs at line %zu:\n  unbroken %s\n  killed   %s\n", i + 1,
                  i < left.size() ? left[i].dump().c_str() : "(absent)", i < right.size() ? right[i].dump().c_str() : "(absent)");
      return false;
    }
    figures += left[i].size();
  }
  std::printf("metrics      equal: %zu rows, %zu figures (times and speeds left out)\n", left.size(), figures);
  return true;
}

bool compare_checkpoints(const path& a, const path& b) {
  bool equal = true;
  int64_t num_tensors = 0;
  uintmax_t bytes = 0;
  for (const auto& stage : std::filesystem::directory_iterator(a / "checkpoints")) {
    const auto left = train::newest_checkpoint(stage.path());
    const auto right = train::newest_checkpoint(b / "checkpoints" / stage.path().filename());
    if (!left || !right || left->step != right->step) {
      std::printf("stage %s: its last checkpoint is missing or of another step\n", stage.path().filename().c_str());
      return false;
    }
    const train::CheckpointReader reader(*left);
    for (const auto& tensor : reader.differences(train::CheckpointReader(*right))) {
      std::printf("%s of %s differs from %s\n", tensor.c_str(), right->path.c_str(), left->path.c_str());
      equal = false;
    }
    for (const auto& group : reader.groups()) num_tensors += static_cast<int64_t>(reader.names(group).size());
    for (const auto& entry : std::filesystem::directory_iterator(left->path)) bytes += entry.file_size();
  }
  if (equal) {
    std::printf("checkpoints  equal bit for bit: %lld tensors, %s\n", static_cast<long long>(num_tensors),
                human_bytes(static_cast<double>(bytes)).c_str());
  }
  return equal;
}

}  // namespace

// When to draft follows the clock: what came of it is no result, the texts are the same (docs/speculation.md).
bool is_timing(const std::string& metric) {
  return metric.ends_with("seconds") || metric.ends_with("_per_s") || metric.starts_with("speculation_");
}

bool verify_resume(const VerifyResumeOptions& o) {
  if (std::filesystem::exists(o.work_dir)) {
    throw Error(cat(o.work_dir.string(), " exists; accepted: a folder that does not. Remove it or choose another --work-dir."));
  }
  std::filesystem::create_directories(o.work_dir);
  const auto unbroken = o.work_dir / "unbroken", killed = o.work_dir / "killed";
  std::vector<std::string> command{o.program.string(), "run", o.config.string(), "run_dir=" + unbroken.string()};
  command.insert(command.end(), o.overrides.begin(), o.overrides.end());
  std::printf("unbroken run in %s\n", unbroken.c_str());
  std::fflush(stdout);
  const double start_s = monotonic_s();
  if (const int code = Process(command, o.work_dir / "unbroken.log").wait(); code != 0) fail_run(o.work_dir / "unbroken.log", code);
  const double unbroken_s = monotonic_s() - start_s;
  std::printf("took %s; now the same with %lld kills in %s\n", human_seconds(unbroken_s).c_str(), static_cast<long long>(o.kills), killed.c_str());
  std::fflush(stdout);
  const auto kills = run_killed(o, killed, o.work_dir / "killed.log", stage_times(o, unbroken));
  std::printf("%lld kills, %lld of them while a checkpoint was written\n", static_cast<long long>(kills.total),
              static_cast<long long>(kills.in_checkpoint));
  for (const auto& [stage, count] : kills.by_stage) std::printf("  %-24s %lld\n", stage.c_str(), static_cast<long long>(count));
  const bool metrics = compare_metrics(unbroken, killed), checkpoints = compare_checkpoints(unbroken, killed);
  std::printf("%s\n", metrics && checkpoints ? "the resumed run equals the unbroken run" : "the resumed run DIFFERS from the unbroken run");
  return metrics && checkpoints;
}

}  // namespace r1::pipeline
