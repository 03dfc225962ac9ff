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

/// The one thread that calls MPI (MPI_THREAD_FUNNELED). It carries jobs on in the order in which they came, several at a time.
///
/// Nothing in it blocks, so it can always be stopped: messages are begun and then asked whether they are through. While somebody
/// waits it asks again and again, giving its core to whoever else can run; while nobody waits (communication beside computing) it
/// sleeps between two looks, for the core belongs to the computation.
class MpiEngine {
 public:
  /// A collective under way.
  class Job {
   public:
    virtual ~Job() = default;
    enum class State { kUnchanged, kMoved, kEnded };
    /// On the MPI thread: begins or goes on. Throws what MPI reports.
    virtual State advance() = 0;
    /// On any thread: returns when it has ended; throws what advance() threw.
    void wait(MpiEngine& engine);

   private:
    friend class MpiEngine;
    std::atomic<bool> ended_{false};
    std::exception_ptr error_;
  };

  MpiEngine();   ///< MPI_Init_thread
  ~MpiEngine();  ///< MPI_Finalize, which waits for the other ranks; without it after abandon()
  MpiEngine(const MpiEngine&) = delete;
  MpiEngine& operator=(const MpiEngine&) = delete;

  void add(std::shared_ptr<Job> job);
  /// Runs `work` on the MPI thread after all jobs that were added before have ended, and waits for it. It may block.
  void run(const std::function<void()>& work);
  /// The job has failed: the destructor leaves without a word to the others.
  void abandon();

 private:
  void loop();
  bool take_new();  ///< false: nothing has come
  bool advance_all();  ///< false: nothing has changed
  void end(Job& job, std::exception_ptr error);
  void pause(bool moved);

  std::mutex mutex_;
  std::condition_variable something_new_, something_ended_;
  std::deque<std::shared_ptr<Job>> new_;
  std::atomic<int> num_new_{0}, num_waiting_{0};
  std::atomic<bool> stop_{false}, abandoned_{false};
  std::vector<std::shared_ptr<Job>> active_;  // of the MPI thread alone
  std::chrono::steady_clock::time_point last_move_;
  std::thread thread_;
};

}  // namespace r1::dist
