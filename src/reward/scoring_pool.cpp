#include "r1/reward/scoring_pool.h"

#include <condition_variable>
#include <deque>
#include <exception>
#include <map>
#include <mutex>
#include <thread>

namespace r1 {

struct ScoringPool::Impl {
  struct Job {
    size_t place;
    RewardRequest request;
  };

  explicit Impl(const Reward& r) : reward(r) {}

  void work(std::unique_lock<std::mutex>& lock) {
    Job job = std::move(waiting.front());
    waiting.pop_front();
    ++running;
    lock.unlock();
    Score score;
    std::exception_ptr error;
    try {
      score = reward.score(job.request);
    } catch (...) {
      error = std::current_exception();
    }
    lock.lock();
    --running;
    if (error) {
      errors.emplace(job.place, error);
    } else {
      scores[job.place] = std::move(score);
    }
    changed.notify_all();
  }

  void serve() {
    std::unique_lock lock(mutex);
    for (;;) {
      changed.wait(lock, [this] { return closing || !waiting.empty(); });
      if (closing) return;
      work(lock);
    }
  }

  const Reward& reward;
  std::mutex mutex;
  std::condition_variable changed;
  std::deque<Job> waiting;
  std::vector<Score> scores;
  std::map<size_t, std::exception_ptr> errors;
  int64_t running = 0;
  bool closing = false;
  std::vector<std::thread> threads;
};

ScoringPool::ScoringPool(const Reward& reward, int64_t workers) : impl_(std::make_unique<Impl>(reward)) {
  for (int64_t i = 0; i < workers; ++i) impl_->threads.emplace_back([impl = impl_.get()] { impl->serve(); });
}

ScoringPool::~ScoringPool() {
  {
    const std::lock_guard lock(impl_->mutex);
    impl_->closing = true;
  }
  impl_->changed.notify_all();
  for (auto& thread : impl_->threads) thread.join();
}

void ScoringPool::submit(size_t place, RewardRequest request) {
  {
    const std::lock_guard lock(impl_->mutex);
    if (impl_->scores.size() <= place) impl_->scores.resize(place + 1);
    impl_->waiting.push_back({place, std::move(request)});
  }
  impl_->changed.notify_one();
}

std::vector<Score> ScoringPool::finish() {
  std::unique_lock lock(impl_->mutex);
  // The caller helps: with no threads it does all the work.
  while (!impl_->waiting.empty()) impl_->work(lock);
  impl_->changed.wait(lock, [this] { return impl_->running == 0; });
  auto scores = std::exchange(impl_->scores, {});
  const auto errors = std::exchange(impl_->errors, {});
  if (!errors.empty()) std::rethrow_exception(errors.begin()->second);
  return scores;
}

}  // namespace r1
