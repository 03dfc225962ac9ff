#pragma once
#include "kernels/attention/attention_cuda.h"
#include "kernels/device/cuda.h"

// The passes of attention_packed_backward, one file each.
//
//   P = e^(scale Q K^T - lse), 0 where a query does not see a key
//   dV = P^T dO,  dS = P * (dO V^T - delta),  dQ = scale dS K,  dK = scale dS^T Q,  delta[n] = sum_d dO[n,d] O[n,d]
namespace r1::kernels::cuda {

struct PackedGradArguments {
  HeadRows<const Bf16> q, k, v, out, dout;
  HeadRows<Bf16> dq, dk, dv;
  const float* lse;  ///< [H, N]
  float* delta;      ///< [H, N]
  float* partial;    ///< [slots][Hkv][128][key_dim + value_dim]: dK before the factor scale, then dV
  const PackedQueryTile* query_tiles;
  const PackedKeyTile* key_tiles;
  const PackedViewer* viewers;
  const PackedKeyItem* items;
  const PackedSplit* splits;
  int64_t num_rows;
  int num_heads, num_kv_heads, group, key_dim, value_dim;
  float scale;
};

constexpr float kLog2E = 1.4426950408889634f;

/// dq, for which delta must be there.
void start_query_gradients(const PackedGradArguments& a, int64_t num_query_tiles, cudaStream_t stream);
/// dk and dv of unsplit tiles, and `partial` of the others.
void start_key_gradients(const PackedGradArguments& a, int64_t num_key_items, cudaStream_t stream);

}  // namespace r1::kernels::cuda
