#pragma once
#include "r1/util/gguf.h"

namespace r1 {

constexpr uint32_t kNumGgufValueTypes = 13;
const char* gguf_value_type_name(GgufValueType type);  ///< "uint32", "string", "array", ...

}  // namespace r1
