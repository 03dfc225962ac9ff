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

inline int64_t attention_scratch_floats(int64_t rows, int64_t num_pages, int64_t Dp) {
  return rows * (4 * num_pages * 16 + 6 * Dp) + 64;
}

}  // namespace r1::kernels
