#include "cuda/orders.h"
#include "kernels/linear_logprob/linear_logprob_cuda.h"
#include "support/device_array.h"

namespace r1::test {
namespace {

namespace cuda = kernels::cuda;

template <class A>
struct Logprob {
  std::vector<A> logprobs, lse, entropy, dlogits;
};

template <class A>
Logprob<A> reference(int64_t N, int64_t C, int64_t V, const std::vector<Bf16>& h, const std::vector<Bf16>& w,
                     const std::vector<int64_t>& targets, A inv_temperature, const std::vector<float>& grad) {
  Logprob<A> r;
  for (int64_t n = 0; n < N; ++n) {
    std::vector<A> z(static_cast<size_t>(V));
    for (int64_t v = 0; v < V; ++v) {
      A sum = 0;
      for (int64_t c = 0; c < C; ++c)
        sum += static_cast<A>(value(h[static_cast<size_t>(n * C + c)])) *
               static_cast<A>(value(w[static_cast<size_t>(v * C + c)]));
      z[static_cast<size_t>(v)] = sum * inv_temperature;
    }
    const A maximum = *std::max_element(z.begin(), z.end());
    A total = 0, weighted = 0;
    for (const A x : z) {
      total += std::exp(x - maximum);
      weighted += (x - maximum) * std::exp(x - maximum);
    }
    const auto i = static_cast<size_t>(n);
    r.lse.push_back(maximum + std::log(total));
    r.entropy.push_back(std::log(total) - weighted / total);
    r.logprobs.push_back(z[static_cast<size_t>(targets[i])] - r.lse[i]);
    for (int64_t v = 0; v < V; ++v) {
      r.dlogits.push_back(static_cast<A>(grad[i]) * inv_temperature *
                          (A(v == targets[i] ? 1 : 0) - std::exp(z[static_cast<size_t>(v)] - r.lse[i])));
    }
  }
  return r;
}

TEST(LinearLogprobCuda, AgainstFloat64AtOddShapes) {
  struct Case {
    int64_t N, C, V, pieces;
  };
  for (const auto& c :
       std::vector<Case>{{0, 8, 5, 1}, {1, 8, 1, 1}, {3, 72, 300, 2}, {129, 200, 131, 1}, {5, 64, 2500, 3}}) {
    const auto h = random_values<Bf16>(c.N * c.C, 1), w = random_values<Bf16>(c.V * c.C, 2, 0.3);
    std::vector<int64_t> targets;
    for (int64_t n = 0; n < c.N; ++n) targets.push_back((n * 77 + c.V - 1) % c.V);
    auto grad = random_values<float>(c.N, 3);
    if (c.N > 2) grad[1] = 0;
    const float inv_temperature = 1.25f;
    DeviceArray<Bf16> dh(h, "h"), dw(w, "w");
    DeviceArray<int64_t> dtargets(targets, "targets");
    DeviceArray<float> logprobs(c.N, "logprobs"), lse(c.N, "lse"), entropy(c.N, "entropy"),
        dgrad(grad, "grad");
    DeviceArray<float> partial(cuda::linear_logprob_partial_floats(c.N), "partial");
    const auto got = deterministic<float>([&] {
      cuda::linear_logprob_forward(c.N, c.C, c.V, dh.data(), dw.data(), dtargets.data(), inv_temperature,
                                   logprobs.data(), lse.data(), entropy.data(), partial.data(), nullptr);
      return logprobs.to_host();
    });
    const auto exact = reference<double>(c.N, c.C, c.V, h, w, targets, inv_temperature, grad);
    const auto plain = reference<float>(c.N, c.C, c.V, h, w, targets, inv_temperature, grad);
    EXPECT_TRUE(within_twice_plain(got, plain.logprobs, exact.logprobs, 4.0))
        << c.N << " " << c.C << " " << c.V;
    EXPECT_TRUE(within_twice_plain(lse.to_host(), plain.lse, exact.lse, 4.0))
        << c.N << " " << c.C << " " << c.V;
    EXPECT_TRUE(within_twice_plain(entropy.to_host(), plain.entropy, exact.entropy, 8.0))
        << c.N << " " << c.C << " " << c.V;
    const int64_t step = (c.V + c.pieces - 1) / c.pieces;
    for (int64_t first = 0; first < c.V; first += step) {
      const int64_t columns = std::min(step, c.V - first);
      DeviceArray<Bf16> dlogits(c.N * columns, "dlogits");
      cuda::linear_logprob_dlogits(c.N, c.C, c.V, dh.data(), dw.data(), dtargets.data(), inv_temperature,
                                   lse.data(), dgrad.data(), first, columns, dlogits.data(), nullptr);
      std::vector<double> exact_piece;
      std::vector<float> plain_piece;
      for (int64_t n = 0; n < c.N; ++n) {
        for (int64_t v = first; v < first + columns; ++v) {
          exact_piece.push_back(exact.dlogits[static_cast<size_t>(n * c.V + v)]);
          plain_piece.push_back(plain.dlogits[static_cast<size_t>(n * c.V + v)]);
        }
      }
      EXPECT_TRUE(within_twice_plain(dlogits.to_host(), plain_piece, exact_piece, 1.0)) << first;
    }
  }
}

TEST(LinearLogprobCuda, ARowDoesNotDependOnTheOthers) {
  const int64_t N = 130, C = 64, V = 400;
  const auto h = random_values<Bf16>(N * C, 1), w = random_values<Bf16>(V * C, 2);
  DeviceArray<Bf16> all(h, "h"), last(std::vector<Bf16>(h.end() - C, h.end()), "last"), dw(w, "w");
  DeviceArray<int64_t> targets(std::vector<int64_t>(static_cast<size_t>(N), 7), "targets");
  DeviceArray<float> a(N, "a"), b(1, "b"), lse(N, "lse"),
      partial(cuda::linear_logprob_partial_floats(N), "partial");
  cuda::linear_logprob_forward(N, C, V, all.data(), dw.data(), targets.data(), 1.0f, a.data(), lse.data(),
                               nullptr, partial.data(), nullptr);
  cuda::linear_logprob_forward(1, C, V, last.data(), dw.data(), targets.data(), 1.0f, b.data(), lse.data(),
                               nullptr, partial.data(), nullptr);
  EXPECT_EQ(a.to_host().back(), b.to_host()[0]);
}

TEST(LinearLogprobCuda, RefusesWhatItCannotLoad) {
  DeviceArray<Bf16> h(std::vector<Bf16>(64), "h");
  EXPECT_THROW(cuda::linear_logprob_forward(1, 12, 4, h.data(), h.data(), nullptr, 1, nullptr, nullptr,
                                            nullptr, nullptr, nullptr),
               std::runtime_error);
  EXPECT_THROW(cuda::linear_logprob_dlogits(1, 8, 4, h.data(), h.data(), nullptr, 1, nullptr, nullptr, 2, 3,
                                            nullptr, nullptr),
               std::runtime_error);
}

}  // namespace
}  // namespace r1::test
