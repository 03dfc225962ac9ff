// One GRPO step through a whole model against plain PyTorch (scripts/golden/grpo_step_golden.py).
#include <gtest/gtest.h>
#include <torch/torch.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "r1/algo/grpo_loss.h"
#include "r1/model/transformer.h"
#include "r1/ops/ops.h"
#include "r1/train/batch.h"
#include "r1/util/safetensors.h"
#include "support/compare.h"

namespace r1::train {
namespace {

using model::Transformer;
using test::relative_error;
using torch::Tensor;

constexpr double kTemperature = 0.8, kRate = 0.02;
constexpr size_t kGroup = 3;
const std::vector<std::pair<std::string, algo::Aggregation>> kModels{
    {"llama_tied_llama3_rope", algo::Aggregation::kTokenInSequence}, {"qwen3_qk_norm", algo::Aggregation::kToken}};

std::filesystem::path golden() { return std::filesystem::path(R1_SOURCE_DIR) / "tests/golden"; }

class Expected {
 public:
  explicit Expected(const std::string& name) : file_(golden() / "grpo_step" / (name + ".safetensors")) {}
  Tensor operator[](const std::string& name) const {
    const auto& view = file_.at(name);
    const auto dtype = view.dtype == TensorDtype::kF64 ? torch::kDouble : torch::kLong;
    return torch::from_blob(const_cast<std::byte*>(view.bytes.data()), view.shape, dtype).clone();
  }
  double number(const std::string& name) const { return (*this)[name].item<double>(); }

