#include "reduce_in_order.h"

#include <c10/util/BFloat16.h>
#include <c10/util/Exception.h>

#include <algorithm>

namespace r1::dist {
namespace {

constexpr int64_t kBlock = 2048;  // elements whose running sum stays in the first cache

template <typename Sum, typename T>
void add(Sum* __restrict sum, const T* __restrict x, int64_t count) {
  for (int64_t i = 0; i < count; ++i) sum[i] += static_cast<Sum>(x[i]);
}

template <typename Sum, typename T>
void take_maximum(Sum* __restrict maximum, const T* __restrict x, int64_t count) {
  for (int64_t i = 0; i < count; ++i) {
    const auto value = static_cast<Sum>(x[i]);
    maximum[i] = value > maximum[i] || value != value ? value : maximum[i];  // unequal to itself: NaN
  }
}

template <typename Sum, typename T>
void reduce(Reduce op, const std::vector<const void*>& parts, T* out, int64_t count) {
  Sum block[kBlock];
  for (int64_t begin = 0; begin < count; begin += kBlock) {
    const int64_t n = std::min(kBlock, count - begin);
    const auto* first = static_cast<const T*>(parts[0]) + begin;
    for (int64_t i = 0; i < n; ++i) block[i] = static_cast<Sum>(first[i]);
    for (size_t p = 1; p < parts.size(); ++p) {
      const auto* x = static_cast<const T*>(parts[p]) + begin;
      if (op == Reduce::kSum) {
        add(block, x, n);
      } else {
        take_maximum(block, x, n);
      }
    }
    for (int64_t i = 0; i < n; ++i) out[begin + i] = static_cast<T>(block[i]);
  }
}

}  // namespace

void reduce_in_order(at::ScalarType type, Reduce op, const std::vector<const void*>& parts, void* out, int64_t count) {
  switch (type) {
    case at::kFloat: return reduce<float>(op, parts, static_cast<float*>(out), count);
    case at::kDouble: return reduce<double>(op, parts, static_cast<double*>(out), count);
    case at::kBFloat16: return reduce<float>(op, parts, static_cast<c10::BFloat16*>(out), count);
    case at::kLong: return reduce<int64_t>(op, parts, static_cast<int64_t*>(out), count);
    case at::kByte: return reduce<uint8_t>(op, parts, static_cast<uint8_t*>(out), count);
    default: TORCH_CHECK(false, "reduce_in_order: ", type, " cannot be summed; accepted: float32, float64, bfloat16, int64, uint8");
  }
}

}  // namespace r1::dist
