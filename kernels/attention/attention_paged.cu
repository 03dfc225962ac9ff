// Attention over pages: key heads of their own up to 128 wide, and what is the same for a latent
// (attention_latent.cu): writing pages, bounds, the merge.
//   out[n,h,:] = sum_{j <= position of n} p_j v[j,h'],  p = softmax_j(scale q[n,h] . k[j,h'])    q, out [N, H, D]
//
// Two launches of paged_tile.h's block, then a merge. Prefix pass: a block per 64 query rows of a group
// (G completions x H / Hkv heads), key head and split_tokens of the group's prefix. Own pass: a block per run,
// key head and split_tokens of its other keys, with 16 query rows where that is enough (one token and up to 16
// heads per key head), else 64. A row whose keys are one piece is written out at once; else the pieces
// (maximum m_s, weight l_s, sum o_s) meet by log-sum-exp, a warp per row and head:
//   out = sum_s e^(m_s - m) o_s / sum_s e^(m_s - m) l_s,  m = max_s m_s,  s in ascending order
//
// Memory-bound: bytes = 4 Hkv D (keys read: sum over runs of own keys + sum over groups of prefix keys), FLOPs
// = 4 H D (keys seen). R = 64 runs of 2,048 own keys, Hkv = 8, D = 128 (H = 32): 0.54 GB, 160 us at 3.35 TB/s;
// 4.3 GFLOP, 8 per byte. In groups of 16 with 1,024 of these keys a prefix: 0.29 GB, 85 us. A piece of 256 keys
// leaves 520 bytes per head against 512 D per key head: 1 to 6 % of the traffic (all estimated).
// Shared memory, dynamic: 16 query rows 70 KiB, 64 query rows 89 KiB at D = 128; about half at 64.
#include "kernels/attention/paged_tile.h"
#include "kernels/device/vector.h"

