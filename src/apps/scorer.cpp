#include "scorer.h"

#include <torch/torch.h>

#include "r1/ops/devices.h"

namespace r1::apps {

using torch::Tensor;

namespace {

Tensor as_tensor(const std::vector<int32_t>& ids, at::Device device) {
  return ops::to_device(torch::tensor(ids, torch::kInt).to(torch::kLong), device);
}

}  // namespace

Tensor Scorer::hidden(const Tensor& tokens) const {
  ops::PackedLayout layout;
  layout.add_sequence(tokens.size(0));
  layout.finish();
  return model_->hidden(tokens, layout);
}

Tensor Scorer::packed(const std::vector<int32_t>& ids) const {
  const torch::NoGradGuard no_grad;
  const auto rows = static_cast<int64_t>(ids.size()) - 1;  // the last id predicts nothing that is asked for
  if (rows < 1) return torch::empty({0}, model_->head_weight().options());
  const Tensor tokens = as_tensor(ids, model_->device());
  return std::get<0>(
      model_->logprobs(hidden(tokens.narrow(0, 0, rows)), tokens.narrow(0, 1, rows), inv_temperature_));
}

Tensor Scorer::logits(const std::vector<int32_t>& ids) const {
  const torch::NoGradGuard no_grad;
  return model_->logits(hidden(as_tensor(ids, model_->device())));
}

Tensor Scorer::cached(const std::vector<int32_t>& ids, int64_t prefill) {
  const torch::NoGradGuard no_grad;
  const auto rows = static_cast<int64_t>(ids.size()) - 1;
  if (rows < 1) return torch::empty({0}, model_->head_weight().options());
  const Tensor tokens = as_tensor(ids, model_->device());
  const int64_t needed = (rows + ops::page_tokens() - 1) / ops::page_tokens();
  if (!cache_ || cache_->num_free() < needed) {
    cache_.reset();
    cache_ = std::make_unique<model::KvCache>(config(), needed, model_->head_weight().options());
  }
  std::vector<int32_t> pages;
  for (int64_t i = 0; i < needed; ++i) pages.push_back(cache_->take());
  std::vector<Tensor> parts;
  for (int64_t done = 0; done < rows;) {
    const int64_t count = done == 0 ? std::min(prefill, rows) : 1;
    const Tensor hidden_NC =
        model_->hidden_cached(tokens.narrow(0, done, count), *cache_, {{0, count, done, &pages}});
    parts.push_back(
        std::get<0>(model_->logprobs(hidden_NC, tokens.narrow(0, done + 1, count), inv_temperature_)));
    done += count;
  }
  for (const int32_t page : pages) cache_->release(page);
  return torch::cat(parts);
}

}  // namespace r1::apps
