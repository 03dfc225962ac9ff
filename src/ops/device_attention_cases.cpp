// Attention and sampling in the table of operations on a device that `r1 bench kernels` times.
#include <cmath>
#include <cstring>

#include "case_tensors.h"
#include "device.h"
#include "device_kernel_cases.h"
#include "r1/ops/device_decode.h"
#include "r1/ops/ops.h"

namespace r1::ops {

using torch::Tensor;

namespace {

constexpr double kBf16 = 2;

struct AttentionWidths {
  int64_t H, Hkv, D, Dv;
  double scale() const { return 1 / std::sqrt(static_cast<double>(D)); }
};

// cuDNN's on a GPU: torch's own choice there is FlashAttention-2, about half as fast on Hopper.  [B, H, T, D]
Tensor torch_attention(const Tensor& q, const Tensor& k, const Tensor& v, double scale, bool causal) {
  if (q.is_cuda()) {
    return std::get<0>(at::_scaled_dot_product_cudnn_attention(q, k, v, {}, /*compute_log_sumexp=*/q.requires_grad(), 0.0, causal, false, scale));
  }
  return at::scaled_dot_product_attention(q, k, v, {}, 0.0, causal, scale, /*enable_gqa=*/true);
}

// Packed rows of `sequences` equal sequences as torch's [B, H, T, D].
Tensor by_sequence(const Tensor& x_NHD, int64_t sequences) {
  return x_NHD.view({sequences, x_NHD.size(0) / sequences, x_NHD.size(1), x_NHD.size(2)}).transpose(1, 2);
}

struct Packed {
  Tensor q, k, v;
  PackedLayout layout;

