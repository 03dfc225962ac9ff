#include "r1/model/mtp.h"

#include <gtest/gtest.h>
#include <torch/torch.h>
#include <unistd.h>

#include "r1/model/flops.h"
#include "r1/model/transformer.h"
#include "r1/util/safetensors.h"
#include "r1/util/strings.h"
#include "support/compare.h"

namespace r1::model {
namespace {

using test::relative_error;
using torch::Tensor;

const std::vector<std::string> kGoldens{"deepseek_v3_mtp", "qwen2_tied_mtp"};
constexpr double kWeight = 0.3;  // of the module's loss in the goldens

std::filesystem::path golden(const std::string& name) {
  return std::filesystem::path(R1_SOURCE_DIR) / "tests/golden/model" / name;
}

class Expected {
 public:
  explicit Expected(const std::string& name) : file_(golden(name) / "expected.safetensors") {}
  Tensor operator[](const std::string& name) const {
    const auto& view = file_.at(name);
    const auto dtype = view.dtype == TensorDtype::kF64 ? torch::kDouble : view.dtype == TensorDtype::kF32 ? torch::kFloat : torch::kLong;
    return torch::from_blob(const_cast<std::byte*>(view.bytes.data()), view.shape, dtype).clone();
  }

 private:
  SafetensorsFile file_;
};

Transformer load_golden(const std::string& name, torch::Dtype dtype) {
  const auto source = open_weights(golden(name));
  Transformer model(source->config(), torch::TensorOptions().dtype(dtype));
  model->load_weights(*source);
  return model;
}

ops::PackedLayout rows_of(int64_t rows, int64_t length) {
  ops::PackedLayout layout;
  for (int64_t b = 0; b < rows; ++b) layout.add_sequence(length);
  layout.finish();
  return layout;
}

Tensor longs(const std::vector<int64_t>& values) { return torch::tensor(values, torch::kLong); }

// The golden's loss: the trunk's mean cross-entropy and kWeight times the module's. Also the module's logits [B, T-1, V].
std::pair<Tensor, Tensor> golden_loss(Transformer& model, const Tensor& ids_BT) {
  const int64_t B = ids_BT.size(0), T = ids_BT.size(1);
  const auto layout = rows_of(B, T);
  const auto ids_N = ids_BT.view({-1});
  const auto hidden = model->hidden(ids_N, layout);
  const auto rows = torch::arange(B * T).view({B, T}).narrow(1, 0, T - 1).reshape({-1});
  const auto trunk = -std::get<0>(model->logprobs(hidden.index_select(0, rows), ids_BT.narrow(1, 1, T - 1).reshape({-1}), 1.0)).mean();
  const MtpLayout mtp(layout);
  const auto mtp_hidden = model->mtp_hidden(ids_N, hidden, mtp, MtpGradient::kWithTrunk);
  const auto mtp_rows = torch::arange(B * (T - 1)).view({B, T - 1}).narrow(1, 0, T - 2).reshape({-1});
  const auto targets = ids_BT.narrow(1, 2, T - 2).reshape({-1});
  const auto logprobs = std::get<0>(model->mtp_logprobs(mtp_hidden.index_select(0, mtp_rows), targets, 1.0, MtpGradient::kWithTrunk));
  return {trunk - kWeight * logprobs.mean(), model->mtp_logits(mtp_hidden).view({B, T - 1, -1})};
}

TEST(Mtp, LogitsLossAndGradientsEqualTransformersBlocksInFloat64) {
  for (const auto& name : kGoldens) {
    const Expected expected(name);
    auto model = load_golden(name, torch::kDouble);
    ASSERT_TRUE(model->config().has_mtp()) << name;
    const auto [loss, logits] = golden_loss(model, expected["input_ids"]);
    EXPECT_LE(relative_error(logits, expected["mtp_logits_f64"]), 1e-12) << name;
    EXPECT_NEAR(loss.item<double>(), expected["loss_f64"].item<double>(), 1e-12) << name;
    loss.backward();
    for (const auto& item : model->named_parameters()) {
      const auto& grad = item.value().grad();
      EXPECT_LE(relative_error(grad.defined() ? grad : torch::zeros_like(item.value()), expected["grad." + item.key()]), 1e-9)
          << name << " " << item.key();
    }
  }
}

TEST(Mtp, Float32LogitsAndGradientsAreWithinTheIssuesBound) {
  for (const auto& name : kGoldens) {
    const Expected expected(name);
    auto model = load_golden(name, torch::kFloat);
    const auto [loss, logits] = golden_loss(model, expected["input_ids"]);
    EXPECT_LE(relative_error(logits, expected["mtp_logits_f64"]),
              2 * relative_error(expected["mtp_logits_f32"], expected["mtp_logits_f64"]) + 1e-6) << name;
    loss.backward();
    for (const auto& item : model->named_parameters()) {
      const auto& grad = item.value().grad();
      EXPECT_LE(relative_error(grad.defined() ? grad : torch::zeros_like(item.value()), expected["grad." + item.key()]), 1e-4)
          << name << " " << item.key();
    }
  }
}

// Prompts of 6 and 1 tokens with completions; the trunk's rows of a completion are all its tokens but the last.
struct Tree {
  ops::PackedLayout layout;
  std::vector<int64_t> tokens;
  std::vector<std::vector<int64_t>> sequences;  // whole, as far as they have rows
  std::vector<std::vector<int64_t>> rows;       // of each sequence in the packed batch
};

Tree make_tree() {
  Tree tree;
  int64_t next = 3;
  const auto fresh = [&](int64_t count) {
    std::vector<int64_t> out;
    for (int64_t i = 0; i < count; ++i) out.push_back(2 + (next = next * 31 % 1009) % 46);
    return out;
  };
  for (const auto& [prompt_tokens, completions] : std::vector<std::pair<int64_t, std::vector<int64_t>>>{{6, {5, 1, 20}}, {1, {3, 4}}, {17, {2}}}) {
    const auto prompt = fresh(prompt_tokens);
    const auto prefix = tree.layout.add_sequence(prompt_tokens);
    tree.tokens.insert(tree.tokens.end(), prompt.begin(), prompt.end());
    for (const int64_t count : completions) {
      const auto own = fresh(count);
      const auto segment = tree.layout.add_continuation(prefix, count);
      tree.tokens.insert(tree.tokens.end(), own.begin(), own.end());
      auto& sequence = tree.sequences.emplace_back(prompt);
      sequence.insert(sequence.end(), own.begin(), own.end());
      auto& rows = tree.rows.emplace_back();
      for (int64_t i = 0; i < prompt_tokens; ++i) rows.push_back(prefix.first_row + i);
      for (int64_t i = 0; i < count; ++i) rows.push_back(segment.first_row + i);
    }
  }
  tree.layout.finish();
  return tree;
}

TEST(Mtp, ASharedPromptGivesTheBitsOfSeparateSequences) {
  for (const auto& name : kGoldens) {
    auto model = load_golden(name, torch::kFloat);
    const torch::NoGradGuard no_grad;
    const auto tree = make_tree();
    const auto tokens_N = longs(tree.tokens);
    const MtpLayout packed(tree.layout);
    const auto shared = model->mtp_hidden(tokens_N, model->hidden(tokens_N, tree.layout), packed, MtpGradient::kModuleAlone);
    EXPECT_EQ(static_cast<int64_t>(tree.tokens.size()) - 3, shared.size(0));  // all rows but the three first tokens
    for (size_t s = 0; s < tree.sequences.size(); ++s) {
      const auto alone = rows_of(1, static_cast<int64_t>(tree.sequences[s].size()));
      const auto ids = longs(tree.sequences[s]);
      const auto expected = model->mtp_hidden(ids, model->hidden(ids, alone), MtpLayout(alone), MtpGradient::kModuleAlone);
      std::vector<int64_t> rows;
      for (size_t i = 1; i < tree.rows[s].size(); ++i) rows.push_back(packed.row_of[static_cast<size_t>(tree.rows[s][i])]);
      EXPECT_TRUE(torch::equal(shared.index_select(0, longs(rows)), expected)) << name << " sequence " << s;
    }
  }
}

TEST(Mtp, ASharedPromptGetsTheGradientOfEachCompletion) {
  for (const auto& name : kGoldens) {
    std::vector<std::vector<Tensor>> gradients;
    for (const bool share : {true, false}) {
      auto model = load_golden(name, torch::kDouble);
      const auto tree = make_tree();
      if (share) {
        const auto ids = longs(tree.tokens);
        const MtpLayout packed(tree.layout);
        const auto hidden = model->mtp_hidden(ids, model->hidden(ids, tree.layout), packed, MtpGradient::kWithTrunk);
        Tensor loss = torch::zeros({}, torch::kDouble);
        for (const auto& rows : tree.rows) {
          std::vector<int64_t> own;
          for (size_t i = 1; i < rows.size(); ++i) own.push_back(packed.row_of[static_cast<size_t>(rows[i])]);
          loss = loss + hidden.index_select(0, longs(own)).sin().sum();
        }
        loss.backward();
      } else {
        for (const auto& sequence : tree.sequences) {
          const auto alone = rows_of(1, static_cast<int64_t>(sequence.size()));
          const auto ids = longs(sequence);
          model->mtp_hidden(ids, model->hidden(ids, alone), MtpLayout(alone), MtpGradient::kWithTrunk).sin().sum().backward();
        }
      }
      gradients.emplace_back();
      for (const auto& p : model->parameters()) gradients.back().push_back(p.grad().defined() ? p.grad() : torch::zeros_like(p));
    }
    for (size_t i = 0; i < gradients[0].size(); ++i) EXPECT_LE(relative_error(gradients[0][i], gradients[1][i]), 1e-9) << name << " " << i;
  }
}

TEST(Mtp, CachedRowsAreTheBitsOfPackedOnes) {
  for (const auto& name : kGoldens) {
    auto model = load_golden(name, torch::kFloat);
    const torch::NoGradGuard no_grad;
    const auto ids_BT = Expected(name)["input_ids"];
    const int64_t T = ids_BT.size(1);
    const auto layout = rows_of(2, T);
    const auto hidden = model->hidden(ids_BT.view({-1}), layout);
    const auto packed = model->mtp_logits(model->mtp_hidden(ids_BT.view({-1}), hidden, MtpLayout(layout), MtpGradient::kModuleAlone));
    const auto normed = model->final_norm(hidden).view({2, T, -1});
    KvCache cache(model->config(), 8, torch::kFloat, true);
    std::vector<std::vector<int32_t>> pages(2);
    for (auto& p : pages) p = {cache.take(), cache.take()};
    int64_t position = 0;
    for (const int64_t step : {5, 1, 12, 2, 1, 2}) {
      std::vector<ops::CacheRun> runs;
      for (int64_t b = 0; b < 2; ++b) runs.push_back({b * step, step, position, &pages[static_cast<size_t>(b)]});
      const auto rows = model->mtp_hidden_cached(ids_BT.narrow(1, position + 1, step).reshape({-1}),
                                                 normed.narrow(1, position, step).reshape({2 * step, -1}), cache, runs);
      EXPECT_TRUE(torch::equal(model->mtp_logits(rows).view({2, step, -1}), packed.view({2, T - 1, -1}).narrow(1, position, step)))
          << name << " at " << position;
      position += step;
    }
    EXPECT_EQ(T - 1, position);
  }
}

TEST(Mtp, AloneItGetsTheSameGradientAndTheTrunkNone) {
  for (const auto& name : kGoldens) {
    const auto ids_BT = Expected(name)["input_ids"];
    const auto layout = rows_of(2, ids_BT.size(1));
    std::vector<std::map<std::string, Tensor>> gradients;
    for (const auto gradient : {MtpGradient::kWithTrunk, MtpGradient::kModuleAlone}) {
      for (const bool recompute : {false, true}) {
        auto model = load_golden(name, torch::kFloat);
        model->activation_checkpointing = recompute;
        const auto routing = std::make_shared<Routing>();
        routing->balance_weight = 0.1;
        const auto hidden = model->hidden(ids_BT.view({-1}), layout, routing);
        const auto mtp = model->mtp_hidden(ids_BT.view({-1}), hidden, MtpLayout(layout), gradient, routing);
        const auto targets = torch::full({mtp.size(0)}, 5, torch::kLong);
        (-std::get<0>(model->mtp_logprobs(mtp, targets, 1.0, gradient)).sum()).backward();
        auto& kept = gradients.emplace_back();
        for (const auto& item : model->named_parameters()) {
          if (item.value().grad().defined()) kept.emplace(item.key(), item.value().grad());
        }
      }
    }
    const auto config = open_weights(golden(name))->config();
    EXPECT_TRUE(gradients[0].count("model.embed_tokens.weight") && gradients[0].count("model.layers.0.self_attn.o_proj.weight"));
    for (const size_t other : {1U, 2U, 3U}) {
      for (const auto& [key, grad] : gradients[other]) {
        EXPECT_TRUE(other < 2 || config.is_mtp_parameter(key)) << name << " " << key;
        EXPECT_TRUE(torch::equal(grad, gradients[0].at(key))) << name << " " << key << " " << other;
      }
    }
    EXPECT_EQ(gradients[0].size(), gradients[1].size());
    EXPECT_EQ(gradients[2].size(), gradients[3].size());
    EXPECT_GT(gradients[2].size(), 10U);
  }
}

TEST(Mtp, AFolderKeepsTheModuleAndCopiesOfWhatItShares) {
  const auto folder = std::filesystem::temp_directory_path() / cat("r1_mtp_test_", ::getpid());
  for (const auto& name : kGoldens) {
    std::filesystem::remove_all(folder);
    const auto model = load_golden(name, torch::kFloat);
    write_hf_directory(folder, model->config(), model->named_tensors(), HfDtype::kF32);
    const auto source = open_weights(folder);
    EXPECT_EQ(source->config(), model->config());
    Transformer again(source->config());
    again->load_weights(*source);
    const auto a = model->named_tensors(), b = again->named_tensors();
    for (size_t i = 0; i < a.size(); ++i) EXPECT_TRUE(torch::equal(a[i].second, b[i].second)) << a[i].first;
    const auto prefix = cat("model.layers.", model->config().num_layers, ".");
    EXPECT_TRUE(torch::equal(source->load(prefix + "embed_tokens.weight"), source->load("model.embed_tokens.weight")));
    EXPECT_TRUE(torch::equal(source->load(prefix + "shared_head.head.weight"), model->head_weight()));
  }
  std::filesystem::remove_all(folder);
}

// transformers writes the field of its config and no weights.
TEST(Mtp, AFolderThatOnlyNamesTheModuleHasNone) {
  EXPECT_EQ(1, ModelConfig::from_hf(golden("deepseek_v3_yarn")).num_nextn_predict_layers);
  EXPECT_FALSE(open_weights(golden("deepseek_v3_yarn"))->config().has_mtp());
}

TEST(Mtp, NewWeightsOfTheTrunkDoNotDependOnIt) {
  const auto config = open_weights(golden("deepseek_v3_mtp"))->config();
  Transformer with(config), without(config.trunk()), copied(config.trunk());
  with->initialize(4);
  without->initialize(4);
  copied->copy_from(*with);
  size_t of_trunk = 0;
  const auto plain = without->named_tensors(), copies = copied->named_tensors();
  for (const auto& [name, tensor] : with->named_tensors()) {
    if (config.is_mtp_parameter(name)) {
      if (tensor.dim() == 2) {
        EXPECT_GT(tensor.std().item<double>(), 0.5 * config.initializer_range) << name;
      }
      continue;
    }
    EXPECT_EQ(name, plain.at(of_trunk).first);
    EXPECT_TRUE(torch::equal(tensor, plain[of_trunk].second)) << name;
    EXPECT_TRUE(torch::equal(tensor, copies[of_trunk].second)) << name;
    ++of_trunk;
  }
  EXPECT_EQ(of_trunk, plain.size());
}

TEST(Mtp, IsCountedApart) {
  const auto config = open_weights(golden("deepseek_v3_mtp"))->config();
  int64_t all = 0;
  for (const auto& p : Transformer(config)->parameters()) all += p.numel();
  EXPECT_EQ(config.num_parameters(), config.trunk().num_parameters());
  EXPECT_EQ(all, config.num_parameters() + config.num_mtp_parameters());
  EXPECT_EQ(0, config.trunk().num_mtp_parameters());
  const auto counts = mtp_counts(config, {10, 3, 55});
  const auto shape = FlopShape::of(config);
  EXPECT_DOUBLE_EQ(2.0 * 10 * static_cast<double>(config.num_active_mtp_parameters()) + 2.0 * 3 * shape.head_parameters +
                       55 * shape.attention_per_pair / static_cast<double>(config.num_layers),
                   forward_flops(shape, counts));
}

}  // namespace
}  // namespace r1::model
