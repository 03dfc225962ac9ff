#include "run_directory.h"

#include <fcntl.h>
#include <sys/file.h>
#include <torch/version.h>
#include <unistd.h>

#include <ctime>
#include <fstream>
#include <utility>

#include "kernels/cpu/isa.h"
#include "kernels/parallel.h"
#include "r1/util/error.h"
#include "r1/train/metrics.h"
#include "r1/util/file.h"
#include "r1/util/strings.h"

namespace r1::pipeline {
namespace {

std::string cpu_name() {
  std::ifstream info("/proc/cpuinfo");
  for (std::string line; std::getline(info, line);) {
    if (line.starts_with("model name")) return line.substr(line.find(':') + 2);
  }
  return "unknown";
}

std::string utc_now() {
  const std::time_t now = std::time(nullptr);
  char text[32];
  std::tm parts{};
  gmtime_r(&now, &parts);
  std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &parts);
  return text;
}

// Whether `path` holds nothing but what create() had made when it was stopped, before config.yaml, the last thing.
bool is_half_made(const std::filesystem::path& path) {
  if (!std::filesystem::exists(path / "lock")) return false;
  for (const auto& entry : std::filesystem::directory_iterator(path)) {
    const auto name = entry.path().filename().string();
    if (name != "lock" && name != "tokenizer" && name != "run.json" && !name.ends_with(".tmp")) return false;
  }
  return true;
}

}  // namespace

RunDirectory::RunDirectory(std::filesystem::path path, std::shared_ptr<dist::Communicator> ranks)
    : path_(std::move(path)), ranks_(std::move(ranks)) {}

void RunDirectory::lock() {
  const auto file = path_ / "lock";
  lock_ = ::open(file.c_str(), O_CREAT | O_RDWR | O_CLOEXEC, 0644);
  if (lock_ < 0) throw Error(cat(file.string(), ": cannot be opened (", std::generic_category().message(errno), ")"));
  if (::flock(lock_, LOCK_EX | LOCK_NB) != 0) {
    ::close(lock_);
    lock_ = -1;
    throw Error(cat(path_.string(), ": another process works in this run directory. Wait for it, or stop it."));
  }
}

RunDirectory::~RunDirectory() {
  if (lock_ >= 0) ::close(lock_);
}

RunDirectory::RunDirectory(RunDirectory&& other) noexcept
    : path_(std::move(other.path_)), ranks_(std::move(other.ranks_)), lock_(std::exchange(other.lock_, -1)) {}

void RunDirectory::require_new(const RunConfig& config) {
  if (std::filesystem::exists(config.run_dir) && !is_half_made(config.run_dir)) {
    throw Error(cat(config.run_dir.string(), ": this run directory exists; accepted: one that does not.\n  `r1 resume ",
                    config.run_dir.string(), "` goes on with it; run_dir=<another> or name=<another> begins a new run; nothing was "
                    "changed."));
  }
}

void RunDirectory::first_rank(const std::string& what, const std::function<void()>& work) const {
  ranks_->together(what, [&] {
    if (ranks_->is_first()) work();
  });
}

RunDirectory RunDirectory::create(const RunConfig& config, const std::string& command_line, std::shared_ptr<dist::Communicator> ranks) {
  RunDirectory run(config.run_dir, std::move(ranks));
  run.first_rank("making the run directory", [&] {
    require_new(config);
    std::error_code error;
    std::filesystem::create_directories(config.run_dir, error);
    if (error) throw Error(cat(config.run_dir.string(), ": cannot be made (", error.message(), "). Choose another run_dir."));
    run.lock();
    config.load_tokenizer().save(run.path_ / "tokenizer");
    run.record(command_line);
    write_file_atomic(run.path_ / "config.yaml", config.source.dump());
  });
  run.require_shared("config.yaml");
  return run;
}

