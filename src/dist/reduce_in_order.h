#pragma once
#include <c10/core/ScalarType.h>

#include <vector>

#include "r1/dist/communicator.h"

namespace r1::dist {

/// out[i] <- ((parts[0][i] + parts[1][i]) + parts[2][i]) + ..., or the maximum, which a NaN wins.
///
///   parts   of `count` elements each; `out` may be one of them
///
/// The order is that of `parts`, whatever `count` is, so a sum has the same bits however a tensor was cut into pieces. bfloat16 is
/// summed in float32 and rounded once, to nearest even.
void reduce_in_order(at::ScalarType type, Reduce op, const std::vector<const void*>& parts, void* out, int64_t count);

}  // namespace r1::dist
