// Ranks over NCCL, as far as one GPU can show: a world of one, whose collectives go through ProcessGroupNCCL all the same. What several
// ranks do above NCCL is the code that tests/dist runs over MPI.
#include <ATen/cuda/Sleep.h>
#include <c10/core/impl/VirtualGuardImpl.h>
#include <gtest/gtest.h>
#include <torch/torch.h>

#include <chrono>
#include <thread>

#include "nccl_communicator.h"
#include "r1/dist/launch.h"
#include "r1/util/error.h"
#include "status.h"

namespace r1::dist {
namespace {

constexpr int64_t kCyclesOfASecond = 2'000'000'000;  // of a slower GPU: up to two seconds

// connect() gives single() to one rank, so this makes what it makes for several.
std::shared_ptr<Communicator> connect_one(double deadline_s) {
  StatusBoard::of_process().set_rank(0);
  auto store = Store::host(0);
  auto counters = Store::join(store->address(), 10);
  const auto nccl = Store::join(store->address(), 10);
  const WatchSettings settings{.rank = 0, .processes = {ProcessName::own()}, .limits = {deadline_s, 10}};
  auto session = std::make_shared<Session>(std::move(store), std::move(counters), settings);
  return nccl_communicator(std::move(session), nccl->torch_store(), nullptr, 0, 1, 0);
}

int64_t num_begun() { return StatusBoard::of_process().snapshot().groups.front().begun; }

bool within_5_s(const std::function<bool()>& holds) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(5);
  while (!holds()) {
    if (std::chrono::steady_clock::now() > end) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  return true;
}

class Nccl : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    ranks_ = connect_one(60);
    ranks_->barrier("start");  // NCCL makes its communicator at the first collective
  }
  static void TearDownTestSuite() { ranks_.reset(); }
  void SetUp() override { ASSERT_TRUE(ranks_); }

  // 0, 1, ... 250, 0, ...: exact in every dtype.
  static at::Tensor numbers(at::ScalarType type, int64_t count) {
    return torch::arange(count, torch::kLong).remainder(251).to(ranks_->device(), type);
  }
  static c10::Stream stream() { return c10::impl::VirtualGuardImpl(at::kCUDA).getStream(ranks_->device()); }

  static std::shared_ptr<Communicator> ranks_;
};

std::shared_ptr<Communicator> Nccl::ranks_;

TEST_F(Nccl, EveryCollectiveInEveryDtype) {
  EXPECT_TRUE(ranks_->alone());
  EXPECT_EQ(ranks_->device(), at::Device(at::kCUDA, 0));
  for (const auto type : {at::kFloat, at::kDouble, at::kBFloat16, at::kLong, at::kByte}) {
    for (const int64_t count : {1, 1000003}) {
      SCOPED_TRACE(std::string(c10::toString(type)) + " x " + std::to_string(count));
      const auto expected = numbers(type, count);
      const auto before = num_begun();
      const auto x = expected.clone();
      if (type != at::kByte) ranks_->all_reduce(x, Reduce::kSum, "sum").wait();
      EXPECT_TRUE(x.equal(expected));
      ranks_->all_reduce(x, Reduce::kMax, "maximum").wait();
      EXPECT_TRUE(x.equal(expected));
      ranks_->broadcast(x, 0, "weights").wait();
      EXPECT_TRUE(x.equal(expected));

      const auto out = torch::zeros_like(x);
      if (type != at::kByte) {
        ranks_->reduce_scatter(x, {count}, out, "gradients").wait();
        EXPECT_TRUE(out.equal(expected));
      }
      ranks_->all_gather(x, {count}, out.zero_(), "weights").wait();
      EXPECT_TRUE(out.equal(expected));
      ranks_->all_gather(out, {count}, out, "in its own place").wait();
      EXPECT_TRUE(out.equal(expected));
      ranks_->all_to_all(x, {count}, out.zero_(), {count}, "tokens").wait();
      EXPECT_TRUE(out.equal(expected));
      EXPECT_EQ(num_begun() - before, type == at::kByte ? 5 : 7) << "a collective was not NCCL's";
    }
  }
}

TEST_F(Nccl, NothingToSend) {
  const auto none = numbers(at::kFloat, 0), out = torch::empty_like(none);
  ranks_->all_reduce(none, Reduce::kSum, "x").wait();
  ranks_->all_gather(none, {0}, out, "x").wait();
  ranks_->all_to_all(none, {0}, out, {0}, "x").wait();  // goes to NCCL: only this rank knows its counts
  stream().synchronize();
}

