#pragma once
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "kernels/device/types.h"

// Numbers for the kernel tests: random inputs, bf16 on the host, and the rule that a kernel may err at most
// twice as much as plain float32 arithmetic in the same storage type.
namespace r1::test {

using kernels::Bf16;

inline double value(double x) { return x; }
inline double value(float x) { return x; }
inline double value(Bf16 x) {
  const uint32_t bits = static_cast<uint32_t>(x.bits) << 16;
  float f;
  std::memcpy(&f, &bits, 4);
  return f;
}

template <class T>
T round_to(double x);
template <>
inline double round_to<double>(double x) {
  return x;
}
template <>
inline float round_to<float>(double x) {
  return static_cast<float>(x);
}
template <>
inline Bf16 round_to<Bf16>(double x) {
  const auto f = static_cast<float>(x);
  uint32_t bits;
  std::memcpy(&bits, &f, 4);
  return {static_cast<uint16_t>((bits + 0x7FFFu + (bits >> 16 & 1u)) >> 16)};
}

template <class T>
std::vector<T> random_values(int64_t count, uint32_t seed, double scale = 1) {
  std::mt19937 engine(seed);
  std::normal_distribution<double> normal(0, scale);
  std::vector<T> x(static_cast<size_t>(count));
  for (auto& v : x) v = round_to<T>(normal(engine));
  return x;
}

template <class T>
double max_error(const std::vector<T>& x, const std::vector<double>& exact) {
  double worst = x.size() == exact.size() ? 0 : INFINITY;
  for (size_t i = 0; i < std::min(x.size(), exact.size()); ++i) {
    const double e = std::abs(value(x[i]) - exact[i]);
    worst = e <= worst ? worst : e;  // NaN counts
  }
  return worst;
}

/// `plain`: the same sums by plain loops in float32, stored as T. The floor is one float32 rounding of
/// the largest value, or of `scale` where larger terms cancel.
template <class T>
testing::AssertionResult within_twice_plain(const std::vector<T>& got, const std::vector<float>& plain,
                                            const std::vector<double>& exact, double scale = 0) {
  std::vector<T> stored(plain.size());
  double largest = scale;
  for (size_t i = 0; i < plain.size(); ++i) {
    stored[i] = round_to<T>(plain[i]);
    largest = std::max(largest, std::abs(exact[i]));
  }
  const double error = max_error(got, exact), allowed = 2 * max_error(stored, exact) + 1.2e-7 * largest;
  if (error <= allowed) return testing::AssertionSuccess();
  return testing::AssertionFailure() << "error " << error << ", twice plain's is " << allowed;
}

template <class T>
bool same_bits(const std::vector<T>& a, const std::vector<T>& b) {
  return a.size() == b.size() && (a.empty() || std::memcmp(a.data(), b.data(), a.size() * sizeof(T)) == 0);
}

}  // namespace r1::test
