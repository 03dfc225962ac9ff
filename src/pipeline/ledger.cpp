#include "r1/pipeline/ledger.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <ctime>

#include "ledger_rows.h"
#include "r1/pipeline/energy.h"
#include "r1/util/error.h"
#include "r1/util/file.h"
#include "r1/util/log.h"
#include "r1/util/progress.h"
#include "r1/util/strings.h"

namespace r1::pipeline {
namespace {

constexpr double kRowEvery_s = 1.0;
constexpr auto kAliveEvery = std::chrono::milliseconds(50);

double flops_of(const model::FlopShape& shape, bool activation_checkpointing, const train::Usage& u) {
  return model::forward_flops(shape, u.sampling) + model::forward_flops(shape, u.reference) +
         model::training_flops(shape, u.training, activation_checkpointing);
}

}  // namespace

// What belongs to the next row, and what the rows of this session hold already.
struct Ledger::Sums {
  int64_t session = 1, step = 0;
  std::string stage = "run";
  bool begun = false;
  double start_s = 0;                       // of the process, on the steady clock
  double written_s = 0, written_joules = 0;
  double phases_s[kPhases.size() - 1] = {};  // all but `other`
  int64_t tokens_in = 0, tokens_out = 0, trained_tokens = 0;
  double flops = 0;

  double now_s() const { return monotonic_s() - start_s; }
};

Ledger::Ledger(const std::filesystem::path& run_dir, const CostConfig& cost, double already_s)
    : alive_file_(run_dir / "ledger.alive"), cost_(cost), sums_(std::make_unique<Sums>()) {
  sums_->start_s = monotonic_s() - already_s;
  energy_ = std::make_unique<EnergyMeter>(cost.watts);
  out_ = std::make_unique<JsonlWriter>(run_dir / "ledger.jsonl");
  charge_killed_session();
  note_alive();
  watcher_ = std::thread([this] { watch(); });
}

Ledger::~Ledger() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  stop_.notify_all();
  watcher_.join();
  try {
    write(false);
    std::error_code error;
    std::filesystem::remove(alive_file_, error);
  } catch (const Error& error) {
    log_warning(cat("the last row of the ledger is missing: ", error.what()));  // ledger.alive stays: the next session adds it
  }
}

void Ledger::begin_stage(const std::string& stage, const model::FlopShape& shape, bool activation_checkpointing) {
  const std::lock_guard lock(mutex_);
  if (sums_->begun) write(false);
  sums_->stage = stage;
  sums_->step = 0;
  shape_ = shape;
  activation_checkpointing_ = activation_checkpointing;
  if (!sums_->begun) {
    sums_->begun = true;
    sums_->phases_s[kLoad] += sums_->now_s() - sums_->written_s;
    write(false);
  }
}

void Ledger::add(int64_t step, const train::Usage& spent, bool now) {
  const std::lock_guard lock(mutex_);
  auto& s = *sums_;
  s.step = step;
  s.phases_s[kRollout] += spent.rollout_s;
  s.phases_s[kReward] += spent.reward_s;
  s.phases_s[kUpdate] += spent.update_s;
  s.phases_s[kEval] += spent.eval_s;
  s.phases_s[kCheckpoint] += spent.checkpoint_s;
  s.phases_s[kLoad] += spent.load_s;
  s.tokens_in += spent.prompt_tokens;
  s.tokens_out += spent.generated_tokens;
  s.trained_tokens += spent.trained_tokens;
  s.flops += flops_of(shape_, activation_checkpointing_, spent);
  if (now || s.now_s() - s.written_s >= kRowEvery_s) write(false);
}

void Ledger::add_up() {
  const std::lock_guard lock(mutex_);
  write(false);
}

// One row for all since the last; the caller holds the mutex or is alone.
void Ledger::write(bool lost) {
  auto& s = *sums_;
  const double now_s = s.now_s(), joules = energy_->joules(now_s);
  nlohmann::ordered_json seconds;
  double named_s = 0;
  for (size_t i = 0; i < std::size(s.phases_s); ++i) {
    seconds[kPhases[i]] = s.phases_s[i];
    named_s += s.phases_s[i];
  }
  seconds["other"] = std::max(0.0, now_s - s.written_s - named_s);
  out_->write(ledger_row({std::time(nullptr), s.session, s.stage, s.step, seconds, s.tokens_in, s.tokens_out, s.trained_tokens, s.flops,
                          joules - s.written_joules, energy_->source(), lost}));
  s.written_s = now_s;
  s.written_joules = joules;
  std::fill(std::begin(s.phases_s), std::end(s.phases_s), 0.0);
  s.tokens_in = s.tokens_out = s.trained_tokens = 0;
  s.flops = 0;
}

void Ledger::charge_killed_session() {
  const auto rows = read_ledger(alive_file_.parent_path());
  for (const auto& row : rows) sums_->session = std::max(sums_->session, row.at("session").get<int64_t>() + 1);
  if (!std::filesystem::exists(alive_file_)) return;
  const auto alive = nlohmann::json::parse(read_file(alive_file_), nullptr, false);
  if (!alive.is_object()) {
    log_warning(cat(alive_file_.string(), " cannot be read: what a killed process spent after its last row is not counted"));
    return;
  }
  double lost_s = alive.at("seconds"), lost_joules = alive.at("joules");
  for (const auto& row : rows) {
    if (row.at("session") != alive.at("session")) continue;
    lost_s -= total_seconds(row);
    lost_joules -= row.at("joules").get<double>();
  }
  sums_->session = std::max(sums_->session, alive.at("session").get<int64_t>() + 1);
  if (lost_s <= 0) return;
  nlohmann::ordered_json seconds;
  for (const char* phase : kPhases) seconds[phase] = 0.0;
  seconds["other"] = lost_s;
  out_->write(ledger_row({std::time(nullptr), alive.at("session"), alive.at("stage"), alive.at("step"), seconds, 0, 0, 0, 0,
                          std::max(0.0, lost_joules), alive.at("joules_source"), true}));
}

// Overwritten in place by one call, of one length: a reader after a kill sees the old or the new text.
void Ledger::note_alive() {
  const auto& s = *sums_;
  const double now_s = s.now_s();
  auto text = nlohmann::json{{"session", s.session}, {"stage", s.stage}, {"step", s.step}, {"seconds", now_s},
                             {"joules", energy_->joules(now_s)}, {"joules_source", energy_->source()}}
                  .dump();
  text.resize(std::max<size_t>(text.size(), 511), ' ');
  text += '\n';
  const int file = ::open(alive_file_.c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0644);
  if (file < 0) return;  // at worst a kill costs the ledger what no row holds yet
  [[maybe_unused]] const auto written = ::pwrite(file, text.data(), text.size(), 0);
  ::close(file);
}

void Ledger::watch() {
  std::unique_lock lock(mutex_);
  while (!stop_.wait_for(lock, kAliveEvery, [this] { return stopping_; })) note_alive();
}

}  // namespace r1::pipeline
