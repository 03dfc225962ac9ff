#include <gtest/gtest.h>
#include <torch/torch.h>

#include "r1/dist/communicator.h"
#include "r1/util/error.h"

namespace r1::dist {
namespace {

TEST(Single, CollectivesOfOneRankCopyAtMost) {
  const auto comm = single();
  EXPECT_TRUE(comm->alone());
  EXPECT_TRUE(comm->is_first());
  const auto x = torch::arange(5, torch::kFloat);
  comm->all_reduce(x, Reduce::kSum, "x").wait();
  comm->broadcast(x, 0, "x").wait();
  EXPECT_TRUE(x.equal(torch::arange(5, torch::kFloat)));
  const auto out = torch::empty({5});
  comm->reduce_scatter(x, {5}, out, "x").wait();
  EXPECT_TRUE(out.equal(x));
  comm->all_gather(out, {5}, out, "x").wait();  // in its own place
  EXPECT_TRUE(out.equal(x));
  comm->all_to_all(x, {5}, out.zero_(), {5}, "x").wait();
  EXPECT_TRUE(out.equal(x));
  comm->barrier("end");
  EXPECT_EQ(comm->all_gather_bytes("abc", "b"), std::vector<std::string>{"abc"});
  EXPECT_EQ(comm->broadcast_bytes(std::string("a\0c", 3), 0, "b"), std::string("a\0c", 3));
  EXPECT_TRUE(comm->split(3, "part")->alone());
}

TEST(Single, TakeGivesEveryPieceOnce) {
  const auto comm = single();
  int64_t expected = 0;
  for (auto piece = comm->take(7, 10, 4); piece.begin != piece.end; piece = comm->take(7, 10, 4)) {
    EXPECT_EQ(piece.begin, expected);
    expected = piece.end;
  }
  EXPECT_EQ(expected, 10);
  EXPECT_EQ(comm->take(8, 3, 4).end, 3);  // another round begins at its own start
}

TEST(Single, TogetherThrowsWhatTheWorkThrows) {
  EXPECT_THROW(single()->together("work", [] { throw Error("no"); }), Error);
  EXPECT_NO_THROW(single()->together("work", [] {}));
}

TEST(Single, RefusesTensorsThatAreNotAsTheHeaderSays) {
  const auto comm = single();
  EXPECT_THROW((void)comm->all_reduce(torch::zeros({2, 3}).t(), Reduce::kSum, "x"), c10::Error);
  EXPECT_THROW((void)comm->all_reduce(torch::zeros({2}, torch::kHalf), Reduce::kSum, "x"), c10::Error);
  EXPECT_THROW((void)comm->all_reduce(torch::zeros({2}, torch::kByte), Reduce::kSum, "x"), c10::Error);
  EXPECT_NO_THROW(comm->all_reduce(torch::zeros({2}, torch::kByte), Reduce::kMax, "x").wait());
  EXPECT_THROW((void)comm->broadcast(torch::zeros({2}), 1, "x"), c10::Error);
  EXPECT_THROW((void)comm->all_gather(torch::zeros({2}), {3}, torch::zeros({3}), "x"), c10::Error);
  EXPECT_THROW((void)comm->all_gather(torch::zeros({2}), {2}, torch::zeros({2}, torch::kLong), "x"), c10::Error);
  EXPECT_THROW((void)comm->reduce_scatter(torch::zeros({2}), {1, 1}, torch::zeros({1}), "x"), c10::Error);
  EXPECT_THROW((void)comm->all_to_all(torch::zeros({2}), {2}, torch::zeros({3}), {3}, "x"), c10::Error);
}

}  // namespace
}  // namespace r1::dist
