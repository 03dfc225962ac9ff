#include "r1/algo/schedule.h"

#include <gtest/gtest.h>

#include "r1/util/error.h"

namespace r1::algo {
namespace {

LrSchedule make(ScheduleKind kind, int64_t warmup, int64_t total, double final_ratio = 0.0) {
  LrSchedule s;
  s.kind = kind;
  s.lr = 2.0;
  s.warmup_steps = warmup;
  s.total_steps = total;
  s.final_ratio = final_ratio;
  return s;
}

TEST(LrSchedule, WarmUpRisesLinearlyFromTheFirstStep) {
  for (const auto kind : {ScheduleKind::kConstant, ScheduleKind::kLinear, ScheduleKind::kCosine}) {
    const auto s = make(kind, 4, 100);
    EXPECT_DOUBLE_EQ(s.at(0), 0.5);
    EXPECT_DOUBLE_EQ(s.at(1), 1.0);
    EXPECT_DOUBLE_EQ(s.at(3), 2.0);
    EXPECT_DOUBLE_EQ(s.at(4), 2.0);  // x = 0
  }
}

TEST(LrSchedule, HandComputedNumbers) {
  EXPECT_DOUBLE_EQ(make(ScheduleKind::kConstant, 0, 0).at(1000000), 2.0);
  const auto linear = make(ScheduleKind::kLinear, 10, 110, 0.1);
  EXPECT_DOUBLE_EQ(linear.at(60), 1.1);  // half way from 2 to 0.2
  EXPECT_DOUBLE_EQ(linear.at(110), 0.2);
  const auto cosine = make(ScheduleKind::kCosine, 10, 110, 0.1);
  EXPECT_DOUBLE_EQ(cosine.at(60), 1.1);
  EXPECT_NEAR(cosine.at(35), 0.2 + 1.8 * 0.85355339059327373, 1e-15);  // (1 + cos(pi / 4)) / 2
  EXPECT_NEAR(cosine.at(110), 0.2, 1e-15);
}

TEST(LrSchedule, StaysAtItsEnd) {
  EXPECT_DOUBLE_EQ(make(ScheduleKind::kLinear, 0, 10).at(10), 0.0);
  EXPECT_DOUBLE_EQ(make(ScheduleKind::kLinear, 0, 10).at(11), 0.0);
  EXPECT_NEAR(make(ScheduleKind::kCosine, 0, 10, 0.5).at(1000), 1.0, 1e-15);
}

TEST(LrSchedule, NeverRisesAfterTheWarmUp) {
  for (const auto kind : {ScheduleKind::kLinear, ScheduleKind::kCosine}) {
    const auto s = make(kind, 3, 50, 0.2);
    for (int64_t step = 3; step < 60; ++step) EXPECT_LE(s.at(step + 1), s.at(step)) << step;
  }
}

TEST(LrSchedule, ADecayNeedsSteps) {
  EXPECT_THROW(make(ScheduleKind::kCosine, 10, 10).at(10), Error);
  EXPECT_THROW(make(ScheduleKind::kLinear, 0, 0).at(0), Error);
  EXPECT_NO_THROW(make(ScheduleKind::kConstant, 10, 0).at(10));
}

}  // namespace
}  // namespace r1::algo
