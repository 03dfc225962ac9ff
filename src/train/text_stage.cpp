#include "r1/train/text_stage.h"

#include <torch/torch.h>

#include <algorithm>
#include <cmath>

#include "r1/train/batch.h"
#include "r1/util/progress.h"
#include "r1/util/random.h"
#include "r1/util/strings.h"
#include "step_figures.h"
#include "tokens.h"

namespace r1::train {

TextStageConfig TextStageConfig::parse(ConfigNode node, bool pretrain) {
  TextStageConfig c;
  c.train_on_prompt = pretrain;
  c.update = UpdateConfig::parse(node);
  c.update.experts = ExpertConfig::parse(node.child("experts"), {});
  if (node.has("epochs")) {
    node.read("epochs", c.epochs, above(0.0));
    if (node.has("steps")) node.reject("epochs", "either steps or epochs", "Epochs become steps when the texts are counted.");
    c.steps = 0;
  } else {
    node.require("steps", c.steps, at_least<int64_t>(1));
  }
  node.read("texts_per_step", c.texts_per_step, at_least<int64_t>(1));
  node.read("max_text_tokens", c.max_text_tokens, at_least<int64_t>(0), "0 takes the model's context.");
  node.read("train_on_prompt", c.train_on_prompt);
  c.mtp = MtpConfig::parse(node.child("mtp"), pretrain ? 0.3 : 0.1, false);
  if (node.has("eval")) {
    c.eval = EvalConfig::parse(node.child("eval"), {});
    c.engine = rollout::EngineConfig::parse(node.child("rollout"));
  }
  if (c.epochs == 0 && c.update.schedule.total_steps == 0) c.update.schedule.total_steps = c.steps;
  return c;
}

void TextStageConfig::resolve_epochs(double num_texts) {
  if (epochs == 0) return;
  steps = std::max<int64_t>(1, static_cast<int64_t>(std::ceil(epochs * num_texts / static_cast<double>(texts_per_step))));
  if (update.schedule.total_steps == 0) update.schedule.total_steps = steps;
}

TextStage::TextStage(StageContext context, TextStageConfig config, TextSource texts, std::optional<Evaluator> evaluator)
    : context_(std::move(context)),
      config_(std::move(config)),
      texts_(std::move(texts)),
      evaluator_(std::move(evaluator)),
      optimizer_(trainable_parameters(context_.model, config_.mtp.loss_weight > 0 ? Part::kAll : Part::kTrunk), config_.update.optimizer, context_.sharing, true,
                 expert_leaves(context_.model)),
      experts_(context_.model, config_.update.experts) {
  context_.model->activation_checkpointing = config_.update.activation_checkpointing;
}

TextStage::~TextStage() = default;

// The engine holds a cache and packed weights: it lives for one evaluation.
Metrics TextStage::evaluate_if_due() {
  if (!evaluator_) return {};
  rollout::Engine engine(context_.model, context_.tokenizer, config_.engine);
  auto figures = evaluator_->if_due(engine, context_, step_, config_.steps);
  usage_.prompt_tokens += engine.stats().prompt_tokens;
  usage_.generated_tokens += engine.stats().generated_tokens;
  usage_.sampling += engine.stats().computed;
  if (!figures.empty()) context_.model->release_packed();
  return figures;
}

Metrics TextStage::advance() {
  const double start_s = monotonic_s();
  std::vector<TokenTree> trees;
  int64_t num_tokens = 0;
  const int64_t context = context_.model->config().max_positions;
  const int64_t max_tokens = config_.max_text_tokens > 0 ? std::min(config_.max_text_tokens, context) : context;
  for (int64_t i = 0; i < config_.texts_per_step; ++i) {
    const auto example = texts_(step_ * config_.texts_per_step + i);
    trees.push_back(text_tokens(context_.tokenizer, example, config_.train_on_prompt, max_tokens));
    num_tokens += static_cast<int64_t>(trees.back().continuations[0].size());
  }
  const bool with_mtp = context_.model->config().has_mtp() && config_.mtp.loss_weight > 0;
  const double mtp_targets = static_cast<double>(std::max<int64_t>(1, count_mtp_targets(trees)));
  const auto packs = pack_micro_batches(trees, config_.update.micro_batch_tokens);
  enum { kLoss, kMtpLoss, kBalance, kNumFigures };
  if (step_ == 0) warn_of_idle_ranks(context_, static_cast<int64_t>(packs.size()));
  StepFigures figures(static_cast<int64_t>(packs.size()), kNumFigures, context_.model->device());
  auto& ranks = *context_.sharing.ranks;
  ranks.set_phase("backward");
  const double exposed_before_s = optimizer_.exposed_s(), exchange_before_s = *context_.model->expert_ranks().exchange_s;
  const auto mine = optimizer_.begin_step(static_cast<int64_t>(packs.size()));
  for (int64_t i = mine.begin; i < mine.end; ++i) {
    const auto batch = packs[static_cast<size_t>(i)].to(context_.model->device());
    usage_.training += model::counts_of(batch.layout, batch.rows_M.size(0));
    const auto routing = experts_.routing(config_.texts_per_step);
    const auto hidden = context_.model->hidden(batch.tokens_N, batch.layout, routing);
    const auto [logprobs_M, entropy_M] = context_.model->logprobs(gather_rows(hidden, batch.rows_M), batch.targets_M, 1.0);
    auto loss = -logprobs_M.sum() / static_cast<double>(num_tokens);
    const auto text_loss = loss.detach();
    auto mtp_sum = torch::zeros_like(text_loss);
    if (with_mtp) {
      const auto mtp = mtp_loss(context_.model, hidden, batch, routing, 1.0, model::MtpGradient::kWithTrunk);
      usage_.training += mtp.counts;
      if (mtp.sum.defined()) {
        mtp_sum = mtp.sum;
        loss = loss + mtp.sum * (config_.mtp.loss_weight / mtp_targets);
      }
    }
    optimizer_.before_backward(i);
    loss.backward();
    optimizer_.after_backward(i);
    figures.set(i, {text_loss, mtp_sum, experts_.add(routing)});
  }
  for (int64_t pass = mine.size(); pass < num_passes(context_.sharing, static_cast<int64_t>(packs.size())); ++pass) {
    optimizer_.before_backward(mine.begin + pass);
    empty_pass(context_.model, with_mtp ? std::optional(model::MtpGradient::kWithTrunk) : std::nullopt);
    optimizer_.after_backward(mine.begin + pass);
  }
  ranks.set_phase("gradients");
  optimizer_.finish_gradients();
  figures.gather(context_.sharing);
  const auto loss_sum = figures.sum(kLoss), mtp_sum = figures.sum(kMtpLoss);
  const double lr = config_.update.schedule.at(step_);
  const bool finite = std::isfinite(loss_sum + mtp_sum);
  ranks.set_phase("update");
  const auto update = finite ? optimizer_.step(lr) : OptimizerStep{};
  if (!update.applied) {
    nlohmann::json batch = nlohmann::json::array();
    for (const auto& tree : trees) batch.push_back({{"prompt", tree.prompt}, {"completion", tree.continuations[0]}});
    fail_not_finite(context_, step_ + 1, finite ? "a gradient" : "the loss", batch);
  }
  experts_.update_biases(context_.sharing, figures.sum(kBalance));
  ++step_;
  tokens_ += num_tokens;
  last_loss_ = loss_sum;
  const double seconds = monotonic_s() - start_s;
  usage_.update_s += seconds;
  if (ranks.is_first()) usage_.trained_tokens += num_tokens;  // the whole step's
  last_tokens_per_s_ = static_cast<double>(num_tokens) / seconds;
  Metrics metrics{{"loss", loss_sum},
                  {"lr", lr},
                  {"grad_norm", update.grad_norm},
                  {"trained_tokens", static_cast<double>(num_tokens)},
                  {"trained_tokens_per_s", last_tokens_per_s_},
                  {"seconds", seconds}};
  if (with_mtp) metrics.emplace_back("mtp_loss", mtp_sum / mtp_targets);
  if (!ranks.alone()) metrics.emplace_back("exposed_communication_seconds", optimizer_.exposed_s() - exposed_before_s);
  if (context_.sharing.experts) metrics.emplace_back("expert_exchange_seconds", *context_.model->expert_ranks().exchange_s - exchange_before_s);
  experts_.report(metrics);
  return metrics;
}

std::string TextStage::progress_note() const {
  return cat("loss ", std::round(last_loss_ * 1000) / 1000, "  ", human_count(last_tokens_per_s_), " tok/s");
}

std::vector<CheckpointGroup> TextStage::checkpoint_groups() {
  return {model_group("model", context_.model, optimizer_.with_whole_masters({context_.model->named_tensors()})),
          {"optimizer", optimizer_.state(), optimizer_.state_slices()}};
}

nlohmann::json TextStage::checkpoint_state() const { 
  nlohmann::json state{{"step", step_}, {"tokens", tokens_}};
  if (evaluator_) state["evaluations"] = {{"rows", evaluator_->rows()}, {"seconds", evaluator_->seconds()}};
  return state;
}

void TextStage::restore(const CheckpointReader& reader) {
  load_model_group(reader, "model", context_.model, optimizer_.with_masters({context_.model->named_tensors()}));
  optimizer_.refresh_copies();
  optimizer_.load_state(reader.mapped("optimizer"));
  step_ = reader.state().at("step");
  tokens_ = reader.state().at("tokens");
  if (evaluator_ && reader.state().contains("evaluations")) {
    const auto& done = reader.state().at("evaluations");
    evaluator_->restore(done.at("rows"), done.at("seconds"));
  }
}

Usage TextStage::usage() const { return usage_; }

nlohmann::json TextStage::summary() const {
  nlohmann::json summary{{"steps", step_}, {"trained_tokens", tokens_}, {"loss", last_loss_}};
  if (evaluator_) {
    summary["evaluations"] = evaluator_->rows();
    summary["eval_seconds"] = evaluator_->seconds();
  }
  return summary;
}

TextSource shuffled_texts(std::vector<TextExample> examples, uint64_t seed, const std::string& stage) {
  struct Order {
    std::vector<TextExample> examples;
    int64_t epoch = -1;
    std::vector<int64_t> permutation;
  };
  auto order = std::make_shared<Order>();
  order->examples = std::move(examples);
  return [order, seed, id = stage_id(stage.c_str())](int64_t i) {
    const auto size = static_cast<int64_t>(order->examples.size());
    if (order->epoch != i / size) {
      order->epoch = i / size;
      order->permutation = draw_permutation(
          {.seed = seed, .stream = Stream::kShuffle, .stage = id, .step = static_cast<uint32_t>(order->epoch)}, size);
    }
    return order->examples[static_cast<size_t>(order->permutation[static_cast<size_t>(i % size)])];
  };
}

}  // namespace r1::train
