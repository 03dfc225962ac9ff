#include "mpi_engine.h"

#include <mpi.h>
#include <sched.h>
#include <sys/prctl.h>

#include <algorithm>

#include "mpi_messages.h"

namespace r1::dist {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::microseconds;

// After the last change of anything it keeps asking for so long; later it sleeps between two looks. Long enough for the next segment
// of a transfer, short enough that ranks without a core of their own get one.
constexpr auto kKeepAsking = microseconds(500);
constexpr auto kKeepListening = microseconds(50);  // for the next job when there is none
constexpr auto kSleepAwaited = microseconds(20), kSleepBeside = microseconds(50);

// A function on the MPI thread.
class Task : public MpiEngine::Job {
 public:
  explicit Task(const std::function<void()>& work) : work_(work) {}
  State advance() override {
    work_();
    return State::kEnded;
  }

 private:
  const std::function<void()>& work_;
};

}  // namespace

MpiEngine::MpiEngine() : thread_([this] { loop(); }) {
  try {
    run([] {
      int provided = 0;
      check_mpi(MPI_Init_thread(nullptr, nullptr, MPI_THREAD_FUNNELED, &provided), "MPI_Init_thread");
      if (provided < MPI_THREAD_FUNNELED) throw std::runtime_error("this MPI cannot be used in a program that has threads");
      check_mpi(MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN), "MPI_Comm_set_errhandler");
    });
  } catch (...) {
    stop_ = true;
    something_new_.notify_all();
    thread_.join();
    throw;
  }
}

MpiEngine::~MpiEngine() {
  if (!abandoned_) {
    try {
      run([] { MPI_Finalize(); });
    } catch (...) {  // nobody is left to tell
    }
  }
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  something_new_.notify_all();
  thread_.join();
}

void MpiEngine::add(std::shared_ptr<Job> job) {
  {
    const std::lock_guard lock(mutex_);
    new_.push_back(std::move(job));
    ++num_new_;
  }
  something_new_.notify_one();
}

void MpiEngine::run(const std::function<void()>& work) {
  const auto task = std::make_shared<Task>(work);
  add(task);
  task->wait(*this);
}

void MpiEngine::abandon() { abandoned_ = true; }

void MpiEngine::Job::wait(MpiEngine& engine) {
  if (!ended_.load(std::memory_order_acquire)) {
    ++engine.num_waiting_;
    std::unique_lock lock(engine.mutex_);
    engine.something_ended_.wait(lock, [this] { return ended_.load(std::memory_order_acquire); });
    --engine.num_waiting_;
  }
  if (error_) std::rethrow_exception(error_);
}

void MpiEngine::end(Job& job, std::exception_ptr error) {
  const std::lock_guard lock(mutex_);
  job.error_ = std::move(error);
  job.ended_.store(true, std::memory_order_release);
  something_ended_.notify_all();
}

bool MpiEngine::take_new() {
  if (num_new_.load(std::memory_order_acquire) == 0) return false;
  const std::lock_guard lock(mutex_);
  bool taken = false;
  while (!new_.empty()) {
    const bool is_task = dynamic_cast<Task*>(new_.front().get()) != nullptr;
    if (is_task && !active_.empty()) break;  // it may block, and what is under way must not wait for it
    active_.push_back(std::move(new_.front()));
    new_.pop_front();
    --num_new_;
    taken = true;
    if (is_task) break;
  }
  return taken;
}

bool MpiEngine::advance_all() {
  bool moved = false, ended = false;
  for (auto& job : active_) {
    try {
      const auto state = job->advance();
      moved = moved || state != Job::State::kUnchanged;
      if (state != Job::State::kEnded) continue;
      end(*job, nullptr);
    } catch (...) {
      end(*job, std::current_exception());
    }
    job.reset();
    ended = true;
  }
  if (ended) std::erase(active_, nullptr);
  return moved || ended;
}

void MpiEngine::pause(bool moved) {
  const auto now = Clock::now();
  if (moved) last_move_ = now;
  const auto quiet = now - last_move_;
  if (active_.empty()) {
    if (quiet < kKeepListening) {
      ::sched_yield();
      return;
    }
    std::unique_lock lock(mutex_);
    something_new_.wait(lock, [this] { return !new_.empty() || stop_; });
    last_move_ = Clock::now();
  } else if (num_waiting_ == 0) {
    std::this_thread::sleep_for(kSleepBeside);
  } else if (quiet < kKeepAsking) {
    ::sched_yield();
  } else {
    std::this_thread::sleep_for(kSleepAwaited);
  }
}

void MpiEngine::loop() {
  ::prctl(PR_SET_NAME, "r1 mpi");
  ::prctl(PR_SET_TIMERSLACK, 1000UL);  // ns; a short sleep would take 50 us more
  while (!stop_) {
    const bool taken = take_new();
    pause(advance_all() || taken);
  }
}

}  // namespace r1::dist
