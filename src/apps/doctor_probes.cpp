#include "doctor_probes.h"

#include <torch/torch.h>

#include <cstring>

#include "r1/util/random.h"
#include "r1/util/strings.h"

namespace r1::apps {

using torch::Tensor;

namespace {

std::vector<float> random_floats(int64_t count, uint32_t item) {
  std::vector<float> out(static_cast<size_t>(count));
  for (size_t i = 0; i < out.size(); ++i) {
    out[i] = static_cast<float>(
        draw_uniform({.stream = Stream::kTest, .prompt = item, .position = static_cast<uint32_t>(i)}) - 0.5);
  }
  return out;
}

int64_t differing(const Tensor& a, const Tensor& b) {
  return a.view(torch::kInt).ne(b.view(torch::kInt)).sum().item<int64_t>();
}

// Logits of each token, decoded one at a time after `prefill` tokens, with `beside` other sequences of the
// same tokens.
Tensor decoded_logits(model::Transformer& model, const Tensor& tokens, int64_t prefill, int64_t beside) {
  const int64_t T = tokens.size(0), sequences = beside + 1;
  const int64_t pages_each = (T + ops::page_tokens() - 1) / ops::page_tokens();
  model::KvCache cache(model->config(), sequences * pages_each, model->head_weight().options());
  std::vector<std::vector<int32_t>> pages(static_cast<size_t>(sequences));
  for (auto& own : pages) {
    for (int64_t i = 0; i < pages_each; ++i) own.push_back(cache.take());
  }
  std::vector<Tensor> parts;
  for (int64_t done = 0; done < T;) {
    const int64_t count = done == 0 ? prefill : 1;
    std::vector<ops::CacheRun> runs;
    for (int64_t s = 0; s < sequences; ++s)
      runs.push_back({s * count, count, done, &pages[static_cast<size_t>(s)]});
    const Tensor hidden =
        model->hidden_cached(tokens.narrow(0, done, count).repeat({sequences}), cache, runs);
    parts.push_back(model->logits(hidden).narrow(0, beside * count, count));
    done += count;
  }
  return torch::cat(parts);
}

}  // namespace

Probe probe_product_rows(const Gemm& gemm) {
  constexpr int64_t M = 64, N = 192, K = 576;
  const auto a = random_floats(M * K, 1), b = random_floats(K * N, 2);
  const auto b_view = kernels::row_major(b.data(), N);
  std::vector<float> together(M * N), alone(N), plain(N);
  gemm(M, N, K, kernels::row_major(a.data(), K), b_view, together.data(), N);
  int64_t not_alone = 0, not_plain = 0;
  for (int64_t m = 0; m < M; ++m) {
    const auto row = kernels::row_major(a.data() + m * K, K);
    gemm(1, N, K, row, b_view, alone.data(), N);
    kernels::gemm_reference(1, N, K, row, b_view, plain.data(), N);
    not_alone += std::memcmp(alone.data(), together.data() + m * N, N * sizeof(float)) != 0 ? 1 : 0;
    not_plain += std::memcmp(plain.data(), together.data() + m * N, N * sizeof(float)) != 0 ? 1 : 0;
  }
  return {"matrix product, 64 rows and each alone", not_alone + not_plain == 0,
          cat(not_alone, " of ", M, " rows differ alone, ", not_plain, " from the plain loops")};
}

model::Transformer probe_model() {
  model::ModelConfig config;
  config.vocab_size = 96;
  config.hidden_size = 64;
  config.intermediate_size = 160;
  config.num_layers = 2;
  config.num_heads = 4;
  config.num_kv_heads = 2;
  config.head_dim = 16;
  config.max_positions = 64;
  config.initializer_range = 0.3;
  model::Transformer model(config);
  model->initialize(1);
  return model;
}

Probe probe_cached_decoding(model::Transformer model) {
  const torch::NoGradGuard no_grad;
  constexpr int64_t T = 40;
  const Tensor tokens = (torch::arange(T, torch::kLong) * 37 + 11) % model->config().vocab_size;
  ops::PackedLayout layout;
  layout.add_sequence(T);
  layout.finish();
  const Tensor packed = model->logits(model->hidden(tokens, layout));
  const int64_t alone = differing(decoded_logits(model, tokens, 5, 0), packed);
  const int64_t beside = differing(decoded_logits(model, tokens, 17, 3), packed);
  const bool finite = torch::isfinite(packed).all().item<bool>();
  return {"cached decoding and the packed forward pass", finite && alone + beside == 0,
          cat(alone, " of ", packed.numel(), " logits differ alone, ", beside, " beside three sequences",
              finite ? "" : ", and some are not finite")};
}

}  // namespace r1::apps
