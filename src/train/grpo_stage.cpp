#include "r1/train/grpo_stage.h"

#include <torch/torch.h>

#include <algorithm>
#include <cmath>

#include "r1/algo/dynamic_sampling.h"
#include "r1/algo/overlong.h"
#include "r1/ops/devices.h"
#include "r1/train/batch.h"
#include "r1/train/routes.h"
#include "r1/util/error.h"
#include "r1/util/log.h"
#include "r1/util/progress.h"
#include "r1/util/random.h"
#include "r1/util/strings.h"
#include "step_figures.h"
#include "tokens.h"

namespace r1::train {

using torch::Tensor;

struct GrpoStage::Sampled : ScoredGroup {
  std::vector<double> advantages;  // [G]
  bool mixed = false;
};

GrpoStage::GrpoStage(StageContext context, GrpoStageConfig config, Reward reward, ProblemSet problems,
                     std::optional<PreferenceModel> preference)
    : context_(std::move(context)),
      config_(std::move(config)),
      reward_(std::move(reward)),
      evaluator_(config_.eval, reward_, std::move(problems.eval)),
      stream_(std::move(problems.train), context_.seed, stage_id(context_.stage.c_str())),
      preference_(std::move(preference)),
      optimizer_(trainable_parameters(context_.model), config_.update.optimizer, context_.sharing, true, expert_leaves(context_.model)),
      experts_(context_.model, config_.update.experts),
      engine_(std::make_unique<rollout::Engine>(context_.model, context_.tokenizer, config_.engine)) {
  context_.model->activation_checkpointing = config_.update.activation_checkpointing;
  engine_->record_routes = !context_.model->expert_layers().empty();
  if (context_.model->config().has_mtp() && config_.mtp.loss_weight > 0) {
    mtp_optimizer_.emplace(trainable_parameters(context_.model, Part::kMtp), config_.update.optimizer, context_.sharing, false,
                           expert_leaves(context_.model));
  }
  if (config_.loss.kl_coef > 0) {
    reference_ = model::Transformer(context_.model->config().trunk(), context_.model->head_weight().options().requires_grad(false),
                                    context_.model->expert_ranks());
    for (auto& p : reference_->parameters()) p.requires_grad_(false);
    replace_reference();
  }
}

GrpoStage::~GrpoStage() = default;

void GrpoStage::replace_reference() {
  reference_->copy_from(*context_.model);
  reference_step_ = step_;
}

std::vector<GrpoStage::Sampled> GrpoStage::sample_and_score(int64_t num_prompts) {
  std::vector<Problem> problems;
  for (int64_t i = 0; i < num_prompts; ++i) problems.push_back(stream_.at(cursor_ + i));
  const auto sampling = config_.sampling_after(step_);
  // The position in the data stream is the prompt's coordinate: unique in the stage, whatever the batch.
  Sampler sampler{*engine_, context_.tokenizer, reward_, context_.sharing, seconds_};
  if (config_.preference && (config_.preference->last_steps == 0 || step_ >= config_.steps - config_.preference->last_steps)) {
    sampler.finish = [this](std::vector<ScoredGroup>& own) {
      reference_passes_ += preference_->add_part(own, context_.tokenizer, config_.preference->stage, config_.preference->weight,
                                                 config_.update.micro_batch_tokens);
    };
  }
  auto scored = train::sample_and_score(sampler, std::move(problems), cursor_, config_.group_size, sampling,
                                        {context_.seed, stage_id(context_.stage.c_str()), static_cast<uint32_t>(step_)});
  cursor_ += num_prompts;
  std::vector<Sampled> out;
  const int64_t P = num_prompts, G = config_.group_size;
  auto rewards_PG = torch::zeros({P, G}, torch::kDouble), lengths_PG = torch::zeros({P, G}, torch::kLong);
  auto valid_PG = torch::ones({P, G}, torch::kBool);
  for (int64_t p = 0; p < P; ++p) {
    out.push_back({std::move(scored[static_cast<size_t>(p)]), {}, false});
    const auto& s = out.back();
    for (int64_t g = 0; g < G; ++g) {
      const auto length = static_cast<int64_t>(s.group.completions[static_cast<size_t>(g)].tokens.size());
      const double total = s.scores[static_cast<size_t>(g)].total;
      generated_tokens_ += length;
      rewards_PG[p][g] = total;
      valid_PG[p][g] = !std::isnan(total);
      lengths_PG[p][g] = length;
    }
  }
  rewards_PG += algo::soft_overlong_penalty(lengths_PG, sampling.max_completion_tokens, config_.loss.overlong,
                                            torch::kDouble);
  const auto advantages_PG = algo::group_advantages(rewards_PG, config_.advantage, valid_PG);
  const auto mixed_P = algo::mixed_groups(rewards_PG.nan_to_num(0.0), valid_PG);
  for (int64_t p = 0; p < P; ++p) {
    auto& s = out[static_cast<size_t>(p)];
    s.mixed = mixed_P[p].item<bool>();
    for (int64_t g = 0; g < G; ++g) s.advantages.push_back(advantages_PG[p][g].item<double>());
  }
  return out;
}

std::vector<GrpoStage::Sampled> GrpoStage::collect(int64_t updates, Metrics& metrics) {
  const int64_t wanted = config_.prompts_per_step * updates;
  std::vector<Sampled> sampled = sample_and_score(wanted);
  log_rollouts(sampled);

  double tokens = 0, reward = 0, truncated = 0, judged = 0, unreadable = 0;
  std::vector<std::pair<std::string, double>> parts;
  const int64_t G = config_.group_size;
  auto right_PG = torch::zeros({wanted, G}, torch::kBool), valid_PG = torch::ones({wanted, G}, torch::kBool);
  for (int64_t p = 0; p < wanted; ++p) {
    const auto& s = sampled[static_cast<size_t>(p)];
    for (int64_t g = 0; g < G; ++g) {
      const auto& score = s.scores[static_cast<size_t>(g)];
      const auto& completion = s.group.completions[static_cast<size_t>(g)];
      tokens += static_cast<double>(completion.tokens.size());
      truncated += completion.finish == rollout::Finish::kLength ? 1 : 0;
      if (score.verdict == Verdict::kGoldUnreadable) {
        unreadable += 1;
        valid_PG[p][g] = false;
        continue;
      }
      judged += 1;
      reward += score.total;
      right_PG[p][g] = score.verdict == Verdict::kRight;
      parts.resize(score.parts.size());
      for (size_t k = 0; k < parts.size(); ++k) {
        parts[k].first = score.parts[k].first;
        parts[k].second += score.parts[k].second;
      }
    }
  }
  const double count = static_cast<double>(wanted * G);
  const auto groups = algo::count_groups(right_PG, valid_PG);
  metrics.emplace_back("reward", reward / std::max(1.0, judged));
  for (const auto& [name, value] : parts) metrics.emplace_back("reward_" + name, value / std::max(1.0, judged));
  metrics.emplace_back("all_right_groups", static_cast<double>(groups.all_right) / static_cast<double>(wanted));
  metrics.emplace_back("all_wrong_groups", static_cast<double>(groups.all_wrong) / static_cast<double>(wanted));
  metrics.emplace_back("gold_unreadable", unreadable);
  metrics.emplace_back("completion_tokens_mean", tokens / count);
  metrics.emplace_back("truncated", truncated / count);
  metrics.emplace_back("generated_tokens", tokens);

  // DAPO's dynamic sampling: groups without a learning signal make room for further ones.
  if (config_.dynamic_sampling) {
    int64_t rounds = 1, discarded = 0;
    auto drop_equal = [&](std::vector<Sampled>& from) {
      discarded += std::erase_if(from, [](const Sampled& s) { return !s.mixed; });
    };
    drop_equal(sampled);
    while (static_cast<int64_t>(sampled.size()) < wanted && rounds < config_.dynamic_sampling_rounds) {
      auto more = sample_and_score(wanted);
      drop_equal(more);
      for (auto& s : more) {
        if (static_cast<int64_t>(sampled.size()) < wanted) sampled.push_back(std::move(s));
      }
      ++rounds;
    }
    metrics.emplace_back("sampling_rounds", static_cast<double>(rounds));
    metrics.emplace_back("discarded_groups", static_cast<double>(discarded));
    metrics.emplace_back("kept_groups", static_cast<double>(sampled.size()));
  }
  return sampled;
}

void GrpoStage::log_rollouts(const std::vector<Sampled>& groups) const {
  if (!config_.log_rollouts) return;
  auto& ranks = *context_.sharing.ranks;
  if (!ranks.is_first()) {
    ranks.together("rollout log", [] {});
    return;
  }
  std::vector<RolloutLogRow> rows;
  for (const auto& s : groups) {
    for (size_t g = 0; g < s.group.completions.size(); ++g) {
      const auto& completion = s.group.completions[g];
      rows.push_back({s.problem.id, static_cast<int64_t>(g), s.problem.prompt, context_.tokenizer.decode(completion.tokens),
                      static_cast<int64_t>(completion.tokens.size()), rollout::finish_name(completion.finish), s.scores[g],
                      s.problem.answer, s.advantages[g]});
    }
  }
  ranks.together("rollout log", [&] { write_rollout_log(context_.run_dir / "rollouts" / context_.stage, step_ + 1, rows); });
}

// One optimizer update on groups [first, first + count).
void GrpoStage::update(const std::vector<Sampled>& groups, int64_t first, int64_t count, Metrics& metrics) {
  std::vector<TokenTree> trees;
  std::vector<const rollout::RolloutGroup*> sampled;
  algo::LossScale scale;
  scale.constant_length = config_.loss.constant_length;
  const bool mask_truncated = config_.loss.overlong.mask_truncated;
  for (int64_t i = 0; i < count; ++i) {
    const auto& s = groups[static_cast<size_t>(first + i)];
    TokenTree tree{s.group.prompt.tokens, {}};
    for (const auto& c : s.group.completions) {
      tree.continuations.push_back(c.tokens);
      ++scale.num_sequences_step;
      if (!mask_truncated || c.finish != rollout::Finish::kLength) {
        scale.num_tokens_step += static_cast<int64_t>(c.tokens.size());
      }
    }
    trees.push_back(std::move(tree));
    sampled.push_back(&s.group);
  }
  const double inv_temperature = 1 / config_.sampling.rule.temperature;
  const auto device = context_.model->device();
  const auto there = [&](const Tensor& x) { return ops::to_device(x, device); };
  const double mtp_targets = static_cast<double>(std::max<int64_t>(1, count_mtp_targets(trees)));
  const auto packs = pack_micro_batches(trees, config_.update.micro_batch_tokens, config_.share_prompts);
  for (const auto& packed : packs) trained_tokens_ += packed.targets_M.size(0);
  enum {
    kLoss, kEntropy, kMtpLoss, kBalance, kRoutes, kRoutesDiffering, kPolicyLoss, kKl, kClipLow, kClipHigh, kRatioMax, kErrorMax, kTokens,
    kNumFigures
  };
  if (step_ == 0) warn_of_idle_ranks(context_, static_cast<int64_t>(packs.size()));
  StepFigures figures(static_cast<int64_t>(packs.size()), kNumFigures, device);
  auto& ranks = *context_.sharing.ranks;
  ranks.set_phase("backward");
  if (mtp_optimizer_) mtp_optimizer_->begin_step(static_cast<int64_t>(packs.size()));
  const auto mine = optimizer_.begin_step(static_cast<int64_t>(packs.size()));
  for (int64_t m = mine.begin; m < mine.end; ++m) {
    const auto batch = packs[static_cast<size_t>(m)].to(device);
    algo::GrpoBatch terms;
    terms.num_sequences = static_cast<int64_t>(batch.members.size());
    terms.sequence_N = batch.sequence_M;
    std::vector<float> recorded, advantages;
    std::vector<int64_t> truncated;
    for (const auto& [tree, index] : batch.members) {
      const auto& s = groups[static_cast<size_t>(first) + tree];
      const auto& completion = s.group.completions[index];
      recorded.insert(recorded.end(), completion.rollout_logprobs.begin(), completion.rollout_logprobs.end());
      advantages.push_back(static_cast<float>(s.advantages[index]));
      truncated.push_back(completion.finish == rollout::Finish::kLength ? 1 : 0);
    }
    terms.rollout_logprobs_N = there(torch::tensor(recorded));
    if (config_.loss.tis_cap > 0) terms.old_logprobs_N = terms.rollout_logprobs_N;
    terms.advantages_M = there(torch::tensor(advantages));
    terms.mask_N = torch::ones({batch.targets_M.size(0)}, batch.targets_M.options().dtype(torch::kBool));
    if (mask_truncated) {
      terms.mask_N = algo::mask_truncated(terms.mask_N, batch.sequence_M, there(torch::tensor(truncated, torch::kLong).to(torch::kBool)));
    }
    const auto counts = model::counts_of(batch.layout, batch.rows_M.size(0));
    training_ += counts;
    if (!reference_.is_empty()) {
      reference_passes_ += counts;
      const torch::NoGradGuard no_grad;
      const auto hidden = reference_->hidden(batch.tokens_N, batch.layout);
      terms.reference_logprobs_N =
          std::get<0>(reference_->logprobs(gather_rows(hidden, batch.rows_M), batch.targets_M, inv_temperature));
    }
    const auto routing = experts_.routing(scale.num_sequences_step);
    auto sampler_experts = sampled_routes(batch, sampled, context_.model->config().num_expert_layers(), context_.model->config().num_experts_per_tok);
    for (auto& experts_NK : sampler_experts) experts_NK = there(experts_NK);
    if (routing && config_.update.experts.routing_replay) routing->chosen_experts = sampler_experts;
    const auto hidden = context_.model->hidden(batch.tokens_N, batch.layout, routing);
    const auto [logprobs_M, entropy_M] =
        context_.model->logprobs(gather_rows(hidden, batch.rows_M), batch.targets_M, inv_temperature);
    const auto loss = algo::grpo_loss(logprobs_M, terms, scale, config_.loss);
    optimizer_.before_backward(m);
    loss.loss.backward();
    optimizer_.after_backward(m);
    auto mtp_sum = torch::zeros({}, torch::TensorOptions(device).dtype(torch::kDouble)), differing = torch::zeros_like(mtp_sum);
    if (mtp_optimizer_) {
      const auto mtp = mtp_loss(context_.model, hidden, batch, routing, inv_temperature, model::MtpGradient::kModuleAlone);
      training_ += mtp.counts;
      mtp_optimizer_->before_backward(m);
      if (mtp.sum.defined()) {
        mtp_sum = mtp.sum;
        (mtp.sum * (config_.mtp.loss_weight / mtp_targets)).backward();
      }
      mtp_optimizer_->after_backward(m);
    }
    const auto balance = experts_.add(routing);
    int64_t routes = 0;
    if (routing) {
      differing += count_differing_routes(sampler_experts, routing->experts);
      for (const auto& experts_NK : sampler_experts) routes += experts_NK.numel();
    }
    const auto& s = loss.stats;
    figures.set(m, {loss.loss, (entropy_M * terms.mask_N).sum(torch::kDouble), mtp_sum, balance, torch::full_like(differing, static_cast<double>(routes)),
                    differing, s.policy_loss, s.kl_sum, s.clip_low_count, s.clip_high_count, s.ratio_max, s.logprob_error_max, s.tokens});
  }
  for (int64_t pass = mine.size(); pass < num_passes(context_.sharing, static_cast<int64_t>(packs.size())); ++pass) update_empty(mine.begin + pass);
  ranks.set_phase("gradients");
  optimizer_.finish_gradients();
  if (mtp_optimizer_) mtp_optimizer_->finish_gradients();
  figures.gather(context_.sharing);
  const auto loss_sum = figures.sum(kLoss), mtp_sum = figures.sum(kMtpLoss);
  ranks.set_phase("update");
  const double lr = config_.update.schedule.at(step_);
  const bool finite = std::isfinite(loss_sum + mtp_sum) && (!mtp_optimizer_ || std::isfinite(mtp_optimizer_->grad_norm()));
  const auto applied = finite ? optimizer_.step(lr) : OptimizerStep{};
  if (!applied.applied) {
    nlohmann::json rows = nlohmann::json::array();
    for (int64_t i = 0; i < count; ++i) {
      const auto& s = groups[static_cast<size_t>(first + i)];
      for (size_t g = 0; g < s.group.completions.size(); ++g) {
        rows.push_back({{"prompt", s.group.prompt.tokens},
                        {"completion", s.group.completions[g].tokens},
                        {"advantage", s.advantages[g]}});
      }
    }
    fail_not_finite(context_, step_ + 1, std::isfinite(loss_sum + mtp_sum) ? "a gradient" : "the loss", rows);
  }
  OptimizerStep mtp_applied;
  if (mtp_optimizer_) mtp_applied = mtp_optimizer_->step(config_.mtp.lr > 0 ? config_.mtp.lr : lr);
  experts_.update_biases(context_.sharing, figures.sum(kBalance));
  ++step_;
  if (!reference_.is_empty() && config_.reference_every_steps > 0 && step_ % config_.reference_every_steps == 0) {
    replace_reference();
  }
  const double tokens = std::max(1.0, figures.sum(kTokens)), error = figures.max(kErrorMax);
  // Figures of one rollout's updates: the last update's, but the error of the first, the only one on on-policy data.
  const bool on_policy = first == 0;
  if (on_policy) {
    largest_logprob_error_ = std::max(largest_logprob_error_, error);
    metrics.emplace_back("logprob_error_max", error);
  }
  if (figures.sum(kRoutes) > 0 && first + count == static_cast<int64_t>(groups.size())) {
    metrics.emplace_back("routes_differing", figures.sum(kRoutesDiffering) / figures.sum(kRoutes));
  }
  if (first + count < static_cast<int64_t>(groups.size())) return;
  metrics.emplace_back("loss", loss_sum);
  metrics.emplace_back("policy_loss", figures.sum(kPolicyLoss));
  metrics.emplace_back("kl", figures.sum(kKl) / tokens);
  metrics.emplace_back("entropy", figures.sum(kEntropy) / tokens);
  metrics.emplace_back("clip_low_share", figures.sum(kClipLow) / tokens);
  metrics.emplace_back("clip_high_share", figures.sum(kClipHigh) / tokens);
  metrics.emplace_back("ratio_max", figures.max(kRatioMax));
  metrics.emplace_back("lr", lr);
  metrics.emplace_back("grad_norm", applied.grad_norm);
  if (mtp_optimizer_) {
    metrics.emplace_back("mtp_loss", mtp_sum / mtp_targets);
    metrics.emplace_back("mtp_grad_norm", mtp_applied.grad_norm);
  }
  experts_.report(metrics);
}

// What update() does for a micro-batch, with no token.
void GrpoStage::update_empty(int64_t micro_batch) {
  if (!reference_.is_empty()) {
    const torch::NoGradGuard no_grad;
    empty_pass(reference_, std::nullopt);
  }
  optimizer_.before_backward(micro_batch);
  if (mtp_optimizer_) mtp_optimizer_->before_backward(micro_batch);
  empty_pass(context_.model, mtp_optimizer_ ? std::optional(model::MtpGradient::kModuleAlone) : std::nullopt);
  optimizer_.after_backward(micro_batch);
  if (mtp_optimizer_) mtp_optimizer_->after_backward(micro_batch);
}

Metrics GrpoStage::advance() {
  Metrics metrics;
  const double before[] = {seconds_.rollout, seconds_.reward, static_cast<double>(generated_tokens_), static_cast<double>(trained_tokens_)};
  const int64_t updates = std::min(config_.steps_per_rollout, config_.steps - step_);
  const auto speculated = engine_->stats().speculation;
  const double exposed_before_s = exposed_s(), exchange_before_s = *context_.model->expert_ranks().exchange_s;
  const auto sampled = collect(updates, metrics);
  for (const auto& [name, figure] : (engine_->stats().speculation - speculated).figures()) metrics.emplace_back(name, figure);
  const double start_s = monotonic_s();
  const auto have = static_cast<int64_t>(sampled.size());
  for (int64_t i = 0; i < updates; ++i) {
    const int64_t begin = have * i / updates, end = have * (i + 1) / updates;
    if (end > begin) {
      update(sampled, begin, end - begin, metrics);
    } else {
      ++step_;  // no group carried a signal: the data has been seen, the weights stay
    }
  }
  const double update_s = monotonic_s() - start_s;
  update_s_ += update_s;
  const double rollout_s = seconds_.rollout - before[0];
  metrics.emplace_back("generated_tokens_per_s", (static_cast<double>(generated_tokens_) - before[2]) / rollout_s);
  metrics.emplace_back("trained_tokens_per_s", (static_cast<double>(trained_tokens_) - before[3]) / update_s);
  metrics.emplace_back("rollout_seconds", rollout_s);
  metrics.emplace_back("reward_seconds", seconds_.reward - before[1]);
  metrics.emplace_back("update_seconds", update_s);
  if (!context_.sharing.ranks->alone()) metrics.emplace_back("exposed_communication_seconds", exposed_s() - exposed_before_s);
  if (context_.sharing.experts) metrics.emplace_back("expert_exchange_seconds", *context_.model->expert_ranks().exchange_s - exchange_before_s);
  const auto value = [&](const std::string& name) {
    for (const auto& [key, v] : metrics) {
      if (key == name) return v;
    }
    return 0.0;
  };
  note_ = cat("reward ", std::round(value("reward") * 1000) / 1000, "  len ",
              std::round(value("completion_tokens_mean") * 10) / 10, "  ", human_count(value("generated_tokens_per_s")), " tok/s");
  return metrics;
}

double GrpoStage::exposed_s() const { return optimizer_.exposed_s() + (mtp_optimizer_ ? mtp_optimizer_->exposed_s() : 0); }

std::string GrpoStage::progress_note() const { return note_; }

Metrics GrpoStage::evaluate_if_due() { return evaluator_.if_due(*engine_, context_, step_, config_.steps); }

std::vector<CheckpointGroup> GrpoStage::checkpoint_groups() {
  auto parts = optimizer_.with_whole_masters({context_.model->named_tensors()});
  if (mtp_optimizer_) parts = mtp_optimizer_->with_whole_masters(std::move(parts));
  std::vector<CheckpointGroup> groups{model_group("model", context_.model, std::move(parts)), {"optimizer", optimizer_.state(), optimizer_.state_slices()}};
  if (mtp_optimizer_) groups.push_back({"mtp_optimizer", mtp_optimizer_->state(), mtp_optimizer_->state_slices()});
  if (!reference_.is_empty()) {
    auto frozen = reference_->named_tensors();
    for (auto& [name, tensor] : frozen) tensor = tensor.to(torch::kFloat);  // itself on a CPU
    groups.push_back(model_group("reference", reference_, {std::move(frozen)}));
  }
  return groups;
}

nlohmann::json GrpoStage::checkpoint_state() const {
  return {{"step", step_},
          {"cursor", cursor_},
          {"reference_step", reference_step_},
          {"generated_tokens", generated_tokens_},
          {"trained_tokens", trained_tokens_},
          {"seconds", {seconds_.rollout, seconds_.reward, update_s_, evaluator_.seconds()}},
          {"largest_logprob_error", largest_logprob_error_},
          {"evaluations", evaluator_.rows()}};
}

void GrpoStage::restore(const CheckpointReader& reader) {
  auto parts = optimizer_.with_masters({context_.model->named_tensors()});
  if (mtp_optimizer_) parts = mtp_optimizer_->with_masters(std::move(parts));
  load_model_group(reader, "model", context_.model, std::move(parts));
  optimizer_.refresh_copies();
  if (mtp_optimizer_) mtp_optimizer_->refresh_copies();
  optimizer_.load_state(reader.mapped("optimizer"));
  if (mtp_optimizer_) mtp_optimizer_->load_state(reader.mapped("mtp_optimizer"));
  if (!reference_.is_empty()) load_model_group(reader, "reference", reference_, {reference_->named_tensors()});
  const auto& s = reader.state();
  step_ = s.at("step");
  cursor_ = s.at("cursor");
  reference_step_ = s.at("reference_step");
  generated_tokens_ = s.at("generated_tokens");
  trained_tokens_ = s.at("trained_tokens");
  seconds_.rollout = s.at("seconds")[0];
  seconds_.reward = s.at("seconds")[1];
  update_s_ = s.at("seconds")[2];
  largest_logprob_error_ = s.at("largest_logprob_error");
  evaluator_.restore(s.at("evaluations"), s.at("seconds")[3]);
}

Usage GrpoStage::usage() const {
  const auto& stats = engine_->stats();
  Usage u;
  u.rollout_s = seconds_.rollout;
  u.reward_s = seconds_.reward;
  u.update_s = update_s_;
  u.prompt_tokens = stats.prompt_tokens;
  u.generated_tokens = stats.generated_tokens;
  if (context_.sharing.ranks->is_first()) u.trained_tokens = trained_tokens_;  // the whole step's
  u.sampling = stats.computed;
  u.reference = reference_passes_;
  u.training = training_;
  return u;
}

nlohmann::json GrpoStage::summary() const {
  return {{"steps", step_},
          {"generated_tokens", generated_tokens_},
          {"trained_tokens", trained_tokens_},
          {"rollout_seconds", seconds_.rollout},
          {"reward_seconds", seconds_.reward},
          {"update_seconds", update_s_},
          {"eval_seconds", evaluator_.seconds()},
          {"largest_logprob_error", largest_logprob_error_},
          {"evaluations", evaluator_.rows()}};
}

}  // namespace r1::train
