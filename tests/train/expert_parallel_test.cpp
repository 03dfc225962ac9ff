// Experts dealt over ranks: in exact mode any grid of data x expert gives the bits of one rank.
#include <gtest/gtest.h>

#include <cmath>

#include "rank_jobs.h"

namespace r1::train {
namespace {

using test::expect_equal;
using test::Job;
using test::Outcome;
using test::same_bits;
using test::train_grpo;
using test::train_texts;
using test::value_of;

model::Transformer mixture() { return test::tiny_mixture(); }
model::Transformer mixture_with_mtp() { return test::with_mtp(test::tiny_mixture()); }

// {ranks, numerics, zero, expert}; 3 ranks have uneven shares of the 8 experts.
const std::vector<Job> kGrids = {{2, Numerics::kExact, false, 2}, {3, Numerics::kExact, false, 3}, {4, Numerics::kExact, false, 2},
                                 {4, Numerics::kExact, false, 4}, {2, Numerics::kExact, true, 2},  {4, Numerics::kExact, true, 2},
                                 {4, Numerics::kExact, true, 4}};

std::string name_of(const Job& job) { return cat(job.ranks / job.expert, " x ", job.expert, job.zero ? " with ZeRO-1" : ""); }

TEST(ExpertParallel, EachRankInitializesItsExpertsAsOneRankDoes) {
  const auto whole = mixture_with_mtp();
  std::map<std::string, torch::Tensor> expected;
  for (const auto& [name, tensor] : whole->named_tensors()) expected[name] = tensor;
  r1::test::run_ranks(3, [&](std::shared_ptr<dist::Communicator> ranks) {
    model::Transformer part(whole->config(), torch::TensorOptions(torch::kFloat), model::ExpertRanks{ranks, true});
    part->initialize(3);
    EXPECT_LT(part->named_parameters().size(), whole->named_parameters().size());
    EXPECT_EQ(part->all_parameter_names(), whole->all_parameter_names());
    for (const auto& [name, tensor] : part->named_tensors()) EXPECT_TRUE(same_bits({tensor}, {expected.at(name)})) << name;
  });
}

TEST(ExpertParallel, TextStagesEndInTheBitsOfOneRank) {
  for (const int64_t tokens : {16, 30, 4096}) {  // the last: one micro-batch, so that all ranks but one make empty passes
    const auto one = train_texts({1}, tokens, mixture_with_mtp);
    for (const auto& job : kGrids) expect_equal(one, train_texts(job, tokens, mixture_with_mtp), cat(name_of(job), ", micro-batches of ", tokens));
  }
}

TEST(ExpertParallel, GrpoGivesTheTextsAndWeightsOfOneRank) {
  const std::vector<std::string> settings{"dynamic_sampling=true", "steps_per_rollout=2", "activation_checkpointing=true"};
  const auto one = train_grpo({1}, mixture_with_mtp, settings);
  for (const auto& job : kGrids) expect_equal(one, train_grpo(job, mixture_with_mtp, settings), name_of(job));
}

TEST(ExpertParallel, RewardModelsEndInTheBitsOfOneRank) {
  const auto run = [](const Job& job) { return test::train_reward_model(job, mixture); };
  const auto one = run({1});
  for (const auto& job : {kGrids[0], kGrids[2], kGrids[6]}) expect_equal(one, run(job), name_of(job));
}

TEST(ExpertParallel, FastSumsAgreeToRounding) {
  const auto one = train_texts({1, Numerics::kFast}, 30, mixture);
  for (const auto& [ranks, expert] : {std::pair{2, 2}, {4, 2}, {4, 4}}) {
    const Job job{ranks, Numerics::kFast, false, expert};
    const auto other = train_texts(job, 30, mixture);
    ASSERT_EQ(other.losses.size(), one.losses.size());
    for (size_t i = 0; i < one.losses.size(); ++i) EXPECT_NEAR(other.losses[i], one.losses[i], 1e-5 * one.losses[i]) << name_of(job) << ", step " << i;
    expect_equal(other, train_texts(job, 30, mixture), "again");
  }
}

// Six steps on one grid, a checkpoint, six on another: the bits of twelve on one rank.
TEST(ExpertParallel, AnyGridGoesOnFromTheCheckpointOfAnother) {
  const auto part = [](const Job& job, const std::filesystem::path& checkpoints, int64_t from, int64_t to) {
    return test::train(job, mixture_with_mtp, [&](const StageContext& context, Outcome& outcome) {
      TextStage stage(context, test::text_stage_config(30), test::text_example);
      if (from > 0) {
        const auto found = newest_checkpoint(checkpoints, *context.sharing.ranks);
        ASSERT_TRUE(found && found->step == from);
        stage.restore(CheckpointReader(*found));
      }
      while (stage.steps_done() < to) outcome.losses.push_back(value_of(stage.advance(), "loss"));
      save_checkpoint(checkpoints, {to, stage.checkpoint_groups(), stage.checkpoint_state(), {}}, {}, *context.sharing.ranks);
    });
  };
  const test::RunFolder folder("grids");
  const auto one = part({1}, folder.path() / "one", 0, 12);
  for (const auto& [first, second] : {std::pair<Job, Job>{kGrids[2], {1}}, {{1}, kGrids[1]}, {kGrids[5], kGrids[3]}, {kGrids[0], {2}}}) {
    const auto checkpoints = folder.path() / cat(first.ranks, first.expert, second.ranks);
    part(first, checkpoints, 0, 6);
    const auto resumed = part(second, checkpoints, 6, 12);
    EXPECT_TRUE(same_bits(resumed.weights, one.weights)) << name_of(first) << ", then " << name_of(second);
    EXPECT_EQ(resumed.losses, std::vector(one.losses.begin() + 6, one.losses.end()));
    EXPECT_EQ(CheckpointReader(checkpoints / "latest").differences(CheckpointReader(folder.path() / "one" / "latest")), std::vector<std::string>());
  }
}

// Within a pass a rank may wait for the exchange of a layer alone: were it to wait for another's gradients too, and that one for it, none
// would go on. Rank 1 begins its backward pass when rank 0 has ended its own, of more buckets than may be under way.
TEST(ExpertParallel, NoRankWaitsForGradientsWithinAPass) {
  r1::test::run_ranks(2, [](std::shared_ptr<dist::Communicator> ranks) {
    NamedTensors parameters;
    for (int i = 0; i < 5; ++i) parameters.emplace_back(cat("p", i), torch::ones({4 << 20}).requires_grad_());
    Sharing sharing{ranks, Numerics::kFast, true};
    sharing.experts = ExpertSharing::of(*ranks, 2);
    AdamW optimizer(parameters, {}, sharing);
    const auto mine = optimizer.begin_step(2);
    ASSERT_EQ(mine.size(), 1);
    auto loss = torch::zeros({});
    for (const auto& [name, p] : parameters) loss = loss + p.sum();
    if (!ranks->is_first()) sharing.experts->group->barrier("rank 0 has ended its pass");
    optimizer.before_backward(mine.begin);
    loss.backward();
    optimizer.after_backward(mine.begin);
    if (ranks->is_first()) sharing.experts->group->barrier("rank 0 has ended its pass");
    EXPECT_NEAR(optimizer.grad_norm(), 2 * std::sqrt(5.0 * (4 << 20)), 1e-3);
  });
}

TEST(ExpertParallel, ARankHasItsExpertsAlone) {
  const auto whole = train_texts({1}, 30, mixture).optimizer_elements, part = train_texts(kGrids[3], 30, mixture).optimizer_elements;
  // 3 matrices of 32 x 16 for each of 8 experts, 2 of them here; two moments.
  EXPECT_EQ(whole - part, 2 * 3 * 32 * 16 * 6);
}

}  // namespace
}  // namespace r1::train
