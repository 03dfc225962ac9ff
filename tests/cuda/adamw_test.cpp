#include <memory>

#include "cuda/orders.h"
#include "kernels/adamw/adamw_cuda.h"
#include "support/device_array.h"

namespace r1::test {
namespace {

namespace cuda = kernels::cuda;

template <class T>
struct AdamWCuda : testing::Test {};
using Types = testing::Types<float, Bf16>;
TYPED_TEST_SUITE(AdamWCuda, Types);

// Three updates of tensors of awkward sizes, one without decay and one without a copy.
TYPED_TEST(AdamWCuda, ThreeStepsAgainstFloat64) {
  using G = TypeParam;
  const std::vector<int64_t> sizes{1, 7, 0, 16384, 16391, 40000};
  const float max_norm = 0.5f, beta1 = 0.9f, beta2 = 0.99f, lr = 0.01f, decay = 0.1f, eps = 1e-8f;
  std::vector<std::unique_ptr<DeviceArray<float>>> p, m, v;
  std::vector<std::unique_ptr<DeviceArray<G>>> g;
  std::vector<std::unique_ptr<DeviceArray<Bf16>>> copy;
  std::vector<std::vector<double>> exact_p, exact_m, exact_v;
  std::vector<std::vector<float>> plain_p, plain_m, plain_v;
  std::vector<cuda::AdamWTensor> tensors;
  for (size_t t = 0; t < sizes.size(); ++t) {
    const auto start = random_values<float>(sizes[t], static_cast<uint32_t>(t));
    p.push_back(std::make_unique<DeviceArray<float>>(start, "p"));
    m.push_back(std::make_unique<DeviceArray<float>>(std::vector<float>(start.size()), "m"));
    v.push_back(std::make_unique<DeviceArray<float>>(std::vector<float>(start.size()), "v"));
    g.push_back(std::make_unique<DeviceArray<G>>(sizes[t], "g"));
    copy.push_back(std::make_unique<DeviceArray<Bf16>>(sizes[t], "copy"));
    exact_p.emplace_back(start.begin(), start.end());
    exact_m.emplace_back(start.size());
    exact_v.emplace_back(start.size());
    plain_p.push_back(start);
    plain_m.emplace_back(start.size());
    plain_v.emplace_back(start.size());
    tensors.push_back({p[t]->data(), g[t]->data(), m[t]->data(), v[t]->data(),
                       t == 3 ? nullptr : copy[t]->data(), sizes[t], t != 1});
  }
  const auto chunks = cuda::adamw_chunks(tensors);
  DeviceArray<cuda::AdamWTensor> device_tensors(tensors, "tensors");
  DeviceArray<cuda::AdamWChunk> device_chunks(chunks, "chunks");
  const auto count = static_cast<int64_t>(chunks.size());
  DeviceArray<double> partial(count, "partial");
  DeviceArray<float> norm(2, "norm");
  for (int step = 1; step <= 3; ++step) {
    double squares = 0;
    std::vector<std::vector<G>> gradients;
    for (size_t t = 0; t < sizes.size(); ++t) {
      gradients.push_back(
          random_values<G>(sizes[t], static_cast<uint32_t>(100 * step) + static_cast<uint32_t>(t), 0.01));
      g[t]->assign(gradients[t]);
      for (const G x : gradients[t]) squares += value(x) * value(x);
    }
    const auto norms = deterministic<float>([&] {
      cuda::gradient_norm<G>(device_tensors.data(), device_chunks.data(), count, max_norm, partial.data(),
                             norm.data(), nullptr);
      return norm.to_host();
    });
    EXPECT_NEAR(std::sqrt(squares), norms[0], 1e-6 * norms[0]);
    const double clip = std::min(1.0, max_norm / (std::sqrt(squares) + 1e-6));
    EXPECT_NEAR(clip, norms[1], 1e-6);
    EXPECT_LT(clip, 1.0);  // the clip is at work
    const cuda::AdamWStep s{beta1,
                            1 - beta1,
                            beta2,
                            1 - beta2,
                            1 - lr * decay,
                            static_cast<float>(lr / (1 - std::pow(beta1, step))),
                            static_cast<float>(1 / std::sqrt(1 - std::pow(beta2, step))),
                            eps};
    cuda::adamw_step<G>(device_tensors.data(), device_chunks.data(), count, s, norm.data() + 1, nullptr);
    const auto update = [&](auto& pp, auto& mm, auto& vv, const G& gradient, bool decays, auto scale) {
      using A = decltype(scale);
      const A d = scale * static_cast<A>(value(gradient));
      mm = A(s.beta1) * mm + A(s.one_minus_beta1) * d;
      vv = A(s.beta2) * vv + A(s.one_minus_beta2) * (d * d);
      pp = (decays ? A(s.keep) : A(1)) * pp -
           A(s.step_size) * (mm / (std::sqrt(vv) * A(s.inv_sqrt_bias2) + A(s.eps)));
    };
    for (size_t t = 0; t < sizes.size(); ++t) {
      for (size_t i = 0; i < gradients[t].size(); ++i) {
        update(exact_p[t][i], exact_m[t][i], exact_v[t][i], gradients[t][i], t != 1, clip);
        update(plain_p[t][i], plain_m[t][i], plain_v[t][i], gradients[t][i], t != 1, norms[1]);
      }
    }
  }
  for (size_t t = 0; t < sizes.size(); ++t) {
    EXPECT_TRUE(within_twice_plain(p[t]->to_host(), plain_p[t], exact_p[t])) << t;
    EXPECT_TRUE(within_twice_plain(m[t]->to_host(), plain_m[t], exact_m[t])) << t;
    EXPECT_TRUE(within_twice_plain(v[t]->to_host(), plain_v[t], exact_v[t])) << t;
    if (t == 3) continue;  // has no copy
    const auto weights = p[t]->to_host();
    const auto copies = copy[t]->to_host();
    for (size_t i = 0; i < weights.size(); ++i)
      ASSERT_EQ(round_to<Bf16>(weights[i]).bits, copies[i].bits) << t << " " << i;
  }
}

TEST(AdamWCudaNorm, WithoutALimitNothingIsScaledAndNanStaysVisible) {
  DeviceArray<float> g(std::vector<float>{3, 4}, "g");
  const std::vector<cuda::AdamWTensor> tensors{{nullptr, g.data(), nullptr, nullptr, nullptr, 2, 0}};
  DeviceArray<cuda::AdamWTensor> device_tensors(tensors, "tensors");
  DeviceArray<cuda::AdamWChunk> chunks(cuda::adamw_chunks(tensors), "chunks");
  DeviceArray<double> partial(1, "partial");
  DeviceArray<float> norm(2, "norm");
  cuda::gradient_norm<float>(device_tensors.data(), chunks.data(), 1, 0.0f, partial.data(), norm.data(),
                             nullptr);
  EXPECT_EQ((std::vector<float>{5, 1}), norm.to_host());
  g.assign({3, NAN});
  cuda::gradient_norm<float>(device_tensors.data(), chunks.data(), 1, 1.0f, partial.data(), norm.data(),
                             nullptr);
  EXPECT_TRUE(std::isnan(norm.to_host()[1]));
}

}  // namespace
}  // namespace r1::test