 private:
  SafetensorsFile file_;
};

Transformer load_model(const std::string& name, torch::Dtype dtype) {
  const auto source = model::open_weights(golden() / "model" / name);
  Transformer model(source->config(), torch::TensorOptions().dtype(dtype));
  model->load_weights(*source);
  return model;
}

Transformer reference_of(const std::string& name, torch::Dtype dtype) {
  const torch::NoGradGuard no_grad;
  auto model = load_model(name, dtype);
  for (auto& p : model->parameters()) p.copy_(p.to(torch::kFloat) * 0.875);
  return model;
}

/// A completion with what the loss needs beside its log-probabilities.
struct Sample {
  size_t prompt;
  std::vector<int32_t> tokens;
  Tensor rollout_logprobs;  // [tokens] float64
  double advantage;
};

struct Data {
  std::vector<std::vector<int32_t>> prompts;
  std::vector<Sample> samples;
};

Data read_data(const Expected& e) {
  const auto tokens_of = [](const Tensor& row) {
    std::vector<int32_t> out;
    for (int64_t i = 0; i < row.size(0) && row[i].item<int64_t>() >= 0; ++i) out.push_back(row[i].item<int>());
    return out;
  };
  Data data;
  const auto prompts = e["prompts"], completions = e["completions"], rollout = e["rollout_logprobs"], advantages = e["advantages"];
  for (int64_t p = 0; p < prompts.size(0); ++p) data.prompts.push_back(tokens_of(prompts[p]));
  for (int64_t i = 0; i < completions.size(0); ++i) {
    const auto tokens = tokens_of(completions[i]);
    data.samples.push_back({static_cast<size_t>(i) / kGroup, tokens, rollout[i].narrow(0, 0, static_cast<int64_t>(tokens.size())),
                            advantages[i].item<double>()});
  }
  return data;
}

struct Form {
  int64_t micro_batch_tokens = 1 << 20;
  bool share_prompts = true;
  std::vector<size_t> order{0, 1, 2, 3, 4, 5};  // of the minibatch's completions
};

struct Result {
  double loss = 0;
  algo::GrpoStats stats;
  std::map<std::string, Tensor> gradients;
  size_t micro_batches = 0;
};

algo::GrpoLossConfig loss_config(algo::Aggregation aggregation) {
  algo::GrpoLossConfig c;
  c.clip_low = 0.2;
  c.clip_high = 0.28;
  c.kl_coef = 0.05;
  c.aggregation = aggregation;
  return c;
}

Result run_minibatch(const Data& data, size_t minibatch, Transformer model, Transformer reference, algo::Aggregation aggregation, const Form& form) {
  const auto dtype = model->parameters()[0].scalar_type();
  std::vector<TokenTree> trees;
  std::vector<std::vector<const Sample*>> samples_of_tree;
  algo::LossScale scale;
  for (const size_t i : form.order) {
    const auto& s = data.samples[6 * minibatch + i];
    if (samples_of_tree.empty() || samples_of_tree.back().back()->prompt != s.prompt) {
      trees.push_back({data.prompts[s.prompt], {}});
      samples_of_tree.emplace_back();
    }
    trees.back().continuations.push_back(s.tokens);
    samples_of_tree.back().push_back(&s);
    ++scale.num_sequences_step;
    scale.num_tokens_step += static_cast<int64_t>(s.tokens.size());
  }
  model->zero_grad();
  Result out;
  for (const auto& batch : pack_micro_batches(trees, form.micro_batch_tokens, form.share_prompts)) {
    algo::GrpoBatch terms;
    terms.num_sequences = static_cast<int64_t>(batch.members.size());
    terms.sequence_N = batch.sequence_M;
    std::vector<Tensor> rollout;
    std::vector<double> advantages;
    for (const auto& [tree, index] : batch.members) {
      rollout.push_back(samples_of_tree[tree][index]->rollout_logprobs);
      advantages.push_back(samples_of_tree[tree][index]->advantage);
    }
    terms.rollout_logprobs_N = torch::cat(rollout).to(dtype);
    terms.advantages_M = torch::tensor(advantages, torch::kDouble).to(dtype);
    terms.mask_N = torch::ones({batch.targets_M.size(0)}, torch::kBool);
    const auto logprobs = [&](Transformer& m) {
      const auto hidden = m->hidden(batch.tokens_N, batch.layout);
      return std::get<0>(m->logprobs(ops::embedding(batch.rows_M, hidden), batch.targets_M, 1 / kTemperature));
    };
    {
      const torch::NoGradGuard no_grad;
      terms.reference_logprobs_N = logprobs(reference);
    }
    const auto loss = algo::grpo_loss(logprobs(model), terms, scale, loss_config(aggregation));
    loss.loss.backward();
    out.loss += loss.loss.item<double>();
    out.stats.add(loss.stats);
    ++out.micro_batches;
  }
  for (const auto& item : model->named_parameters()) out.gradients[item.key()] = item.value().grad().clone();
  return out;
}

void descend(Transformer& model) {
  const torch::NoGradGuard no_grad;
  for (auto& p : model->parameters()) p -= kRate * p.grad();
}

double largest_difference(const Result& a, const Result& b) {
  double largest = std::abs(a.loss - b.loss) / std::abs(b.loss);
  for (const auto& [name, gradient] : b.gradients) largest = std::max(largest, relative_error(a.gradients.at(name), gradient));
  return largest;
}

TEST(GrpoStep, LossAndEveryGradientEqualPyTorchInFloat64) {
  double worst_loss = 0, worst_gradient = 0;
  for (const auto& [name, aggregation] : kModels) {
    const Expected expected(name);
    const auto data = read_data(expected);
    auto model = load_model(name, torch::kDouble), reference = reference_of(name, torch::kDouble);
    for (size_t i = 0; i < 2; ++i) {
      const auto got = run_minibatch(data, i, model, reference, aggregation, {});
      const std::string number = std::to_string(i);
      const double loss = expected.number("loss." + number);
      worst_loss = std::max(worst_loss, std::abs(got.loss - loss) / std::abs(loss));
      EXPECT_NEAR(got.loss, loss, 1e-9 * std::abs(loss)) << name << " minibatch " << i;
      EXPECT_NEAR(got.stats.kl_sum.item<double>() / got.stats.tokens.item<double>(), expected.number("kl." + number), 1e-9) << name;
      const auto clipped = expected["clipped." + number];
      EXPECT_EQ(got.stats.clip_low_count.item<double>(), clipped[0].item<double>()) << name;
      EXPECT_EQ(got.stats.clip_high_count.item<double>(), clipped[1].item<double>()) << name;
      EXPECT_GT(clipped.min().item<double>(), 0);
      EXPECT_GT(got.gradients.size(), 10u);
      for (const auto& [parameter, gradient] : got.gradients) {
        const double error = relative_error(gradient, expected["grad." + number + "." + parameter]);
        worst_gradient = std::max(worst_gradient, error);
        EXPECT_LE(error, 1e-9) << name << " minibatch " << i << " " << parameter;
      }
      descend(model);
    }
  }
  std::printf("float64: losses within %.1e, gradients within %.1e of PyTorch, relative\n", worst_loss, worst_gradient);
}

TEST(GrpoStep, Float32ErrorIsWithinTwiceThatOfPyTorch) {
  double worst_loss = 0, worst_loss_of_theirs = 0;  // over all steps: the error of one number may be tiny by luck
  for (const auto& [name, aggregation] : kModels) {
    const Expected expected(name);
    const auto data = read_data(expected);
    auto model = load_model(name, torch::kFloat), reference = reference_of(name, torch::kFloat);
    for (size_t i = 0; i < 2; ++i) {
      const auto got = run_minibatch(data, i, model, reference, aggregation, {});
      const std::string number = std::to_string(i);
      const double loss = expected.number("loss." + number), error = std::abs(got.loss - loss);
      worst_loss = std::max(worst_loss, error);
      worst_loss_of_theirs = std::max(worst_loss_of_theirs, expected.number("error." + number));
      double ours = 0, theirs = 0;
      for (const auto& [parameter, gradient] : got.gradients) {
        ours = std::max(ours, relative_error(gradient, expected["grad." + number + "." + parameter]));
        theirs = std::max(theirs, expected.number("error." + number + "." + parameter));
      }
      std::printf("float32 %s minibatch %zu: loss %.1e (PyTorch %.1e), gradients %.1e (PyTorch %.1e)\n", name.c_str(), i, error,
                  expected.number("error." + number), ours, theirs);
      EXPECT_LE(ours, 2 * theirs) << name << " minibatch " << i;
      descend(model);
    }
  }
  EXPECT_LE(worst_loss, 2 * worst_loss_of_theirs);
}

TEST(GrpoStep, BatchSizeOrderAndPrefixSharingChangeOnlyRounding) {
  const std::vector<Form> forms{{.micro_batch_tokens = 1},
                                {.micro_batch_tokens = 20},
                                {.share_prompts = false},
                                {.micro_batch_tokens = 1, .share_prompts = false},
                                {.order = {5, 4, 3, 2, 1, 0}},
                                {.micro_batch_tokens = 25, .order = {3, 0, 4, 1, 5, 2}}};
  for (const auto& [name, aggregation] : kModels) {
    const auto data = read_data(Expected(name));
    for (const auto dtype : {torch::kDouble, torch::kFloat}) {
      auto model = load_model(name, dtype), reference = reference_of(name, dtype);
      const auto whole = run_minibatch(data, 0, model, reference, aggregation, {});
      EXPECT_EQ(whole.micro_batches, 1u);
      double worst = 0;
      for (size_t f = 0; f < forms.size(); ++f) {
        const auto other = run_minibatch(data, 0, model, reference, aggregation, forms[f]);
        EXPECT_EQ(other.micro_batches > 1, forms[f].micro_batch_tokens < 1000) << f;
        EXPECT_EQ(other.stats.tokens.item<double>(), whole.stats.tokens.item<double>()) << f;
        const double difference = largest_difference(other, whole);
        worst = std::max(worst, difference);
        EXPECT_LE(difference, dtype == torch::kDouble ? 1e-12 : 5e-6) << name << " form " << f;
      }
      std::printf("%s %s: batch size, order and sharing change loss and gradients by %.1e at most, relative\n", name.c_str(),
                  dtype == torch::kDouble ? "float64" : "float32", worst);
    }
  }
}

}  // namespace
}  // namespace r1::train
