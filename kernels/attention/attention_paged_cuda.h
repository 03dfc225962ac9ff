#pragma once
#include <cstdint>

#include "kernels/attention/attention.h"
#include "kernels/device/types.h"

// Attention of new tokens over cached ones on a GPU: decoding, speculation, chunked prefill. All pointers are
// device memory; lengths and page tables are read there too, so a captured graph serves any lengths within
// the bounds it was captured with. Nothing waits for the host and nothing adds floats atomically.
namespace r1::kernels::cuda {

/// One layer's keys and values in pages of kPageTokens = 16 tokens.
///   token t of page p, key head h:  keys + ((p Hkv + h) 16 + t) D,  D bf16 in a row; values alike
/// The head comes before the token, so the block that works on one key head reads 16 D numbers in a row (4 KB
/// at D = 128), and a row is what both products of attention take as it lies: keys as columns of q k^T,
/// values, through ldmatrix.trans, as rows of p v.
struct DevicePages {
  Bf16* keys;
  Bf16* values;  ///< null where the first value_dim numbers of a key are its value (MLA's latent)
};

struct PagedShape {
  int64_t num_heads;     ///< H, a multiple of num_kv_heads: query head h reads key head h / (H / Hkv)
  int64_t num_kv_heads;  ///< Hkv; 1 where the values are the keys
  int64_t head_dim;      ///< D, a multiple of 8: up to 128, or 576 where the values are the keys
  int64_t value_dim;     ///< D, or the part of the key that is its value: a multiple of 8 up to 512
  float scale;           ///< of q . k
  bool values_are_keys;
};

/// Runs of consecutive new tokens, one run per sequence. Runs of one prompt stand side by side and may have
/// their first whole pages in common.
struct PagedRuns {
  int64_t num_rows;           ///< N
  int64_t num_runs;           ///< R
  const int32_t* first_rows;  ///< [R + 1]: run r has rows first_rows[r] .. first_rows[r + 1] - 1
  const int32_t* positions;   ///< [R]: of a run's first row; -1: an idle run, whose rows get zeros
  const int32_t* tables;      ///< [R, table_stride]: pages of positions 0..15, 16..31, ...
  int64_t table_stride;

  /// Keys 0 .. prefix_tokens[r] - 1, whole pages and no more than positions[r], are read from the table of the
  /// first run of r's group, once for all its rows.  Null: no group.
  const int32_t* prefix_tokens;  ///< [R], equal within a group
  int64_t num_groups;            ///< P; an empty group (no run) is allowed
  const int32_t* first_runs;     ///< [P + 1]: group g has runs first_runs[g] .. first_runs[g + 1] - 1

  // What the host knows: bounds that fix the grid. A run beyond them is cut off without a word.
  int64_t max_run_rows;       ///< rows of the longest run
  int64_t max_tokens;         ///< keys that any row sees
  int64_t max_group_rows;     ///< rows of the largest group
  int64_t max_prefix_tokens;  ///< keys of the longest prefix
  /// Keys that one block adds up: a multiple of 64. 0: all, for long runs, whose rows keep the card busy; then
  /// there are no groups. A row's bits depend on its run (position, rows, prefix_tokens) and split_tokens, not
  /// on what else is in the batch; a prefix of a multiple of split_tokens changes none of them.
  int64_t split_tokens;
};

/// The split of `numerics: exact`: the same whatever the batch.
int64_t fixed_split_tokens(const PagedShape& shape);
/// The fewest splits that give each of `processors` two blocks: depends on the batch, so its bits do too.
int64_t fast_split_tokens(const PagedShape& shape, const PagedRuns& runs, int64_t processors);

/// keys[position of row n] = k[n], values likewise.  k_NhD [N, Hkv, D], v_NhD [N, Hkv, D] or null.
void write_pages(const PagedShape& shape, const PagedRuns& runs, const Bf16* k_NhD, const Bf16* v_NhD,
                 const DevicePages& pages, cudaStream_t stream);

/// Floats that paged_attention needs at `scratch`.
int64_t paged_attention_scratch_floats(const PagedShape& shape, const PagedRuns& runs);

/// out[n,h,:] = sum_{j <= position of n} p_j v_j,  p = softmax_j(scale q[n,h] . k_j).
///   q_NHD [N, H, D] -> out_NHV [N, H, value_dim]
/// Products in bf16 on tensor cores with float32 sums, softmax in float32.
/// Throws std::runtime_error for a shape outside the limits above.
void paged_attention(const PagedShape& shape, const PagedRuns& runs, const Bf16* q_NHD, const DevicePages& pages,
                     Bf16* out_NHV, float* scratch, cudaStream_t stream);

}  // namespace r1::kernels::cuda
