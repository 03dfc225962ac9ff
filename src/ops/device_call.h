#pragma once
#include <torch/torch.h>

#include <memory>

#include "kernels/device/types.h"

namespace r1::ops::device {

using kernels::Bf16;

template <class T>
constexpr at::ScalarType kScalarType = at::ScalarType::Undefined;
template <>
inline constexpr at::ScalarType kScalarType<float> = at::kFloat;
template <>
inline constexpr at::ScalarType kScalarType<double> = at::kDouble;
template <>
inline constexpr at::ScalarType kScalarType<Bf16> = at::kBFloat16;
template <>
inline constexpr at::ScalarType kScalarType<int64_t> = at::kLong;
template <>
inline constexpr at::ScalarType kScalarType<int32_t> = at::kInt;
template <>
inline constexpr at::ScalarType kScalarType<uint8_t> = at::kByte;

/// 10 times the major and the minor compute capability of x's device: 80, 90.
int compute_capability(const torch::Tensor& x);

/// What a kernel does with a tensor.
enum class Use {
  kRead,
  kWrite,    ///< writes every element before anything reads one
  kUpdate,   ///< reads and writes
  kScratch,  ///< its own: nothing is in it before, nobody reads it afterwards
};

/// One call of launchers: makes the device of `place` the current one as long as it lives, and turns tensors into pointers.
///
///   const Call call("rope", x_NHD);
///   kernels::cuda::rope(N, H, D, call.read<T>(x_NHD), ..., call.write<T>(y_NHD), call.stream());
///
/// A tensor handed out must live as long as the call; the caching allocator orders its reuse on the stream. The emulator
/// (in tests) lets the kernels touch nothing else, and checks that what is written was written whole.
class Call {
 public:
  Call(const char* name, const torch::Tensor& place);
  ~Call() noexcept(false);  // the emulator's verdict on what was written
  Call(const Call&) = delete;
  Call& operator=(const Call&) = delete;

  cudaStream_t stream() const;  ///< the current one of the device

  /// Null for an undefined tensor. Throws c10::Error unless t is contiguous, of dtype T and on the call's device.
  template <class T>
  const T* read(const torch::Tensor& t) const {
    return static_cast<const T*>(pointer(t, kScalarType<T>, Use::kRead));
  }
  template <class T>
  T* write(const torch::Tensor& t) const {
    return static_cast<T*>(pointer(t, kScalarType<T>, Use::kWrite));
  }
  template <class T>
  T* update(const torch::Tensor& t) const {
    return static_cast<T*>(pointer(t, kScalarType<T>, Use::kUpdate));
  }
  template <class T>
  T* scratch(const torch::Tensor& t) const {
    return static_cast<T*>(pointer(t, kScalarType<T>, Use::kScratch));
  }

 private:
  void* pointer(const torch::Tensor& t, at::ScalarType dtype, Use use) const;
  void* open(const torch::Tensor& t, Use use) const;  // the door itself: pointer() has checked t

  struct State;
  const char* name_;
  at::Device device_;
  std::unique_ptr<State> state_;
};

/// Calls fn(T{}) for the T of x's dtype: float or Bf16.
template <class Fn>
decltype(auto) dispatch(const char* name, const torch::Tensor& x, Fn&& fn) {
  if (x.scalar_type() == at::kBFloat16) return fn(Bf16{});
  TORCH_CHECK(x.scalar_type() == at::kFloat, name, ": dtype is ", x.scalar_type(), "; accepted: bfloat16 or float32");
  return fn(float{});
}

}  // namespace r1::ops::device
