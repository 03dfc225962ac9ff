#pragma once
// What one task of attention works on; shared by attention.cpp and the files compiled per instruction set.
#include <stdint.h>

namespace r1::kernels {

/// Query rows r = token * group + head (group = H / Hkv) of one key head.
struct AttentionTile {
  int64_t D, Dp;         // head width, and rounded up to 16
  int64_t group;         // query heads per key head
  int64_t tokens;        // query tokens
  int64_t position;      // of the first one
  int64_t token_stride;  // floats between tokens in q, out, dout, dq
  int64_t num_pages;     // that the last token sees
  float scale;
  const float* q;                    // of the first token's first head of this group
  const float* const* key_panels;    // [num_pages] -> [D][16]
  const float* const* value_panels;  // [num_pages * Dp / 16] -> [16][16]
  float* scratch;                    // attention_scratch_floats
  int64_t lse_stride;                // floats between tokens in lse
};

struct AttentionGradTile {
  AttentionTile forward;
  const float* out;
  const float* lse;
  const float* dout;
  const float* const* value_t_panels;  // [num_pages] -> [D][16], values transposed
  const float* const* key_row_panels;  // [num_pages * Dp / 16] -> [16][16], keys by token
  float* dq;
  float* dk;  // [num_pages * 16][Dp], added to
  float* dv;  // [num_pages * 16][Dp], added to
};

/// One query token of one sequence, all heads, every head with keys of its own (H = Hkv).
struct AttentionToken {
  int64_t D, Dp;
  int64_t num_heads;
  int64_t position;
  int64_t num_pages;
  float scale;
  const float* q;                   // [H][D]
  const float* const* key_pages;    // [num_pages] -> [Hkv][D][16]
  const float* const* value_pages;  // [num_pages] -> [Hkv][Dp / 16][16][16]
  float* scratch;                   // attention_scratch_floats
};

/// Floats of one row of scores: an odd number of lines, so that rows do not meet in the same lines of the cache.
inline int64_t score_stride(int64_t num_pages) { return (num_pages | 1) * 16; }

inline int64_t attention_scratch_floats(int64_t rows, int64_t num_pages, int64_t Dp) {
  return rows * (2 * score_stride(num_pages) + 6 * Dp + 1) + 64;
}

}  // namespace r1::kernels
