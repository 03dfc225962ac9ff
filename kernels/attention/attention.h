#pragma once
#include <cstdint>
#include <vector>

namespace r1::kernels {

/// Keys and values live in pages of this many tokens.
constexpr int64_t kPageTokens = 16;

struct AttentionShape {
  int64_t num_heads;     ///< H, a multiple of num_kv_heads: query head h reads key head h / (H / Hkv)
  int64_t num_kv_heads;  ///< Hkv
  int64_t head_dim;      ///< D
  float scale;           ///< usually 1 / sqrt(D)
  bool values_are_keys = false;  ///< one latent is both (MLA's cache): pages hold keys alone
};

/// A pool of pages of one layer. Page p holds keys as [Hkv][D][16 tokens] and values as
/// [Hkv][ceil(D/16)][16 tokens][16]: both are right operands of the gemm tile as they lie.
struct KvPages {
  float* keys;
  float* values;  ///< null where the values are the keys: a task turns the pages it reads
};
int64_t key_page_floats(const AttentionShape& shape);
int64_t value_page_floats(const AttentionShape& shape);

/// Consecutive tokens of one sequence among the packed rows: rows first_row .. first_row + num_rows - 1 have positions
/// first_position, first_position + 1, ... The token at position t attends to positions 0..t of the sequence.
struct AttentionRun {
  int64_t first_row;
  int64_t num_rows;
  int64_t first_position;
  int64_t prefix_row;    ///< training: the packed row of position 0 of a shared prefix; unused when first_position is 0
  const int32_t* pages;  ///< page of positions 0..15, 16..31, ...
};

/// Stores the rows' keys and values in their pages. v_NhD is null where the values are the keys, here and below.
void write_kv(const AttentionShape& shape, const KvPages& pages, const std::vector<AttentionRun>& runs,
              const float* k_NhD, const float* v_NhD);

/// out[t,h,:] = sum_{j <= t} p_j v_j,  p = softmax_j(scale q_t . k_j).
///
/// One implementation for training, prefill and decoding. A row's scores are chains over d, its normaliser adds lane
/// (j mod 16) chains over ascending j, its output is one chain over ascending j: nothing depends on the tile, the
/// batch or where the run was cut. lse_NH (may be null): log sum_j e^score, for the backward pass.
void attention_forward(const AttentionShape& shape, const KvPages& pages, const std::vector<AttentionRun>& runs,
                       const float* q_NHD, float* out_NHD, float* lse_NH);

/// write_kv, then attention_forward: one pass where every run is one token of a sequence of its own.
void attention_cached(const AttentionShape& shape, const KvPages& pages, const std::vector<AttentionRun>& runs,
                      const float* q_NHD, const float* k_NhD, const float* v_NhD, float* out_NHD);

/// Gradients of attention_forward over whole sequences; dq, dk, dv are overwritten. A run with first_position > 0
/// follows the run of its prefix (first_position 0) or another run of the same prefix, whose rows receive its share.
void attention_backward(const AttentionShape& shape, const KvPages& pages, const std::vector<AttentionRun>& runs,
                        const float* q_NHD, const float* out_NHD, const float* lse_NH, const float* dout_NHD,
                        int64_t num_rows, float* dq_NHD, float* dk_NhD, float* dv_NhD);

}  // namespace r1::kernels
