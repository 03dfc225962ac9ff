#pragma once
#include <cstddef>
#include <cstdint>
#include <vector>

#include "kernels/device/types.h"

// Causal attention of packed sequences on a GPU, for training and prefill; bf16 in and out, sums in float32.
// A prompt that several continuations share is stored and computed once. docs/kernels/attention_cuda.md.
namespace r1::kernels::cuda {

/// Consecutive tokens of one sequence among N packed rows, as ops::Segment: rows first_row + i have position
/// first_position + i; positions below first_position are the rows prefix_row, prefix_row + 1, ... of earlier
/// segments.
struct PackedSegment {
  int64_t first_row, num_rows, first_position, prefix_row;
};

/// Query head h reads key head h / (H / Hkv). Widths (key_dim, value_dim): (64, 64), (128, 128), (192, 128).
struct PackedAttentionShape {
  int64_t num_heads;     ///< H, a multiple of num_kv_heads
  int64_t num_kv_heads;  ///< Hkv
  int64_t key_dim;       ///< of q and k
  int64_t value_dim;     ///< of v and out
  float scale;           ///< above 0; usually 1 / sqrt(key_dim)
};
/// Whether the kernels have these widths and heads; without that the launchers throw.
bool packed_attention_supports(const PackedAttentionShape& shape);

/// Row n of head h at data + n * row_stride + h * head_stride, its elements side by side. Strides are multiples
/// of 8 elements, data 16-byte aligned; a part of a wider tensor needs no copy.
template <class T>
struct HeadRows {
  T* data;
  int64_t row_stride, head_stride;
};

// What the plan is made of; all int32, row numbers among the N packed rows.

/// Up to 128 queries of a segment. The key of position p is row prefix_row + p below prefix_length, else
/// segment_row + p - prefix_length.
struct PackedQueryTile {
  int32_t first_row, num_rows, segment_row, prefix_length, prefix_row;
};
/// Up to 128 keys of a segment, and who sees them: viewers first_viewer .. first_viewer + num_viewers - 1.
struct PackedKeyTile {
  int32_t first_row, num_rows, first_viewer, num_viewers, num_steps;
};
/// Queries [query_begin, query_end) see the tile's keys [key_begin, key_end) that are not behind them.
struct PackedViewer {
  int32_t query_begin, query_end, key_begin, key_end;
};
/// A block's work in the pass for dk and dv: steps [step_begin, step_end) of a key tile, a step being 32
/// queries of one viewer and one query head; heads outermost, viewers in order. slot -1: all of the tile's
/// steps; else where its partial sums go.
struct PackedKeyItem {
  int32_t key_tile, step_begin, step_end, slot;
};
/// A key tile whose steps are shared out to slots first_slot .. first_slot + num_slots - 1, added in order.
struct PackedSplit {
  int32_t key_tile, first_slot, num_slots;
};

/// Who computes what. Made by the host once for a micro-batch and used by all layers: `words` is copied to the
/// device as it is; the offsets say where its parts begin. Blocks with the longest work come first.
struct PackedPlan {
  int64_t num_rows = 0;                     ///< N
  int64_t num_heads = 0, num_kv_heads = 0;  ///< the plan is for these
  int64_t num_query_tiles = 0, num_key_items = 0, num_splits = 0, num_slots = 0;
  int64_t query_tiles = 0, key_tiles = 0, viewers = 0, key_items = 0, splits = 0;  ///< offsets in `words`
  std::vector<int32_t> words;
};

/// `segments` in order of their rows, each row of [0, num_rows) at most once; rows of no segment are neither
/// read nor written. The work is cut by its size alone, so the same segments give the same bits on every GPU.
/// Throws std::runtime_error, naming the segment, when a prefix does not lie before it, and for 2^31 rows.
PackedPlan make_packed_plan(const std::vector<PackedSegment>& segments, int64_t num_rows, int64_t num_heads,
                            int64_t num_kv_heads);

/// Floats that attention_packed_backward needs at `partial`: at most about 2,048 tiles of 128 x (key_dim +
/// value_dim), whatever N is; none for short sequences.
int64_t packed_attention_partial_floats(const PackedAttentionShape& shape, const PackedPlan& plan);

/// out[n,h] = sum_j p_j v[j,h'],  p = softmax_j(scale q[n,h] . k[j,h']) over the keys j that row n sees,
/// lse[h,n] = log sum_j e^(scale q . k_j).  `words`: plan.words on the device.
///
/// A row's bits depend on its own q and on its keys and values in order of their position: neither on the other
/// segments nor on whether its prompt is shared. A NaN or infinity in a value reaches up to 127 earlier rows.
/// Throws std::runtime_error for a shape, strides or alignment outside the limits above.
void attention_packed_forward(const PackedAttentionShape& shape, const PackedPlan& plan, const int32_t* words,
                              HeadRows<const Bf16> q, HeadRows<const Bf16> k, HeadRows<const Bf16> v,
                              HeadRows<Bf16> out, float* lse_HN, cudaStream_t stream);

/// Gradients of sum(dout * out); out and lse are the forward's. A shared prefix receives the sum over its
/// continuations in a fixed order, no float is added atomically.  delta_HN [H, N] and `partial` (16-byte aligned)
/// are scratch.
/// dq, dk, dv are overwritten and may be parts of wider tensors.
void attention_packed_backward(const PackedAttentionShape& shape, const PackedPlan& plan, const int32_t* words,
                               HeadRows<const Bf16> q, HeadRows<const Bf16> k, HeadRows<const Bf16> v,
                               HeadRows<const Bf16> out, const float* lse_HN, HeadRows<const Bf16> dout,
                               HeadRows<Bf16> dq, HeadRows<Bf16> dk, HeadRows<Bf16> dv, float* delta_HN,
                               float* partial, cudaStream_t stream);

}  // namespace r1::kernels::cuda
