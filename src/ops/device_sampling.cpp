#include <cstring>

#include "device.h"
#include "device_call.h"
#include "r1/ops/device_decode.h"

namespace r1::ops {

using torch::Tensor;

void draw_tokens(const Tensor& logits_RV, const Tensor& draws_M, const Tensor& tokens_M, const Tensor& logprobs_M) {
  TORCH_CHECK(draws_M.dim() == 2 && draws_M.size(1) == sizeof(Draw), "draw_tokens: draws are ", draws_M.sizes(), "; accepted: [M, ",
              sizeof(Draw), "] bytes");
  device::dispatch("draw_tokens", logits_RV, [&]<class T>(T) {
    const device::Call call("draw_tokens", logits_RV);
    const auto* draws = reinterpret_cast<const Draw*>(call.read<uint8_t>(draws_M));
    kernels::cuda::sample_tokens<T>(draws_M.size(0), logits_RV.size(1), call.read<T>(logits_RV), draws, call.update<int64_t>(tokens_M),
                                    call.update<float>(logprobs_M), call.stream());
  });
}

namespace device {

SampledTokens sample_tokens(const Tensor& logits_RV, const std::vector<int64_t>& row_of, const std::vector<double>& uniforms,
                            const SamplingRule& rule) {
  const auto M = static_cast<int64_t>(row_of.size());
  auto draws = torch::empty({M, static_cast<int64_t>(sizeof(Draw))}, torch::kByte);
  for (int64_t m = 0; m < M; ++m) {
    auto draw = make_draw(row_of[static_cast<size_t>(m)], rule, {});
    draw.uniform = uniforms[static_cast<size_t>(m)];
    std::memcpy(draws.data_ptr<uint8_t>() + m * static_cast<int64_t>(sizeof(Draw)), &draw, sizeof(Draw));
  }
  const auto logits = logits_RV.contiguous();
  auto tokens_M = torch::zeros({M}, logits.options().dtype(at::kLong));
  auto logprobs_M = torch::zeros({M}, logits.options().dtype(at::kFloat));
  draw_tokens(logits, draws.to(logits.device()), tokens_M, logprobs_M);
  const auto tokens = tokens_M.to(at::kCPU, at::kInt), logprobs = logprobs_M.cpu();  // sync: the host wants them
  return {{tokens.data_ptr<int32_t>(), tokens.data_ptr<int32_t>() + M}, {logprobs.data_ptr<float>(), logprobs.data_ptr<float>() + M}};
}

}  // namespace device
}  // namespace r1::ops
