#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <vector>

namespace r1::kernels {
class PackedMatrix;
}

namespace r1::ops {

/// One layer's keys and values of all cached sequences, in pages of 16 tokens.
struct KvStore {
  at::Tensor keys, values;  ///< [pages, numbers of a page]; the order inside is the kernel's, or plain where there is none
  int64_t num_kv_heads = 0, head_dim = 0;
  bool values_are_keys = false;  ///< one latent serves as both, `values` is undefined: half the memory
  int64_t value_dim = 0;         ///< head_dim, or the first numbers of the latent that are its value
  bool for_device = false;       ///< pages lie as a device's kernels want them (bf16, kernels/attention/attention_paged_cuda.h)

  /// value_dim 0: head_dim.
  static KvStore create(int64_t num_pages, int64_t num_kv_heads, int64_t head_dim, bool values_are_keys, at::TensorOptions options,
                        int64_t value_dim = 0);
  void copy_page(int32_t from, int32_t to);
};
/// Tokens of a page.
int64_t page_tokens();
/// Bytes of one page's keys and values of one layer.
int64_t page_bytes(int64_t num_kv_heads, int64_t head_dim, bool values_are_keys, at::ScalarType dtype = at::kFloat);

/// Consecutive new tokens of one cached sequence among the packed rows.
struct CacheRun {
  int64_t first_row = 0;
  int64_t num_rows = 0;
  int64_t first_position = 0;
  const std::vector<int32_t>* pages = nullptr;  ///< of positions 0..15, 16..31, ...; long enough for the new tokens
};

/// ops::attention with the earlier keys and values in `store`: first stores k, v of the new rows, then attends. On a CPU the same
/// bits as the packed form. Without gradients.
///   q_NHD [N, H, D];  k_NhD, v_NhD [N, Hkv, D] -> [N, H, D];  v is undefined where the store's values are its keys
at::Tensor cached_attention(const at::Tensor& q_NHD, const at::Tensor& k_NhD, const at::Tensor& v_NhD, KvStore& store,
                            const std::vector<CacheRun>& runs, double scale);

/// CacheRuns as a device's kernels read them, R runs over N rows: made once for all layers of a pass, or kept by a graph of launches
/// that reads them anew in each replay; the plain numbers are then its bounds.
struct DeviceRuns {
  at::Tensor positions_N;    ///< [N] int64: of the rows, for RoPE
  at::Tensor first_rows;     ///< [R + 1] int32: run r has rows first_rows[r] .. first_rows[r + 1] - 1
  at::Tensor positions;      ///< [R] int32: of a run's first row; -1: idle, its rows get zeros and leave nothing
  at::Tensor tables;         ///< [R, any] int32: pages of positions 0..15, 16..31, ...
  at::Tensor prefix_tokens;  ///< [R] int32: how many first tokens, in whole pages, a run shares with its group; or undefined
  at::Tensor first_runs;     ///< [P + 1] int32: group g has runs first_runs[g] .. first_runs[g + 1] - 1; or undefined
  int64_t max_run_rows = 1;       ///< rows of the longest run
  int64_t max_tokens = 1;         ///< keys that any row sees
  int64_t max_group_rows = 0;     ///< rows of the largest group
  int64_t max_prefix_tokens = 0;  ///< keys of the longest prefix
  bool split_keys = false;        ///< a run's keys go to several blocks: for few rows that see much
};
DeviceRuns make_device_runs(const std::vector<CacheRun>& runs, int64_t num_rows, at::Device device);

/// cached_attention for a store that is for a device; a run's group is read once for all its rows.
///   -> [N, H, value_dim]
at::Tensor cached_attention(const at::Tensor& q_NHD, const at::Tensor& k_NhD, const at::Tensor& v_NhD, KvStore& store,
                            const DeviceRuns& runs, double scale);

/// A weight kept a second time in the order in which the product streams it; made again when the weight has changed.
/// Worth it when many products of few rows meet one weight: while decoding. Same bits as ops::linear, no gradients.
class PackedWeight {
 public:
  PackedWeight();
  ~PackedWeight();
  PackedWeight(const PackedWeight&) = delete;
  PackedWeight& operator=(const PackedWeight&) = delete;

  at::Tensor linear(const at::Tensor& x_NC, const at::Tensor& w_OC, const at::Tensor& bias_O);
  /// The packed float32 CPU weight, for kernels that walk over several.
  const kernels::PackedMatrix& of(const at::Tensor& w_OC);
  void release();  ///< gives the memory back

 private:
  std::unique_ptr<kernels::PackedMatrix> packed_;
  const void* data_ = nullptr;  ///< identity and version of the weight that was packed
  int64_t version_ = -1;
};

}  // namespace r1::ops
