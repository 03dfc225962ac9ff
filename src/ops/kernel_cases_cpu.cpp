#include <torch/torch.h>

#include "case_tensors.h"
#include "r1/ops/kernel_cases.h"
#include "r1/ops/moe.h"
#include "r1/ops/ops.h"
#include "r1/ops/packed.h"
#include "reference.h"

namespace r1::ops {
namespace {

using torch::Tensor;

constexpr double kFloat = 4;

// A function of tensors and its gradients by all of them: what a training step does with an operation.
using Fn = std::function<Tensor(const std::vector<Tensor>&)>;

std::function<Tensor()> forward(Fn fn, std::vector<Tensor> inputs) {
  return [fn = std::move(fn), inputs = std::move(inputs)] {
    const torch::NoGradGuard no_grad;
    return fn(inputs);
  };
}
std::function<Tensor()> with_backward(Fn fn, std::vector<Tensor> inputs) {
  std::vector<Tensor> leaves;
  for (const auto& x : inputs) leaves.push_back(x.detach().requires_grad_(x.is_floating_point()));
  return [fn = std::move(fn), leaves = std::move(leaves)] {
    std::vector<Tensor> wanted;
    for (const auto& x : leaves) {
      if (x.requires_grad()) wanted.push_back(x);
    }
    return torch::autograd::grad({fn(leaves).sum()}, wanted)[0];
  };
}

KernelCase both(bool backward, const Fn& ours, const Fn& plain, const std::vector<Tensor>& inputs, double bytes, double flop) {
  const auto way = backward ? with_backward : forward;
  return {way(ours, inputs), way(plain, inputs), "ATen", backward ? 3 * bytes : bytes, backward ? 3 * flop : flop};
}

KernelCase linear_case(int64_t N, int64_t C, int64_t O, bool backward) {
  return both(backward, [](const auto& x) { return ops::linear(x[0], x[1]); }, [](const auto& x) { return ref::linear(x[0], x[1], {}); },
              {torch::randn({N, C}), torch::randn({O, C})}, kFloat * static_cast<double>(N * C + O * C + N * O),
              2.0 * static_cast<double>(N * C * O));
}

KernelCase rms_norm_case(int64_t N, int64_t C, bool backward) {
  return both(backward, [](const auto& x) { return ops::rms_norm(x[0], x[1], 1e-6); },
              [C](const auto& x) { return torch::rms_norm(x[0], {C}, x[1], 1e-6); }, {torch::randn({N, C}), torch::randn({C})},
              kFloat * static_cast<double>(2 * N * C), 0);
}

KernelCase silu_mul_case(int64_t N, int64_t F, bool backward) {
  return both(backward, [](const auto& x) { return ops::silu_mul(x[0], x[1]); }, [](const auto& x) { return ref::silu_mul(x[0], x[1]); },
              {torch::randn({N, F}), torch::randn({N, F})}, kFloat * static_cast<double>(3 * N * F), 0);
}

KernelCase rope_case(int64_t N, int64_t H, int64_t D, bool backward) {
  const auto angles = torch::rand({N, D / 2}) * 6, positions_N = torch::arange(N);
  const auto cos = angles.cos(), sin = angles.sin();
  return both(backward, [=](const auto& x) { return ops::rope(x[0], positions_N, cos, sin); },
              [=](const auto& x) { return ref::rope(x[0], positions_N, cos, sin); }, {torch::randn({N, H, D})},
              kFloat * static_cast<double>(2 * N * H * D), 0);
}

KernelCase attention_case(int64_t sequences, int64_t T, int64_t H, int64_t Hkv, int64_t D, bool backward) {
  PackedLayout layout;
  for (int64_t s = 0; s < sequences; ++s) layout.add_sequence(T);
  layout.finish();
  const double scale = 1 / std::sqrt(static_cast<double>(D));
  const int64_t N = sequences * T;
  const auto plain = [=](const auto& x) {
    const auto split = [&](const Tensor& t) { return t.view({sequences, T, t.size(1), D}).transpose(1, 2); };
    return torch::scaled_dot_product_attention(split(x[0]), split(x[1]), split(x[2]), {}, 0.0, /*is_causal=*/true, scale,
                                               /*enable_gqa=*/true)
        .transpose(1, 2)
        .reshape({N, H, D});
  };
  return both(backward, [=](const auto& x) { return ops::attention(x[0], x[1], x[2], layout, scale); }, plain,
              {torch::randn({N, H, D}), torch::randn({N, Hkv, D}), torch::randn({N, Hkv, D})},
              kFloat * static_cast<double>(2 * N * (H + Hkv) * D), 2.0 * static_cast<double>(sequences * T * (T + 1) * H * D));
}

KernelCase experts_case(const MoeShape& s, bool backward) {
  std::vector<Tensor> inputs{torch::randn({s.N, s.C}), torch::rand({s.N, s.K})};
  const double width = 1 / std::sqrt(static_cast<double>(s.C));
  for (int64_t e = 0; e < s.E; ++e) {
    inputs.insert(inputs.end(), {torch::randn({s.F, s.C}) * width, torch::randn({s.F, s.C}) * width, torch::randn({s.C, s.F}) * width});
  }
  const auto experts_NK = random_routes(s, torch::kCPU);
  const auto matrices = [](const std::vector<Tensor>& x) {
    std::vector<ExpertWeights> out;
    for (size_t i = 2; i + 2 < x.size(); i += 3) out.push_back({x[i], x[i + 1], x[i + 2]});
    return out;
  };
  return both(backward, [=](const auto& x) { return ops::expert_mlp(x[0], experts_NK, x[1], matrices(x)); },
              [=](const auto& x) { return ref::expert_mlp(x[0], experts_NK, x[1], matrices(x)); }, inputs,
              kFloat * static_cast<double>(2 * s.N * s.C + 3 * s.E * s.C * s.F), 6.0 * static_cast<double>(s.N * s.K * s.C * s.F));
}

KernelCase logprob_case(int64_t N, int64_t C, int64_t V, bool backward) {
  const auto targets_N = torch::randint(0, V, {N}, torch::kLong);
  return both(backward, [=](const auto& x) { return std::get<0>(ops::linear_logprob(x[0], x[1], targets_N, 1.0)); },
              [=](const auto& x) { return -torch::nn::functional::cross_entropy(
                                       torch::linear(x[0], x[1]), targets_N,
                                       torch::nn::functional::CrossEntropyFuncOptions().reduction(torch::kNone)); },
              {torch::randn({N, C}), torch::randn({V, C}) * 0.05}, kFloat * static_cast<double>(N * C + V * C),
              2.0 * static_cast<double>(N * C * V));
}

}  // namespace

std::vector<KernelCaseMaker> cpu_kernel_cases(CaseSize size) {
  const bool model = size == CaseSize::kModel;
  // Qwen2.5-0.5B; the rows of a small micro-batch, and of a decoding batch.
  const int64_t N = model ? 512 : 3, M = model ? 16 : 2, C = model ? 896 : 8, F = model ? 4864 : 12, V = model ? 151936 : 30;
  const int64_t H = model ? 14 : 2, Hkv = model ? 2 : 1, D = model ? 64 : 8, T = model ? 256 : 5;
  const MoeShape moe = model ? MoeShape{2048, 6, 64, 512, 176} : MoeShape{5, 2, 3, 8, 4};
  const MoeShape decode = model ? MoeShape{16, 6, 64, 512, 176} : MoeShape{2, 2, 3, 8, 4};
  std::vector<KernelCaseMaker> cases;
  for (const bool backward : {false, true}) {
    const std::string way = backward ? " forward+backward" : "";
    cases.insert(cases.end(),
                 {{"linear" + way, shape_text({{"N", N}, {"C", C}, {"O", F}}), [=] { return linear_case(N, C, F, backward); }},
                  {"rms_norm" + way, shape_text({{"N", N}, {"C", C}}), [=] { return rms_norm_case(N, C, backward); }},
                  {"silu_mul" + way, shape_text({{"N", N}, {"F", F}}), [=] { return silu_mul_case(N, F, backward); }},
                  {"rope" + way, shape_text({{"N", N}, {"H", H}, {"D", D}}), [=] { return rope_case(N, H, D, backward); }},
                  {"attention" + way, shape_text({{"sequences", 2}, {"T", T}, {"H", H}, {"Hkv", Hkv}, {"D", D}}),
                   [=] { return attention_case(2, T, H, Hkv, D, backward); }},
                  {"expert_mlp" + way, moe.text(), [=] { return experts_case(moe, backward); }},
                  {"linear_logprob" + way, shape_text({{"N", M * 4}, {"C", C}, {"V", V}}),
                   [=] { return logprob_case(M * 4, C, V, backward); }}});
  }
  cases.insert(cases.end(),
               {{"linear", shape_text({{"N", M}, {"C", C}, {"O", F}}), [=] { return linear_case(M, C, F, false); }},
                {"linear", shape_text({{"N", 1}, {"C", C}, {"O", F}}), [=] { return linear_case(1, C, F, false); }},
                {"expert_mlp", decode.text(), [=] { return experts_case(decode, false); }}});
  return cases;
}

}  // namespace r1::ops