namespace r1::kernels::cuda {
namespace {

using namespace device;
using paged::PagedTile, paged::RunSplit;

// 16 query rows: all warps share them. 64: two by two.
template <int kD>
using SmallTile = PagedTile<kD, kD, 1, 4, 1, false>;
template <int kD>
using LargeTile = PagedTile<kD, kD, 2, 2, 2, false>;
constexpr int kStages = 2;

constexpr int kThreads = 128;

// The run of row n: the last one that starts at n or before.
__forceinline__ __device__ int64_t run_of_row(const PagedRuns& runs, int64_t n) {
  int64_t low = 0, high = runs.num_runs;
  while (high - low > 1) {
    const int64_t middle = (low + high) / 2;
    if (runs.first_rows[middle] <= n) {
      low = middle;
    } else {
      high = middle;
    }
  }
  return low;
}

// A block per row.
__global__ void __launch_bounds__(kThreads)
    write_pages_kernel(PagedShape shape, PagedRuns runs, const Bf16* k, const Bf16* v, DevicePages pages) {
  const int64_t n = blockIdx.x, run = run_of_row(runs, n);
  if (runs.positions[run] < 0) return;
  const int64_t position = runs.positions[run] + n - runs.first_rows[run];
  const int64_t page = runs.tables[run * runs.table_stride + position / kPageTokens];
  const int D = static_cast<int>(shape.head_dim), packs = D / 8, heads = static_cast<int>(shape.num_kv_heads);
  for (int i = static_cast<int>(threadIdx.x); i < heads * packs; i += kThreads) {
    const int head = i / packs, d = i % packs * 8;
    const int64_t from = (n * heads + head) * D + d, to = ((page * heads + head) * kPageTokens + position % kPageTokens) * D + d;
    store_pack(pages.keys + to, load_pack(k + from));
    if (v != nullptr) store_pack(pages.values + to, load_pack(v + from));
  }
}

// A warp per row and head.
__global__ void __launch_bounds__(kThreads) merge_kernel(PagedWork work) {
  const int H = static_cast<int>(work.shape.num_heads), DV = static_cast<int>(work.shape.value_dim), lane = lane_id();
  const int64_t item = static_cast<int64_t>(blockIdx.x) * (kThreads / 32) + warp_id();
  if (item >= work.runs.num_rows * H) return;
  const int64_t n = item / H, first_place = n * work.slots * H + item % H;
  const RunSplit split(work.runs, run_of_row(work.runs, n));
  const int pieces = split.prefix_chunks + split.own_chunks;
  if (pieces == 1) return;  // written at once
  float maximum = -INFINITY;
  for (int s = lane; s < pieces; s += 32) maximum = fmaxf(maximum, work.stats[(first_place + static_cast<int64_t>(s) * H) * 2]);
  maximum = warp_max(maximum);
  for (int column = 0; column < DV; column += 128) {
    const int d = column + lane * 4;
    float total = 0, sum[4] = {0, 0, 0, 0};
    for (int s = 0; s < pieces; ++s) {
      const int64_t place = first_place + static_cast<int64_t>(s) * H;
      const float weight = exp_fast(work.stats[place * 2] - maximum);
      total = fmaf(weight, work.stats[place * 2 + 1], total);
      if (d >= DV) continue;
      const Pack<float> part = load_pack(work.sums + place * DV + d);
#pragma unroll
      for (int e = 0; e < 4; ++e) sum[e] = fmaf(weight, part.v[e], sum[e]);
    }
    if (d >= DV) continue;
    const float factor = 1.0f / total;
    auto* out = reinterpret_cast<uint32_t*>(work.out + item * DV + d);
    out[0] = pack_bf16(sum[0] * factor, sum[1] * factor);
    out[1] = pack_bf16(sum[2] * factor, sum[3] * factor);
  }
}

void check(const char* name, const PagedShape& s, const PagedRuns& r) {
  const int64_t widest = s.values_are_keys ? 576 : 128, widest_value = s.values_are_keys ? 512 : s.head_dim;
  if (s.num_kv_heads < 1 || s.num_heads < 1 || s.num_heads % s.num_kv_heads != 0 || s.head_dim < 8 || s.head_dim > widest ||
      s.head_dim % 8 != 0 || s.value_dim < 8 || s.value_dim % 8 != 0 || s.value_dim > widest_value || s.value_dim > s.head_dim ||
      (s.values_are_keys ? s.num_kv_heads != 1 : s.value_dim != s.head_dim)) {
    throw std::runtime_error(std::string(name) + ": " + std::to_string(s.num_heads) + " heads on " + std::to_string(s.num_kv_heads) +
                             " key heads of width " + std::to_string(s.head_dim) + ", values of " + std::to_string(s.value_dim) +
                             "; accepted: a multiple of the key heads, both widths a multiple of 8 up to 128 and equal, or, where the "
                             "values are the keys, one key head up to 576 wide with values up to 512");
  }
  if (r.split_tokens < 0 || r.split_tokens % 64 != 0 || (r.split_tokens == 0 && r.num_groups > 0) ||
      (r.num_groups > 0) != (r.prefix_tokens != nullptr)) {
    throw std::runtime_error(std::string(name) + ": " + std::to_string(r.num_groups) + " groups, pieces of " +
                             std::to_string(r.split_tokens) +
                             " keys; accepted: a multiple of 64, or 0 without groups; prefix_tokens with groups alone");
  }
  if (r.num_rows > 0 && (r.num_runs < 1 || r.max_run_rows < 1 || r.max_tokens < 1)) {
    throw std::runtime_error(std::string(name) + ": " + std::to_string(r.num_rows) + " rows in " + std::to_string(r.num_runs) +
                             " runs of up to " + std::to_string(r.max_run_rows) + " rows that see " + std::to_string(r.max_tokens) +
                             " keys; each must be at least 1");
  }
}

void check_aligned(const char* name, std::initializer_list<const void*> pointers) {
  for (const void* p : pointers) {
    if (reinterpret_cast<uintptr_t>(p) % 16 != 0) throw std::runtime_error(std::string(name) + ": a pointer is not 16-byte aligned");
  }
}

int64_t prefix_chunks(const PagedRuns& r) { return r.num_groups == 0 ? 0 : ceil_div(r.max_prefix_tokens, r.split_tokens); }
int64_t own_chunks(const PagedRuns& r) { return r.split_tokens == 0 ? 1 : ceil_div(r.max_tokens, r.split_tokens); }

template <int kD>
void launch_heads(PagedWork work, int64_t items, int64_t query_rows, cudaStream_t stream) {
  if (!work.prefix) {
    work.min_query_rows = 0;
    work.max_query_rows = SmallTile<kD>::kRows;
    launch_paged<SmallTile<kD>, kStages>(work, "paged_attention", items, SmallTile<kD>::kRows, stream);
    if (query_rows <= SmallTile<kD>::kRows) return;
    work.min_query_rows = SmallTile<kD>::kRows + 1;
    work.max_query_rows = INT32_MAX;
  }
  launch_paged<LargeTile<kD>, kStages>(work, work.prefix ? "paged_attention of a prefix" : "paged_attention", items, query_rows, stream);
}

void launch_pass(PagedWork work, bool prefix, int64_t chunks, cudaStream_t stream) {
  const PagedRuns& r = work.runs;
  work.prefix = prefix;
  work.chunks = static_cast<int>(chunks);
  const int64_t items = prefix ? r.num_groups : r.num_runs;
  const int64_t query_rows = (prefix ? r.max_group_rows : r.max_run_rows) * (work.shape.num_heads / work.shape.num_kv_heads);
  if (work.shape.values_are_keys) return launch_latent(work, items, query_rows, stream);
  if (work.shape.head_dim <= 64) return launch_heads<64>(work, items, query_rows, stream);
  launch_heads<128>(work, items, query_rows, stream);
}

}  // namespace

int64_t fixed_split_tokens(const PagedShape& shape) { return shape.values_are_keys ? 1024 : 256; }

int64_t fast_split_tokens(const PagedShape& shape, const PagedRuns& runs, int64_t processors) {
  const int64_t query_rows = runs.max_run_rows * (shape.num_heads / shape.num_kv_heads);
  const int64_t blocks = std::max<int64_t>(1, runs.num_runs * shape.num_kv_heads * ceil_div(query_rows, 64));
  const int64_t pieces = ceil_div(2 * processors, blocks);
  const int64_t least = shape.values_are_keys ? 256 : 64;
  return std::max(least, ceil_div(ceil_div(runs.max_tokens, pieces), 64) * 64);
}

void write_pages(const PagedShape& shape, const PagedRuns& runs, const Bf16* k, const Bf16* v, const DevicePages& pages,
                 cudaStream_t stream) {
  check("write_pages", shape, runs);
  check_aligned("write_pages", {k, v, pages.keys, pages.values});
  if ((v == nullptr) != shape.values_are_keys) throw std::runtime_error("write_pages: values are given where they are not the keys");
  if (runs.num_rows == 0) return;
  launch({.name = "write_pages", .blocks = runs.num_rows, .threads = kThreads, .stream = stream}, write_pages_kernel, shape, runs, k,
         v, pages);
}

int64_t paged_attention_scratch_floats(const PagedShape& shape, const PagedRuns& runs) {
  const int64_t slots = prefix_chunks(runs) + own_chunks(runs);
  return slots == 1 ? 0 : ceil_div(runs.num_rows * slots * shape.num_heads * 2, 4) * 4 + runs.num_rows * slots * shape.num_heads * shape.value_dim;
}

void paged_attention(const PagedShape& shape, const PagedRuns& runs, const Bf16* q, const DevicePages& pages, Bf16* out,
                     float* scratch, cudaStream_t stream) {
  check("paged_attention", shape, runs);
  check_aligned("paged_attention", {q, pages.keys, pages.values, out, scratch});
  if (runs.num_rows == 0) return;
  const int64_t of_prefix = prefix_chunks(runs), of_own = own_chunks(runs), slots = of_prefix + of_own;
  PagedWork work{};
  work.shape = shape;
  work.runs = runs;
  work.pages = pages;
  work.q = q;
  work.out = out;
  work.stats = scratch;
  work.sums = scratch + ceil_div(runs.num_rows * slots * shape.num_heads * 2, 4) * 4;
  work.slots = static_cast<int>(slots);
  work.max_query_rows = INT32_MAX;
  if (of_prefix > 0) launch_pass(work, true, of_prefix, stream);
  launch_pass(work, false, of_own, stream);
  if (slots == 1) return;
  launch({.name = "paged_attention's merge",
          .blocks = ceil_div(runs.num_rows * shape.num_heads, kThreads / 32),
          .threads = kThreads,
          .stream = stream},
         merge_kernel, work);
}

}  // namespace r1::kernels::cuda
