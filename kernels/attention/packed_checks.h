#pragma once
#include <stdexcept>
#include <string>

#include "kernels/attention/attention_cuda.h"

// What the launchers of packed attention refuse, before a kernel starts.
namespace r1::kernels::cuda {

inline void check_packed(const char* name, const PackedAttentionShape& s, const PackedPlan& plan) {
  if (!packed_attention_supports(s)) {
    throw std::runtime_error(std::string(name) + ": " + std::to_string(s.num_heads) + " heads over " +
                             std::to_string(s.num_kv_heads) + " key heads of widths " + std::to_string(s.key_dim) + " and " +
                             std::to_string(s.value_dim) + ", scale " + std::to_string(s.scale) +
                             "; accepted: a multiple, widths 64/64, 128/128, 192/128, a scale above 0");
  }
  if (plan.num_heads != s.num_heads || plan.num_kv_heads != s.num_kv_heads) {
    throw std::runtime_error(std::string(name) + ": the plan is for " + std::to_string(plan.num_heads) + " and " +
                             std::to_string(plan.num_kv_heads) + " heads, the shape has " + std::to_string(s.num_heads) +
                             " and " + std::to_string(s.num_kv_heads));
  }
}

template <class T>
void check_rows(const char* name, const char* what, const HeadRows<T>& x) {
  if (x.row_stride % 8 == 0 && x.head_stride % 8 == 0 && reinterpret_cast<uintptr_t>(x.data) % 16 == 0) return;
  throw std::runtime_error(std::string(name) + ": " + what + " has strides " + std::to_string(x.row_stride) + " and " +
                           std::to_string(x.head_stride) + "; accepted: multiples of 8 elements, at 16-byte aligned pointers");
}

}  // namespace r1::kernels::cuda
