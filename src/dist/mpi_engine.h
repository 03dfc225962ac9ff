#pragma once
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

namespace r1::dist {

/// Carries jobs on over MPI in the order in which they came, several at a time. One thread at a time calls MPI
/// (MPI_THREAD_SERIALIZED): whoever waits for a job drives all of them himself, without a change of threads; while nobody waits
/// (communication beside computing) a thread in the background does, which sleeps between two looks, for the core belongs to the
/// computation.
///
/// Nothing in it blocks, so it can always be stopped: messages are begun and then asked whether they are through.
class MpiEngine {
 public:
  /// A collective under way.
  class Job {
   public:
    virtual ~Job() = default;
    enum class State { kUnchanged, kMoved, kEnded };
    /// Begins or goes on; never called by two threads at once. Throws what MPI reports.
    virtual State advance() = 0;

   private:
    friend class MpiEngine;
    std::atomic<bool> ended_{false};
    std::exception_ptr error_;
  };

  /// MPI_Init_thread. `crowded`: this machine has more ranks than cores, so who waits must not keep a core busy.
  explicit MpiEngine(bool crowded);
  ~MpiEngine();  ///< MPI_Finalize, which waits for the other ranks; without it after abandon()
  MpiEngine(const MpiEngine&) = delete;
  MpiEngine& operator=(const MpiEngine&) = delete;

  void add(std::shared_ptr<Job> job);
  /// Returns when it has ended; throws what advance() threw.
  void wait(Job& job);
  /// Calls `work`, which may call MPI and may block, after all jobs that were added before have ended.
  void run(const std::function<void()>& work);
  bool crowded() const { return crowded_; }
  /// The job has failed: the destructor leaves without a word to the others.
  void abandon() { abandoned_ = true; }

 private:
  using Clock = std::chrono::steady_clock;

  bool step();  ///< takes what is new and advances all; false: nothing has changed. With driving_ locked
  void pause_awaited(Clock::time_point last_move) const;
  void drive_in_background();
  void stop_background();

  const bool crowded_;
  std::mutex driving_;  // held by who calls MPI
  std::vector<std::shared_ptr<Job>> active_;

  std::mutex queue_;  // of the members below
  std::condition_variable changed_;
  std::deque<std::shared_ptr<Job>> new_;
  std::atomic<int> num_open_{0}, num_new_{0}, num_waiting_{0};
  std::atomic<bool> stop_{false}, asleep_{false}, abandoned_{false};
  std::thread background_;
};

}  // namespace r1::dist
