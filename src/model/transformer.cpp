#include "r1/model/transformer.h"

#include <torch/torch.h>

#include "checkpointed_block.h"
#include "r1/ops/devices.h"
#include "r1/ops/ops.h"
#include "r1/util/error.h"
#include "r1/util/strings.h"
#include "rope_frequencies.h"

namespace r1::model {

using torch::Tensor;

TransformerImpl::TransformerImpl(ModelConfig config, at::TensorOptions options, const ExpertRanks& experts)
    : config_(std::move(config)), expert_ranks_(experts) {
  config_.validate("model");
  auto backbone = register_module("model", std::make_shared<torch::nn::Module>());
  auto embed = backbone->register_module("embed_tokens", std::make_shared<torch::nn::Module>());
  embed_weight_ = embed->register_parameter("weight", torch::zeros({config_.vocab_size, config_.hidden_size}, options));
  auto layers = backbone->register_module("layers", std::make_shared<torch::nn::Module>());
  for (int64_t i = 0; i < config_.num_layers; ++i) {
    blocks_.emplace_back(config_, i, options, experts);
    layers->register_module(std::to_string(i), blocks_.back());
    if (auto moe = std::dynamic_pointer_cast<MoeImpl>(blocks_.back()->mlp)) expert_layers_.push_back(std::move(moe));
  }
  if (config_.has_mtp()) {
    mtp_ = layers->register_module(std::to_string(config_.num_layers), std::make_shared<MtpModuleImpl>(config_, options, experts));
    mtp_blocks_ = {Block(std::shared_ptr<BlockImpl>(mtp_))};
    if (auto moe = std::dynamic_pointer_cast<MoeImpl>(mtp_->mlp)) expert_layers_.push_back(std::move(moe));
  }
  norm_ = RmsNorm(config_.hidden_size, config_.rms_norm_eps, options);
  backbone->register_module("norm", norm_);
  if (!config_.tie_embeddings) {
    lm_head_ = register_module("lm_head", Linear(config_.hidden_size, config_.vocab_size, false, options));
  }
}

Tensor TransformerImpl::head_weight() const { return config_.tie_embeddings ? embed_weight_ : lm_head_->weight; }

void TransformerImpl::grow_rope(int64_t positions) {
  TORCH_CHECK(positions <= config_.max_positions, "a sequence of ", positions, " tokens; the model's context is ",
              config_.max_positions);
  if (cos_PD2_.defined() && cos_PD2_.size(0) >= positions) return;
  const int64_t size = std::min(config_.max_positions, std::max<int64_t>(512, 2 * positions));
  const auto table = rope_table(config_, size, embed_weight_.scalar_type() == torch::kDouble ? torch::kDouble : torch::kFloat);
  cos_PD2_ = ops::to_device(table.cos_PD2, device());
  sin_PD2_ = ops::to_device(table.sin_PD2, device());
}

Tensor TransformerImpl::run_blocks(const std::vector<Block>& blocks, Tensor x_NC, BlockPass pass) {
  const bool recompute = activation_checkpointing && torch::GradMode::is_enabled();
  pass.cos_PD2 = cos_PD2_;
  pass.sin_PD2 = sin_PD2_;
  const auto kept = recompute ? std::make_shared<const BlockPass>(pass) : nullptr;
  for (Block block : blocks) x_NC = recompute ? checkpointed_block(block, x_NC, kept) : block(x_NC, pass);
  return x_NC;
}

Tensor TransformerImpl::hidden(const Tensor& tokens_N, const ops::PackedLayout& layout, const RoutingPtr& routing) {
  return run_packed(blocks_, ops::embedding(ops::to_device(tokens_N, device()), embed_weight_), layout, routing);
}

Tensor TransformerImpl::run_packed(const std::vector<Block>& blocks, const Tensor& x_NC, const ops::PackedLayout& layout,
                                   const RoutingPtr& routing) {
  int64_t longest = 0;
  for (const auto& s : layout.segments) longest = std::max(longest, s.first_position + s.num_rows);
  grow_rope(longest);
  BlockPass pass;
  pass.positions_N = ops::to_device(layout.positions_N, device());
  pass.layout = std::make_shared<const ops::PackedLayout>(layout);  // a recomputed block attends again
  pass.attend = [kept = pass.layout, scale = config_.attention_scale()](int64_t, const Tensor& q, const Tensor& k, const Tensor& v) {
    return ops::attention(q, k, v, *kept, scale);
  };
  pass.expand_latents = ops::on_device(x_NC);
  pass.routing = routing;
  return run_blocks(blocks, x_NC, std::move(pass));
}

Tensor TransformerImpl::hidden_cached(const Tensor& tokens_N, KvCache& cache, const std::vector<ops::CacheRun>& runs,
                                      const RoutingPtr& routing) {
  const torch::NoGradGuard no_grad;
  return run_cached(blocks_, ops::embedding(ops::to_device(tokens_N, device()), embed_weight_), cache, runs, routing);
}

Tensor TransformerImpl::hidden_cached(const Tensor& tokens_N, KvCache& cache, const ops::DeviceRuns& runs, const RoutingPtr& routing) {
  const torch::NoGradGuard no_grad;
  return run_cached(blocks_, ops::embedding(tokens_N, embed_weight_), cache, runs, routing);
}

Tensor TransformerImpl::run_cached(const std::vector<Block>& blocks, const Tensor& x_NC, KvCache& cache, const ops::DeviceRuns& runs,
                                   const RoutingPtr& routing) {
  grow_rope(std::min(runs.max_tokens, config_.max_positions));  // a bound may be rounded up
  BlockPass pass;
  pass.positions_N = runs.positions_N;
  pass.attend = [&, scale = config_.attention_scale()](int64_t layer, const Tensor& q, const Tensor& k, const Tensor& v) {
    return ops::cached_attention(q, k, v, cache.layer(layer), runs, scale);
  };
  pass.routing = routing;
  return run_blocks(blocks, x_NC, std::move(pass));
}

Tensor TransformerImpl::run_cached(const std::vector<Block>& blocks, const Tensor& x_NC, KvCache& cache,
                                   const std::vector<ops::CacheRun>& runs, const RoutingPtr& routing) {
  if (cache.layer(0).for_device) {
    return run_cached(blocks, x_NC, cache, ops::make_device_runs(runs, x_NC.size(0), device()), routing);
  }
  int64_t longest = 0;
  auto positions_N = torch::empty({x_NC.size(0)}, torch::kLong);
  auto* positions = positions_N.data_ptr<int64_t>();
  for (const auto& run : runs) {
    for (int64_t i = 0; i < run.num_rows; ++i) positions[run.first_row + i] = run.first_position + i;
    longest = std::max(longest, run.first_position + run.num_rows);
  }
  grow_rope(longest);
  BlockPass pass;
  pass.positions_N = ops::to_device(positions_N, device());
  pass.attend = [&, scale = config_.attention_scale()](int64_t layer, const Tensor& q, const Tensor& k, const Tensor& v) {
    return ops::cached_attention(q, k, v, cache.layer(layer), runs, scale);
  };
  pass.routing = routing;
  return run_blocks(blocks, x_NC, std::move(pass));
}

Tensor TransformerImpl::logits(const Tensor& hidden_MC) {
  const auto h_MC = norm_(hidden_MC);
  if (!torch::GradMode::is_enabled()) return packed_head_.linear(h_MC, head_weight(), {});
  return ops::linear(h_MC, head_weight());
}

std::tuple<Tensor, Tensor> TransformerImpl::logprobs(const Tensor& hidden_MC, const Tensor& targets_M,
                                                     double inv_temperature) {
  return ops::linear_logprob(norm_(hidden_MC), head_weight(), targets_M, inv_temperature, logit_chunk_rows());
}

int64_t TransformerImpl::logit_chunk_rows() const {
  constexpr int64_t kLogitBytes = 64 << 20;  // of one chunk
  return std::clamp<int64_t>(kLogitBytes / (4 * config_.vocab_size), 16, 4096);
}

void TransformerImpl::load_weights(const WeightSource& source) {
  const bool with_mtp = config_.has_mtp() && source.config().has_mtp();
  check_weights(source, with_mtp ? config_ : config_.trunk());
  const torch::NoGradGuard no_grad;
  for (auto& [name, tensor] : named_tensors()) {
    if (with_mtp || !config_.is_mtp_parameter(name)) tensor.copy_(source.load(name));
  }
}

std::vector<std::string> TransformerImpl::all_parameter_names() const {
  std::vector<std::string> names;
  const auto add = [&](const TransformerImpl& model) {
    for (const auto& item : model.named_parameters()) names.push_back(item.key());
  };
  if (!expert_ranks_.dealt()) add(*this);
  else add(TransformerImpl(config_, at::TensorOptions(at::kMeta)));
  return names;
}

NamedTensors TransformerImpl::named_tensors() const {
  NamedTensors out;
  for (const auto& item : named_parameters()) out.emplace_back(item.key(), item.value().detach());
  for (const auto& item : named_buffers()) out.emplace_back(item.key(), item.value());
  return out;
}

void TransformerImpl::copy_from(const TransformerImpl& other) {
  const torch::NoGradGuard no_grad;
  auto from = other.named_tensors();
  if (!config_.has_mtp()) std::erase_if(from, [&](const auto& named) { return other.config_.is_mtp_parameter(named.first); });
  const auto to = named_tensors();
  TORCH_CHECK(from.size() == to.size(), "copy_from: ", from.size(), " tensors into ", to.size());
  for (size_t i = 0; i < to.size(); ++i) to[i].second.copy_(from[i].second);
}

void TransformerImpl::place(at::Device device, at::ScalarType dtype) {
  const torch::NoGradGuard no_grad;
  for (auto& parameter : parameters()) parameter.set_data(parameter.detach().to(device, dtype));
  for (auto& buffer : buffers()) buffer.set_data(buffer.to(device));
  if (ops::on_device(embed_weight_)) {
    for (auto& layer : expert_layers_) layer->stack_experts();
  }
  cos_PD2_ = sin_PD2_ = Tensor();
  release_packed();
}

void TransformerImpl::release_packed() {
  packed_head_.release();
  for (const auto& module : modules(/*include_self=*/false)) {
    if (auto* linear = module->as<LinearImpl>()) linear->packed.release();
  }
}

}  // namespace r1::model
