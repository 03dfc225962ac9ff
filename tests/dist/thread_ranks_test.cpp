// The ranks of the other tests: what they exchange, and that a rank which is missing or out of step ends the others.
#include "support/thread_ranks.h"

#include <gtest/gtest.h>

#include <set>

namespace r1::dist {
namespace {

using test::RanksDisagree;
using test::run_ranks;
using Ranks = std::shared_ptr<Communicator>;

// Each rank's own: [10 rank, 10 rank + 1, ...].
at::Tensor own(const Ranks& ranks, int64_t count) { return at::arange(count, at::kLong) + 10 * ranks->rank(); }

std::vector<int64_t> values(const at::Tensor& x) { return {x.data_ptr<int64_t>(), x.data_ptr<int64_t>() + x.numel()}; }

TEST(ThreadRanks, Exchange) {
  run_ranks(3, [](const Ranks& ranks) {
    const int rank = ranks->rank();
    EXPECT_EQ(ranks->size(), 3);
    auto x = own(ranks, 2);
    ranks->all_reduce(x, Reduce::kSum, "x").wait();
    EXPECT_EQ(values(x), (std::vector<int64_t>{30, 33}));
    x = own(ranks, 2);
    ranks->all_reduce(x, Reduce::kMax, "x").wait();
    EXPECT_EQ(values(x), (std::vector<int64_t>{20, 21}));
    x = own(ranks, 2);
    ranks->broadcast(x, 1, "x").wait();
    EXPECT_EQ(values(x), (std::vector<int64_t>{10, 11}));

    const std::vector<int64_t> counts = {2, 0, 1};
    const auto part = at::zeros({counts[static_cast<size_t>(rank)]}, at::kLong);
    ranks->reduce_scatter(own(ranks, 3), counts, part, "parts").wait();
    EXPECT_EQ(values(part), (std::vector<std::vector<int64_t>>{{30, 33}, {}, {36}})[static_cast<size_t>(rank)]);
    const auto all = at::zeros({3}, at::kLong);
    const auto place = all.narrow(0, rank == 2 ? 2 : 0, part.numel());
    place.copy_(part);
    ranks->all_gather(place, counts, all, "parts").wait();
    EXPECT_EQ(values(all), (std::vector<int64_t>{30, 33, 36}));

    // Rank r sends r + to elements to rank `to`.
    const auto in = own(ranks, 3 * rank + 3), out = at::zeros({3 * rank + 3}, at::kLong);
    ranks->all_to_all(in, {rank, rank + 1, rank + 2}, out, {rank, rank + 1, rank + 2}, "tokens").wait();
    const std::vector<std::vector<int64_t>> received = {{10, 20, 21}, {0, 11, 12, 22, 23, 24}, {1, 2, 13, 14, 15, 25, 26, 27, 28}};
    EXPECT_EQ(values(out), received[static_cast<size_t>(rank)]);

    ranks->barrier("all");
    EXPECT_EQ(ranks->all_gather_bytes(std::string(static_cast<size_t>(rank), 'x'), "bytes"), (std::vector<std::string>{"", "x", "xx"}));
    EXPECT_EQ(ranks->broadcast_bytes(std::to_string(rank), 2, "bytes"), "2");
  });
}

TEST(ThreadRanks, SeveralUnderWay) {
  run_ranks(2, [](const Ranks& ranks) {
    std::vector<at::Tensor> tensors;
    std::vector<Pending> pending;
    for (int64_t i = 0; i < 5; ++i) {
      tensors.push_back(at::full({3}, i + ranks->rank(), at::kFloat));
      pending.push_back(ranks->all_reduce(tensors.back(), Reduce::kSum, "x"));
    }
    for (size_t i = 5; i-- > 0;) {
      pending[i].wait();
      EXPECT_EQ(tensors[i][0].item<float>(), 2 * static_cast<float>(i) + 1);
    }
  });
}

TEST(ThreadRanks, SplitAndTake) {
  std::mutex mutex;
  std::multiset<int64_t> taken;
  run_ranks(4, [&](const Ranks& ranks) {
    const auto pair = ranks->split(ranks->rank() % 2, "pair");
    EXPECT_EQ(pair->size(), 2);
    EXPECT_EQ(pair->rank(), ranks->rank() / 2);
    auto x = own(ranks, 1);
    pair->all_reduce(x, Reduce::kSum, "x").wait();
    EXPECT_EQ(x.item<int64_t>(), ranks->rank() % 2 == 0 ? 20 : 40);
    const auto alone = pair->split(pair->rank(), "alone");
    EXPECT_TRUE(alone->alone());
    for (;;) {
      const auto piece = ranks->take(1, 10, 3);
      if (piece.begin == piece.end) break;
      const std::lock_guard lock(mutex);
      for (int64_t i = piece.begin; i < piece.end; ++i) taken.insert(i);
    }
  });
  EXPECT_EQ(taken, (std::multiset<int64_t>{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}));
}

std::string disagreement(const std::function<void(const Ranks&)>& body) {
  try {
    run_ranks(3, body);
  } catch (const RanksDisagree& e) {
    return e.what();
  }
  return "";
}

TEST(ThreadRanks, CallsThatDoNotMatchAndRanksThatAreGone) {
  EXPECT_EQ(disagreement([](const Ranks& ranks) { ranks->barrier(ranks->rank() == 2 ? "b" : "a"); }),
            "the ranks' collectives differ in name: rank 0 barrier of 'a', rank 2 barrier of 'b'");
  EXPECT_EQ(disagreement([](const Ranks& ranks) { ranks->all_reduce(at::zeros({1 + ranks->rank() / 2}), Reduce::kSum, "x").wait(); }),
            "the ranks' collectives differ in size: rank 0 all_reduce of 'x', rank 2 all_reduce of 'x'");
  EXPECT_EQ(disagreement([](const Ranks& ranks) {
              ranks->set_phase(ranks->rank() == 1 ? "reward" : "rollout");
              if (ranks->rank() != 1) ranks->barrier("a");
            }),
            "rank 0 waits in barrier of 'a', which these ended without: rank 1 (phase 'reward')");
  // Of what the ranks throw, the cause is passed on.
  EXPECT_THROW(run_ranks(3,
                         [](const Ranks& ranks) {
                           if (ranks->rank() == 1) throw std::domain_error("of rank 1");
                           ranks->barrier("a");
                         }),
               std::domain_error);
}

}  // namespace
}  // namespace r1::dist
