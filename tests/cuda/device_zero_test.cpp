// ZeRO-1 on the emulated device: ranks that keep a part of masters and moments each end in the bits of ranks that keep all, and
// their checkpoints are the same whoever writes and reads them. Ranks are threads, each with a device of its own.
#include <functional>
#include <map>
#include <optional>

#include "support/emulated_device.h"
#include "train/rank_jobs.h"
#include "train/tiny_grpo.h"

namespace r1::train {
namespace {

using r1::test::EmulatedDevice;
using test::RunFolder;
using test::same_bits;
using torch::Tensor;

// More than two chunks, a few elements, and nothing that a bucket deals evenly.
const std::vector<std::pair<std::string, std::vector<int64_t>>> kShapes{{"matrix", {300, 700}}, {"vector", {5}}, {"small", {33, 7}}, {"last", {90000}}};

Tensor numbers(at::IntArrayRef shape, int64_t seed) {
  auto generator = at::make_generator<at::CPUGeneratorImpl>(static_cast<uint64_t>(seed));
  return torch::randn(shape, generator);
}

struct Trained {
  std::vector<Tensor> copies, masters, saved;  ///< masters: whole, put together of all ranks; saved: as a checkpoint has them
  std::vector<double> norms, scales;
  int64_t state_bytes = 0, master_elements = 0;  ///< of the rank with the most
};

// Steps of five micro-batches and of one, which leaves ranks without any.
Trained train(int num_ranks, bool zero) {
  Trained result;
  std::vector<Trained> of_rank(static_cast<size_t>(num_ranks));
  for (const auto& [name, shape] : kShapes) result.masters.push_back(torch::full(shape, std::nan("")));
  for (const auto& master : result.masters) result.saved.push_back(master.clone());
  r1::test::run_ranks(num_ranks, [&](std::shared_ptr<dist::Communicator> ranks) {
    torch::set_num_threads(1);
    const EmulatedDevice device;
    NamedTensors parameters;
    for (const auto& [name, shape] : kShapes) parameters.emplace_back(name, numbers(shape, 1).requires_grad_());
    AdamWConfig config;
    config.weight_decay = 0.1;
    config.max_grad_norm = 0.5;
    AdamW optimizer(parameters, config, {ranks, Numerics::kFast, zero});
    auto& mine = of_rank[static_cast<size_t>(ranks->rank())];
    int64_t seed = 10;
    for (const int64_t micro_batches : {5, 1, 5}) {
      const auto share = optimizer.begin_step(micro_batches);
      for (int64_t m = share.begin; m < share.end; ++m) {
        Tensor loss;
        for (const auto& [name, p] : parameters) {
          if (m == 0 && name == "small") continue;  // the only micro-batch of the second step has no gradient for it
          const auto term = (p.to(at::kFloat) * numbers(p.sizes(), seed + m)).sum();
          loss = loss.defined() ? loss + term : term;
        }
        optimizer.before_backward(m);
        loss.backward();
        optimizer.after_backward(m);
      }
      const auto done = optimizer.step(1e-2);
      EXPECT_TRUE(done.applied);
      mine.norms.push_back(done.grad_norm);
      mine.scales.push_back(done.gradient_scale);
      seed += 10;
    }
    for (const auto& [name, p] : parameters) {
      EXPECT_EQ(p.scalar_type(), at::kBFloat16);
      mine.copies.push_back(p.detach().clone());
    }
    mine.state_bytes = optimizer.state_bytes();
    const auto put = [](const TensorSlice& slice, std::vector<Tensor>& into) {
      for (size_t i = 0; i < kShapes.size(); ++i) {
        if (kShapes[i].first == slice.name) into[i].view(-1).narrow(0, slice.begin, slice.values.numel()).copy_(slice.values);
      }
    };
    const auto whole = optimizer.with_whole_masters({parameters});
    for (const auto& slice : whole.slices) {
      EXPECT_EQ(slice.values.numel(), c10::multiply_integers(slice.shape)) << slice.name;
      put(slice, result.saved);
    }
    const auto parts = optimizer.with_masters({parameters});
    for (size_t i = 0; i < kShapes.size(); ++i) {
      EXPECT_EQ(parts.tensors[i].second.defined(), !zero);
      if (!zero && ranks->is_first()) result.masters[i].copy_(parts.tensors[i].second);
    }
    EXPECT_EQ(parts.slices.empty(), !zero);
    for (const auto& slice : parts.slices) {
      mine.master_elements += slice.values.numel();
      put(slice, result.masters);
    }
  });
  for (auto& mine : of_rank) {
    EXPECT_TRUE(same_bits(mine.copies, of_rank[0].copies)) << "copies differ between " << num_ranks << " ranks";
    EXPECT_EQ(mine.norms, of_rank[0].norms);
    result.state_bytes = std::max(result.state_bytes, mine.state_bytes);
    result.master_elements = std::max(result.master_elements, mine.master_elements);
  }
  result.copies = of_rank[0].copies;
  result.norms = of_rank[0].norms;
  result.scales = of_rank[0].scales;
  return result;
}

TEST(DeviceZero, StepsGiveTheBitsOfRanksThatKeepAll) {
  const auto alone = train(1, false);
  for (const int ranks : {2, 3}) {
    const auto plain = train(ranks, false), zero = train(ranks, true);
    EXPECT_TRUE(same_bits(zero.copies, plain.copies)) << ranks;
    EXPECT_TRUE(same_bits(zero.masters, plain.masters)) << ranks;
    EXPECT_TRUE(same_bits(zero.saved, plain.masters)) << ranks;
    EXPECT_EQ(zero.norms, plain.norms);
    EXPECT_EQ(zero.scales, plain.scales);
    EXPECT_LT(zero.scales[0], 1) << "clipping is part of the test";
    for (size_t i = 0; i < alone.norms.size(); ++i) EXPECT_NEAR(plain.norms[i], alone.norms[i], 1e-5 * alone.norms[i]) << "step " << i;
    for (size_t i = 0; i < kShapes.size(); ++i) {
      EXPECT_TRUE(torch::equal(zero.copies[i], zero.masters[i].to(at::kBFloat16))) << kShapes[i].first;
    }
    // Chunks are dealt whole, and there are eight.
    EXPECT_LT(zero.state_bytes, plain.state_bytes * 2 / 3);
    EXPECT_LT(zero.master_elements * 8, plain.state_bytes * 2 / 3);
    EXPECT_GT(zero.master_elements, 0);
  }
}

// With one rank there is nothing to split, and nothing changes.
TEST(DeviceZero, OneRankHasAll) {
  const auto plain = train(1, false), zero = train(1, true);
  EXPECT_TRUE(same_bits(zero.copies, plain.copies));
  EXPECT_TRUE(same_bits(zero.masters, plain.masters));
  EXPECT_EQ(zero.norms, plain.norms);
}

TEST(DeviceZero, AGradientThatIsNotFiniteChangesNothingOnAnyRank) {
  r1::test::run_ranks(2, [](std::shared_ptr<dist::Communicator> ranks) {
    const EmulatedDevice device;
    auto p = numbers({200000}, 1).requires_grad_();
    AdamW optimizer({{"p", p}}, {}, {ranks, Numerics::kFast, true});
    const auto before = p.detach().clone();
    optimizer.begin_step(2);
    optimizer.before_backward(ranks->rank());
    auto factors = torch::ones({200000});
    if (ranks->rank() == 0) factors[199999] = std::nan("");  // in a chunk of one rank
    (p.to(at::kFloat) * factors).sum().backward();
    optimizer.after_backward(ranks->rank());
    EXPECT_FALSE(optimizer.step(1e-2).applied);
    EXPECT_EQ(optimizer.num_steps(), 0);
    EXPECT_TRUE(torch::equal(before, p.detach()));
  });
}

using MakeStage = std::function<std::unique_ptr<Stage>(StageContext, uint64_t seed)>;

model::Transformer on_device(model::Transformer model) {
  model->place(at::kCPU, at::kFloat);  // inside the scope: as the pipeline does for a stage that trains
  return model;
}

std::unique_ptr<Stage> text_stage(StageContext context, uint64_t seed) {
  context.model = on_device(test::with_mtp(test::tiny_mixture(), seed));
  TextStageConfig c;
  c.steps = 4;
  c.texts_per_step = 6;
  c.update.schedule.lr = 1e-2;
  c.update.micro_batch_tokens = 24;
  return std::make_unique<TextStage>(context, c, [](int64_t i) { return TextExample{cat(i % 3, "+", i % 2, "="), std::string(static_cast<size_t>(1 + i % 3), '1')}; });
}

// Two optimizers.
std::unique_ptr<Stage> grpo_stage(StageContext context, uint64_t seed) {
  context.model = on_device(test::with_mtp(test::tiny_model(), seed));
  return test::tiny_grpo(context, {"steps=4"});
}

// A head beside the model.
std::unique_ptr<Stage> reward_stage(StageContext context, uint64_t seed) {
  context.model = on_device(test::tiny_model(seed));
  return std::make_unique<RewardModelStage>(context, test::reward_model_config(4), test::preference_pairs());
}

// Of ranks that restore `from`, where there is one, and go on for so many steps.
struct Saved {
  std::filesystem::path path;
  std::vector<double> losses;
};
Saved run(const RunFolder& folder, const MakeStage& make, int num_ranks, bool zero, const std::optional<Saved>& from, int steps, uint64_t seed = 3) {
  static int number = 0;
  Saved saved;
  const auto to = folder.path() / cat("saved-", number++);
  r1::test::run_ranks(num_ranks, [&](std::shared_ptr<dist::Communicator> ranks) {
    torch::set_num_threads(1);
    const EmulatedDevice device;
    auto context = folder.context("stage", test::tiny_model());
    context.sharing = {ranks, Numerics::kFast, zero};
    const auto stage = make(context, seed);
    if (from) stage->restore(CheckpointReader(from->path));
    std::vector<double> losses;
    for (int i = 0; i < steps; ++i) losses.push_back(test::value_of(stage->advance(), "loss"));
    CheckpointContents contents;
    contents.step = stage->steps_done();
    contents.groups = stage->checkpoint_groups();
    contents.state = stage->checkpoint_state();
    const auto path = save_checkpoint(to, contents, {}, *ranks);
    if (ranks->is_first()) saved = {path, losses};
  });
  return saved;
}

void expect_same(const Saved& a, const Saved& b, const std::string& what) {
  EXPECT_EQ(CheckpointReader(a.path).differences(CheckpointReader(b.path)), std::vector<std::string>()) << what;
  EXPECT_EQ(a.losses, b.losses) << what;
}

void expect_same_checkpoints(const MakeStage& make) {
  const RunFolder folder("device_zero");
  const auto plain = run(folder, make, 2, false, {}, 2), zero = run(folder, make, 2, true, {}, 2);
  expect_same(plain, zero, "two ranks with ZeRO-1");
  EXPECT_TRUE(std::filesystem::exists(zero.path / "model.safetensors.index.json")) << "weights are whole, for other programs";
  const CheckpointReader reader(zero.path);
  for (const auto& name : reader.names("model")) EXPECT_EQ(reader.tensor("model", name).scalar_type(), at::kFloat) << name;

  const Saved moved{zero.path, {}};
  expect_same(moved, run(folder, make, 1, false, zero, 0, 99), "read by one rank without");
  const auto one = run(folder, make, 1, false, {}, 2);
  expect_same({one.path, {}}, run(folder, make, 2, true, one, 0, 99), "of one rank, read by two with ZeRO-1");
  expect_same({one.path, {}}, run(folder, make, 3, true, one, 0, 99), "of one rank, read by three with ZeRO-1");
  expect_same(run(folder, make, 2, false, plain, 2, 98), run(folder, make, 2, true, zero, 2, 99), "both go on alike");
}

TEST(DeviceZero, CheckpointsOfTextStagesAreTheSame) { expect_same_checkpoints(text_stage); }
TEST(DeviceZero, CheckpointsOfTwoOptimizersAreTheSame) { expect_same_checkpoints(grpo_stage); }
TEST(DeviceZero, CheckpointsOfAModelWithAHeadAreTheSame) { expect_same_checkpoints(reward_stage); }

}  // namespace
}  // namespace r1::train
