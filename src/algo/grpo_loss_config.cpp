#include <string>

#include "r1/algo/grpo_loss.h"
#include "r1/util/config.h"

namespace r1::algo {
namespace {

Aggregation aggregation_from(const std::string& name) {
  if (name == "sequence") return Aggregation::kSequence;
  if (name == "token") return Aggregation::kToken;
  if (name == "constant") return Aggregation::kConstant;
  return Aggregation::kTokenInSequence;
}

RatioLevel ratio_level_from(const std::string& name) {
  if (name == "sequence_mean") return RatioLevel::kSequenceMean;
  if (name == "sequence_product") return RatioLevel::kSequenceProduct;
  return RatioLevel::kToken;
}

Accept<double> accept_off_or(bool (*test)(double), const char* text) {
  Accept<double> accept;
  accept.test = [test](const double& x) { return x == 0.0 || test(x); };
  accept.text = text;
  return accept;
}

}  // namespace

GrpoLossConfig GrpoLossConfig::parse(ConfigNode node) {
  GrpoLossConfig c;
  node.read("clip_low", c.clip_low, above(0.0),
            "Ratios are clipped below 1 - clip_low. R1 uses 10 (never), PPO and DAPO 0.2.");
  node.read("clip_high", c.clip_high, above(0.0),
            "Ratios are clipped above 1 + clip_high. R1 uses 10, PPO 0.2, DAPO 0.28.");
  node.read("dual_clip", c.dual_clip, accept_off_or([](double x) { return x > 1.0; }, "0 (off), or above 1"),
            "It bounds the ratio of a negative advantage; 3 is usual.");
  node.read("kl_coef", c.kl_coef, at_least(0.0), "It is beta; 0 drops the reference model. R1 uses 0.001.");

  std::string estimator = name_of(c.kl_estimator), aggregation = "token_in_sequence";
  node.read("kl_estimator", estimator, one_of({"k1", "k2", "k3"}), "k3 is DeepSeekMath's and R1's.");
  node.read("aggregation", aggregation, one_of({"sequence", "token_in_sequence", "token", "constant"}),
            "DeepSeekMath is token_in_sequence, DAPO token, Dr. GRPO constant, R1's equation read literally "
            "sequence.");
  c.kl_estimator = kl_estimator_from(estimator);
  c.aggregation = aggregation_from(aggregation);

  std::string ratio_level = c.aggregation == Aggregation::kSequence ? "sequence_product" : "token";
  node.read("ratio_level", ratio_level, one_of({"token", "sequence_mean", "sequence_product"}),
            "sequence_mean is GSPO's, sequence_product R1's equation read literally.");
  c.ratio_level = ratio_level_from(ratio_level);
  if (c.aggregation == Aggregation::kSequence && c.ratio_level == RatioLevel::kToken) {
    node.reject("ratio_level", "sequence_mean or sequence_product with aggregation sequence",
                "A completion that is one term has one ratio. For ratios per token use aggregation "
                "token_in_sequence.");
  }

  node.read("constant_length", c.constant_length, at_least<int64_t>(0),
            "It is Dr. GRPO's divisor in tokens; 0 takes max_completion_tokens.");
  node.read(
      "tis_cap", c.tis_cap, accept_off_or([](double x) { return x >= 1.0; }, "0 (off), or 1 or more"),
      "It caps the weight pi_old / pi_rollout; 2 is usual. Needed only when sampler and trainer differ.");
  c.overlong = OverlongConfig::parse(node.child("overlong"));
  node.reject_unknown_keys();
  return c;
}

}  // namespace r1::algo
