#include "r1/ops/sampling.h"

#include <torch/torch.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "device.h"
#include "kernels/parallel.h"
#include "kernels/rows/rows.h"
#include "r1/ops/device_decode.h"

namespace r1::ops {
namespace {

struct Drawn {
  int32_t token;
  float logprob;
};

float logprob_of(const float* logits, int64_t V, int64_t token, float inv_temperature) {
  float lse = 0;
  kernels::logsumexp(1, V, logits, inv_temperature, &lse, nullptr);
  return logits[token] * inv_temperature - lse;
}

Drawn draw_greedy(const float* logits, int64_t V) {
  const int64_t best = std::max_element(logits, logits + V) - logits;
  return {static_cast<int32_t>(best), logprob_of(logits, V, best, 1.0f)};
}

Drawn draw_from_all(const float* logits, int64_t V, float inv_temperature, double uniform) {
  thread_local std::vector<float> weights;
  thread_local std::vector<double> blocks;
  weights.resize(static_cast<size_t>(V));
  blocks.resize(static_cast<size_t>((V + kernels::kSoftmaxBlock - 1) / kernels::kSoftmaxBlock));
  kernels::softmax_weights(V, logits, inv_temperature, weights.data(), blocks.data());
  double rest = uniform * std::accumulate(blocks.begin(), blocks.end(), 0.0);
  size_t block = 0;
  while (block + 1 < blocks.size() && rest >= blocks[block]) rest -= blocks[block++];
  const auto begin = static_cast<int64_t>(block) * kernels::kSoftmaxBlock;
  const int64_t end = std::min(V, begin + kernels::kSoftmaxBlock);
  int64_t token = -1;
  for (int64_t v = begin; v < end; ++v) {
    const double w = weights[static_cast<size_t>(v)];
    if (w > 0) token = v;  // rounding may leave `rest` past the end: then the last possible token
    if (rest < w) break;
    rest -= w;
  }
  if (token < 0) token = std::max_element(weights.begin(), weights.end()) - weights.begin();
  return {static_cast<int32_t>(token), logprob_of(logits, V, token, inv_temperature)};
}

Drawn draw_from_cut(const float* logits, int64_t V, const SamplingRule& rule, double uniform) {
  const double inv_temperature = 1 / rule.temperature;
  std::vector<int32_t> order(static_cast<size_t>(V));
  std::iota(order.begin(), order.end(), 0);
  const auto larger = [&](int32_t a, int32_t b) { return logits[a] != logits[b] ? logits[a] > logits[b] : a < b; };
  if (rule.top_k > 0 && rule.top_k < V) {
    std::nth_element(order.begin(), order.begin() + rule.top_k, order.end(), larger);
    order.resize(static_cast<size_t>(rule.top_k));
  }
  std::sort(order.begin(), order.end(), larger);
  const double top = logits[order[0]];
  std::vector<double> weights;
  for (const int32_t v : order) weights.push_back(std::exp((logits[v] - top) * inv_temperature));
  double total = std::accumulate(weights.begin(), weights.end(), 0.0);
  size_t kept = weights.size();
  if (rule.top_p < 1) {
    double sum = 0;
    for (kept = 0; kept < weights.size() && (kept == 0 || sum < rule.top_p * total); ++kept) sum += weights[kept];
  }
  while (kept > 1 && weights[kept - 1] < rule.min_p) --kept;  // weights[0] is 1: the largest probability
  total = std::accumulate(weights.begin(), weights.begin() + static_cast<std::ptrdiff_t>(kept), 0.0);
  double rest = uniform * total;
  size_t i = 0;
  while (i + 1 < kept && rest >= weights[i]) rest -= weights[i++];
  return {order[i], static_cast<float>(std::log(weights[i] / total))};
}

}  // namespace

Draw make_draw(int64_t row, const SamplingRule& rule, const DrawKey& key) {
  const auto words = philox_key(key);
  Draw d{};
  d.row = static_cast<int32_t>(row);
  d.top_k = static_cast<int32_t>(std::min<int64_t>(rule.top_k, INT32_MAX));
  d.top_p = rule.top_p;
  d.min_p = rule.min_p;
  d.inverse_temperature = rule.temperature == 0 ? 0.0f : static_cast<float>(1 / rule.temperature);
  d.key[0] = words[0];
  d.key[1] = words[1];
  d.position = key.position;
  d.sample = key.sample;
  d.prompt = key.prompt;
  d.step = key.step;
  d.uniform = -1;
  return d;
}

SampledTokens sample_tokens(const at::Tensor& logits_RV, const std::vector<int64_t>& row_of,
                            const std::vector<double>& uniforms, const SamplingRule& rule) {
  TORCH_CHECK(row_of.size() == uniforms.size(), "sample_tokens: ", row_of.size(), " rows, ", uniforms.size(), " uniforms");
  if (device::on_device(logits_RV)) return device::sample_tokens(logits_RV, row_of, uniforms, rule);
  const auto logits = logits_RV.to(torch::kCPU, torch::kFloat).contiguous();  // sync: the tokens are needed here
  const int64_t V = logits.size(1);
  const float* data = logits.data_ptr<float>();
  SampledTokens out{std::vector<int32_t>(row_of.size()), std::vector<float>(row_of.size())};
  kernels::parallel_for(static_cast<int64_t>(row_of.size()), [&](int64_t m) {
    const auto i = static_cast<size_t>(m);
    const float* row = data + row_of[i] * V;
    const Drawn drawn = rule.temperature == 0 ? draw_greedy(row, V)
                        : rule.cuts()         ? draw_from_cut(row, V, rule, uniforms[i])
                                              : draw_from_all(row, V, static_cast<float>(1 / rule.temperature), uniforms[i]);
    out.tokens[i] = drawn.token;
    out.logprobs[i] = drawn.logprob;
  });
  return out;
}

}  // namespace r1::ops
