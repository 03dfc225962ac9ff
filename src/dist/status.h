#pragma once
#include <chrono>
#include <cstdint>
#include <deque>
#include <map>
#include <mutex>
#include <string>
#include <vector>

namespace r1::dist {

/// A collective as one rank sees it.
struct CollectiveStatus {
  int64_t number = 0;
  std::string text;      ///< "all_reduce of 'gradients' (67,500,000 x float32, 270 MB)"; ranks compare it
  std::string phase;     ///< of the rank when it began
  bool ended = false;
  double waits_s = -1;   ///< how long the rank has been blocked in it; negative: it is not
};

/// The collectives of one communicator.
struct GroupStatus {
  std::string name;
  int64_t begun = 0;                   ///< number of the newest
  std::deque<CollectiveStatus> newest;  ///< all that have not ended, and the newest that have, by number
};

/// What a rank says of itself.
struct RankStatus {
  enum class State { kRuns, kLeft, kFailed };
  int rank = 0;
  int64_t pid = 0, beat = 0;
  std::string host, phase = "start";
  State state = State::kRuns;
  std::string finding;  ///< what it has found out about another rank
  std::vector<GroupStatus> groups;

  const CollectiveStatus* waits_in(const GroupStatus** group = nullptr) const;  ///< null: it is not blocked
  std::string name() const;     ///< "rank 2 (pid 71 on hostA)"
  std::string doing() const;    ///< "in phase 'backward', after collective 1,203" or "... , waiting in collective 1,204: ..."
  std::string write() const;
  static RankStatus read(const std::string& text);  ///< the inverse of write()
};

std::string with_commas(int64_t number);
std::string short_seconds(double seconds);  ///< "3.2 s", "1,800 s"

/// The same in shared memory, exact to the moment in which a process died: what the ranks of one machine read of each other.
struct SharedStatus {
  char phase[64], first_group[64];
  int64_t first_begun;      ///< in the communicator of all ranks
  char group[64];           ///< of the collective that it is blocked in
  int64_t number;           ///< 0: it is not blocked
  double waits_since_s;     ///< steady clock, which processes of one machine share
  char text[256];
  void update(RankStatus& status) const;  ///< with what is known here
};

/// Where this process keeps the status of its rank: the communicators write, the watch reads, and one line goes to a mapped page for
/// people and tests (show_status_in). Thread-safe.
class StatusBoard {
 public:
  static StatusBoard& of_process();

  void set_rank(int rank);
  int rank() const;
  int add_group(const std::string& name);  ///< returns its index
  void set_phase(std::string_view phase);
  int64_t begin(int group, const std::string& text);  ///< returns the number, from 1
  void wait(int group, int64_t number);
  void end(int group, int64_t number);
  void set_state(RankStatus::State state);
  RankStatus snapshot() const;
  void show_in(const std::string& folder);
  int shared_descriptor() const { return shared_descriptor_; }  ///< a file of a SharedStatus; -1: the kernel gives none

 private:
  using Clock = std::chrono::steady_clock;
  struct Entry {
    CollectiveStatus status;
    Clock::time_point waits_since;
  };
  struct Group {
    std::string name;
    int64_t begun = 0;
    std::deque<Entry> newest;
  };

  StatusBoard();
  Entry* find(int group, int64_t number);
  void show(const Group& group, const Entry& entry, const char* how);
  void write_page(const char* line, size_t length);

  mutable std::mutex mutex_;
  RankStatus own_;
  std::deque<Group> groups_;
  std::string last_ = "number 0";  // of the page's line
  char* page_ = nullptr;
  int shared_descriptor_ = -1;
  SharedStatus* shared_;
};

}  // namespace r1::dist
