// Schedules by events: the published bubbles, and what overlaps with what.
#include "simulate_pipeline.h"

#include <gtest/gtest.h>

#include <cmath>

namespace r1::pipeline {
namespace {

Machine machine_without_tax() {
  Machine machine;
  machine.cluster.exchange_multiprocessors = 0;
  return machine;
}

std::vector<ChunkTime> equal_stages(int64_t count, const ChunkTime& time) { return std::vector<ChunkTime>(static_cast<size_t>(count), time); }

double parts(const PipelineTime& t) { return t.forward + t.backward + t.weight + t.shared_device + t.exchange_exposed + t.bubble; }

TEST(SimulatePipeline, OneForwardOneBackwardHasItsPublishedBubble) {
  const auto machine = machine_without_tax();
  for (const int64_t P : {2, 4, 8, 16}) {
    for (const int64_t m : {P, 3 * P}) {
      const auto time = run_pipeline(machine, equal_stages(P, {1, 1.5, 0.5}), m, 0, false);
      EXPECT_NEAR(time.bubble, static_cast<double>(P - 1) * 3, 1e-9) << P << " stages, (P - 1)(F + B): arXiv:2412.19437v2, Table 2";
      EXPECT_NEAR(time.seconds, static_cast<double>(m + P - 1) * 3, 1e-9);
      EXPECT_NEAR(parts(time), time.seconds, 1e-9);
    }
  }
}

TEST(SimulatePipeline, DualPipeHasItsPublishedBubble) {
  const auto machine = machine_without_tax();
  for (const int64_t P : {2, 4, 8, 16}) {
    for (const int64_t m : {2 * P, 2 * P + 6, 5 * P}) {
      for (const auto& t : {ChunkTime{1, 1, 1}, ChunkTime{1, 1, 0.5}, ChunkTime{1, 1, 0.33}}) {
        const auto time = run_pipeline(machine, equal_stages(P, t), m, 0, true);
        EXPECT_NEAR(time.bubble, dual_bubble(P, t.compute(), t.backward + t.weight, t.weight), 1e-9) << P << " stages, " << m << " micro-batches";
        EXPECT_NEAR(parts(time), time.seconds, 1e-9);
      }
      // The formula is the outermost ranks'. Where an exchange is hidden, inner ranks, which have more chunks side by side, wait less.
      const ChunkTime hiding{1, 1, 1, 1, 1};
      const auto time = run_pipeline(machine, equal_stages(P, hiding), m, 0, true);
      EXPECT_LE(time.bubble, dual_bubble(P, 3, 3, 1) + 1e-9);
      EXPECT_GE(time.bubble, 0.7 * dual_bubble(P, 3, 3, 1) - 1e-9);
      EXPECT_NEAR(parts(time), time.seconds, 1e-9);
    }
  }
}

TEST(SimulatePipeline, EveryMicroBatchIsComputedOnce) {
  const auto machine = machine_without_tax();
  const int64_t P = 8, m = 20;
  for (const bool dual : {false, true}) {
    const auto time = run_pipeline(machine, equal_stages(P, {1, 2, 3}), m, 0, dual);
    EXPECT_NEAR(time.forward, m * 1.0, 1e-9);
    EXPECT_NEAR(time.backward, m * 2.0, 1e-9);
    EXPECT_NEAR(time.weight, m * 3.0, 1e-9);
  }
}

TEST(SimulatePipeline, DualPipeHidesTheExchangeAndOneForwardOneBackwardDoesNot) {
  auto machine = machine_without_tax();
  const ChunkTime t{1, 1, 1, 0.5, 0.5, {}};
  const auto dual = run_pipeline(machine, equal_stages(8, t), 40, 0, true), single = run_pipeline(machine, equal_stages(8, t), 40, 0, false);
  EXPECT_NEAR(single.exchange_exposed, 40, 1e-9);
  EXPECT_LT(dual.exchange_exposed, 0.5 * single.exchange_exposed);
  EXPECT_LT(dual.seconds, single.seconds);
  machine.cluster.exchange_multiprocessors = 20;
  EXPECT_GT(run_pipeline(machine, equal_stages(8, t), 40, 0, true).seconds, dual.seconds) << "the exchange takes multiprocessors from products";
}

TEST(SimulatePipeline, StagesAreCutEvenly) {
  std::vector<ChunkTime> units(10, ChunkTime{1, 0, 0});
  units.back().forward = 3;
  double slowest = 0, sum = 0;
  for (const auto& stage : cut_into_stages(units, 4, true)) {
    slowest = std::max(slowest, stage.forward);
    sum += stage.forward;
  }
  EXPECT_DOUBLE_EQ(slowest, 3);
  EXPECT_DOUBLE_EQ(sum, 12);
}

TEST(SimulatePipeline, SendsDelayTheFirstMicroBatchAlone) {
  const auto machine = machine_without_tax();
  const auto without = run_pipeline(machine, equal_stages(4, {1, 1, 1}), 64, 0, false), with = run_pipeline(machine, equal_stages(4, {1, 1, 1}), 64, 0.1, false);
  EXPECT_GT(with.seconds, without.seconds);
  EXPECT_LT(with.seconds, 1.1 * without.seconds);
}

}  // namespace
}  // namespace r1::pipeline
