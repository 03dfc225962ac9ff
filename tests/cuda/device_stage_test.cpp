// Whole stages on the emulated device: they learn, say nothing impossible, and their checkpoints go on on a CPU and back.
#include "r1/train/text_stage.h"
#include "support/emulated_device.h"
#include "train/tiny_grpo.h"

namespace r1::train {
namespace {

using r1::test::EmulatedDevice;
using test::RunFolder;
using test::tiny_mixture;
using test::tiny_model;
using test::value_of;

TextStageConfig text_config() {
  TextStageConfig c;
  c.steps = 12;
  c.texts_per_step = 6;
  c.update.schedule.lr = 1e-2;
  c.update.micro_batch_tokens = 24;
  return c;
}

TextSource texts() {
  return [](int64_t i) {
    static const std::vector<TextExample> all{{"0+1=", "1"}, {"1+1=", "2"}, {"1+0=", "1"}, {"0+0=", "0"}, {"2+0=", "2"}, {"0+2=", "22"}};
    return all[static_cast<size_t>(i) % all.size()];
  };
}

model::Transformer on_device(model::Transformer model) {
  model->place(at::kCPU, at::kFloat);  // inside the scope: as the pipeline does for a stage that trains
  return model;
}

CheckpointReader saved(Stage& stage, const std::filesystem::path& folder) {
  CheckpointContents contents;
  contents.step = stage.steps_done();
  contents.groups = stage.checkpoint_groups();
  contents.state = stage.checkpoint_state();
  return CheckpointReader(save_checkpoint(folder, contents));
}

TEST(DeviceStage, TextsAreLearnedAsOnACpu) {
  for (const bool mixture : {false, true}) {
    const RunFolder folder("device_text");
    const auto fresh = [&] { return mixture ? tiny_mixture() : tiny_model(); };
    TextStage cpu(folder.context("cpu", fresh()), text_config(), texts());
    std::vector<double> expected, got;
    for (int i = 0; i < 12; ++i) expected.push_back(value_of(cpu.advance(), "loss"));
    const EmulatedDevice device;
    TextStage stage(folder.context("device", on_device(fresh())), text_config(), texts());
    for (int i = 0; i < 12; ++i) got.push_back(value_of(stage.advance(), "loss"));
    EXPECT_LT(got.back(), 0.3 * got.front()) << "it learns";
    for (size_t i = 0; i < got.size(); ++i) EXPECT_NEAR(got[i], expected[i], 0.06 * expected[0]) << "step " << i << (mixture ? " mixture" : "");
    EXPECT_GT(device.calls().at("linear_logprob backward"), 12);
  }
}

// From the same checkpoint of masters, CPU and device compute the same next losses up to bf16; and what a CPU saved goes on there.
TEST(DeviceStage, CheckpointsMoveBetweenCpuAndDevice) {
  const RunFolder folder("device_checkpoint");
  std::optional<CheckpointReader> checkpoint;
  std::vector<double> unbroken;
  {
    const EmulatedDevice device;
    TextStage stage(folder.context("text", on_device(tiny_model())), text_config(), texts());
    for (int i = 0; i < 4; ++i) stage.advance();
    checkpoint.emplace(saved(stage, folder.path() / "a"));
    for (const auto& name : checkpoint->names("model")) EXPECT_EQ(checkpoint->tensor("model", name).scalar_type(), at::kFloat) << name;
    bool finer_than_bf16 = false;
    for (const auto& name : checkpoint->names("model")) {
      const auto x = checkpoint->tensor("model", name);
      finer_than_bf16 = finer_than_bf16 || !torch::equal(x, x.to(at::kBFloat16).to(at::kFloat));
    }
    EXPECT_TRUE(finer_than_bf16) << "masters, not the copies";
    for (int i = 0; i < 3; ++i) unbroken.push_back(value_of(stage.advance(), "loss"));

    TextStage resumed(folder.context("text", on_device(tiny_model(99))), text_config(), texts());
    resumed.restore(*checkpoint);
    for (const double loss : unbroken) EXPECT_EQ(value_of(resumed.advance(), "loss"), loss) << "on the device it goes on bit for bit";
  }
  TextStage cpu(folder.context("text", tiny_model(99)), text_config(), texts());
  cpu.restore(*checkpoint);
  for (const double loss : unbroken) EXPECT_NEAR(value_of(cpu.advance(), "loss"), loss, 0.05 * unbroken[0]);
  const auto back = saved(cpu, folder.path() / "b");
  const double next = value_of(cpu.advance(), "loss");
  const EmulatedDevice device;
  TextStage again(folder.context("text", on_device(tiny_model(98))), text_config(), texts());
  again.restore(back);
  EXPECT_NEAR(value_of(again.advance(), "loss"), next, 0.05 * unbroken[0]);
}

TEST(DeviceStage, GrpoWithAReference) {
  for (const bool mixture : {false, true}) {
    const RunFolder folder("device_grpo");
    const auto make = [&](uint64_t seed) {
      return test::tiny_grpo(folder.context("grpo", on_device(mixture ? tiny_mixture(seed) : tiny_model(seed))), {"micro_batch_tokens=64"});
    };
    const EmulatedDevice device;
    const auto stage = make(3);
    std::optional<CheckpointReader> checkpoint;
    double after = 0;
    for (int i = 0; i < 3; ++i) {
      const auto metrics = stage->advance();
      EXPECT_LT(value_of(metrics, "logprob_error_max"), 0.15) << "sampler and trainer differ by bf16 alone";
      EXPECT_NEAR(value_of(metrics, "ratio_max"), 1.0, 0.2);
      EXPECT_GE(value_of(metrics, "kl"), 0.0);
      EXPECT_TRUE(std::isfinite(value_of(metrics, "loss")));
      if (i == 1) checkpoint.emplace(saved(*stage, folder.path() / "a"));
      if (i == 2) after = value_of(metrics, "loss");
    }
    const auto resumed = make(9);
    resumed->restore(*checkpoint);
    EXPECT_EQ(value_of(resumed->advance(), "loss"), after);
  }
}

}  // namespace
}  // namespace r1::train
