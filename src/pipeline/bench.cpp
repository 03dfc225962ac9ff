#include "r1/pipeline/bench.h"

#include <torch/torch.h>

#include <algorithm>
#include <optional>

#include "bench_experts.h"
#include "kernels/parallel.h"
#include "r1/algo/grpo_loss.h"
#include "r1/model/transformer.h"
#include "r1/ops/devices.h"
#include "r1/pipeline/device.h"
#include "r1/rollout/engine.h"
#include "r1/train/batch.h"
#include "r1/train/optimizer.h"
#include "r1/train/stage.h"
#include "r1/ops/ops.h"
#include "r1/util/progress.h"
#include "r1/util/random.h"

namespace r1::pipeline {
namespace {

struct BenchConfig {
  model::ModelConfig model;
  std::filesystem::path model_path;
  int64_t rows = 4, tokens_per_row = 256;
  int64_t sequences = 32, prompt_tokens = 64, new_tokens = 32, max_batch = 256;
  int64_t prompts = 8, completions = 8, completion_tokens = 8;
  double kl_coef = 0.001;
  int64_t micro_batch_tokens = 1024, repeats = 3, warmup = 1, threads = 0;
  at::Device device = at::kCPU;
  std::string speculation = "auto";
  std::vector<std::string> prompt_texts;
  double temperature = 1.0;

  static BenchConfig load(const std::filesystem::path& file, const std::vector<std::string>& overrides) {
    BenchConfig c;
    const auto node = ConfigNode::load(file, overrides);
    const auto model = node.child("model");
    if (model.has("path")) {
      model.read("path", c.model_path);
      c.model = model::open_weights(c.model_path)->config();
    } else {
      c.model = model::ModelConfig::parse(model);
    }
    for (const auto& [key, value] : std::vector<std::pair<std::string, int64_t*>>{
             {"rows", &c.rows}, {"tokens_per_row", &c.tokens_per_row}, {"sequences", &c.sequences},
             {"prompt_tokens", &c.prompt_tokens}, {"new_tokens", &c.new_tokens}, {"max_batch", &c.max_batch},
             {"prompts", &c.prompts}, {"completions", &c.completions}, {"completion_tokens", &c.completion_tokens},
             {"micro_batch_tokens", &c.micro_batch_tokens}, {"repeats", &c.repeats}}) {
      node.read(key, *value, at_least<int64_t>(1));
    }
    node.read("warmup", c.warmup, at_least<int64_t>(0));
    node.read("threads", c.threads, at_least<int64_t>(0));
    node.read("kl_coef", c.kl_coef, at_least(0.0));
    c.device = choose_device(read_device(node), node.where("device"));
    node.read("speculation", c.speculation, one_of({"auto", "always", "off"}));
    node.read("temperature", c.temperature, at_least(0.0));
    node.read("prompt_texts", c.prompt_texts);
    if (!c.prompt_texts.empty() && c.model_path.empty()) {
      node.reject("prompt_texts", "texts only beside model.path", "A new model has no tokenizer; its prompts are random tokens.");
    }
    node.reject_unknown_keys();
    return c;
  }

