#include "kernels/moe/gate.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "kernels/parallel.h"

namespace r1::kernels {
namespace {

constexpr float kSumFloor = 1e-20f;  // as the published gate: a sum of vanished scores stays finite
constexpr int64_t kRowsPerTask = 64;

template <typename Fn>
void over_rows(int64_t N, int64_t E, const Fn& fn) {
  const int64_t tasks = (N + kRowsPerTask - 1) / kRowsPerTask;
  const auto task = [&](int64_t t) {
    for (int64_t n = t * kRowsPerTask; n < std::min(N, (t + 1) * kRowsPerTask); ++n) fn(n);
  };
  if (N * E < 4096) {
    for (int64_t t = 0; t < tasks; ++t) task(t);
  } else {
    parallel_for(tasks, task);
  }
}

void scores_of(const GateShape& s, const float* z, float* out) {
  const int64_t E = s.num_experts;
  if (s.sigmoid) {
    for (int64_t e = 0; e < E; ++e) out[e] = 1.0f / (1.0f + std::exp(-z[e]));
    return;
  }
  const float top = *std::max_element(z, z + E);
  float total = 0;
  for (int64_t e = 0; e < E; ++e) total += out[e] = std::exp(z[e] - top);
  for (int64_t e = 0; e < E; ++e) out[e] /= total;
}

// The `count` largest of values[0..size), by falling value, equal ones by index; NaN counts as the smallest.
void largest(const float* values, int64_t size, int64_t count, int64_t* out) {
  for (int64_t k = 0; k < count; ++k) {
    int64_t best = -1;
    for (int64_t i = 0; i < size; ++i) {
      if (std::find(out, out + k, i) != out + k) continue;
      if (best < 0 || values[i] > values[best]) best = i;
    }
    out[k] = best;
  }
}

void choose(const GateShape& s, const float* scores, const float* bias, int64_t* experts) {
  thread_local std::vector<float> biased, group_scores;
  thread_local std::vector<int64_t> kept;
  const int64_t E = s.num_experts, width = E / s.num_groups;
  biased.assign(scores, scores + E);
  if (bias != nullptr) {
    for (int64_t e = 0; e < E; ++e) biased[static_cast<size_t>(e)] += bias[e];
  }
  if (s.groups_kept < s.num_groups) {
    group_scores.resize(static_cast<size_t>(s.num_groups));
    kept.resize(static_cast<size_t>(s.groups_kept));
    for (int64_t g = 0; g < s.num_groups; ++g) {
      int64_t top[2] = {0, 0};
      const float* of_group = biased.data() + g * width;
      largest(of_group, width, s.group_by_top_two ? 2 : 1, top);
      group_scores[static_cast<size_t>(g)] =
          s.group_by_top_two ? of_group[top[0]] + of_group[top[1]] : of_group[top[0]];
    }
    largest(group_scores.data(), s.num_groups, s.groups_kept, kept.data());
    for (int64_t g = 0; g < s.num_groups; ++g) {
      if (std::find(kept.begin(), kept.end(), g) != kept.end()) continue;
      std::fill_n(biased.begin() + g * width, width, -std::numeric_limits<float>::infinity());
    }
  }
  largest(biased.data(), E, s.experts_per_token, experts);
}

}  // namespace

void moe_gate_forward(int64_t N, const GateShape& s, const float* logits, const float* bias,
                      const int64_t* chosen, float* scores, int64_t* experts, float* weights) {
  const int64_t E = s.num_experts, K = s.experts_per_token;
  over_rows(N, E, [&](int64_t n) {
    float* row = scores + n * E;
    int64_t* picked = experts + n * K;
    float* w = weights + n * K;
    scores_of(s, logits + n * E, row);
    if (chosen != nullptr) {
      std::copy_n(chosen + n * K, K, picked);
    } else {
      choose(s, row, bias, picked);
    }
    float total = 0;
    for (int64_t k = 0; k < K; ++k) total += w[k] = row[picked[k]];
    const float factor = s.normalize ? s.scale / (total + kSumFloor) : s.scale;
    for (int64_t k = 0; k < K; ++k) w[k] *= factor;
  });
}

void moe_gate_backward(int64_t N, const GateShape& s, const float* scores, const int64_t* experts,
                       const float* dweights, const float* dshares, float* dlogits) {
  const int64_t E = s.num_experts, K = s.experts_per_token;
  over_rows(N, E, [&](int64_t n) {
    const float* row = scores + n * E;
    float* d = dlogits + n * E;  // first d/d score, then d/d logit
    std::fill_n(d, E, 0.0f);
    if (dshares != nullptr) {  // share = s / S: d s_e = (d share_e - sum_j d share_j share_j) / S
      float total = 0, dot = 0;
      for (int64_t e = 0; e < E; ++e) {
        total += row[e];
        dot += dshares[n * E + e] * row[e];
      }
      total += kSumFloor;
      for (int64_t e = 0; e < E; ++e) d[e] = (dshares[n * E + e] - dot / total) / total;
    }
    if (dweights != nullptr) {
      const int64_t* picked = experts + n * K;
      const float* dw = dweights + n * K;
      float total = kSumFloor, dot = 0;
      for (int64_t k = 0; k < K; ++k) {
        total += row[picked[k]];
        dot += dw[k] * row[picked[k]];
      }
      for (int64_t k = 0; k < K; ++k) {
        d[picked[k]] += s.scale * (s.normalize ? (dw[k] - dot / total) / total : dw[k]);
      }
    }
    if (s.sigmoid) {
      for (int64_t e = 0; e < E; ++e) d[e] *= row[e] * (1 - row[e]);
    } else {
      float dot = 0;
      for (int64_t e = 0; e < E; ++e) dot += d[e] * row[e];
      for (int64_t e = 0; e < E; ++e) d[e] = row[e] * (d[e] - dot);
    }
  });
}

}  // namespace r1::kernels
