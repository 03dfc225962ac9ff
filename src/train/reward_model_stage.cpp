#include "r1/train/reward_model_stage.h"

#include <torch/torch.h>

#include <cmath>

#include "r1/ops/devices.h"
#include "r1/util/error.h"
#include "r1/util/progress.h"
#include "r1/util/random.h"
#include "r1/util/strings.h"
#include "step_figures.h"
#include "tokens.h"

namespace r1::train {
namespace {

NamedTensors with_head(const PreferenceModel& model) {
  auto parameters = trainable_parameters(model.backbone());
  for (auto& parameter : model.head()) parameters.push_back(std::move(parameter));
  return parameters;
}

// -log sigmoid(x), without overflow.
at::Tensor softplus_minus(const at::Tensor& x) { return -torch::log_sigmoid(x); }

}  // namespace

RewardModelConfig RewardModelConfig::parse(ConfigNode node) {
  RewardModelConfig c;
  c.update = UpdateConfig::parse(node);
  std::string loss = "pairwise";
  node.read("loss", loss, one_of({"pairwise", "pointwise"}));
  c.loss = loss == "pointwise" ? Loss::kPointwise : Loss::kPairwise;
  node.require("steps", c.steps, at_least<int64_t>(1));
  node.read("examples_per_step", c.examples_per_step, at_least<int64_t>(1));
  node.read("eval_fraction", c.eval_fraction, between(0.0, 0.9));
  if (c.update.schedule.total_steps == 0) c.update.schedule.total_steps = c.steps;
  return c;
}

RewardModelStage::RewardModelStage(StageContext context, RewardModelConfig config, std::vector<PreferenceExample> examples)
    : context_(std::move(context)),
      config_(std::move(config)),
      examples_(split_preferences(std::move(examples), config_.eval_fraction)),
      model_(context_.model),
      optimizer_(with_head(model_), config_.update.optimizer, context_.sharing, true, expert_leaves(context_.model)) {
  context_.model->activation_checkpointing = config_.update.activation_checkpointing;
  if (examples_.train.empty()) {
    throw Error(cat("stage '", context_.stage, "' has no preference to train on; ", examples_.eval.size(),
                    " are held out. Give it more examples, or lower eval_fraction."));
  }
  for (const auto* part : {&examples_.train, &examples_.eval}) {
    for (const auto& example : *part) {
      if (config_.loss == RewardModelConfig::Loss::kPairwise && !example.is_pair()) {
        throw Error(cat("stage '", context_.stage, "': loss is pairwise, and the example of the prompt \"", example.prompt.substr(0, 60),
                        "\" is a single completion; accepted: pairs with chosen and rejected.\n  Write loss: pointwise for these."));
      }
    }
  }
}

RewardModelStage::~RewardModelStage() = default;

struct RewardModelStage::Pass {
  double loss = 0, right = 0, margin = 0;
  int64_t judged = 0, tokens = 0;
  nlohmann::json batch;  // what was computed, for the report of a loss that is not finite
};

// The loss over `examples`; with `backward` its gradients are added to the parameters'.
RewardModelStage::Pass RewardModelStage::run(const std::vector<PreferenceExample>& examples, bool backward) {
  const bool pairwise = config_.loss == RewardModelConfig::Loss::kPairwise;
  Pass pass;
  std::vector<TokenTree> trees;
  std::vector<std::vector<float>> signs;  // of each tree's continuations: +1 chosen or good, -1 rejected or bad
  for (const auto& example : examples) {
    std::vector<std::vector<int32_t>> texts;
    auto& sign = signs.emplace_back();
    for (const auto* text : {&example.chosen, &example.rejected}) {
      if (!*text) continue;
      texts.push_back(context_.tokenizer.encode(**text));
      sign.push_back(text == &example.chosen ? 1.0F : -1.0F);
    }
    trees.push_back(model_.tree(context_.tokenizer, prompt_tokens(context_.tokenizer, example.prompt), std::move(texts)));
    for (const auto& c : trees.back().continuations) pass.tokens += static_cast<int64_t>(c.size()) - 1;
    pass.judged += pairwise ? 1 : static_cast<int64_t>(sign.size());
  }
  const torch::AutoGradMode gradients(backward);
  const auto packs = pack_whole_trees(trees, config_.update.micro_batch_tokens);
  enum { kLoss, kRight, kMargin, kNumFigures };
  StepFigures figures(static_cast<int64_t>(packs.size()), kNumFigures, context_.model->device());
  auto& ranks = *context_.sharing.ranks;
  ranks.set_phase(backward ? "backward" : "evaluation");
  const auto mine = backward ? optimizer_.begin_step(static_cast<int64_t>(packs.size()))
                             : share_of(static_cast<int64_t>(packs.size()), ranks.rank(), ranks.size());
  size_t first = 0;
  for (int64_t i = 0; i < static_cast<int64_t>(packs.size()); ++i) {
    const auto& batch = packs[static_cast<size_t>(i)];
    if (mine.contains(i)) {
      const auto scores_S = model_.score(batch);
      (backward ? usage_.training : usage_.reference) += model::counts_of(batch.layout, 0);
      std::vector<float> sign_S;
      for (const auto& [tree, index] : batch.members) sign_S.push_back(signs[first + tree][index]);
      // Pairs: chosen and rejected are neighbours.
      const auto signed_S = scores_S * ops::to_device(torch::tensor(sign_S), scores_S.device());
      const auto margins = pairwise ? signed_S.view({-1, 2}).sum(-1) : signed_S;
      const auto loss = softplus_minus(margins).sum() / static_cast<double>(pass.judged);
      if (backward) {
        optimizer_.before_backward(i);
        loss.backward();
        optimizer_.after_backward(i);
      }
      const auto m = margins.detach().to(torch::kDouble);
      const auto right = ((m > 0).to(torch::kDouble) + 0.5 * (m == 0).to(torch::kDouble)).sum();
      figures.set(i, {loss, right, m.sum()});
    }
    first += batch.members.back().first + 1;
  }
  for (int64_t pass = mine.size(); pass < num_passes(context_.sharing, static_cast<int64_t>(packs.size())); ++pass) {
    if (backward) optimizer_.before_backward(mine.begin + pass);
    empty_pass(context_.model, std::nullopt);
    if (backward) optimizer_.after_backward(mine.begin + pass);
  }
  if (backward) {
    ranks.set_phase("gradients");
    optimizer_.finish_gradients();
  }
  figures.gather(context_.sharing);
  pass.loss = figures.sum(kLoss);
  pass.right = figures.sum(kRight);
  pass.margin = figures.sum(kMargin);
  if (!std::isfinite(pass.loss)) {
    for (const auto& tree : trees) pass.batch.push_back({{"prompt", tree.prompt}, {"completions", tree.continuations}});
  }
  return pass;
}

Metrics RewardModelStage::advance() {
  const double start_s = monotonic_s();
  const auto size = static_cast<int64_t>(examples_.train.size());
  std::vector<PreferenceExample> examples;
  std::vector<int64_t> order;
  for (int64_t i = 0, epoch = -1; i < config_.examples_per_step; ++i) {
    const int64_t position = step_ * config_.examples_per_step + i;
    if (position / size != epoch) {
      epoch = position / size;
      order = draw_permutation(
          {.seed = context_.seed, .stream = Stream::kShuffle, .stage = stage_id(context_.stage.c_str()), .step = static_cast<uint32_t>(epoch)},
          size);
    }
    examples.push_back(examples_.train[static_cast<size_t>(order[static_cast<size_t>(position % size)])]);
  }
  const auto pass = run(examples, true);
  const double lr = config_.update.schedule.at(step_);
  const auto update = std::isfinite(pass.loss) ? optimizer_.step(lr) : OptimizerStep{};
  if (!update.applied) fail_not_finite(context_, step_ + 1, std::isfinite(pass.loss) ? "a gradient" : "the loss", pass.batch);
  ++step_;
  tokens_ += pass.tokens;
  last_loss_ = pass.loss;
  const auto judged = static_cast<double>(pass.judged);
  last_accuracy_ = pass.right / judged;
  const double seconds = monotonic_s() - start_s;
  usage_.update_s += seconds;
  if (context_.sharing.ranks->is_first()) usage_.trained_tokens += pass.tokens;  // the whole step's
  last_tokens_per_s_ = static_cast<double>(pass.tokens) / seconds;
  return {{"loss", pass.loss},
          {"accuracy", last_accuracy_},
          {"margin", pass.margin / judged},
          {"lr", lr},
          {"grad_norm", update.grad_norm},
          {"trained_tokens", static_cast<double>(pass.tokens)},
          {"trained_tokens_per_s", last_tokens_per_s_},
          {"seconds", seconds}};
}

Metrics RewardModelStage::evaluate_if_due() {
  if (examples_.eval.empty() || (step_ != 0 && step_ < config_.steps)) return {};
  if (!evaluations_.empty() && evaluations_.back().at("step") == step_) return {};
  const double start_s = monotonic_s();
  const auto pass = run(examples_.eval, false);
  eval_s_ += monotonic_s() - start_s;
  const double accuracy = pass.right / static_cast<double>(pass.judged);
  evaluations_.push_back({{"step", step_}, {"preference_accuracy", accuracy}, {"loss", pass.loss}, {"examples", pass.judged}});
  return {{"eval_preference_accuracy", accuracy}, {"eval_loss", pass.loss}, {"eval_examples", static_cast<double>(pass.judged)}};
}

std::string RewardModelStage::progress_note() const {
  return cat("loss ", std::round(last_loss_ * 1000) / 1000, "  right ", std::round(last_accuracy_ * 1000) / 10, " %  ",
             human_count(last_tokens_per_s_), " tok/s");
}

std::vector<CheckpointGroup> RewardModelStage::checkpoint_groups() {
  auto head = model_.head();
  for (auto& [name, tensor] : head) tensor = tensor.detach();
  return {model_group("model", context_.model, optimizer_.with_whole_masters({context_.model->named_tensors()})),
          model_group("score", context_.model, optimizer_.with_whole_masters({head})),
          {"optimizer", optimizer_.state(), optimizer_.state_slices()}};
}

nlohmann::json RewardModelStage::checkpoint_state() const {
  return {{"step", step_}, {"tokens", tokens_}, {"evaluations", evaluations_}, {"eval_seconds", eval_s_}};
}

void RewardModelStage::restore(const CheckpointReader& reader) {
  auto head = model_.head();
  for (auto& [name, tensor] : head) tensor = tensor.detach();
  load_model_group(reader, "model", context_.model, optimizer_.with_masters({context_.model->named_tensors()}));
  const auto parts = optimizer_.with_masters({head});
  reader.load_group("score", parts.tensors, parts.slices);
  optimizer_.refresh_copies();
  optimizer_.load_state(reader.mapped("optimizer"));
  const auto& s = reader.state();
  step_ = s.at("step");
  tokens_ = s.at("tokens");
  evaluations_ = s.at("evaluations");
  eval_s_ = s.at("eval_seconds");
}

Usage RewardModelStage::usage() const { return usage_; }

nlohmann::json RewardModelStage::summary() const {
  return {{"steps", step_},     {"trained_tokens", tokens_},          {"loss", last_loss_}, {"examples", examples_.train.size()},
          {"eval_seconds", eval_s_}, {"preference_evaluations", evaluations_}};
}

}  // namespace r1::train