  Packed(at::Device place, int64_t N, const AttentionWidths& w)
      : q(random_bf16(place, {N, w.H, w.D})), k(random_bf16(place, {N, w.Hkv, w.D})), v(random_bf16(place, {N, w.Hkv, w.Dv})) {}
};

double packed_flop(int64_t sequences, int64_t T, const AttentionWidths& w) {
  return static_cast<double>(sequences * w.H * (w.D + w.Dv)) * static_cast<double>(T * (T + 1));
}
double packed_bytes(int64_t N, const AttentionWidths& w) {
  return kBf16 * static_cast<double>(N * (w.H + w.Hkv) * (w.D + w.Dv));
}

KernelCase packed_case(at::Device place, int64_t sequences, int64_t T, const AttentionWidths& w) {
  const auto in = std::make_shared<Packed>(place, sequences * T, w);
  for (int64_t s = 0; s < sequences; ++s) in->layout.add_sequence(T);
  in->layout.finish();
  return {[=] {
            const torch::NoGradGuard no_grad;
            return attention(in->q, in->k, in->v, in->layout, w.scale());
          },
          [=] {
            const torch::NoGradGuard no_grad;
            const auto out = torch_attention(by_sequence(in->q, sequences), by_sequence(in->k, sequences), by_sequence(in->v, sequences),
                                             w.scale(), true);
            return out.transpose(1, 2).reshape({sequences * T, w.H, w.Dv});
          },
          place.is_cuda() ? "cuDNN attention" : "scaled_dot_product_attention", packed_bytes(sequences * T, w), packed_flop(sequences, T, w)};
}

// Backward takes 2.5 times the forward's products: the scores again and four of gradients.
KernelCase packed_training_case(at::Device place, int64_t sequences, int64_t T, const AttentionWidths& w) {
  const auto in = std::make_shared<Packed>(place, sequences * T, w);
  for (int64_t s = 0; s < sequences; ++s) in->layout.add_sequence(T);
  in->layout.finish();
  for (auto* x : {&in->q, &in->k, &in->v}) x->requires_grad_(true);
  const auto dout = random_bf16(place, {sequences * T, w.H, w.Dv});
  return {[=] { return torch::autograd::grad({attention(in->q, in->k, in->v, in->layout, w.scale())}, {in->q, in->k, in->v}, {dout})[0]; },
          [=] {
            const auto out = torch_attention(by_sequence(in->q, sequences), by_sequence(in->k, sequences), by_sequence(in->v, sequences),
                                             w.scale(), true);
            return torch::autograd::grad({out.transpose(1, 2)}, {in->q, in->k, in->v}, {dout.view({sequences, T, w.H, w.Dv})})[0];
          },
          place.is_cuda() ? "cuDNN attention" : "scaled_dot_product_attention", 3 * packed_bytes(sequences * T, w),
          3.5 * packed_flop(sequences, T, w)};
}

// G completions of one prompt: once for all of ours, with every completion by torch. The completions' rows are compared.
KernelCase shared_prompt_case(at::Device place, int64_t G, int64_t prompt, int64_t completion, const AttentionWidths& w) {
  const auto in = std::make_shared<Packed>(place, prompt + G * completion, w);
  const auto first = in->layout.add_sequence(prompt);
  for (int64_t g = 0; g < G; ++g) in->layout.add_continuation(first, completion);
  in->layout.finish();
  const auto whole = [=](const Tensor& x) {
    const auto own = x.narrow(0, prompt, G * completion).view({G, completion, x.size(1), x.size(2)});
    return torch::cat({x.narrow(0, 0, prompt).unsqueeze(0).expand({G, -1, -1, -1}), own}, 1).transpose(1, 2).contiguous();
  };
  const auto q = whole(in->q), k = whole(in->k), v = whole(in->v);
  const double pairs = static_cast<double>(prompt * (prompt + 1)) / 2 +
                       static_cast<double>(G * completion) * (static_cast<double>(prompt) + static_cast<double>(completion + 1) / 2);
  return {[=] {
            const torch::NoGradGuard no_grad;
            return attention(in->q, in->k, in->v, in->layout, w.scale()).narrow(0, prompt, G * completion);
          },
          [=] {
            const torch::NoGradGuard no_grad;
            return torch_attention(q, k, v, w.scale(), true).transpose(1, 2).narrow(1, prompt, completion).reshape({G * completion, w.H, w.Dv});
          },
          place.is_cuda() ? "cuDNN attention, prompt repeated" : "scaled_dot_product_attention, prompt repeated",
          packed_bytes(prompt + G * completion, w), 2.0 * static_cast<double>(w.H * (w.D + w.Dv)) * pairs};
}

// One new token each of B sequences of T tokens, T a multiple of the page. torch has its keys in a row, without pages.
KernelCase decode_case(at::Device place, int64_t B, int64_t T, const AttentionWidths& w, bool latent) {
  struct State {
    KvStore store;
    DeviceRuns runs;
    std::vector<std::vector<int32_t>> pages;
  };
  const int64_t page = page_tokens(), per_sequence = T / page;
  const auto options = torch::TensorOptions().device(place).dtype(at::kBFloat16);
  const auto state = std::make_shared<State>();
  state->store = KvStore::create(B * per_sequence, w.Hkv, w.D, latent, options, w.Dv);
  state->store.keys.normal_();
  if (!latent) state->store.values.normal_();
  state->pages.resize(static_cast<size_t>(B));
  std::vector<CacheRun> runs;
  for (int64_t b = 0; b < B; ++b) {
    auto& pages = state->pages[static_cast<size_t>(b)];
    for (int64_t i = 0; i < per_sequence; ++i) pages.push_back(static_cast<int32_t>(b * per_sequence + i));
    runs.push_back({b, 1, T - 1, &pages});
  }
  state->runs = make_device_runs(runs, B, place);
  const auto q = random_bf16(place, {B, w.H, w.D}), k = random_bf16(place, {B, w.Hkv, w.D});
  const auto v = latent ? Tensor() : random_bf16(place, {B, w.Hkv, w.Dv});
  const auto in_a_row = [=](const Tensor& pages, const Tensor& last) {
    auto all = pages.view({B, per_sequence, w.Hkv, page, w.D}).transpose(1, 2).reshape({B, w.Hkv, T, w.D}).clone();
    all.select(2, T - 1).copy_(last);
    return all;
  };
  const auto keys = in_a_row(state->store.keys, k), values = latent ? keys.narrow(-1, 0, w.Dv) : in_a_row(state->store.values, v);
  const double scale = w.scale();
  const auto plain = [=] {
    const torch::NoGradGuard no_grad;
    if (!latent) return torch_attention(q.unsqueeze(2), keys, values, scale, false).squeeze(2);
    const auto scores = torch::matmul(q, keys.squeeze(1).transpose(1, 2)).to(at::kFloat).mul_(scale);
    return torch::matmul(scores.softmax(-1).to(at::kBFloat16), values.squeeze(1));
  };
  const double bytes = kBf16 * static_cast<double>(B * T * w.Hkv * (latent ? w.D : w.D + w.Dv) + B * w.H * (w.D + w.Dv));
  return {[=] {
            const torch::NoGradGuard no_grad;
            return cached_attention(q, k, v, state->store, state->runs, scale);
          },
          plain, latent ? "matmul, softmax, matmul" : place.is_cuda() ? "cuDNN attention without pages" : "scaled_dot_product_attention",
          bytes, 2.0 * static_cast<double>(B * T * w.H * (w.D + w.Dv))};
}

// Draws differ from torch's; both return nothing.
KernelCase sampling_case(at::Device place, int64_t M, int64_t V, const SamplingRule& rule) {
  const auto logits = torch::randn({M, V}, place) * 3;
  auto draws = torch::empty({M, static_cast<int64_t>(sizeof(Draw))}, torch::kByte);
  for (int64_t m = 0; m < M; ++m) {
    const auto draw = make_draw(m, rule, {.seed = 1, .stream = Stream::kTest, .position = static_cast<uint32_t>(m)});
    std::memcpy(draws.data_ptr<uint8_t>() + m * static_cast<int64_t>(sizeof(Draw)), &draw, sizeof(Draw));
  }
  const auto there = draws.to(place);
  const auto tokens = torch::zeros({M}, logits.options().dtype(at::kLong)), logprobs = torch::zeros({M}, logits.options());
  return {[=] {
            draw_tokens(logits, there, tokens, logprobs);
            return Tensor();
          },
          [=] {
            const torch::NoGradGuard no_grad;
            auto z = logits / rule.temperature;
            if (rule.top_k > 0) {
              const auto least = std::get<0>(z.topk(rule.top_k, -1)).narrow(-1, rule.top_k - 1, 1);
              z = z.masked_fill(z < least, -std::numeric_limits<double>::infinity());
            }
            const auto logits_of = z.log_softmax(-1);
            logits_of.gather(-1, logits_of.exp().multinomial(1));
            return Tensor();
          },
          rule.top_k > 0 ? "topk, log_softmax, multinomial" : "log_softmax, multinomial", 4.0 * static_cast<double>(M * V)};
}

}  // namespace

std::vector<KernelCaseMaker> device_attention_cases(at::Device place, CaseSize size) {
  const bool model = size == CaseSize::kModel;
  const AttentionWidths qwen{model ? 14 : 4, 2, 64, 64}, llama{model ? 32 : 4, model ? 8 : 2, 128, 128}, mla{model ? 16 : 2, model ? 16 : 2, 192, 128},
      latent{model ? 128 : 3, 1, 576, 512};
  const int64_t S = model ? 4 : 2, T = model ? 2048 : 21, B = model ? 128 : 3, context = model ? 2048 : 48, G = model ? 16 : 3,
                prompt = model ? 1024 : 17, completion = model ? 256 : 5, M = model ? 256 : 3, V = model ? 151936 : 70;
  const auto packed = [](int64_t sequences, int64_t tokens, const AttentionWidths& w) {
    return shape_text({{"S", sequences}, {"T", tokens}, {"H", w.H}, {"Hkv", w.Hkv}, {"D", w.D}, {"Dv", w.Dv}});
  };
  const auto decode = [=](const AttentionWidths& w) {
    return shape_text({{"B", B}, {"S", context}, {"H", w.H}, {"Hkv", w.Hkv}, {"D", w.D}});
  };
  std::vector<KernelCaseMaker> cases;
  for (const auto& w : {qwen, llama, mla}) {
    cases.push_back({"attention packed", packed(S, T, w), [=] { return packed_case(place, S, T, w); }});
    cases.push_back({"attention packed forward+backward", packed(S, T, w), [=] { return packed_training_case(place, S, T, w); }});
  }
  cases.push_back({"attention packed, shared prompt", shape_text({{"G", G}, {"P", prompt}, {"T", completion}, {"H", qwen.H}, {"Hkv", qwen.Hkv}, {"D", qwen.D}}),
                   [=] { return shared_prompt_case(place, G, prompt, completion, qwen); }});
  cases.push_back({"attention paged decode", decode(qwen), [=] { return decode_case(place, B, context, qwen, false); }});
  cases.push_back({"attention paged decode", decode(llama), [=] { return decode_case(place, B, context, llama, false); }});
  cases.push_back({"attention latent decode", decode(latent), [=] { return decode_case(place, B, context, latent, true); }});
  SamplingRule all, cut;
  cut.top_k = model ? 50 : 5;
  cases.push_back({"sample_tokens", shape_text({{"M", M}, {"V", V}}), [=] { return sampling_case(place, M, V, all); }});
  cases.push_back({"sample_tokens top_k", shape_text({{"M", M}, {"V", V}}), [=] { return sampling_case(place, M, V, cut); }});
  return cases;
}

}  // namespace r1::ops
