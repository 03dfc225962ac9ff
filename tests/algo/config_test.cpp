#include "r1/util/config.h"

#include <gtest/gtest.h>

#include <string>

#include "r1/algo/advantages.h"
#include "r1/algo/grpo_loss.h"
#include "r1/algo/schedule.h"
#include "r1/util/error.h"

namespace r1::algo {
namespace {

ConfigNode yaml(const std::string& text) { return ConfigNode::parse_text(text, "test.yaml"); }

/// The message that parsing `text` as T throws; empty when it is accepted.
template <typename T>
std::string refusal(const std::string& text) {
  try {
    T::parse(yaml(text));
  } catch (const Error& e) {
    return e.what();
  }
  return "";
}

void expect_contains(const std::string& message, const std::string& part) {
  EXPECT_NE(message.find(part), std::string::npos)
      << "message: '" << message << "', expected in it: '" << part << "'";
}

TEST(GrpoLossConfig, DefaultsAreR1s) {
  const auto c = GrpoLossConfig::parse(yaml("{}"));
  EXPECT_EQ(c.clip_low, 10.0);
  EXPECT_EQ(c.clip_high, 10.0);
  EXPECT_EQ(c.kl_coef, 0.001);
  EXPECT_EQ(c.kl_estimator, KlEstimator::kK3);
  EXPECT_EQ(c.aggregation, Aggregation::kTokenInSequence);
  EXPECT_EQ(c.ratio_level, RatioLevel::kToken);
  EXPECT_EQ(c.tis_cap, 0.0);
  EXPECT_EQ(c.dual_clip, 0.0);
  EXPECT_FALSE(c.overlong.mask_truncated);
}

TEST(GrpoLossConfig, ReadsEveryKey) {
  const auto c = GrpoLossConfig::parse(yaml(
      "clip_low: 0.2\nclip_high: 0.28\ndual_clip: 3\nkl_coef: 0\nkl_estimator: k1\naggregation: constant\n"
      "ratio_level: sequence_mean\nconstant_length: 512\ntis_cap: 2\n"
      "overlong: {mask_truncated: true, soft_penalty_tokens: 64, soft_penalty_scale: 0.5}\n"));
  EXPECT_EQ(c.clip_low, 0.2);
  EXPECT_EQ(c.clip_high, 0.28);
  EXPECT_EQ(c.dual_clip, 3.0);
  EXPECT_EQ(c.kl_coef, 0.0);
  EXPECT_EQ(c.kl_estimator, KlEstimator::kK1);
  EXPECT_EQ(c.aggregation, Aggregation::kConstant);
  EXPECT_EQ(c.ratio_level, RatioLevel::kSequenceMean);
  EXPECT_EQ(c.constant_length, 512);
  EXPECT_EQ(c.tis_cap, 2.0);
  EXPECT_TRUE(c.overlong.mask_truncated);
  EXPECT_EQ(c.overlong.soft_penalty_tokens, 64);
  EXPECT_EQ(c.overlong.soft_penalty_scale, 0.5);
}

TEST(GrpoLossConfig, SequenceAggregationImpliesASequenceRatio) {
  EXPECT_EQ(GrpoLossConfig::parse(yaml("aggregation: sequence")).ratio_level, RatioLevel::kSequenceProduct);
  EXPECT_EQ(GrpoLossConfig::parse(yaml("aggregation: sequence\nratio_level: sequence_mean")).ratio_level,
            RatioLevel::kSequenceMean);
  const auto message = refusal<GrpoLossConfig>("aggregation: sequence\nratio_level: token");
  expect_contains(message, "test.yaml:2");
  expect_contains(message, "token_in_sequence");
}

TEST(GrpoLossConfig, RefusalsNameThePlaceTheValueAndWhatIsAccepted) {
  for (const std::string bad :
       {"clip_low: 0", "clip_low: -1", "clip_high: 0", "dual_clip: 0.5", "dual_clip: 1", "kl_coef: -0.1",
        "kl_estimator: k4", "aggregation: mean", "ratio_level: sequence", "constant_length: -1",
        "tis_cap: 0.5", "clip_low: abc", "clip_lo: 0.2", "overlong: {soft_penalty_tokens: -1}",
        "overlong: {soft_penalty_scale: -1}", "overlong: {mask: true}"}) {
    const auto message = refusal<GrpoLossConfig>("kl_coef: 0.001\n" + bad);
    const auto single = refusal<GrpoLossConfig>(bad);
    EXPECT_NE(single, "") << bad;
    expect_contains(single, "test.yaml:1");
    if (bad.rfind("kl_coef", 0) != 0) expect_contains(message, "test.yaml:2");
  }
  expect_contains(refusal<GrpoLossConfig>("clip_lo: 0.2"), "clip_low");
}

TEST(AdvantageConfig, ReadsAndRefuses) {
  const auto c = AdvantageConfig::parse(yaml("baseline: leave_one_out\nstd: none\neps: 1e-4\n"));
  EXPECT_EQ(c.baseline, Baseline::kLeaveOneOut);
  EXPECT_EQ(c.std, RewardStd::kNone);
  EXPECT_EQ(c.eps, 1e-4);
  const auto d = AdvantageConfig::parse(yaml("{}"));
  EXPECT_EQ(d.baseline, Baseline::kMean);
  EXPECT_EQ(d.std, RewardStd::kPopulation);
  EXPECT_EQ(AdvantageConfig::parse(yaml("std: sample")).std, RewardStd::kSample);
  for (const std::string bad : {"baseline: median", "std: true", "eps: -1", "epsilon: 1"}) {
    expect_contains(refusal<AdvantageConfig>(bad), "test.yaml:1");
  }
}

TEST(LrScheduleConfig, ReadsAndRefuses) {
  const auto s =
      LrSchedule::parse(yaml("kind: cosine\nlr: 1e-4\nwarmup_steps: 10\ntotal_steps: 100\nfinal_ratio: 0.1"));
  EXPECT_EQ(s.kind, ScheduleKind::kCosine);
  EXPECT_EQ(s.lr, 1e-4);
  EXPECT_EQ(s.warmup_steps, 10);
  EXPECT_EQ(s.total_steps, 100);
  EXPECT_EQ(s.final_ratio, 0.1);
  EXPECT_EQ(LrSchedule::parse(yaml("kind: linear")).kind, ScheduleKind::kLinear);
  for (const std::string bad :
       {"kind: exponential", "lr: -1", "warmup_steps: -1", "total_steps: -5", "final_ratio: 2", "warmup: 3",
        "{kind: linear, warmup_steps: 5, total_steps: 5}"}) {
    expect_contains(refusal<LrSchedule>(bad), "test.yaml:1");
  }
}

}  // namespace
}  // namespace r1::algo