TEST_F(Nccl, SeveralAreUnderWayAndEndInAnyOrder) {
  const auto x = torch::zeros({1 << 20}, ranks_->device()).fill_(2), out = torch::zeros_like(x);
  at::cuda::sleep(kCyclesOfASecond);
  x.fill_(3);  // behind it on the stream, and the collectives behind this
  auto sum = ranks_->all_reduce(x, Reduce::kSum, "a");
  auto copy = ranks_->all_gather(x, {1 << 20}, out, "b");
  EXPECT_TRUE(sum.running() && copy.running());
  copy.wait();
  EXPECT_FALSE(copy.running());
  EXPECT_FALSE(stream().query()) << "wait() is of the stream, and it does not hold up the program";
  sum.wait();
  EXPECT_EQ((out + x).sum().item<double>(), 6.0 * (1 << 20));
}

TEST_F(Nccl, ABarrierHoldsUpTheProgram) {
  at::cuda::sleep(kCyclesOfASecond / 2);
  EXPECT_FALSE(stream().query());
  ranks_->barrier("files");
  EXPECT_TRUE(stream().query());
}

TEST_F(Nccl, TheWatchSeesWhichCollectiveTheGpuIsIn) {
  const auto x = numbers(at::kFloat, 8);
  at::cuda::sleep(kCyclesOfASecond);
  ranks_->set_phase("backward");
  auto pending = ranks_->all_reduce(x, Reduce::kSum, "gradients");
  pending.wait();
  EXPECT_TRUE(within_5_s([] {
    const auto status = StatusBoard::of_process().snapshot();
    const auto* c = status.waits_in();
    return c != nullptr && c->text == "all_reduce of 'gradients' (8 x float32, 32 bytes)" && c->phase == "backward";
  }));
  stream().synchronize();
  EXPECT_TRUE(within_5_s([] { return StatusBoard::of_process().snapshot().waits_in() == nullptr; }));
}

TEST_F(Nccl, BytesPiecesAndParts) {
  EXPECT_EQ(ranks_->all_gather_bytes("abc", "b"), std::vector<std::string>{"abc"});
  EXPECT_EQ(ranks_->all_gather_bytes("", "b"), std::vector<std::string>{""});
  EXPECT_EQ(ranks_->broadcast_bytes(std::string("a\0c", 3), 0, "b"), std::string("a\0c", 3));
  EXPECT_EQ(ranks_->take(0, 5, 3).end, 3);
  EXPECT_EQ(ranks_->take(0, 5, 3).end, 5);
  EXPECT_EQ(ranks_->take(0, 5, 3).begin, 5);
  EXPECT_THROW(ranks_->together("work", [] { throw Error("no"); }), Error);
  const auto part = ranks_->split(3, "part");
  EXPECT_TRUE(part->alone());
  const auto x = numbers(at::kLong, 5), out = torch::zeros_like(x);
  part->all_gather(x, {5}, out, "a copy").wait();
  EXPECT_TRUE(out.equal(x));
}

TEST_F(Nccl, RefusesTensorsOfTheCpu) {
  EXPECT_THROW((void)ranks_->all_reduce(torch::zeros({2}), Reduce::kSum, "x"), c10::Error);
}

void wait_for_a_gpu_that_does_not_come() {
  const auto ranks = connect_one(1);
  ranks->barrier("start");
  at::cuda::sleep(8 * kCyclesOfASecond);
  ranks->all_reduce(torch::zeros({4}, ranks->device()), Reduce::kSum, "gradients").wait();
  torch::cuda::synchronize();
}

TEST(NcclDeathTest, ACollectiveThatDoesNotEndEndsTheProgramAtTheDeadline) {
  testing::FLAGS_gtest_death_test_style = "threadsafe";  // CUDA does not survive a fork
  EXPECT_EXIT(wait_for_a_gpu_that_does_not_come(), testing::ExitedWithCode(kLostRank),
              "r1: collective 2: all_reduce of 'gradients' \\(4 x float32, 16 bytes\\), for which rank 0 .* has waited .* s \\(deadline 1 s\\), does not "
              "end, though every rank is in it");
}

}  // namespace
}  // namespace r1::dist