  // To be trained: in float32, from which the optimizer makes what a device computes with.
  model::Transformer make_model(bool trained) const {
    model::Transformer m(model);
    if (model_path.empty()) {
      m->initialize(1);
    } else {
      m->load_weights(*model::open_weights(model_path));
    }
    if (!device.is_cpu()) m->place(device, trained ? at::kFloat : compute_dtype(device));
    return m;
  }
};

std::vector<int32_t> random_tokens(int64_t count, int64_t vocab_size, uint32_t stream) {
  std::vector<int32_t> out;
  for (int64_t i = 0; i < count; ++i) {
    const DrawKey key{.seed = 1, .stream = Stream::kTest, .prompt = stream, .position = static_cast<uint32_t>(i)};
    out.push_back(static_cast<int32_t>(draw_below(key, static_cast<uint64_t>(vocab_size))));
  }
  return out;
}

template <typename Fn>
nlohmann::json timed(const BenchConfig& c, const std::string& name, int64_t tokens, double flop, const Fn& fn,
                     const std::function<void(int64_t)>& before = {}) {
  std::vector<double> seconds;
  for (int64_t i = 0; i < c.warmup + c.repeats; ++i) {
    if (before) before(i);
    const double start_s = monotonic_s();
    fn(i);
    ops::synchronize(c.device);  // sync: the clock wants all of it
    if (i >= c.warmup) seconds.push_back(monotonic_s() - start_s);
  }
  auto sorted = seconds;
  std::sort(sorted.begin(), sorted.end());
  const double median = sorted[sorted.size() / 2];
  return {{"name", name},
          {"tokens", tokens},
          {"seconds", median},
          {"tokens_per_s", static_cast<double>(tokens) / median},
          {"seconds_all", seconds},
          {"gflop", flop / 1e9},
          {"gflops_per_s", flop / median / 1e9},
          {"parameters", c.model.num_parameters()},
          {"device", describe_device(c.device)},
          {"threads", kernels::num_threads()}};
}

// Multiply-adds of the matrices a token passes, times two; the head apart, since not every token meets it.
double body_flop(const model::ModelConfig& m) {
  return 2.0 * static_cast<double>(m.num_parameters() - m.vocab_size * m.hidden_size * (m.tie_embeddings ? 1 : 2));
}
double head_flop(const model::ModelConfig& m) { return 2.0 * static_cast<double>(m.vocab_size * m.hidden_size); }

nlohmann::json bench_text(const BenchConfig& c, bool train_step) {
  auto model = c.make_model(train_step);
  std::optional<train::AdamW> optimizer;
  if (train_step) optimizer.emplace(train::trainable_parameters(model), train::AdamWConfig{});
  std::vector<train::TokenTree> trees;
  for (int64_t r = 0; r < c.rows; ++r) {
    auto tokens = random_tokens(c.tokens_per_row, c.model.vocab_size, static_cast<uint32_t>(r));
    trees.push_back({{tokens[0]}, {std::vector<int32_t>(tokens.begin() + 1, tokens.end())}});
  }
  auto batches = train::pack_micro_batches(trees, c.micro_batch_tokens);
  for (auto& b : batches) b = b.to(c.device);
  const int64_t tokens = c.rows * c.tokens_per_row;
  const double flop = (body_flop(c.model) + head_flop(c.model)) * static_cast<double>(tokens);
  if (!train_step) {
    const torch::NoGradGuard no_grad;
    return timed(c, "forward", tokens, flop, [&](int64_t) {
      for (const auto& b : batches) {
        model->logprobs(ops::embedding(b.rows_M, model->hidden(b.tokens_N, b.layout)), b.targets_M, 1.0);
      }
    });
  }
  return timed(c, "train", tokens, 3 * flop, [&](int64_t) {
    optimizer->zero_grad();
    for (const auto& b : batches) {
      const auto hidden = ops::embedding(b.rows_M, model->hidden(b.tokens_N, b.layout));
      (-std::get<0>(model->logprobs(hidden, b.targets_M, 1.0)).sum() / static_cast<double>(tokens)).backward();
    }
    optimizer->step(1e-5);
  });
}

std::vector<rollout::Prompt> random_prompts(const BenchConfig& c, int64_t count) {
  std::vector<rollout::Prompt> prompts;
  for (int64_t i = 0; i < count; ++i) {
    prompts.push_back({random_tokens(c.prompt_tokens, c.model.vocab_size, static_cast<uint32_t>(i)), static_cast<uint32_t>(i)});
  }
  if (c.prompt_texts.empty()) return prompts;
  const auto tokenizer = Tokenizer::load(c.model_path);
  for (auto& prompt : prompts) {
    const auto text = tokenizer.encode(c.prompt_texts[prompt.index % c.prompt_texts.size()]);
    prompt.tokens.clear();
    if (tokenizer.bos_id()) prompt.tokens.push_back(*tokenizer.bos_id());
    prompt.tokens.insert(prompt.tokens.end(), text.begin(), text.end());
  }
  return prompts;
}

rollout::SamplingConfig full_length(const BenchConfig& c, int64_t tokens) {
  rollout::SamplingConfig sampling;
  sampling.rule.temperature = c.temperature;
  sampling.max_completion_tokens = tokens;
  sampling.stop_at_eos = false;
  return sampling;
}

nlohmann::json bench_rollout(const BenchConfig& c) {
  auto model = c.make_model(false);
  rollout::EngineConfig engine_config{.max_batch = c.max_batch};
  engine_config.speculation = rollout::speculation_mode(c.speculation);
  rollout::Engine engine(model, Tokenizer::characters("0", {}), engine_config);
  const auto prompts = random_prompts(c, c.sequences);
  const int64_t tokens = c.sequences * c.new_tokens;
  int64_t prompt_tokens = 0;
  for (const auto& prompt : prompts) prompt_tokens += static_cast<int64_t>(prompt.tokens.size());
  const double flop = static_cast<double>(prompt_tokens + tokens) * body_flop(c.model) +
                      static_cast<double>(tokens) * head_flop(c.model);
  const auto sample = [&](rollout::Engine& with, int64_t i) { with.sample(prompts, 1, full_length(c, c.new_tokens), {1, 0, static_cast<uint32_t>(i)}); };
  if (!c.model.has_mtp() || c.speculation == "off") return timed(c, "rollout", tokens, flop, [&](int64_t i) { sample(engine, i); });
  // Without drafts in the same run and turn by turn: a ratio holds where the machine is shared.
  engine_config.speculation = rollout::Speculation::kOff;
  rollout::Engine plain(model, Tokenizer::characters("0", {}), engine_config);
  std::vector<double> plain_s;
  rollout::SpeculationStats warm;
  auto result = timed(c, "rollout", tokens, flop, [&](int64_t i) { sample(engine, i); }, [&](int64_t i) {
    const double start_s = monotonic_s();
    sample(plain, i);
    if (i >= c.warmup) plain_s.push_back(monotonic_s() - start_s);
    if (i == c.warmup) warm = engine.stats().speculation;
  });
  std::sort(plain_s.begin(), plain_s.end());
  result["plain_seconds"] = plain_s[plain_s.size() / 2];
  result["speedup"] = plain_s[plain_s.size() / 2] / result["seconds"].get<double>();
  for (const auto& [key, figure] : (engine.stats().speculation - warm).figures()) {
    if (key != "speculation_speedup") result[key] = figure;  // an estimate; `speedup` is measured
  }
  return result;
}

nlohmann::json bench_grpo(const BenchConfig& c) {
  auto model = c.make_model(true);
  train::AdamW optimizer(train::trainable_parameters(model), {});
  model::Transformer reference{nullptr};
  if (c.kl_coef > 0) {
    reference = model::Transformer(c.model, model->head_weight().options().requires_grad(false));
    reference->copy_from(*model);
  }
  rollout::Engine engine(model, Tokenizer::characters("0", {}), {.max_batch = c.max_batch});
  const auto prompts = random_prompts(c, c.prompts);
  algo::GrpoLossConfig loss_config;
  loss_config.kl_coef = c.kl_coef;
  const int64_t sequences = c.prompts * c.completions, tokens = sequences * c.completion_tokens;
  const double packed = static_cast<double>(c.prompts * c.prompt_tokens + sequences * (c.completion_tokens - 1));
  const double once = packed * body_flop(c.model) + static_cast<double>(tokens) * head_flop(c.model);
  double rollout_s = 0, reference_s = 0, update_s = 0;
  auto result = timed(c, "grpo", tokens, once * (c.kl_coef > 0 ? 5 : 4), [&](int64_t step) {
    double at = monotonic_s();
    const auto lap = [&](double& sum) {
      ops::synchronize(c.device);  // sync: the parts are timed apart
      const double now = monotonic_s();
      sum += now - at;
      at = now;
    };
    const auto groups = engine.sample(prompts, c.completions, full_length(c, c.completion_tokens), {1, 0, static_cast<uint32_t>(step)});
    lap(rollout_s);
    std::vector<train::TokenTree> trees;
    for (const auto& g : groups) {
      train::TokenTree tree{g.prompt.tokens, {}};
      for (const auto& completion : g.completions) tree.continuations.push_back(completion.tokens);
      trees.push_back(std::move(tree));
    }
    optimizer.zero_grad();
    for (const auto& packed : train::pack_micro_batches(trees, c.micro_batch_tokens)) {
      const auto b = packed.to(c.device);
      algo::GrpoBatch terms;
      terms.num_sequences = static_cast<int64_t>(b.members.size());
      terms.sequence_N = b.sequence_M;
      terms.mask_N = torch::ones({b.targets_M.size(0)}, b.targets_M.options().dtype(torch::kBool));
      std::vector<float> recorded, advantages;
      for (const auto& [tree, index] : b.members) {
        const auto& logprobs = groups[tree].completions[index].rollout_logprobs;
        recorded.insert(recorded.end(), logprobs.begin(), logprobs.end());
        advantages.push_back(index % 2 == 0 ? 1.0f : -1.0f);
      }
      terms.rollout_logprobs_N = ops::to_device(torch::tensor(recorded), c.device);
      terms.advantages_M = ops::to_device(torch::tensor(advantages), c.device);
      const auto score = [&](model::Transformer& m) {
        return std::get<0>(m->logprobs(ops::embedding(b.rows_M, m->hidden(b.tokens_N, b.layout)), b.targets_M, 1.0));
      };
      if (!reference.is_empty()) {
        const torch::NoGradGuard no_grad;
        terms.reference_logprobs_N = score(reference);
        lap(reference_s);
      }
      algo::grpo_loss(score(model), terms, {sequences, tokens, c.completion_tokens}, loss_config).loss.backward();
    }
    optimizer.step(1e-6);
    lap(update_s);
  });
  const auto n = static_cast<double>(c.warmup + c.repeats);
  result["rollout_seconds"] = rollout_s / n;
  result["reference_seconds"] = reference_s / n;
  result["update_seconds"] = update_s / n;
  return result;
}

nlohmann::json bench_experts(const BenchConfig& c) {
  ExpertsBench work(c.model, c.rows * c.tokens_per_row);
  auto result = timed(c, "experts", c.rows * c.tokens_per_row, work.flop(), [&](int64_t) { work.run(); });
  result["expert_load_max"] = work.load_max();
  return result;
}

}  // namespace

nlohmann::json bench(const std::string& what, const std::filesystem::path& file, const std::vector<std::string>& overrides) {
  const auto c = BenchConfig::load(file, overrides);
  if (c.threads > 0) {
    torch::set_num_threads(static_cast<int>(c.threads));
    kernels::set_num_threads(static_cast<int>(c.threads));
  }
  if (what == "rollout") return bench_rollout(c);
  if (what == "grpo") return bench_grpo(c);
  if (what == "experts") return bench_experts(c);
  return bench_text(c, what == "train");
}

}  // namespace r1::pipeline
