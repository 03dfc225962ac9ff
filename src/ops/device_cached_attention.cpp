#include "device.h"
#include "device_call.h"
#include "kernels/attention/attention_paged_cuda.h"

namespace r1::ops::device {

using torch::Tensor;
namespace cuda = kernels::cuda;

namespace {

cuda::PagedShape shape_of(const KvStore& store, int64_t num_heads, double scale) {
  return {num_heads, store.num_kv_heads, store.head_dim, store.value_dim, static_cast<float>(scale), store.values_are_keys};
}

// The pointers into `runs`, its bounds and the split.
cuda::PagedRuns describe(const Call& call, const DeviceRuns& runs, const cuda::PagedShape& shape) {
  cuda::PagedRuns r{};
  r.num_rows = runs.positions_N.size(0);
  r.num_runs = runs.positions.size(0);
  r.first_rows = call.read<int32_t>(runs.first_rows);
  r.positions = call.read<int32_t>(runs.positions);
  r.tables = call.read<int32_t>(runs.tables);
  r.table_stride = runs.tables.size(1);
  if (runs.split_keys && runs.first_runs.defined() && runs.max_prefix_tokens > 0) {
    r.prefix_tokens = call.read<int32_t>(runs.prefix_tokens);
    r.first_runs = call.read<int32_t>(runs.first_runs);
    r.num_groups = runs.first_runs.size(0) - 1;
    r.max_group_rows = runs.max_group_rows;
    r.max_prefix_tokens = runs.max_prefix_tokens;
  }
  r.max_run_rows = runs.max_run_rows;
  r.max_tokens = runs.max_tokens;
  r.split_tokens = runs.split_keys ? cuda::fixed_split_tokens(shape) : 0;
  return r;
}

}  // namespace

bool has_paged_attention(const KvStore& s) {
  if (s.keys.scalar_type() != at::kBFloat16 || s.head_dim % 8 != 0 || s.value_dim % 8 != 0) return false;
  if (s.values_are_keys) return s.num_kv_heads == 1 && s.head_dim <= 576 && s.value_dim <= 512;
  return s.head_dim <= 128 && s.value_dim == s.head_dim;
}

Tensor cached_attention(const Tensor& q_NHD, const Tensor& k_NhD, const Tensor& v_NhD, KvStore& store, const DeviceRuns& runs,
                        double scale) {
  const auto q = q_NHD.contiguous(), k = k_NhD.contiguous(), v = v_NhD.defined() ? v_NhD.contiguous() : Tensor();
  const int64_t N = q.size(0), H = q.size(1);
  TORCH_CHECK(runs.positions_N.size(0) == N, "cached_attention: ", N, " rows, the runs have ", runs.positions_N.size(0));
  const auto shape = shape_of(store, H, scale);
  {
    const Call call("write_pages", q);
    const cuda::DevicePages pages{call.update<Bf16>(store.keys), store.values_are_keys ? nullptr : call.update<Bf16>(store.values)};
    cuda::write_pages(shape, describe(call, runs, shape), call.read<Bf16>(k), call.read<Bf16>(v), pages, call.stream());
  }
  auto out_NHV = torch::empty({N, H, store.value_dim}, q.options());
  const Call call("cached_attention", q);
  const cuda::DevicePages pages{const_cast<Bf16*>(call.read<Bf16>(store.keys)),
                                store.values_are_keys ? nullptr : const_cast<Bf16*>(call.read<Bf16>(store.values))};
  const auto described = describe(call, runs, shape);
  auto scratch = torch::empty({cuda::paged_attention_scratch_floats(shape, described)}, q.options().dtype(at::kFloat));
  cuda::paged_attention(shape, described, call.read<Bf16>(q), pages, call.write<Bf16>(out_NHV), call.scratch<float>(scratch),
                        call.stream());
  return out_NHV;
}

}  // namespace r1::ops::device
