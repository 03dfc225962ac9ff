#include "mpi_engine.h"

#include <immintrin.h>
#include <mpi.h>
#include <sched.h>
#include <sys/prctl.h>

#include <stdexcept>

#include "mpi_messages.h"

namespace r1::dist {
namespace {

using std::chrono::microseconds;

// Who waits asks without a pause for so long after the last change of anything, then sleeps between two looks. On a loaded machine a
// sleep may cost milliseconds, a whole slice of somebody else. With more ranks than cores the rank waited for may need this core, so
// it is offered at each look.
constexpr auto kKeepAsking = microseconds(10'000);
constexpr auto kSleepAwaited = microseconds(20), kSleepLong = microseconds(200), kLong = microseconds(100'000);
// Of the background thread: between two looks at jobs; before it looks whether a single one has been left alone; without any before
// it waits to be woken.
constexpr auto kSleepBeside = microseconds(50), kSleepBetween = microseconds(10'000), kStayAwake = microseconds(50'000);

void make_sleeps_exact() { ::prctl(PR_SET_TIMERSLACK, 1000UL); }  // ns; a short sleep would take 50 us more

}  // namespace

MpiEngine::MpiEngine(bool crowded) : crowded_(crowded) {
  int provided = 0;
  check_mpi(MPI_Init_thread(nullptr, nullptr, MPI_THREAD_SERIALIZED, &provided), "MPI_Init_thread");
  if (provided < MPI_THREAD_SERIALIZED) throw std::runtime_error("this MPI cannot be used in a program that has threads");
  check_mpi(MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN), "MPI_Comm_set_errhandler");
  background_ = std::thread([this] { drive_in_background(); });
}

MpiEngine::~MpiEngine() {
  stop_background();
  if (!abandoned_) MPI_Finalize();
}

void MpiEngine::stop_background() {
  {
    const std::lock_guard lock(queue_);
    stop_ = true;
  }
  changed_.notify_all();
  background_.join();
}

void MpiEngine::add(std::shared_ptr<Job> job) {
  int before = 0;
  {
    const std::lock_guard lock(queue_);
    new_.push_back(std::move(job));
    ++num_new_;
    before = num_open_++;
  }
  if (std::unique_lock lock(driving_, std::try_to_lock); lock) step();  // the messages are on their way at once
  // Most jobs are waited for at once, and to wake a thread for each would cost more than it gains.
  if (asleep_ || (before > 0 && num_waiting_ == 0)) changed_.notify_one();
}

bool MpiEngine::step() {
  if (num_new_.load(std::memory_order_acquire) > 0) {
    const std::lock_guard lock(queue_);
    for (auto& job : new_) active_.push_back(std::move(job));
    new_.clear();
    num_new_ = 0;
  }
  bool moved = false, ended = false;
  for (auto& job : active_) {
    auto state = Job::State::kEnded;
    try {
      state = job->advance();
    } catch (...) {
      job->error_ = std::current_exception();
    }
    moved = moved || state != Job::State::kUnchanged;
    if (state != Job::State::kEnded) continue;
    job->ended_.store(true, std::memory_order_release);
    job.reset();
    --num_open_;
    ended = true;
  }
  if (ended) std::erase(active_, nullptr);
  return moved;
}

void MpiEngine::wait(Job& job) {
  if (!job.ended_.load(std::memory_order_acquire)) {
    ++num_waiting_;
    if (crowded_) make_sleeps_exact();
    auto last_move = Clock::now();
    while (!job.ended_.load(std::memory_order_acquire)) {
      bool moved = false;
      if (std::unique_lock lock(driving_, std::try_to_lock); lock) moved = step();
      if (moved) {
        last_move = Clock::now();
      } else {
        pause_awaited(last_move);
      }
    }
    --num_waiting_;
  }
  if (job.error_) std::rethrow_exception(job.error_);
}

void MpiEngine::pause_awaited(Clock::time_point last_move) const {
  const auto quiet = Clock::now() - last_move;
  if (quiet >= kKeepAsking) {
    std::this_thread::sleep_for(quiet < kLong ? kSleepAwaited : kSleepLong);
  } else if (crowded_) {
    ::sched_yield();
  } else {
    for (int i = 0; i < 10; ++i) _mm_pause();
  }
}

void MpiEngine::run(const std::function<void()>& work) {
  const std::lock_guard lock(driving_);
  auto last_move = Clock::now();
  while (num_open_ > 0) {
    if (step()) {
      last_move = Clock::now();
    } else {
      pause_awaited(last_move);
    }
  }
  work();
}

void MpiEngine::drive_in_background() {
  ::prctl(PR_SET_NAME, "r1 mpi");
  make_sleeps_exact();
  auto last_open = Clock::now();
  for (;;) {
    {
      std::unique_lock lock(queue_);
      if (Clock::now() - last_open > kStayAwake) {
        asleep_ = true;
        changed_.wait(lock, [this] { return stop_ || num_open_ > 0; });
        asleep_ = false;
      } else {
        changed_.wait_for(lock, kSleepBetween, [this] { return stop_ || (num_open_ > 1 && num_waiting_ == 0); });
      }
      if (stop_) return;
    }
    while (num_open_ > 0 && num_waiting_ == 0) {
      bool moved = false;
      if (std::unique_lock lock(driving_, std::try_to_lock); lock) moved = step();
      if (!moved) std::this_thread::sleep_for(kSleepBeside);
      last_open = Clock::now();
    }
    if (num_open_ > 0) last_open = Clock::now();
  }
}

}  // namespace r1::dist
