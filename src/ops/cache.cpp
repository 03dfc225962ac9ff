#include "r1/ops/cache.h"

#include <torch/torch.h>

#include "device.h"
#include "kernels/attention/attention.h"
#include "kernels/gemm/gemm.h"
#include "r1/ops/devices.h"
#include "reference.h"

namespace r1::ops {

using torch::Tensor;

namespace {

bool on_cpu_float32(const Tensor& x) { return x.is_cpu() && x.scalar_type() == torch::kFloat; }

kernels::AttentionShape shape_of(const KvStore& store, int64_t num_heads, double scale) {
  return {num_heads, store.num_kv_heads, store.head_dim, static_cast<float>(scale), store.values_are_keys};
}

// The plain twin: pages are [16, Hkv, D].
Tensor plain_cached_attention(const Tensor& q_NHD, const Tensor& k_NhD, const Tensor& v_NhD, KvStore& store,
                              const std::vector<CacheRun>& runs, double scale) {
  const auto flat = [&](const Tensor& pages) { return pages.view({-1, store.num_kv_heads, store.head_dim}); };
  auto keys = flat(store.keys);
  auto values = store.values_are_keys ? keys : flat(store.values);
  auto out_NHD = torch::empty_like(q_NHD);
  for (const auto& run : runs) {
    const int64_t length = run.first_position + run.num_rows;
    std::vector<int64_t> slots;
    for (int64_t i = 0; i < length; ++i) {
      slots.push_back(run.pages->at(static_cast<size_t>(i / kernels::kPageTokens)) * kernels::kPageTokens +
                      i % kernels::kPageTokens);
    }
    const auto all = torch::tensor(slots, torch::kLong).to(q_NHD.device());
    const auto fresh = all.narrow(0, run.first_position, run.num_rows);
    keys.index_copy_(0, fresh, k_NhD.narrow(0, run.first_row, run.num_rows));
    if (!store.values_are_keys) values.index_copy_(0, fresh, v_NhD.narrow(0, run.first_row, run.num_rows));
    PackedLayout whole;
    whole.add_sequence(length);
    auto q = torch::zeros({length, q_NHD.size(1), q_NHD.size(2)}, q_NHD.options());
    q.narrow(0, run.first_position, run.num_rows).copy_(q_NHD.narrow(0, run.first_row, run.num_rows));
    const auto out = ref::attention(q, keys.index_select(0, all), values.index_select(0, all), whole, scale);
    out_NHD.narrow(0, run.first_row, run.num_rows).copy_(out.narrow(0, run.first_position, run.num_rows));
  }
  return out_NHD;
}

}  // namespace

int64_t page_tokens() { return kernels::kPageTokens; }

int64_t page_bytes(int64_t num_kv_heads, int64_t head_dim, bool values_are_keys, at::ScalarType dtype) {
  const kernels::AttentionShape shape{num_kv_heads, num_kv_heads, head_dim, 1.0f, values_are_keys};
  const int64_t keys = kernels::key_page_floats(shape);
  const int64_t values = dtype == at::kFloat ? kernels::value_page_floats(shape) : values_are_keys ? 0 : keys;
  return (keys + values) * static_cast<int64_t>(c10::elementSize(dtype));
}

KvStore KvStore::create(int64_t num_pages, int64_t num_kv_heads, int64_t head_dim, bool values_are_keys, at::TensorOptions options,
                        int64_t value_dim) {
  KvStore store;
  store.value_dim = value_dim > 0 ? value_dim : head_dim;
  store.num_kv_heads = num_kv_heads;
  store.head_dim = head_dim;
  store.values_are_keys = values_are_keys;
  const auto shape = shape_of(store, num_kv_heads, 1.0);
  store.keys = torch::empty({num_pages, kernels::key_page_floats(shape)}, options);
  store.for_device = device::on_device(store.keys) && device::has_paged_attention(store);
  if (values_are_keys) return store;
  const bool kernel_order = !store.for_device && on_cpu_float32(store.keys);
  store.values = torch::empty({num_pages, kernel_order ? kernels::value_page_floats(shape) : kernels::key_page_floats(shape)},
                              options);
  return store;
}

void KvStore::copy_page(int32_t from, int32_t to) {
  keys[to].copy_(keys[from]);
  if (!values_are_keys) values[to].copy_(values[from]);
}

Tensor cached_attention(const Tensor& q_NHD, const Tensor& k_NhD, const Tensor& v_NhD, KvStore& store,
                        const std::vector<CacheRun>& runs, double scale) {
  TORCH_CHECK(!torch::GradMode::is_enabled(), "cached_attention has no gradient; use ops::attention");
  TORCH_CHECK(v_NhD.defined() != store.values_are_keys, "cached_attention: values are given exactly where the store keeps them apart from the keys");
  if (store.for_device) {
    return device::cached_attention(q_NHD, k_NhD, v_NhD, store, make_device_runs(runs, q_NHD.size(0), q_NHD.device()), scale);
  }
  if (!on_cpu_float32(q_NHD)) return plain_cached_attention(q_NHD, k_NhD, v_NhD, store, runs, scale);
  const auto q = q_NHD.contiguous(), k = k_NhD.contiguous(), v = v_NhD.defined() ? v_NhD.contiguous() : k;
  std::vector<kernels::AttentionRun> kernel_runs;
  kernel_runs.reserve(runs.size());
  for (const auto& run : runs) {
    const int64_t length = run.first_position + run.num_rows;
    TORCH_CHECK(static_cast<int64_t>(run.pages->size()) * kernels::kPageTokens >= length, "cached_attention: ", length,
                " tokens, but only ", run.pages->size(), " pages of ", kernels::kPageTokens);
    kernel_runs.push_back({run.first_row, run.num_rows, run.first_position, 0, run.pages->data()});
  }
  const auto shape = shape_of(store, q.size(1), scale);
  const kernels::KvPages pages{store.keys.mutable_data_ptr<float>(),
                               store.values_are_keys ? nullptr : store.values.mutable_data_ptr<float>()};
  auto out = torch::empty_like(q);
  kernels::attention_cached(shape, pages, kernel_runs, q.data_ptr<float>(), k.data_ptr<float>(), v.data_ptr<float>(),
                            out.mutable_data_ptr<float>());
  return out;
}

DeviceRuns make_device_runs(const std::vector<CacheRun>& runs, int64_t num_rows, at::Device device) {
  constexpr int64_t kSplitRows = 8;  // at most: a longer run has rows enough for many blocks
  const auto R = static_cast<int64_t>(runs.size());
  DeviceRuns out;
  int64_t stride = 1, next_row = 0;
  for (const auto& run : runs) {
    const int64_t length = run.first_position + run.num_rows;
    TORCH_CHECK(run.first_row == next_row, "a device's runs follow each other in the rows; one begins at ", run.first_row, ", not at ",
                next_row);
    TORCH_CHECK(static_cast<int64_t>(run.pages->size()) * kernels::kPageTokens >= length, "cached_attention: ", length,
                " tokens, but only ", run.pages->size(), " pages of ", kernels::kPageTokens);
    next_row += run.num_rows;
    stride = std::max(stride, (length + kernels::kPageTokens - 1) / kernels::kPageTokens);
    out.max_run_rows = std::max(out.max_run_rows, run.num_rows);
    out.max_tokens = std::max(out.max_tokens, length);
  }
  TORCH_CHECK(next_row == num_rows, "the runs have ", next_row, " rows of ", num_rows);
  out.split_keys = out.max_run_rows <= kSplitRows;
  auto positions_N = torch::empty({num_rows}, torch::kLong);
  auto all = torch::zeros({2 * R + 1 + R * stride}, torch::kInt);  // one copy for the lot
  auto* first_rows = all.data_ptr<int32_t>();
  auto* positions = first_rows + R + 1;
  auto* tables = positions + R;
  for (int64_t r = 0; r < R; ++r) {
    const auto& run = runs[static_cast<size_t>(r)];
    first_rows[r + 1] = static_cast<int32_t>(run.first_row + run.num_rows);
    positions[r] = static_cast<int32_t>(run.first_position);
    const int64_t pages = std::min(stride, static_cast<int64_t>(run.pages->size()));
    std::copy(run.pages->begin(), run.pages->begin() + pages, tables + r * stride);
    for (int64_t i = 0; i < run.num_rows; ++i) positions_N.data_ptr<int64_t>()[run.first_row + i] = run.first_position + i;
  }
  all = to_device(all, device);
  out.positions_N = to_device(positions_N, device);
  out.first_rows = all.narrow(0, 0, R + 1);
  out.positions = all.narrow(0, R + 1, R);
  out.tables = all.narrow(0, 2 * R + 1, R * stride).view({R, stride});
  return out;
}

Tensor cached_attention(const Tensor& q_NHD, const Tensor& k_NhD, const Tensor& v_NhD, KvStore& store, const DeviceRuns& runs,
                        double scale) {
  TORCH_CHECK(!torch::GradMode::is_enabled(), "cached_attention has no gradient; use ops::attention");
  TORCH_CHECK(store.for_device && v_NhD.defined() != store.values_are_keys,
              "cached_attention: DeviceRuns go with a store for a device; values are given exactly where they are apart from the keys");
  return device::cached_attention(q_NHD, k_NhD, v_NhD, store, runs, scale);
}

PackedWeight::PackedWeight() = default;
PackedWeight::~PackedWeight() = default;

void PackedWeight::release() {
  packed_.reset();
  data_ = nullptr;
}

const kernels::PackedMatrix& PackedWeight::of(const Tensor& w_OC) {
  const int64_t C = w_OC.size(1), O = w_OC.size(0);
  const auto version = static_cast<int64_t>(w_OC._version());
  if (data_ != w_OC.const_data_ptr() || version_ != version) {
    if (!packed_) packed_ = std::make_unique<kernels::PackedMatrix>();
    packed_->pack(C, O, kernels::transposed(w_OC.data_ptr<float>(), C));
    data_ = w_OC.const_data_ptr();
    version_ = version;
  }
  return *packed_;
}

Tensor PackedWeight::linear(const Tensor& x_NC, const Tensor& w_OC, const Tensor& bias_O) {
  if (device::on_device(x_NC)) return device::linear(x_NC, w_OC, bias_O);
  if (!on_cpu_float32(x_NC)) return ref::linear(x_NC, w_OC, bias_O);
  const int64_t N = x_NC.size(0), C = w_OC.size(1), O = w_OC.size(0);
  const auto& packed = of(w_OC);
  const auto x = x_NC.contiguous();
  auto y_NO = torch::empty({N, O}, x.options());
  if (bias_O.defined()) y_NO.copy_(bias_O.expand({N, O}));
  kernels::gemm_packed(N, kernels::row_major(x.data_ptr<float>(), C), packed, y_NO.mutable_data_ptr<float>(), O,
                       bias_O.defined());
  return y_NO;
}

}  // namespace r1::ops
