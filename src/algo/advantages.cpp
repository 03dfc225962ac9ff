#include "r1/algo/advantages.h"

#include <torch/torch.h>

#include <cmath>
#include <limits>

#include "r1/util/strings.h"

namespace r1::algo {
namespace {

void check_rewards(const at::Tensor& rewards_PG, const at::Tensor& valid_PG) {
  TORCH_CHECK(rewards_PG.defined() && rewards_PG.dim() == 2, "group_advantages: rewards must be [P, G], got ",
              rewards_PG.defined() ? cat(rewards_PG.sizes()) : "an undefined tensor");
  TORCH_CHECK(rewards_PG.scalar_type() == at::kFloat || rewards_PG.scalar_type() == at::kDouble,
              "group_advantages: rewards must be float32 or float64, got ", rewards_PG.scalar_type());
  TORCH_CHECK(rewards_PG.size(1) >= 2, "group_advantages: rewards are ", rewards_PG.sizes(),
              "; a group needs 2 completions or more, as a group of one has no other to be compared with");
  TORCH_CHECK(
      !valid_PG.defined() || (valid_PG.sizes() == rewards_PG.sizes() && valid_PG.scalar_type() == at::kBool),
      "group_advantages: valid must be a bool tensor of the rewards' shape");
}

}  // namespace

AdvantageConfig AdvantageConfig::parse(ConfigNode node) {
  AdvantageConfig c;
  std::string baseline = "mean", std = "population";
  node.read("baseline", baseline, one_of({"mean", "leave_one_out"}));
  node.read("std", std, one_of({"none", "population", "sample"}),
            "none is Dr. GRPO, population divides by G, sample (torch.std) by G - 1.");
  node.read("eps", c.eps, between(0.0, 1.0), "It is added to the standard deviation of a group's rewards.");
  c.baseline = baseline == "mean" ? Baseline::kMean : Baseline::kLeaveOneOut;
  c.std = std == "none"         ? RewardStd::kNone
          : std == "population" ? RewardStd::kPopulation
                                : RewardStd::kSample;
  node.reject_unknown_keys();
  return c;
}

at::Tensor group_advantages(const at::Tensor& rewards_PG, const AdvantageConfig& config,
                            const at::Tensor& valid_PG) {
  check_rewards(rewards_PG, valid_PG);
  const at::NoGradGuard no_grad;
  const auto valid = valid_PG.defined() ? valid_PG : at::ones_like(rewards_PG, at::kBool);
  // sync: rewards are made on the host, a NaN here would silently spread over its group.
  TORCH_CHECK(
      (rewards_PG.isfinite() | ~valid).all().item<bool>(),
      "group_advantages: a reward is NaN or infinite; a completion that could not be judged is to be marked "
      "invalid, not given a number");

  const auto rewards = rewards_PG.masked_fill(~valid, 0.0);
  const auto num_valid_P1 = valid.sum(1, /*keepdim=*/true).to(rewards.scalar_type());
  const auto count_P1 = num_valid_P1.clamp_min(1.0);
  const auto mean_P1 = rewards.sum(1, true) / count_P1;
  const auto centred = (rewards - mean_P1).masked_fill(~valid, 0.0);

  // r_i - mean of the others = (r_i - mean of all) * n / (n - 1)
  auto advantages = config.baseline == Baseline::kLeaveOneOut
                        ? centred * count_P1 / (count_P1 - 1.0).clamp_min(1.0)
                        : centred;
  if (config.std != RewardStd::kNone) {
    const auto divisor = config.std == RewardStd::kSample ? (count_P1 - 1.0).clamp_min(1.0) : count_P1;
    advantages = advantages / ((centred * centred).sum(1, true) / divisor).sqrt().add(config.eps);
  }
  const auto infinity = std::numeric_limits<double>::infinity();
  const auto equal_P1 =
      rewards_PG.masked_fill(~valid, -infinity).amax(1, true) <=
      rewards_PG.masked_fill(~valid, infinity).amin(1, true);  // also true for 0 and 1 valid
  return advantages.masked_fill(equal_P1 | ~valid, 0.0);
}

}  // namespace r1::algo
