#pragma once
// The dtypes that a checkpoint can hold, in both languages.
#include <c10/core/ScalarType.h>

#include <array>
#include <optional>
#include <utility>

#include "r1/util/safetensors.h"

namespace r1::train {

inline constexpr std::array<std::pair<at::ScalarType, TensorDtype>, 12> kCheckpointDtypes = {
    {{at::kDouble, TensorDtype::kF64},
     {at::kFloat, TensorDtype::kF32},
     {at::kHalf, TensorDtype::kF16},
     {at::kBFloat16, TensorDtype::kBF16},
     {at::kFloat8_e5m2, TensorDtype::kF8E5M2},
     {at::kFloat8_e4m3fn, TensorDtype::kF8E4M3},
     {at::kLong, TensorDtype::kI64},
     {at::kInt, TensorDtype::kI32},
     {at::kShort, TensorDtype::kI16},
     {at::kChar, TensorDtype::kI8},
     {at::kByte, TensorDtype::kU8},
     {at::kBool, TensorDtype::kBool}}};

inline std::optional<TensorDtype> file_dtype(at::ScalarType dtype) {
  for (const auto& [aten, file] : kCheckpointDtypes) {
    if (aten == dtype) return file;
  }
  return std::nullopt;
}

inline std::optional<at::ScalarType> aten_dtype(TensorDtype dtype) {
  for (const auto& [aten, file] : kCheckpointDtypes) {
    if (file == dtype) return aten;
  }
  return std::nullopt;
}

}  // namespace r1::train
