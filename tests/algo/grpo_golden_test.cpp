// One rollout with two optimizer steps against plain PyTorch in float64 (scripts/golden/grpo_golden.py).
#include <gtest/gtest.h>
#include <torch/torch.h>

#include <algorithm>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "r1/algo/advantages.h"
#include "r1/algo/grpo_loss.h"

namespace r1::algo {
namespace {

using nlohmann::json;
using torch::Tensor;

Tensor matrix(const json& rows) {  // 1-D to 3-D nested lists
  if (!rows.is_array() || rows.empty()) return torch::tensor(rows.get<double>(), torch::kDouble);
  if (!rows[0].is_array()) return torch::tensor(rows.get<std::vector<double>>(), torch::kDouble);
  std::vector<Tensor> parts;
  for (const auto& row : rows) parts.push_back(matrix(row));
  return torch::stack(parts);
}

struct Rollout {
  json file;
  std::vector<int64_t> lengths;
  Tensor features_BTC, ids_BT, w0_CV, reference_BT, old_BT, rollout_BT, rewards_PG;
};

Rollout load() {
  std::ifstream in(std::string(R1_SOURCE_DIR) + "/tests/golden/algo/grpo.json");
  Rollout r;
  r.file = json::parse(in);
  r.lengths = r.file["lengths"].get<std::vector<int64_t>>();
  r.features_BTC = matrix(r.file["features"]);
  r.ids_BT = matrix(r.file["ids"]).to(torch::kLong);
  r.w0_CV = matrix(r.file["w0"]);
  r.reference_BT = matrix(r.file["reference"]);
  r.old_BT = matrix(r.file["old"]);
  r.rollout_BT = matrix(r.file["rollout"]);
  r.rewards_PG = matrix(r.file["rewards"]);
  return r;
}

GrpoLossConfig loss_config(const json& s) {
  GrpoLossConfig c;
  c.clip_low = s.at("clip_low");
  c.clip_high = s.at("clip_high");
  c.dual_clip = s.value("dual_clip", 0.0);
  c.kl_coef = s.at("kl_coef");
  c.kl_estimator = kl_estimator_from(s.value("kl_estimator", "k3"));
  c.tis_cap = s.value("tis_cap", 0.0);
  c.constant_length = s.value("constant_length", 0);
  const std::string aggregation = s.at("aggregation"), level = s.value("ratio_level", "token");
  c.aggregation = aggregation == "sequence"            ? Aggregation::kSequence
                  : aggregation == "token_in_sequence" ? Aggregation::kTokenInSequence
                  : aggregation == "token"             ? Aggregation::kToken
                                                       : Aggregation::kConstant;
  c.ratio_level = level == "token"           ? RatioLevel::kToken
                  : level == "sequence_mean" ? RatioLevel::kSequenceMean
                                             : RatioLevel::kSequenceProduct;
  return c;
}

AdvantageConfig advantage_config(const json& s) {
  AdvantageConfig c;
  const std::string std = s.value("std", "population");
  c.std = std == "none" ? RewardStd::kNone : std == "sample" ? RewardStd::kSample : RewardStd::kPopulation;
  if (s.value("baseline", "mean") == "leave_one_out") c.baseline = Baseline::kLeaveOneOut;
  return c;
}

/// Picks the tokens (b, t) of `rows` out of a [B, T] tensor, packed; `order` gives their places.
struct Packing {
  std::vector<int64_t> flat, sequence;
  Tensor pick(const Tensor& x_BT) const { return x_BT.reshape({-1}).index_select(0, torch::tensor(flat)); }
};

Packing pack(const std::vector<int64_t>& rows, const std::vector<int64_t>& lengths, int64_t row_size,
             bool reversed) {
  Packing p;
  for (size_t m = 0; m < rows.size(); ++m) {
    for (int64_t t = 0; t < lengths[rows[m]]; ++t) {
      p.flat.push_back(rows[m] * row_size + t);
      p.sequence.push_back(static_cast<int64_t>(m));
    }
  }
  if (reversed) {
    std::reverse(p.flat.begin(), p.flat.end());
    std::reverse(p.sequence.begin(), p.sequence.end());
  }
  return p;
}

/// Both minibatches of one case, each split into micro-batches of `micro_size` completions. Returns the
/// largest error against the golden loss, d loss / d logprobs, d loss / d W and the final W; adds up the
/// statistics.
double run_case(const Rollout& r, const json& golden, torch::ScalarType dtype, size_t micro_size,
                bool reversed, GrpoStats& stats) {
  const auto config = loss_config(golden["setting"]);
  const auto row_size = r.ids_BT.size(1);
  const auto advantages =
      group_advantages(r.rewards_PG.to(dtype), advantage_config(golden["setting"])).view({-1});
  double worst = 0;
  const auto note = [&worst](const Tensor& got, const Tensor& expected) {
    worst = std::max(worst, (got.to(torch::kDouble) - expected).abs().max().item<double>());
  };
  note(advantages, matrix(golden["advantages"]));
  auto weight = r.w0_CV.to(dtype);
  for (size_t step = 0; step < 2; ++step) {
    const auto& expected = golden["steps"][step];
    const auto rows = r.file["minibatches"][step].get<std::vector<int64_t>>();
    LossScale scale{static_cast<int64_t>(rows.size()), 0, config.constant_length};
    for (const auto b : rows) scale.num_tokens_step += r.lengths[b];

    weight = weight.detach().requires_grad_();
    auto logprobs_BT = torch::log_softmax(r.features_BTC.to(dtype).matmul(weight), -1)
                           .gather(-1, r.ids_BT.unsqueeze(-1))
                           .squeeze(-1);
    logprobs_BT.retain_grad();
    double loss = 0;
    for (size_t begin = 0; begin < rows.size(); begin += micro_size) {
      const std::vector<int64_t> part(rows.begin() + begin,
                                      rows.begin() + std::min(begin + micro_size, rows.size()));
      const auto p = pack(part, r.lengths, row_size, reversed);
      GrpoBatch batch;
      batch.rollout_logprobs_N = p.pick(r.rollout_BT.to(dtype));
      if (config.tis_cap > 0) batch.old_logprobs_N = p.pick(r.old_BT.to(dtype));
      batch.reference_logprobs_N = p.pick(r.reference_BT.to(dtype));
      batch.advantages_M = advantages.index_select(0, torch::tensor(part));
      batch.sequence_N = torch::tensor(p.sequence, torch::kLong);
      batch.mask_N = torch::ones({static_cast<int64_t>(p.flat.size())}, torch::kBool);
      batch.num_sequences = static_cast<int64_t>(part.size());
      const auto result = grpo_loss(p.pick(logprobs_BT), batch, scale, config);
      result.loss.backward({}, /*retain_graph=*/true);
      loss += result.loss.item<double>();
      stats.add(result.stats);
    }
    worst = std::max(worst, std::abs(loss - expected["loss"].get<double>()));
    note(logprobs_BT.grad(), matrix(expected["logprobs_grad"]));
    note(weight.grad(), matrix(expected["weight_grad"]));
    const double lr = r.file["lr"], norm = matrix(expected["weight_grad"]).norm().item<double>();
    weight = weight.detach() - lr * weight.grad() / std::max(1.0, norm * lr / 0.8);
  }
  note(weight, matrix(golden["weight_after"]));
  return worst;
}

TEST(GrpoGolden, LossAndGradientsOfTwoMinibatchesInFloat64) {
  const auto r = load();
  int64_t low = 0, high = 0, dual = 0, capped = 0;
  for (const auto& [name, golden] : r.file["cases"].items()) {
    for (const size_t micro_size : {6, 1, 4}) {
      GrpoStats stats;
      EXPECT_LE(run_case(r, golden, torch::kDouble, micro_size, micro_size == 4, stats), 1e-12)
          << name << ", " << micro_size << " completions a micro-batch";
      EXPECT_EQ(stats.tokens.item<double>(), 48) << name;
      EXPECT_EQ(stats.sequences.item<double>(), 11) << name;  // one of twelve is empty
      low += stats.clip_low_count.item<int64_t>();
      high += stats.clip_high_count.item<int64_t>();
      dual += stats.dual_clip_count.item<int64_t>();
      capped += stats.tis_capped_count.item<int64_t>();
    }
  }
  EXPECT_GE(r.file["cases"].size(), 13u);
  // The cases really reach what they are about.
  EXPECT_GT(low, 0);
  EXPECT_GT(high, 0);
  EXPECT_GT(dual, 0);
  EXPECT_GT(capped, 0);
}

TEST(GrpoGolden, Float32IsOffByItsRoundingOnly) {
  const auto r = load();
  for (const auto& [name, golden] : r.file["cases"].items()) {
    GrpoStats stats;
    EXPECT_LE(run_case(r, golden, torch::kFloat, 6, false, stats), 3e-6) << name;
  }
}

}  // namespace
}  // namespace r1::algo
