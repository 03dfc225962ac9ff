#pragma once
#include "kernels/attention/attention_paged_cuda.h"
#include "kernels/device/launch.h"
#include "kernels/device/mma.h"
#include "kernels/device/reduce.h"

// One block of attention over pages: kRows query rows (tokens x the query heads of one key head, so that all
// of them use each key that was read) against a piece of one sequence's keys, 64 at a time.
//
// kRowWarps x kKeyWarps warps. q k^T: a warp takes 16 kRowTiles rows and 64 / kKeyWarps keys. The warps of a
// row agree on its maximum through shared memory and leave p there as bf16. p v: the same rows, all 64 keys,
// kDV / kKeyWarps columns, so that the sums of 64 rows x 512 columns fit into registers. Rows of shared
// memory are read by ldmatrix; their 16-byte pieces lie at piece ^ (row % 8), so it meets no bank conflict.
namespace r1::kernels::cuda {

/// What a launch works on.
struct PagedWork {
  PagedShape shape;
  PagedRuns runs;
  DevicePages pages;
  const Bf16* q;
  Bf16* out;
  float* stats;  ///< [N, slots, H, 2]: maximum, sum of e^(score - maximum)
  float* sums;   ///< [N, slots, H, value_dim]: sum of e^(score - maximum) v
  int slots;     ///< a row's pieces at most: of the prefix, then of its own keys
  int chunks;    ///< pieces of this launch
  int tiles;     ///< of kRows query rows, of this launch
  bool prefix;   ///< the groups' prefixes, or the runs' own keys
  int min_query_rows, max_query_rows;  ///< of a run, for it to be this launch's
};

namespace paged {

using namespace device;

template <int kValue>
struct Constant {
  static constexpr int value = kValue;
};

/// A run's pieces.
struct RunSplit {
  int position, rows, prefix, prefix_chunks, own_chunks;

