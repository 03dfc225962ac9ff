#include <torch/torch.h>

#include "r1/model/transformer.h"

namespace r1::model {

KvCache::KvCache(const ModelConfig& config, int64_t num_pages, at::TensorOptions options, bool with_mtp)
    : references_(static_cast<size_t>(num_pages), 0) {
  const bool latent = config.has_latent_attention();
  for (int64_t i = 0; i < config.num_layers + (with_mtp ? 1 : 0); ++i) {
    layers_.push_back(ops::KvStore::create(num_pages, latent ? 1 : config.num_kv_heads,
                                           latent ? config.kv_lora_rank + config.qk_rope_head_dim : config.head_dim, latent, options,
                                           latent ? config.kv_lora_rank : 0));
  }
  for (int64_t p = num_pages; p-- > 0;) free_.push_back(static_cast<int32_t>(p));
}

int32_t KvCache::take() {
  TORCH_INTERNAL_ASSERT(!free_.empty(), "KV cache: no free page; the engine admits only what fits");
  const int32_t page = free_.back();
  free_.pop_back();
  references_[static_cast<size_t>(page)] = 1;
  return page;
}

void KvCache::share(int32_t page) { ++references_[static_cast<size_t>(page)]; }

void KvCache::release(int32_t page) {
  if (--references_[static_cast<size_t>(page)] == 0) free_.push_back(page);
}

int32_t KvCache::copy(int32_t page) {
  const int32_t fresh = take();
  for (auto& layer : layers_) layer.copy_page(page, fresh);
  return fresh;
}

int64_t KvCache::bytes_per_page(const ModelConfig& config, bool with_mtp, at::ScalarType dtype) {
  const int64_t layers = config.num_layers + (with_mtp ? 1 : 0);
  if (config.has_latent_attention()) {
    return layers * ops::page_bytes(1, config.kv_lora_rank + config.qk_rope_head_dim, true, dtype);
  }
  return layers * ops::page_bytes(config.num_kv_heads, config.head_dim, false, dtype);
}

}  // namespace r1::model
