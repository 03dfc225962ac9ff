// The table of operations on a device that `r1 bench kernels` times; attention and experts have files of their own.
#include "device_kernel_cases.h"

#include <torch/torch.h>

#include "case_tensors.h"
#include "device_call.h"
#include "kernels/adamw/adamw_cuda.h"
#include "kernels/linear_logprob/linear_logprob_cuda.h"
#include "kernels/rows/rows_cuda.h"
#include "r1/ops/ops.h"
#include "reference.h"

namespace r1::ops {

using device::Bf16;
using device::Call;
using torch::Tensor;

namespace {

constexpr double kBf16 = 2, kFloat = 4;

KernelCase rms_norm_case(at::Device place, int64_t N, int64_t C, bool residual) {
  const auto x = random_bf16(place, {N, C}), r = random_bf16(place, {N, C}), w = random_bf16(place, {C});
  auto y = torch::empty_like(x), h = torch::empty_like(x), rstd = torch::empty({N}, x.options().dtype(at::kFloat));
  return {[=] {
            const Call call("rms_norm", x);
            kernels::cuda::rms_norm_forward<Bf16>(N, C, call.read<Bf16>(x), residual ? call.read<Bf16>(r) : nullptr, call.read<Bf16>(w),
                                                  1e-6f, residual ? call.write<Bf16>(h) : nullptr, call.write<Bf16>(y),
                                                  call.write<float>(rstd), call.stream());
            return y;
          },
          [=] { return torch::rms_norm(residual ? x + r : x, {C}, w, 1e-6); },
          residual ? "add, rms_norm" : "rms_norm",
          kBf16 * static_cast<double>((residual ? 4 : 2) * N * C)};
}

KernelCase rms_norm_backward_case(at::Device place, int64_t N, int64_t C) {
  const auto x = random_bf16(place, {N, C}), w = random_bf16(place, {C}), dy = random_bf16(place, {N, C});
  const auto rstd = torch::rsqrt(x.to(at::kFloat).square().mean(-1) + 1e-6);
  auto dx = torch::empty_like(x), dw = torch::empty({C}, rstd.options()),
       partial = torch::empty({kernels::cuda::rms_norm_partial_floats(N, C)}, rstd.options());
  const auto leaf_x = x.detach().requires_grad_(true), leaf_w = w.detach().requires_grad_(true);
  const auto theirs = torch::rms_norm(leaf_x, {C}, leaf_w, 1e-6);
  return {[=] {
            const Call call("rms_norm backward", x);
            kernels::cuda::rms_norm_backward<Bf16>(N, C, call.read<Bf16>(x), call.read<Bf16>(w), call.read<float>(rstd),
                                                   call.read<Bf16>(dy), nullptr, call.write<Bf16>(dx), call.write<float>(dw),
                                                   call.scratch<float>(partial), call.stream());
            return dx;
          },
          [=] { return torch::autograd::grad({theirs}, {leaf_x, leaf_w}, {dy}, /*retain_graph=*/true)[0]; },
          "rms_norm's backward", kBf16 * static_cast<double>(3 * N * C)};
}

KernelCase silu_mul_case(at::Device place, int64_t N, int64_t F) {
  const auto gate = random_bf16(place, {N, F}), up = random_bf16(place, {N, F});
  auto y = torch::empty_like(gate);
  return {[=] {
            const Call call("silu_mul", gate);
            kernels::cuda::silu_mul_forward<Bf16>(N, F, call.read<Bf16>(gate), call.read<Bf16>(up), F, call.write<Bf16>(y),
                                                  call.stream());
            return y;
          },
          [=] { return ref::silu_mul(gate, up); }, "silu, mul", kBf16 * static_cast<double>(3 * N * F)};
}

KernelCase silu_mul_backward_case(at::Device place, int64_t N, int64_t F) {
  const auto gate = random_bf16(place, {N, F}), up = random_bf16(place, {N, F}), dy = random_bf16(place, {N, F});
  auto dgate = torch::empty_like(gate), dup = torch::empty_like(gate);
  return {[=] {
            const Call call("silu_mul backward", gate);
            kernels::cuda::silu_mul_backward<Bf16>(N, F, call.read<Bf16>(gate), call.read<Bf16>(up), F, call.read<Bf16>(dy),
                                                   call.write<Bf16>(dgate), call.write<Bf16>(dup), call.stream());
            return dgate;
          },
          [=] {
            const auto unused = dy * torch::silu(gate);
            return at::silu_backward(dy * up, gate);
          },
          "silu, mul, silu_backward", kBf16 * static_cast<double>(5 * N * F)};
}

KernelCase rope_case(at::Device place, int64_t N, int64_t H, int64_t D) {
  const auto x = random_bf16(place, {N, H, D});
  const auto positions = torch::arange(N, x.options().dtype(at::kLong)) % std::min<int64_t>(N, 2048);
  const auto angles = torch::rand({std::min<int64_t>(N, 2048), D / 2}, x.options().dtype(at::kFloat)) * 6;
  const auto cos = angles.cos(), sin = angles.sin();
  auto y = torch::empty_like(x);
  return {[=] {
            const Call call("rope", x);
            kernels::cuda::rope<Bf16>(N, H, D, call.read<Bf16>(x), call.read<int64_t>(positions), call.read<float>(cos),
                                      call.read<float>(sin), 1.0f, call.write<Bf16>(y), call.stream());
            return y;
          },
          [=] { return ref::rope(x, positions, cos, sin); }, "ATen", kBf16 * static_cast<double>(2 * N * H * D)};
}

KernelCase logprob_case(at::Device place, int64_t N, int64_t C, int64_t V) {
  const auto h = random_bf16(place, {N, C}), w = random_bf16(place, {V, C}, 0.05);
  const auto targets = torch::randint(0, V, {N}, h.options().dtype(at::kLong));
  return {[=] {
            const torch::NoGradGuard no_grad;
            return std::get<0>(linear_logprob(h, w, targets, 1.0));
          },
          [=] {
            const torch::NoGradGuard no_grad;
            return at::cross_entropy_loss(torch::linear(h, w), targets, {}, at::Reduction::None).neg();
          },
          "linear, cross_entropy", kBf16 * static_cast<double>(N * C + V * C), 2.0 * static_cast<double>(N * C * V)};
}

KernelCase logprob_training_case(at::Device place, int64_t N, int64_t C, int64_t V) {
  const auto h = random_bf16(place, {N, C}).requires_grad_(true), w = random_bf16(place, {V, C}, 0.05).requires_grad_(true);
  const auto targets = torch::randint(0, V, {N}, h.options().dtype(at::kLong));
  return {[=] { return torch::autograd::grad({std::get<0>(linear_logprob(h, w, targets, 1.0)).sum()}, {h, w})[0]; },
          [=] {
            return torch::autograd::grad({at::cross_entropy_loss(torch::linear(h, w), targets, {}, at::Reduction::Sum).neg()}, {h, w})[0];
          },
          "linear, cross_entropy", 3 * kBf16 * static_cast<double>(N * C + V * C), 6.0 * static_cast<double>(N * C * V)};
}

// Float32 masters with float32 gradients and the bf16 copies that the next forward pass reads.
struct Parameters {
  std::vector<Tensor> p, g, m, v, copies;
  Tensor table, chunks;
  int64_t num_chunks = 0, count = 0;

