#include "watch.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio_ext.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <fstream>

#include "r1/dist/launch.h"
#include "r1/util/stop_signal.h"
#include "r1/util/strings.h"

namespace r1::dist {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::duration;

constexpr double kLook_s = 0.1;
constexpr double kLastWord_s = 0.5;     // a process is gone: so long its last status may take to come
constexpr double kBroken_s = 0.3;       // the store is gone: so long until rank 0's process may be seen to be
constexpr double kTermination_s = 0.6;  // of the second that mpirun gives
constexpr double kStay_s = 0.8;         // after the message, while the others print theirs

std::atomic<bool> asked_to_terminate{false};  // written by the handler, so it cannot live anywhere else
static_assert(std::atomic<bool>::is_always_lock_free, "only lock-free atomics may be used in a signal handler");

extern "C" void on_terminate(int) { asked_to_terminate = true; }

void install_termination_handler() {
  struct sigaction present{};
  ::sigaction(SIGTERM, nullptr, &present);
  if (present.sa_handler != SIG_DFL) return;
  struct sigaction action{};
  action.sa_handler = on_terminate;
  action.sa_flags = SA_RESTART;
  ::sigemptyset(&action.sa_mask);
  ::sigaction(SIGTERM, &action, nullptr);
}

struct ProcessState {
  uint64_t started = 0;  // in ticks since the boot; 0: it is gone or a zombie
  bool stopped = false;
};

ProcessState state_of_process(int64_t pid) {
  std::ifstream file(cat("/proc/", pid, "/stat"));
  std::string text((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  const auto name_end = text.rfind(')');  // the name may hold anything
  if (name_end == std::string::npos) return {};
  std::istringstream fields(text.substr(name_end + 1));
  std::string state, skipped;
  fields >> state;
  if (state == "Z" || state == "X") return {};
  ProcessState result{.started = 0, .stopped = state == "T" || state == "t"};
  for (int i = 0; i < 18; ++i) fields >> skipped;
  fields >> result.started;
  return result;
}

const SharedStatus* open_status(const ProcessName& process) {
  const auto path = cat("/proc/", process.pid, "/fd/", process.status_descriptor);
  const int descriptor = process.status_descriptor < 0 ? -1 : ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor < 0) return nullptr;
  struct stat file{};
  const bool whole = ::fstat(descriptor, &file) == 0 && file.st_size >= static_cast<off_t>(sizeof(SharedStatus));
  void* page = whole ? ::mmap(nullptr, sizeof(SharedStatus), PROT_READ, MAP_SHARED, descriptor, 0) : MAP_FAILED;
  ::close(descriptor);
  return page == MAP_FAILED ? nullptr : static_cast<const SharedStatus*>(page);
}

std::string status_key(int rank) { return cat("status/", rank); }

}  // namespace

Watch::Watch(std::unique_ptr<Store> store, const WatchSettings& settings) : store_(std::move(store)), settings_(settings) {
  const auto machine = settings_.processes[settings_.rank].machine;
  for (size_t r = 0; r < settings_.processes.size(); ++r) {
    const auto& process = settings_.processes[r];
    auto& peer = peers_.emplace_back();
    peer.witness.status.rank = static_cast<int>(r);
    peer.witness.status.pid = process.pid;
    peer.witness.status.host = process.host;
    peer.local = process.machine == machine && static_cast<int>(r) != settings_.rank;
    if (!peer.local) continue;
    peer.started = state_of_process(process.pid).started;
    peer.shared = open_status(process);
  }
  install_termination_handler();
  if (settings_.rank == 0) store_->set("verdict", "");
  store_->set(status_key(settings_.rank), StatusBoard::of_process().snapshot().write());
  talk_ = std::thread([this] { talk(); });
  look_ = std::thread([this] { look(); });
}

Watch::~Watch() {
  {
    const std::lock_guard lock(mutex_);
    stop_talk_ = true;
  }
  changed_.notify_all();
  talk_.join();  // if it is blocked, `look` still sees that and ends the process
  {
    const std::lock_guard lock(mutex_);
    stop_look_ = true;
  }
  changed_.notify_all();
  look_.join();
  for (const auto& peer : peers_) {
    if (peer.shared != nullptr) ::munmap(const_cast<SharedStatus*>(peer.shared), sizeof(SharedStatus));
  }
}

bool Watch::pause(double seconds, bool may_be_woken) {
  std::unique_lock lock(mutex_);
  auto& stop = may_be_woken ? stop_talk_ : stop_look_;
  changed_.wait_for(lock, duration<double>(seconds), [&] { return stop || (may_be_woken && hurry_); });
  if (may_be_woken) hurry_ = false;
  return !stop;
}

void Watch::talk() {
  const double interval_s = std::clamp(0.2 * static_cast<double>(settings_.processes.size()) / 64, 0.2, 1.0);
  do {
    try {
      exchange();
    } catch (const std::exception& error) {
      const std::lock_guard lock(mutex_);
      broken_ = error.what();
      changed_.notify_all();
      return;
    }
  } while (pause(interval_s, true));
}

void Watch::exchange() {
  auto own = StatusBoard::of_process().snapshot();
  std::vector<std::string> keys{"verdict"};
  std::vector<int> ranks;
  {
    const std::lock_guard lock(mutex_);
    own.beat = rounds_ + 1;
    own.finding = finding_;
    for (const auto& peer : peers_) {
      if (settings_.rank == 0 || peer.witness.status.rank == 0 || peer.last_word >= 0) ranks.push_back(peer.witness.status.rank);
    }
  }
  for (const int rank : ranks) keys.push_back(status_key(rank));
  store_->set(status_key(own.rank), own.write());
  const auto texts = store_->get(keys);
  const std::lock_guard lock(mutex_);
  verdict_ = texts[0];
  for (size_t i = 0; i < ranks.size(); ++i) {
    auto& witness = peers_[ranks[i]].witness;
    const auto status = RankStatus::read(texts[i + 1]);
    if (status.beat != witness.status.beat) witness.silent_s = 0;
    witness.status = status;
  }
  ++rounds_;
  slept_s_ = 0;
  changed_.notify_all();
}

void Watch::look() {
  for (auto before = Clock::now(); pause(kLook_s, false);) {
    const auto now = Clock::now();
    double tick_s = duration<double>(now - before).count();
    before = now;
    if (tick_s > 1) {  // this process did not run: nobody else is to blame for that
      const std::lock_guard lock(mutex_);
      slept_s_ += tick_s;
      tick_s = kLook_s;
    }
    look_once(tick_s);
  }
}

void Watch::look_for_processes(double tick_s) {
  for (auto& peer : peers_) {
    if (!peer.local || peer.witness.gone || peer.witness.status.state == RankStatus::State::kLeft) continue;
    if (peer.last_word < 0) {
      const auto state = state_of_process(peer.witness.status.pid);
      peer.witness.stopped = state.stopped;
      if (state.started != 0 && state.started == peer.started) continue;
      peer.last_word = rounds_ + 2;  // the present round may have read before
      hurry_ = true;
      changed_.notify_all();
    } else {
      peer.gone_s += tick_s;
      hurry_ = true;
      changed_.notify_all();
      if (rounds_ >= peer.last_word || peer.gone_s > kLastWord_s || !broken_.empty()) peer.witness.gone = true;
    }
  }
}

std::optional<std::string> Watch::find_fault_of_others() const {
  if (!verdict_.empty()) return verdict_;
  std::vector<Witness> known;
  for (const auto& peer : peers_) {
    if (settings_.rank == 0 && !peer.witness.status.finding.empty()) return peer.witness.status.finding;
    if (settings_.rank != 0 && peer.witness.status.rank != 0 && !peer.witness.gone) continue;
    known.push_back(peer.witness);
    if (peer.shared != nullptr && (peer.witness.gone || peer.witness.stopped)) peer.shared->update(known.back().status);
  }
  if (settings_.rank == 0) known[0].status = StatusBoard::of_process().snapshot();  // fresher than the store's
  if (auto fault = find_fault(known, settings_.limits)) return fault;
  if (settings_.rank == 0) {
    if (!broken_.empty()) return cat("the ranks' store has failed: ", broken_);
    return {};
  }
  auto first = peers_[0].witness.status;
  if (peers_[0].shared != nullptr) peers_[0].shared->update(first);
  if (broken_s_ > kBroken_s) {
    if (slept_s_ > 0) return cat(peers_[settings_.rank].witness.status.name(), " was stopped for ", short_seconds(slept_s_), ", and the others have given it up.");
    if (first.state == RankStatus::State::kFailed) return cat(first.name(), " has ended with an error of its own, printed above.");
    return lost_text(first, "its connection is closed");
  }
  if (unanswered_s_ > settings_.limits.heartbeat_s) {
    return lost_text(first, cat("no answer for ", short_seconds(unanswered_s_), peers_[0].witness.stopped ? "; its process is stopped" : " (its process hangs, or a link is cut)"));
  }
  return {};
}

void Watch::look_once(double tick_s) {
  std::unique_lock lock(mutex_);
  if (mute_) return;
  unanswered_s_ = rounds_ != rounds_seen_ ? 0 : unanswered_s_ + tick_s;
  if (!broken_.empty()) broken_s_ += tick_s;
  rounds_seen_ = rounds_;
  for (auto& peer : peers_) peer.witness.silent_s += tick_s;
  peers_[settings_.rank].witness.silent_s = 0;
  if (rounds_ == 0 && broken_.empty()) return;  // not all ranks have told of themselves yet
  look_for_processes(tick_s);
  const auto fault = find_fault_of_others();
  if (fault) {
    finding_ = *fault;
    hurry_ = true;
    lock.unlock();
    end_job(*fault);
  }
  look_at_termination(tick_s);
}

void Watch::look_at_termination(double tick_s) {
  if (terminating_s_ == -2 || (!asked_to_terminate && stop_signal() != SIGTERM)) return;
  if (terminating_s_ < 0) terminating_s_ = 0;
  terminating_s_ += tick_s;
  if (terminating_s_ < kTermination_s) return;
  terminating_s_ = -2;  // once
  // mpirun has lost a rank of another machine, or somebody ends the job. A rank that has fallen silent with it is worth a line.
  for (const auto& peer : peers_) {
    if (settings_.rank != 0 || peer.witness.silent_s < kTermination_s) continue;
    const auto text = cat("r1: asked to terminate (SIGTERM), and ", peer.witness.status.name(), " has been silent for ",
                          short_seconds(peer.witness.silent_s), ". It was ", peer.witness.status.doing(), ".\n");
    [[maybe_unused]] const auto ignored = ::write(STDERR_FILENO, text.data(), text.size());
  }
  if (asked_to_terminate) {
    ::signal(SIGTERM, SIG_DFL);
    ::raise(SIGTERM);
  }
}

void Watch::end_job(const std::string& finding) {
  changed_.notify_all();  // `talk` tells the others
  const auto text = message_of(finding, StatusBoard::of_process().snapshot());
  [[maybe_unused]] const auto ignored = ::write(STDERR_FILENO, text.data(), text.size());
  if (settings_.rank == 0) {
    try {
      store_->set("verdict", finding);
    } catch (const std::exception&) {  // they find out by themselves, a little later
    }
  }
  std::this_thread::sleep_for(duration<double>(kStay_s + (settings_.rank == 0 ? 0.2 : 0)));
  if (::ftrylockfile(stdout) == 0) ::fflush_unlocked(stdout);  // whoever holds it may be blocked
  std::_Exit(kLostRank);
}

bool Watch::wait_for_round(double at_most_s) {
  std::unique_lock lock(mutex_);
  const auto until = rounds_ + 2;
  const auto end = Clock::now() + duration<double>(at_most_s);
  while (rounds_ < until && broken_.empty()) {
    hurry_ = true;
    changed_.notify_all();
    if (changed_.wait_until(lock, end) == std::cv_status::timeout) return false;
  }
  return broken_.empty();
}

void Watch::leave() {
  StatusBoard::of_process().set_state(RankStatus::State::kLeft);
  wait_for_round(settings_.limits.heartbeat_s);
  if (settings_.rank == 0) {  // the store goes with this rank, so it is the last
    const auto all_left = [&] {
      const std::lock_guard lock(mutex_);
      return std::all_of(peers_.begin(), peers_.end(), [](const Peer& p) { return p.witness.status.state != RankStatus::State::kRuns; });
    };
    const auto end = Clock::now() + duration<double>(settings_.limits.heartbeat_s);
    while (!all_left() && Clock::now() < end && wait_for_round(0.2)) {
    }
  }
  const std::lock_guard lock(mutex_);
  mute_ = true;
}

void Watch::fail() {
  StatusBoard::of_process().set_state(RankStatus::State::kFailed);
  {
    const std::lock_guard lock(mutex_);
    mute_ = true;
  }
  wait_for_round(0.3);
  if (settings_.rank != 0) return;
  const auto end = Clock::now() + duration<double>(0.5);  // the others may be failing too, and need the store to say so
  const auto anyone_runs = [&] {
    const std::lock_guard lock(mutex_);
    return std::any_of(peers_.begin(), peers_.end(), [](const Peer& p) { return p.witness.status.state == RankStatus::State::kRuns; });
  };
  while (anyone_runs() && Clock::now() < end && wait_for_round(0.1)) {
  }
}

void Watch::explain_failure() { std::this_thread::sleep_for(duration<double>(settings_.limits.heartbeat_s + 2)); }

}  // namespace r1::dist
