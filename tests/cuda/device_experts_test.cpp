// Experts dealt over ranks on the emulated device: a layer against float64, stages against one rank. Ranks are threads, each with a
// device of its own.
#include <filesystem>
#include <numeric>
#include <optional>

#include "cuda/device_numbers.h"
#include "expert_exchange.h"
#include "reference.h"
#include "train/rank_jobs.h"
#include "train/tiny_grpo.h"

namespace r1::train {
namespace {

using r1::test::EmulatedDevice;
using r1::test::Evaluation;
using r1::test::random_bf16;
using r1::test::relative_error;
using test::Job;
using test::Outcome;
using test::same_bits;
using test::value_of;
using torch::Tensor;

struct Layer {
  int64_t K, E, C, F;
  std::vector<int64_t> tokens;  // of each rank
  bool one_expert = false;
};

std::vector<ops::ExpertWeights> matrices(const std::vector<Tensor>& x) {
  std::vector<ops::ExpertWeights> out;
  for (size_t i = 0; i + 2 < x.size(); i += 3) out.push_back({x[i], x[i + 1], x[i + 2]});
  return out;
}

// The layer with its tokens and experts on ranks: values of all tokens in order, and the gradients of evaluate_in.
Evaluation dealt(const Layer& c, const std::vector<Tensor>& inputs, const Tensor& experts_NK, torch::Dtype dtype) {
  const auto R = static_cast<int>(c.tokens.size());
  const int64_t N = inputs[0].size(0);
  auto generator = at::make_generator<at::CPUGeneratorImpl>(7);
  const auto dy_NC = torch::randn({N, c.C}, generator, torch::kDouble).to(torch::kBFloat16).to(dtype);
  std::vector<Tensor> values(c.tokens.size()), dx(c.tokens.size()), dweights(c.tokens.size());
  Evaluation got{{}, std::vector<Tensor>(inputs.size())};
  r1::test::run_ranks(R, [&](std::shared_ptr<dist::Communicator> group) {
    torch::set_num_threads(1);
    std::optional<EmulatedDevice> device;
    if (dtype == torch::kBFloat16) device.emplace();
    const auto rank = static_cast<size_t>(group->rank());
    const model::ExpertRanks ranks{group, false};
    const int64_t first = std::accumulate(c.tokens.begin(), c.tokens.begin() + group->rank(), int64_t{0});
    const auto mine = [&](const Tensor& x, torch::Dtype to) { return x.narrow(0, first, c.tokens[rank]).to(to).clone(); };
    const auto x_NC = mine(inputs[0], dtype).requires_grad_(), weights_NK = mine(inputs[1], device ? torch::kFloat : dtype).requires_grad_();
    std::vector<Tensor> own;
    const auto begin = static_cast<size_t>(2 + 3 * ranks.begin(c.E)), end = static_cast<size_t>(2 + 3 * ranks.end(c.E));
    for (size_t i = begin; i < end; ++i) own.push_back(inputs[i].to(dtype).clone().requires_grad_());
    const auto run = [&] { return model::exchanged_experts(x_NC, mine(experts_NK, torch::kLong), weights_NK, c.E, matrices(own), {}, ranks); };
    const auto y_NC = run();
    EXPECT_EQ(y_NC.scalar_type(), dtype);
    y_NC.backward(mine(dy_NC, dtype));
    values[rank] = y_NC.detach();
    dx[rank] = x_NC.grad();
    dweights[rank] = weights_NK.grad();
    for (size_t i = begin; i < end; ++i) got.gradients[i] = own[i - begin].grad().defined() ? own[i - begin].grad() : torch::zeros_like(own[i - begin]);
    const torch::NoGradGuard no_grad;
    EXPECT_TRUE(torch::equal(run(), values[rank])) << "the sampler's are the trainer's";
  });
  got.value = torch::cat(values);
  got.gradients[0] = torch::cat(dx);
  got.gradients[1] = torch::cat(dweights);
  return got;
}

TEST(DeviceExperts, ALayerIsThatOfOneRank) {
  torch::manual_seed(5);
  for (const auto& c : {Layer{2, 5, 24, 16, {19, 7}}, Layer{3, 6, 72, 40, {0, 70}}, Layer{2, 4, 16, 24, {9, 0, 31}}, Layer{1, 4, 16, 8, {20, 20}, true},
                        Layer{2, 4, 16, 8, {0, 0}}, Layer{2, 5, 20, 12, {6, 11}}}) {
    const int64_t N = std::accumulate(c.tokens.begin(), c.tokens.end(), int64_t{0});
    std::vector<Tensor> inputs{random_bf16({N, c.C}), torch::rand({N, c.K}, torch::kDouble).to(torch::kBFloat16).to(torch::kDouble)};
    const auto width = 1 / std::sqrt(static_cast<double>(c.C)), height = 1 / std::sqrt(static_cast<double>(c.F));
    for (int64_t e = 0; e < c.E; ++e) inputs.insert(inputs.end(), {random_bf16({c.F, c.C}, width), random_bf16({c.F, c.C}, width), random_bf16({c.C, c.F}, height)});
    const auto experts_NK = c.one_expert ? torch::full({N, c.K}, c.E - 1, torch::kLong)
                                         : std::get<1>(torch::rand({N, c.E}).sort(-1)).narrow(1, 0, c.K).contiguous();
    const auto plain = [&](const auto& x) { return ops::ref::expert_mlp(x[0], experts_NK, x[1], matrices({x.begin() + 2, x.end()})); };
    const auto exact = r1::test::evaluate_in(plain, inputs, torch::kDouble), aten = r1::test::evaluate_in(plain, inputs, torch::kBFloat16);
    const auto wide = dealt(c, inputs, experts_NK, torch::kDouble), got = dealt(c, inputs, experts_NK, torch::kBFloat16);
    EXPECT_LE(relative_error(wide.value, exact.value), 1e-13);
    EXPECT_LE(relative_error(got.value, exact.value), 2 * relative_error(aten.value, exact.value) + 1.0 / 256);
    for (size_t i = 0; i < inputs.size(); ++i) {
      EXPECT_LE(relative_error(wide.gradients[i], exact.gradients[i]), 1e-13) << "gradient " << i << ", N = " << N;
      EXPECT_LE(relative_error(got.gradients[i], exact.gradients[i]), 2 * relative_error(aten.gradients[i], exact.gradients[i]) + 1.0 / 256)
          << "gradient " << i << ", N = " << N;
    }
  }
}

// {ranks, numerics, zero, expert}
const Job kOne{1, Numerics::kFast};
const Job kPair{2, Numerics::kFast, false, 2}, kPairWithZero{2, Numerics::kFast, true, 2};
const Job kSquare{4, Numerics::kFast, false, 2}, kSquareWithZero{4, Numerics::kFast, true, 2};

// Widths of the latents that the cache's kernels have.
model::Transformer mixture() {
  auto c = test::tiny_mixture()->config();
  c.qk_rope_head_dim = c.head_dim = 8;
  c.num_nextn_predict_layers = 1;
  model::Transformer model(c);
  model->initialize(3);
  return model;
}

// `run` on every rank's device.
Outcome train(const Job& job, const std::function<void(const StageContext&, Outcome&)>& run) {
  return test::train(job, mixture, [&](const StageContext& context, Outcome& outcome) {
    const EmulatedDevice device;
    auto here = context;
    here.model->place(at::kCPU, at::kFloat);  // as the pipeline does for a stage that trains
    run(here, outcome);
  });
}

TextStageConfig text_config(int64_t steps, int64_t micro_batch_tokens) {
  auto c = test::text_stage_config(micro_batch_tokens);
  c.steps = steps;
  c.texts_per_step = 6;
  return c;
}

// Losses, and gradient norms as rewards.
Outcome texts(const Job& job, int64_t micro_batch_tokens) {
  return train(job, [&](const StageContext& context, Outcome& outcome) {
    TextStage stage(context, text_config(3, micro_batch_tokens), test::text_example);
    while (stage.steps_done() < stage.total_steps()) {
      const auto figures = stage.advance();
      outcome.losses.push_back(value_of(figures, "loss"));
      outcome.rewards.push_back(value_of(figures, "grad_norm"));
    }
  });
}

void expect_near(const Outcome& a, const Outcome& b, const std::string& what) {
  ASSERT_EQ(a.losses.size(), b.losses.size());
  for (size_t i = 0; i < a.losses.size(); ++i) EXPECT_NEAR(a.losses[i], b.losses[i], 0.02 * b.losses[0]) << what << ", step " << i;
  for (size_t i = 0; i < a.rewards.size(); ++i) EXPECT_NEAR(a.rewards[i], b.rewards[i], 0.05 * b.rewards[i]) << what << ", norm of step " << i;
}

TEST(DeviceExperts, TextStagesAreThoseOfOneRank) {
  for (const int64_t tokens : {24, 4096}) {  // the second: one micro-batch, so that all ranks but one make empty passes
    const auto one = texts(kOne, tokens), pair = texts(kPair, tokens);
    expect_near(pair, one, cat("1 x 2, micro-batches of ", tokens));
    if (tokens > 24) continue;
    test::expect_equal(texts(kPair, tokens), pair, "again");
    test::expect_equal(texts(kPairWithZero, tokens), pair, "1 x 2 with ZeRO-1");
    const auto square = texts(kSquare, tokens);
    expect_near(square, one, "2 x 2");
    test::expect_equal(texts(kSquareWithZero, tokens), square, "2 x 2 with ZeRO-1");
  }
}

// Two optimizers and a reference.
TEST(DeviceExperts, GrpoSamplesAndTrains) {
  const test::RunFolder folder("device_experts_grpo");
  const auto run = [&](const Job& job, const std::string& to) {
    return train(job, [&](const StageContext& context, Outcome& outcome) {
      const auto held = test::tiny_grpo(context, {"steps=2", "experts.routing_replay=true"});
      auto& stage = *held;
      const EmulatedDevice counting;
      while (stage.steps_done() < stage.total_steps()) {
        const auto figures = stage.advance();
        outcome.losses.push_back(value_of(figures, "loss"));
        outcome.rewards.push_back(value_of(figures, "grad_norm"));
        EXPECT_LT(value_of(figures, "logprob_error_max"), 0.15) << "sampler and trainer differ by bf16 alone";
        EXPECT_GT(value_of(figures, "generated_tokens"), 12);
        EXPECT_TRUE(std::isfinite(outcome.losses.back()));
      }
      save_checkpoint(folder.path() / to, {stage.steps_done(), stage.checkpoint_groups(), {}, {}}, {}, *context.sharing.ranks);
      EXPECT_GT(counting.calls().count("write_pages"), 0U);
      EXPECT_EQ(counting.calls().contains("record_graph"), context.sharing.ranks->alone()) << "the exchange cannot be recorded";
    });
  };
  const auto one = run(kOne, "one"), pair = run(kPair, "pair");
  EXPECT_NEAR(pair.losses[0], one.losses[0], 1e-3);
  EXPECT_NEAR(pair.rewards[0], one.rewards[0], 0.05 * one.rewards[0]);
  EXPECT_EQ(pair.texts.size(), 24U);
  test::expect_equal(run(kPair, "again"), pair, "again");
  test::expect_equal(run(kPairWithZero, "zero"), pair, "with ZeRO-1");
  EXPECT_EQ(CheckpointReader(folder.path() / "pair" / "latest").differences(CheckpointReader(folder.path() / "zero" / "latest")), std::vector<std::string>());
}

// Two steps on one grid, a checkpoint, what another one makes of it.
TEST(DeviceExperts, AnyGridReadsTheCheckpointOfAnother) {
  const test::RunFolder folder("device_experts");
  const auto part = [&](const Job& job, const std::string& from, const std::string& to, int64_t steps) {
    return train(job, [&](const StageContext& context, Outcome& outcome) {
      TextStage stage(context, text_config(3, 24), test::text_example);
      if (!from.empty()) stage.restore(CheckpointReader(*newest_checkpoint(folder.path() / from, *context.sharing.ranks)));
      for (int64_t i = 0; i < steps; ++i) outcome.losses.push_back(value_of(stage.advance(), "loss"));
      save_checkpoint(folder.path() / to, {stage.steps_done(), stage.checkpoint_groups(), stage.checkpoint_state(), {}}, {}, *context.sharing.ranks);
    });
  };
  const auto differences = [&](const std::string& a, const std::string& b) {
    return CheckpointReader(folder.path() / a / "latest").differences(CheckpointReader(folder.path() / b / "latest"));
  };
  const std::vector<std::string> none;
  part(kPair, "", "pair", 2);
  const CheckpointReader reader(folder.path() / "pair" / "latest");
  for (const auto& name : reader.names("model")) EXPECT_EQ(reader.tensor("model", name).scalar_type(), at::kFloat) << name;
  for (const auto& job : {kOne, kPair, kPairWithZero, kSquareWithZero}) {
    const auto name = cat("read by ", job.ranks, job.zero);
    part(job, "pair", name, 0);
    EXPECT_EQ(differences("pair", name), none) << name;
  }
  const auto unbroken = texts(kPair, 24), resumed = part(kPair, "read by 10", "on", 1);
  EXPECT_EQ(resumed.losses, std::vector(unbroken.losses.begin() + 2, unbroken.losses.end()));
  EXPECT_TRUE(same_bits(resumed.weights, unbroken.weights));
  part(kPairWithZero, "pair", "on with ZeRO-1", 1);
  EXPECT_EQ(differences("on", "on with ZeRO-1"), none);
}

}  // namespace
}  // namespace r1::train