  Parameters(at::Device place, int64_t tensors, at::IntArrayRef sizes) {
    const auto options = torch::TensorOptions().device(place).dtype(at::kFloat);
    for (int64_t i = 0; i < tensors; ++i) {
      p.push_back(torch::randn(sizes, options));
      g.push_back(torch::randn(sizes, options) * 1e-3);
      m.push_back(torch::zeros(sizes, options));
      v.push_back(torch::zeros(sizes, options));
      copies.push_back(p.back().to(at::kBFloat16));
      count += p.back().numel();
    }
  }
};

KernelCase adamw_case(at::Device place, int64_t tensors, at::IntArrayRef sizes) {
  const auto all = std::make_shared<Parameters>(place, tensors, sizes);
  const auto theirs = std::make_shared<Parameters>(*all);
  for (auto* list : {&theirs->p, &theirs->m, &theirs->v, &theirs->copies}) {
    for (auto& t : *list) t = t.clone();
  }
  const auto options = torch::TensorOptions().device(place).dtype(at::kFloat);
  const std::vector<Tensor> steps(static_cast<size_t>(tensors), torch::ones({}, options));
  const auto clip = torch::ones({1}, options);
  std::vector<kernels::cuda::AdamWTensor> rows;
  for (size_t i = 0; i < all->p.size(); ++i) {
    rows.push_back({all->p[i].data_ptr<float>(), all->g[i].data_ptr(), all->m[i].data_ptr<float>(), all->v[i].data_ptr<float>(),
                    static_cast<Bf16*>(all->copies[i].data_ptr()), all->p[i].numel(), 1});
  }
  all->table = table_on(place, rows);
  const auto chunks = kernels::cuda::adamw_chunks(rows);
  all->chunks = table_on(place, chunks);
  all->num_chunks = static_cast<int64_t>(chunks.size());
  return {[=] {
            const Call call("adamw", all->p[0]);
            for (size_t i = 0; i < all->p.size(); ++i) {
              call.update<float>(all->p[i]);
              call.read<float>(all->g[i]);
              call.update<float>(all->m[i]);
              call.update<float>(all->v[i]);
              call.update<Bf16>(all->copies[i]);
            }
            kernels::cuda::adamw_step<float>(reinterpret_cast<const kernels::cuda::AdamWTensor*>(call.read<uint8_t>(all->table)),
                                             reinterpret_cast<const kernels::cuda::AdamWChunk*>(call.read<uint8_t>(all->chunks)),
                                             all->num_chunks, {0.9f, 0.1f, 0.999f, 0.001f, 1.0f, 1e-5f, 31.6f, 1e-8f},
                                             call.read<float>(clip), call.stream());
            return Tensor();
          },
          [=] {
            at::_fused_adamw_(theirs->p, theirs->g, theirs->m, theirs->v, {}, steps, 1e-6, 0.9, 0.999, 0.0, 1e-8, false, false);
            at::_foreach_copy_(theirs->copies, theirs->p);
            return Tensor();
          },
          "fused AdamW, copy to bf16", (7 * kFloat + kBf16) * static_cast<double>(all->count)};
}

KernelCase gradient_norm_case(at::Device place, int64_t tensors, at::IntArrayRef sizes) {
  const auto all = std::make_shared<Parameters>(place, tensors, sizes);
  std::vector<kernels::cuda::AdamWTensor> rows;
  for (size_t i = 0; i < all->g.size(); ++i) rows.push_back({nullptr, all->g[i].data_ptr(), nullptr, nullptr, nullptr, all->g[i].numel(), 1});
  all->table = table_on(place, rows);
  const auto chunks = kernels::cuda::adamw_chunks(rows);
  all->chunks = table_on(place, chunks);
  all->num_chunks = static_cast<int64_t>(chunks.size());
  auto norm = torch::empty({2}, all->g[0].options()), partial = torch::empty({all->num_chunks}, all->g[0].options().dtype(at::kDouble));
  return {[=] {
            const Call call("gradient_norm", norm);
            for (const auto& g : all->g) call.read<float>(g);
            kernels::cuda::gradient_norm<float>(reinterpret_cast<const kernels::cuda::AdamWTensor*>(call.read<uint8_t>(all->table)),
                                                reinterpret_cast<const kernels::cuda::AdamWChunk*>(call.read<uint8_t>(all->chunks)),
                                                all->num_chunks, 1.0f, call.scratch<double>(partial), call.write<float>(norm),
                                                call.stream());
            return norm.narrow(0, 0, 1);
          },
          [=] { return torch::stack(at::_foreach_norm(all->g)).norm().reshape({1}); }, "_foreach_norm",
          kFloat * static_cast<double>(all->count)};
}

}  // namespace

std::vector<KernelCaseMaker> device_kernel_cases(at::Device place, CaseSize size) {
  const bool model = size == CaseSize::kModel;
  // Qwen2.5-0.5B: 8,192 tokens of training; 24 layers of three matrices for the optimizer.
  const int64_t N = model ? 8192 : 5, C = model ? 896 : 16, F = model ? 4864 : 24, V = model ? 151936 : 40, H = model ? 14 : 2,
                D = model ? 64 : 8, wide = model ? 7168 : 24;
  const int64_t layers = model ? 24 : 2, parts = model ? 3 * F : 5;
  const auto parameters = shape_text({{"P", layers * parts * C}});
  std::vector<KernelCaseMaker> cases{
      {"rms_norm", shape_text({{"N", N}, {"C", C}}), [=] { return rms_norm_case(place, N, C, false); }},
      {"rms_norm", shape_text({{"N", N}, {"C", wide}}), [=] { return rms_norm_case(place, N, wide, false); }},
      {"rms_norm + residual", shape_text({{"N", N}, {"C", C}}), [=] { return rms_norm_case(place, N, C, true); }},
      {"rms_norm backward", shape_text({{"N", N}, {"C", C}}), [=] { return rms_norm_backward_case(place, N, C); }},
      {"rms_norm backward", shape_text({{"N", N}, {"C", wide}}), [=] { return rms_norm_backward_case(place, N, wide); }},
      {"silu_mul", shape_text({{"N", N}, {"F", F}}), [=] { return silu_mul_case(place, N, F); }},
      {"silu_mul backward", shape_text({{"N", N}, {"F", F}}), [=] { return silu_mul_backward_case(place, N, F); }},
      {"rope", shape_text({{"N", N}, {"H", H}, {"D", D}}), [=] { return rope_case(place, N, H, D); }},
      {"linear_logprob", shape_text({{"N", N}, {"C", C}, {"V", V}}), [=] { return logprob_case(place, N, C, V); }},
      {"linear_logprob forward+backward", shape_text({{"N", N}, {"C", C}, {"V", V}}),
       [=] { return logprob_training_case(place, N, C, V); }},
      {"gradient_norm", parameters, [=] { return gradient_norm_case(place, layers, {parts, C}); }},
      {"adamw", parameters, [=] { return adamw_case(place, layers, {parts, C}); }},
  };
  for (auto& c : device_attention_cases(place, size)) cases.push_back(std::move(c));
  for (auto& c : device_expert_cases(place, size)) cases.push_back(std::move(c));
  return cases;
}

}  // namespace r1::ops