RunDirectory RunDirectory::open(const std::filesystem::path& path, const std::string& command_line, std::shared_ptr<dist::Communicator> ranks) {
  RunDirectory run(path, std::move(ranks));
  run.first_rank("opening the run directory", [&] {
    if (!std::filesystem::exists(path / "config.yaml")) {
      throw Error(cat(path.string(), ": no run directory; accepted: a folder with config.yaml that `r1 run` made."));
    }
    run.lock();
    run.record(command_line);
  });
  run.require_shared("config.yaml");
  return run;
}

void RunDirectory::require_shared(const std::string& file) const {
  ranks_->together("looking for the run directory", [&] {
    if (std::filesystem::exists(path_ / file)) return;
    throw Error(cat((path_ / file).string(), ": the first rank has made it, and rank ", ranks_->rank(),
                    " does not see it; accepted: a run_dir on a file system that all nodes share."));
  });
}

void RunDirectory::record(const std::string& command_line) const {
  const auto file = path_ / "run.json";
  nlohmann::json json = {{"starts", nlohmann::json::array()}};
  if (std::filesystem::exists(file)) json = nlohmann::json::parse(read_file(file));
  json["starts"].push_back({{"time", utc_now()},
                            {"ranks", ranks_->size()},
                            {"command", command_line},
                            {"commit", R1_COMMIT},
                            {"libtorch", TORCH_VERSION},
                            {"cpu", cpu_name()},
                            {"instructions", kernels::isa_name(kernels::cpu_isa())},
                            {"threads", kernels::num_threads()}});
  write_file_atomic(file, json.dump(2) + "\n");
}

std::optional<nlohmann::json> RunDirectory::finished_stage(const std::filesystem::path& run_dir, const std::string& name) {
  const auto file = run_dir / "stages" / (name + ".json");
  if (!std::filesystem::exists(file)) return std::nullopt;
  return nlohmann::json::parse(read_file(file));
}

void RunDirectory::finish_stage(const std::string& name, const nlohmann::json& summary) const {
  first_rank("finishing the stage", [&] {
    std::filesystem::create_directories(path_ / "stages");
    write_file_atomic(path_ / "stages" / (name + ".json"), summary.dump(2) + "\n");
  });
}

std::vector<std::string> RunDirectory::begun_with(const std::string& name) const {
  const auto file = path_ / "stages" / (name + ".begun.json");
  if (!std::filesystem::exists(file)) return {};
  return nlohmann::json::parse(read_file(file));
}

void RunDirectory::begin_stage(const std::string& name, const std::vector<std::string>& settings) const {
  first_rank("beginning the stage", [&] {
    std::filesystem::create_directories(path_ / "stages");
    write_file_atomic(path_ / "stages" / (name + ".begun.json"), nlohmann::json(settings).dump(2) + "\n");
  });
}

void RunDirectory::set_aside(const std::string& name) const {
  first_rank("setting the stage aside", [&] {
    int n = 1;
    while (std::filesystem::exists(path_ / "replaced" / std::to_string(n))) ++n;
    const auto aside = path_ / "replaced" / std::to_string(n);
    std::filesystem::create_directories(aside);
    // The mark of completeness goes first: a process killed in between leaves a stage that runs again.
    for (const auto& part : {"stages/" + name + ".json", "stages/" + name + ".begun.json", "checkpoints/" + name, "data/" + name, "rollouts/" + name}) {
      if (!std::filesystem::exists(path_ / part)) continue;
      std::filesystem::create_directories((aside / part).parent_path());
      std::filesystem::rename(path_ / part, aside / part);
    }
    const auto rows = take_stage_rows(path_, name);
    if (!rows.empty()) write_file_atomic(aside / "metrics.jsonl", rows);
  });
}

void RunDirectory::replace_config(const RunConfig& config) const {
  first_rank("replacing the config", [&] { write_file_atomic(path_ / "config.yaml", config.source.dump()); });
}

}  // namespace r1::pipeline