  __device__ RunSplit(const PagedRuns& runs, int64_t r) {
    position = runs.positions[r];
    rows = runs.first_rows[r + 1] - runs.first_rows[r];
    prefix = 0;
    prefix_chunks = 0;
    own_chunks = 1;
    if (position < 0 || runs.split_tokens == 0) return;
    const int split = static_cast<int>(runs.split_tokens);
    if (runs.prefix_tokens != nullptr) prefix = runs.prefix_tokens[r];
    prefix_chunks = (prefix + split - 1) / split;
    own_chunks = (position + rows - prefix + split - 1) / split;
  }
};

template <int kD_, int kDV_, int kRowWarps_, int kKeyWarps_, int kRowTiles_, bool kLatent_>
struct PagedTile {
  static constexpr int kD = kD_, kDV = kDV_, kRowWarps = kRowWarps_, kKeyWarps = kKeyWarps_, kRowTiles = kRowTiles_;
  static constexpr bool kLatent = kLatent_;
  static constexpr int kKeys = 64, kRows = 16 * kRowTiles * kRowWarps, kThreads = 32 * kRowWarps * kKeyWarps;
  static constexpr int kKeyTiles = kKeys / kKeyWarps / 8, kColumnTiles = kDV / kKeyWarps / 8;
  static_assert(kKeyTiles % 2 == 0 && kColumnTiles % 2 == 0 && kD % 64 == 0 && kDV % 64 == 0);
  static constexpr int kStageNumbers = kKeys * (kD + (kLatent ? 0 : kDV));
  static constexpr size_t shared_bytes(int stages) {
    return sizeof(Bf16) * (kRows * (kD + kKeys) + static_cast<size_t>(stages) * kStageNumbers) +
           sizeof(float) * kKeyWarps * kRows + sizeof(int32_t) * 2 * (kKeys / kPageTokens);
  }
};

/// Piece `at` (16 bytes) of row `row` of an array of rows of kWidth numbers.
template <int kWidth>
__forceinline__ __device__ Bf16* row_piece(Bf16* rows, int row, int at) {
  return rows + row * kWidth + (at ^ (row & 7)) * 8;
}

/// kStages 1 or 2: pieces of keys in shared memory at a time; 2 loads the next while one is worked on.
template <class Tile, int kStages>
__global__ void __launch_bounds__(Tile::kThreads) paged_attention_kernel(PagedWork work) {
  constexpr int kRowTiles = Tile::kRowTiles, kKeyTiles = Tile::kKeyTiles, kColumnTiles = Tile::kColumnTiles;
  constexpr int kPages = Tile::kKeys / static_cast<int>(kPageTokens);
  const int H = static_cast<int>(work.shape.num_heads), key_heads = static_cast<int>(work.shape.num_kv_heads);
  const int D = static_cast<int>(work.shape.head_dim), DV = static_cast<int>(work.shape.value_dim), per_key = H / key_heads;

  // Which rows and keys. Row tiles of the same keys are neighbours in the grid and meet them in L2.
  int64_t item = blockIdx.x;
  const int tile = static_cast<int>(item % work.tiles);
  item /= work.tiles;
  const int chunk = static_cast<int>(item % work.chunks);
  item /= work.chunks;
  const int head = static_cast<int>(item % key_heads);
  int64_t run = item / key_heads;
  const int64_t group = run;
  if (work.prefix) {
    if (work.runs.first_runs[group] == work.runs.first_runs[group + 1]) return;
    run = work.runs.first_runs[group];
  }
  const RunSplit split(work.runs, run);
  const int64_t first_row = work.runs.first_rows[run];
  const int tokens =
      work.prefix ? static_cast<int>(work.runs.first_rows[work.runs.first_runs[group + 1]] - first_row) : split.rows;
  const int query_rows = tokens * per_key, first_query = tile * Tile::kRows;
  if (first_query >= query_rows || chunk >= (work.prefix ? split.prefix_chunks : split.own_chunks)) return;
  if (query_rows < work.min_query_rows || query_rows > work.max_query_rows) return;
  const int own_end = split.position + split.rows, piece = static_cast<int>(work.runs.split_tokens);
  const int begin = (work.prefix ? 0 : split.prefix) + chunk * piece;
  int end = work.prefix ? split.prefix : own_end;
  if (piece > 0) end = min(end, begin + piece);
  if (!work.prefix) {
    // What the tile's last token sees.
    end = min(end, split.position + (min(first_query + Tile::kRows, query_rows) - 1) / per_key + 1);
    if (split.position < 0) end = begin;
  }
  const int32_t* table = work.runs.tables + run * work.runs.table_stride;
  const int slot = work.prefix ? chunk : split.prefix_chunks + chunk;
  const bool direct = split.prefix_chunks + split.own_chunks == 1;

  R1_DYNAMIC_SHARED(bytes);
  auto* const q_rows = reinterpret_cast<Bf16*>(bytes);
  Bf16* const p_rows = q_rows + Tile::kRows * Tile::kD;
  Bf16* const stages = p_rows + Tile::kRows * Tile::kKeys;
  auto* const of_rows = reinterpret_cast<float*>(stages + kStages * Tile::kStageNumbers);  // [kKeyWarps][kRows]
  auto* const page_ids = reinterpret_cast<int32_t*>(of_rows + Tile::kKeyWarps * Tile::kRows);  // [2][kPages]

  const int thread = static_cast<int>(threadIdx.x), lane = lane_id(), quad = lane % 4;
  const int row_warp = warp_id() / Tile::kKeyWarps, key_warp = warp_id() % Tile::kKeyWarps;
  const int warp_row = row_warp * kRowTiles * 16, warp_key = key_warp * kKeyTiles * 8, warp_column = key_warp * kColumnTiles * 8;
  const int depth = (D + 15) / 16, value_width = (DV + 15) / 16 * 16;
  const int steps = (end - begin + Tile::kKeys - 1) / Tile::kKeys;

  const auto page_of = [&](int step, int i) {
    const int token = begin + step * Tile::kKeys + i * static_cast<int>(kPageTokens);
    return token < end ? table[token / kPageTokens] : 0;
  };
  const auto load_rows = [&](auto width, const Bf16* from, int count, Bf16* to, int step) {
    constexpr int kWidth = decltype(width)::value, kPieces = kWidth / 8;
#pragma unroll 4
    for (int i = thread; i < Tile::kKeys * kPieces; i += Tile::kThreads) {
      const int key = i / kPieces, at = i % kPieces;
      if (at * 8 >= (count + 15) / 16 * 16) continue;
      const int64_t page = page_ids[step % 2 * kPages + key / static_cast<int>(kPageTokens)];
      const Bf16* row = from + ((page * key_heads + head) * kPageTokens + key % kPageTokens) * count;
      cp_async_16(row_piece<kWidth>(to, key, at), row + at * 8, begin + step * Tile::kKeys + key < end && at * 8 < count);
    }
  };
  const auto load = [&](int step) {
    Bf16* const stage = stages + step % kStages * Tile::kStageNumbers;
    load_rows(Constant<Tile::kD>{}, work.pages.keys, D, stage, step);
    if constexpr (!Tile::kLatent) load_rows(Constant<Tile::kDV>{}, work.pages.values, DV, stage + Tile::kKeys * Tile::kD, step);
    cp_async_commit();
  };

  int limit[kRowTiles][2];  // keys from here on are not seen by row i * 16 + h * 8 + lane / 4 of the warp
  bool busy[kRowTiles];     // whether any row of a tile of 16 is there
  float maximum[kRowTiles][2], total[kRowTiles][2], sums[kRowTiles][kColumnTiles][4];
#pragma unroll
  for (int i = 0; i < kRowTiles; ++i) {
    busy[i] = first_query + warp_row + i * 16 < query_rows;
#pragma unroll
    for (int h = 0; h < 2; ++h) {
      const int query = first_query + warp_row + i * 16 + h * 8 + lane / 4;
      limit[i][h] = query >= query_rows ? 0 : work.prefix ? end : min(end, split.position + query / per_key + 1);
      maximum[i][h] = -INFINITY;
      total[i][h] = 0;
    }
#pragma unroll
    for (int c = 0; c < kColumnTiles; ++c) {
#pragma unroll
      for (int e = 0; e < 4; ++e) sums[i][c][e] = 0;
    }
  }

  if (steps > 0) {
    if (thread < 2 * kPages) page_ids[thread] = page_of(thread / kPages, thread % kPages);
    for (int i = thread; i < Tile::kRows * (Tile::kD / 8); i += Tile::kThreads) {
      const int r = i / (Tile::kD / 8), at = i % (Tile::kD / 8), query = first_query + r;
      if (at >= 2 * depth) continue;
      const Bf16* row = work.q + ((first_row + query / per_key) * H + head * per_key + query % per_key) * D;
      cp_async_16(row_piece<Tile::kD>(q_rows, r, at), row + at * 8, query < query_rows && at * 8 < D);
    }
    __syncthreads();  // page_ids
    load(0);
  }
  for (int step = 0; step < steps; ++step) {
    cp_async_wait<0>();
    __syncthreads();  // this step's keys are there for all; p, maxima and the other stage are free
    if (kStages == 2 && step + 1 < steps) load(step + 1);
    const int32_t later_page = thread < kPages ? page_of(step + 2, thread) : 0;
    Bf16* const keys = stages + step % kStages * Tile::kStageNumbers;
    Bf16* const values = Tile::kLatent ? keys : keys + Tile::kKeys * Tile::kD;
    constexpr int kValueStride = Tile::kLatent ? Tile::kD : Tile::kDV;

    float scores[kRowTiles][kKeyTiles][4];
#pragma unroll
    for (int i = 0; i < kRowTiles; ++i) {
#pragma unroll
      for (int j = 0; j < kKeyTiles; ++j) {
#pragma unroll
        for (int e = 0; e < 4; ++e) scores[i][j][e] = 0;
      }
    }
    if (busy[0]) {
#pragma unroll 4
      for (int k = 0; k < depth; ++k) {
        uint32_t a[kRowTiles][4];
#pragma unroll
        for (int i = 0; i < kRowTiles; ++i) {
          if (busy[i]) ldmatrix(a[i], row_piece<Tile::kD>(q_rows, warp_row + i * 16 + lane % 16, 2 * k + lane / 16));
        }
#pragma unroll
        for (int j = 0; j < kKeyTiles; j += 2) {  // registers 0, 1 are b of the first eight keys, 2, 3 of the others
          uint32_t b[4];
          ldmatrix(b, row_piece<Tile::kD>(keys, warp_key + j * 8 + lane / 16 * 8 + lane % 8, 2 * k + lane / 8 % 2));
          const uint32_t first[2] = {b[0], b[1]}, second[2] = {b[2], b[3]};
#pragma unroll
          for (int i = 0; i < kRowTiles; ++i) {
            if (!busy[i]) continue;
            mma_bf16(scores[i][j], a[i], first);
            mma_bf16(scores[i][j + 1], a[i], second);
          }
        }
      }
    }
    const int first_key = begin + step * Tile::kKeys + warp_key + 2 * quad;
#pragma unroll
    for (int i = 0; i < kRowTiles; ++i) {
      if (!busy[i]) continue;
#pragma unroll
      for (int h = 0; h < 2; ++h) {
        float largest = -INFINITY;
#pragma unroll
        for (int j = 0; j < kKeyTiles; ++j) {
#pragma unroll
          for (int e = 0; e < 2; ++e) {
            float& s = scores[i][j][2 * h + e];
            s = first_key + j * 8 + e < limit[i][h] ? s * work.shape.scale : -INFINITY;
            largest = fmaxf(largest, s);
          }
        }
        largest = fmaxf(largest, __shfl_xor_sync(kFullWarp, largest, 1));
        largest = fmaxf(largest, __shfl_xor_sync(kFullWarp, largest, 2));
        if (quad == 0) of_rows[key_warp * Tile::kRows + warp_row + i * 16 + h * 8 + lane / 4] = largest;
      }
    }
    __syncthreads();  // the maxima
    if (thread < kPages) page_ids[step % 2 * kPages + thread] = later_page;
#pragma unroll
    for (int i = 0; i < kRowTiles; ++i) {
      if (!busy[i]) continue;
#pragma unroll
      for (int h = 0; h < 2; ++h) {
        const int row = warp_row + i * 16 + h * 8 + lane / 4;
        float largest = maximum[i][h];
#pragma unroll
        for (int w = 0; w < Tile::kKeyWarps; ++w) largest = fmaxf(largest, of_rows[w * Tile::kRows + row]);
        const float safe = largest == -INFINITY ? 0.0f : largest, shrink = exp_fast(maximum[i][h] - safe);
        maximum[i][h] = largest;
        total[i][h] *= shrink;
#pragma unroll
        for (int j = 0; j < kKeyTiles; ++j) {
          const uint32_t pair =
              pack_bf16(exp_fast(scores[i][j][2 * h] - safe), exp_fast(scores[i][j][2 * h + 1] - safe));
          // The weights as they are multiplied, so that they add up to 1.
          total[i][h] += __uint_as_float(pair << 16) + __uint_as_float(pair & 0xFFFF0000u);
          *reinterpret_cast<uint32_t*>(row_piece<Tile::kKeys>(p_rows, row, warp_key / 8 + j) + 2 * quad) = pair;
        }
#pragma unroll
        for (int c = 0; c < kColumnTiles; ++c) {
          sums[i][c][2 * h] *= shrink;
          sums[i][c][2 * h + 1] *= shrink;
        }
      }
    }
    __syncthreads();  // p
    if (busy[0]) {
#pragma unroll
      for (int k = 0; k < Tile::kKeys / 16; ++k) {
        if (begin + step * Tile::kKeys + k * 16 >= end) break;
        uint32_t a[kRowTiles][4];
#pragma unroll
        for (int i = 0; i < kRowTiles; ++i) {
          if (busy[i]) ldmatrix(a[i], row_piece<Tile::kKeys>(p_rows, warp_row + i * 16 + lane % 16, 2 * k + lane / 16));
        }
#pragma unroll
        for (int c = 0; c < kColumnTiles; c += 2) {
          if (warp_column + c * 8 >= value_width) continue;
          uint32_t b[4];
          ldmatrix_transposed(
              b, row_piece<kValueStride>(values, k * 16 + lane % 16, warp_column / 8 + c + lane / 16));
          const uint32_t first[2] = {b[0], b[1]}, second[2] = {b[2], b[3]};
#pragma unroll
          for (int i = 0; i < kRowTiles; ++i) {
            if (!busy[i]) continue;
            mma_bf16(sums[i][c], a[i], first);
            mma_bf16(sums[i][c + 1], a[i], second);
          }
        }
      }
    }
    if (kStages == 1 && step + 1 < steps) {
      __syncthreads();  // all are done with the keys
      load(step + 1);
    }
  }

  // The warps of a row add their parts of its weight in order.
#pragma unroll
  for (int i = 0; i < kRowTiles; ++i) {
#pragma unroll
    for (int h = 0; h < 2; ++h) {
      float sum = total[i][h];
      sum += __shfl_xor_sync(kFullWarp, sum, 1);
      sum += __shfl_xor_sync(kFullWarp, sum, 2);
      if (quad == 0) of_rows[key_warp * Tile::kRows + warp_row + i * 16 + h * 8 + lane / 4] = sum;
    }
  }
  __syncthreads();
#pragma unroll
  for (int i = 0; i < kRowTiles; ++i) {
#pragma unroll
    for (int h = 0; h < 2; ++h) {
      const int row = warp_row + i * 16 + h * 8 + lane / 4, query = first_query + row;
      if (query >= query_rows) continue;
      float sum = 0;
#pragma unroll
      for (int w = 0; w < Tile::kKeyWarps; ++w) sum += of_rows[w * Tile::kRows + row];
      const int64_t n = first_row + query / per_key;
      const int of_head = head * per_key + query % per_key;
      const int64_t place = (n * work.slots + slot) * H + of_head;
      const float factor = sum > 0 ? 1.0f / sum : 0.0f;
#pragma unroll
      for (int c = 0; c < kColumnTiles; ++c) {
        const int column = warp_column + c * 8 + 2 * quad;
        if (column >= DV) continue;
        if (direct) {
          *reinterpret_cast<uint32_t*>(work.out + (n * H + of_head) * DV + column) =
              pack_bf16(sums[i][c][2 * h] * factor, sums[i][c][2 * h + 1] * factor);
        } else {
          float* to = work.sums + place * DV + column;
          to[0] = sums[i][c][2 * h];
          to[1] = sums[i][c][2 * h + 1];
        }
      }
      if (!direct && key_warp == 0 && quad == 0) {
        work.stats[place * 2] = maximum[i][h];
        work.stats[place * 2 + 1] = sum;
      }
    }
  }
}

}  // namespace paged

/// Starts the blocks of `work` (tiles is set here) with rows of `query_rows` at most. `items`: runs or groups.
template <class Tile, int kStages>
void launch_paged(PagedWork work, const char* name, int64_t items, int64_t query_rows, cudaStream_t stream) {
  work.tiles = static_cast<int>(device::ceil_div(query_rows, Tile::kRows));
  device::launch({.name = name,
                  .blocks = items * work.shape.num_kv_heads * work.chunks * work.tiles,
                  .threads = Tile::kThreads,
                  .shared_bytes = Tile::shared_bytes(kStages),
                  .stream = stream},
                 paged::paged_attention_kernel<Tile, kStages>, work);
}

/// attention_latent.cu: one key head whose values are its keys' first numbers.
void launch_latent(const PagedWork& work, int64_t items, int64_t query_rows, cudaStream_t stream);

}  // namespace r1::kernels::cuda
