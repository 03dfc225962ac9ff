#pragma once
#include <atomic>
#include <condition_variable>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "judge.h"
#include "store.h"

namespace r1::dist {

struct WatchSettings {
  int rank = 0;
  std::vector<ProcessName> processes;  ///< of all ranks
  Limits limits{};
};

/// Two threads that look after the other ranks, so that nobody waits for ever for one that is gone (judge.h says what they look for).
///
/// `talk` exchanges statuses through the store: it tells this rank's, and reads rank 0's and the verdict; rank 0 reads all and
/// decides. It may block for as long as it likes. `look` never blocks: every tenth of a second it looks for the processes of the
/// ranks on this machine, at what `talk` has brought, and whether `talk` gets answers at all. Time is counted in its own ticks, so
/// that a machine that was suspended, or a process that was stopped, does not call the others lost when it wakes up.
///
/// When something is found every rank prints one message and ends by _Exit(kLostRank). mpirun kills all other ranks a second after it
/// has lost one, so the message must be out before that.
///
/// SIGTERM: a program that has no handler gets one that waits for half a second whether it was mpirun, and why.
class Watch {
 public:
  Watch(std::unique_ptr<Store> store, const WatchSettings& settings);
  ~Watch();
  Watch(const Watch&) = delete;
  Watch& operator=(const Watch&) = delete;

  void leave();
  void fail();
  void explain_failure();

 private:
  struct Peer {
    Witness witness;
    bool local = false;      ///< its process can be looked for
    uint64_t started = 0;    ///< of its process: pids are used again
    int64_t last_word = -1;  ///< its process is gone: the round of `talk` that brings what it said last
    double gone_s = 0;
    const SharedStatus* shared = nullptr;  ///< null: not on this machine, or it cannot be read
  };

  void talk();
  void exchange();  // one round of `talk`
  void look();
  void look_once(double tick_s);
  void look_for_processes(double tick_s);
  std::optional<std::string> find_fault_of_others() const;
  void look_at_termination(double tick_s);
  [[noreturn]] void end_job(const std::string& finding);
  bool pause(double seconds, bool may_be_woken);  // false: the watch ends
  bool wait_for_round(double at_most_s);

  std::unique_ptr<Store> store_;
  const WatchSettings settings_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<Peer> peers_;                 // by rank, this one included
  std::string verdict_, finding_, broken_;  // of rank 0; of this rank; why `talk` has ended
  int64_t rounds_ = 0, rounds_seen_ = 0;
  double unanswered_s_ = 0, broken_s_ = 0, terminating_s_ = -1;
  double slept_s_ = 0;  // this process was stopped for so long, and what `talk` brings may still be from before
  bool hurry_ = false, stop_talk_ = false, stop_look_ = false, mute_ = false;
  std::thread talk_, look_;
};

}  // namespace r1::dist
