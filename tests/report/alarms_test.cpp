#include "r1/report/alarms.h"

#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <limits>

namespace r1::report {
namespace {

constexpr int kRows = 50;
using Curve = std::function<double(double)>;  // of t from 0 to 1

RunRecord run_with(const std::map<std::string, Curve>& curves) {
  RunRecord run;
  run.parts = {{"accuracy", "exact_answer", 1}, {"format", "format", 0.2}};
  run.stages.resize(1);
  run.stages[0].name = "rl";
  for (const auto& [name, curve] : curves) {
    for (int i = 0; i < kRows; ++i) {
      const double noise = 0.004 * (((i * 7919) % 13) - 6);  // the same in every run
      run.stages[0].series[name].add(i + 1, curve(static_cast<double>(i) / (kRows - 1)) + noise);
    }
  }
  return run;
}

std::vector<std::string> rules(const RunRecord& run, const std::vector<StageSamples>& samples = {}) {
  std::vector<std::string> out;
  for (const auto& alarm : find_alarms(run, samples)) out.push_back(alarm.rule);
  return out;
}

Curve flat(double value) {
  return [value](double) { return value; };
}
Curve ramp(double from, double to) {
  return [from, to](double t) { return from + (to - from) * t; };
}
using Rules = std::vector<std::string>;

TEST(Fifths, AreMeansWithStandardErrors) {
  Series series;
  for (int i = 0; i < 10; ++i) series.add(i + 1, i % 2 == 0 ? i : i + 1.0);  // windows (0, 2), (2, 4), ...
  const auto windows = fifths(series);
  ASSERT_EQ(windows.size(), 5U);
  EXPECT_DOUBLE_EQ(windows[0].mean, 1);
  EXPECT_DOUBLE_EQ(windows[0].error, 1);  // sqrt((1 + 1) / 1 / 2)
  EXPECT_EQ(windows[4].from_step, 9);
  EXPECT_EQ(windows[4].to_step, 10);
  series.values[3] = std::numeric_limits<double>::quiet_NaN();
  EXPECT_TRUE(fifths(series).empty());  // nine finite values
}

TEST(Fifths, RisesOnlyBeyondTheNoise) {
  EXPECT_TRUE(rises({0, 0, 0.5, 0.01, 10}, {0, 0, 0.6, 0.01, 10}, 0.05));
  EXPECT_FALSE(rises({0, 0, 0.5, 0.03, 10}, {0, 0, 0.6, 0.03, 10}, 0.05));  // 3 x 0.0424 > 0.1
  EXPECT_FALSE(rises({0, 0, 0.5, 0.001, 10}, {0, 0, 0.54, 0.001, 10}, 0.05));
}

TEST(Alarms, NoneInAHealthyRun) {
  EXPECT_EQ(rules(run_with({{"reward_accuracy", ramp(0.3, 0.9)},
                            {"reward_format", ramp(0.4, 0.95)},
                            {"completion_tokens_mean", ramp(100, 900)},
                            {"entropy", ramp(1, 0.3)},
                            {"truncated", flat(0.02)}})),
            Rules{});
  EXPECT_EQ(rules(RunRecord{}), Rules{});
}

TEST(Alarms, RewardRisesWithoutAccuracy) {
  const auto run = run_with({{"reward_accuracy", flat(0.4)}, {"reward_format", ramp(0.3, 0.9)}});
  ASSERT_EQ(rules(run), Rules{"reward without accuracy"});
  EXPECT_NE(find_alarms(run, {})[0].text.find("part format goes from 0.3"), std::string::npos)
      << find_alarms(run, {})[0].text;
  // Late in the run, after both had risen together.
  EXPECT_EQ(
      rules(run_with({{"reward_accuracy", [](double t) { return t < 0.4 ? 0.3 + t : 0.7 - 0.2 * (t - 0.4); }},
                      {"reward_format", [](double t) { return t < 0.6 ? 0.5 : 0.9; }}})),
      Rules{"reward without accuracy"});
}

TEST(Alarms, ARewardThatIsNotPaidOrAnAccuracyAtItsCeilingIsNoAlarm) {
  auto run = run_with({{"reward_accuracy", flat(0.4)}, {"reward_format", ramp(0.3, 0.9)}});
  run.parts[1].weight = 0;
  EXPECT_EQ(rules(run), Rules{});
  run.stages[0].reward_weights["format"] = 0.1;  // this stage pays for it
  EXPECT_EQ(rules(run), Rules{"reward without accuracy"});
  EXPECT_EQ(rules(run_with({{"reward_accuracy", flat(0.97)}, {"reward_format", ramp(0.3, 0.9)}})), Rules{});
}

TEST(Alarms, ANegativeWeightIsAPenaltyThatShouldShrink) {
  auto run = run_with({{"reward_accuracy", flat(0.4)}, {"reward_format", ramp(0.9, 0.3)}});
  EXPECT_EQ(rules(run), Rules{});
  run.parts[1].weight = -0.2;
  EXPECT_EQ(rules(run), Rules{"reward without accuracy"});
}

TEST(Alarms, LengthExplodes) {
  EXPECT_EQ(rules(run_with({{"reward_accuracy", flat(0.4)}, {"completion_tokens_mean", ramp(100, 400)}})),
            Rules{"length explodes"});
  // Growing with accuracy is what reasoning looks like, until the limit cuts it.
  EXPECT_EQ(
      rules(run_with({{"reward_accuracy", ramp(0.2, 0.6)}, {"completion_tokens_mean", ramp(100, 400)}})),
      Rules{});
  EXPECT_EQ(rules(run_with({{"reward_accuracy", ramp(0.2, 0.6)},
                            {"completion_tokens_mean", ramp(100, 400)},
                            {"truncated", ramp(0, 0.4)}})),
            Rules{"length explodes"});
  EXPECT_EQ(rules(run_with({{"reward_accuracy", flat(0.4)}, {"completion_tokens_mean", ramp(100, 180)}})),
            Rules{});
}

TEST(Alarms, EntropyCollapses) {
  const Curve collapse = [](double t) { return 2 * std::exp(-8 * t) + 0.03; };
  EXPECT_EQ(rules(run_with({{"reward_accuracy", flat(0.4)}, {"entropy", collapse}})),
            Rules{"entropy collapses"});
  EXPECT_EQ(rules(run_with({{"reward_accuracy", ramp(0.4, 1)}, {"entropy", collapse}})),
            Rules{});  // sure because it is right
  EXPECT_EQ(rules(run_with({{"reward_accuracy", flat(0.4)}, {"entropy", ramp(2, 0.6)}})), Rules{});
}

TEST(Alarms, MismatchWhereNumericsAreExact) {
  RunRecord run = run_with({});
  for (int i = 0; i < 3; ++i) run.stages[0].series["logprob_error_max"].add(i + 1, i == 1 ? 1e-7 : 0.0);
  ASSERT_EQ(rules(run), Rules{"mismatch"});
  EXPECT_EQ(find_alarms(run, {})[0].text,
            "|logprob(trainer) - logprob(sampler)| is up to 1e-07 nats in 1 of 3 rollouts, first at step 2; "
            "expected: exactly 0");
  run.exact = false;
  EXPECT_EQ(rules(run), Rules{});
}

TEST(Alarms, NotFinite) {
  RunRecord run = run_with({{"loss", flat(1)}});
  run.stages[0].series["loss"].values[30] = std::numeric_limits<double>::infinity();
  ASSERT_EQ(rules(run), Rules{"not finite"});
  EXPECT_EQ(find_alarms(run, {})[0].from_step, 31);
}

TEST(Alarms, Repetition) {
  const RunRecord run = run_with({});
  StageSamples samples;
  samples.stage = "rl";
  samples.signs = {{1, 64, 0, 0.0}, {20, 64, 0, 0.09}, {40, 64, 0, 0.25}};
  ASSERT_EQ(rules(run, {samples}), Rules{"repetition"});
  EXPECT_EQ(find_alarms(run, {samples})[0].from_step, 40);
  samples.signs.pop_back();
  EXPECT_EQ(rules(run, {samples}), Rules{});
}

}  // namespace
}  // namespace r1::report
