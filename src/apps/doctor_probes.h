#pragma once
#include <cstdint>
#include <functional>
#include <string>

#include "kernels/gemm/gemm.h"
#include "r1/model/transformer.h"

namespace r1::apps {

/// One check of what the program promises on this machine.
struct Probe {
  std::string name;
  bool passed = false;
  std::string found;  ///< in words
};

/// c_MN = a_MK b_KN; kernels::gemm, or in a test a product that breaks the promise.
using Gemm = std::function<void(int64_t M, int64_t N, int64_t K, kernels::MatrixView a_MK,
                                kernels::MatrixView b_KN, float* c_MN, int64_t ldc)>;

/// Each row of a product of 64 rows has the bits that it has alone, and those of the plain loops.
Probe probe_product_rows(const Gemm& gemm);

/// Logits of 40 tokens by prefill and cached decoding, alone and beside another sequence, have the bits of
/// the packed forward pass.
Probe probe_cached_decoding(model::Transformer model);

/// A small random model for probe_cached_decoding.
model::Transformer probe_model();

}  // namespace r1::apps
