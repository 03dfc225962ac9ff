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
  at::Tensor keys, values;  ///< [pages, floats of a page]; the order inside is the kernel's (or plain, off the CPU)
  int64_t num_kv_heads = 0, head_dim = 0;
  bool values_are_keys = false;  ///< one latent serves as both, `values` is undefined: half the memory

  static KvStore create(int64_t num_pages, int64_t num_kv_heads, int64_t head_dim, bool values_are_keys, at::TensorOptions options);
  void copy_page(int32_t from, int32_t to);
};
/// Tokens of a page.
int64_t page_tokens();
/// Bytes of one page's keys and values of one layer in float32.
int64_t page_bytes(int64_t num_kv_heads, int64_t head_dim, bool values_are_keys);

/// Consecutive new tokens of one cached sequence among the packed rows.
struct CacheRun {
  int64_t first_row = 0;
  int64_t num_rows = 0;
  int64_t first_position = 0;
  const std::vector<int32_t>* pages = nullptr;  ///< of positions 0..15, 16..31, ...; long enough for the new tokens
};

/// ops::attention with the earlier keys and values in `store`: first stores k, v of the new rows, then attends. The same
/// bits as the packed form. Without gradients.
///   q_NHD [N, H, D];  k_NhD, v_NhD [N, Hkv, D] -> [N, H, D];  v is undefined where the store's values are its keys
at::Tensor cached_attention(const at::Tensor& q_NHD, const at::Tensor& k_NhD, const at::Tensor& v_NhD, KvStore& store,
                            const std::vector<CacheRun>& runs, double scale);

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
