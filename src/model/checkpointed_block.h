#pragma once
#include "r1/model/transformer.h"

namespace r1::model {

/// block(x) that keeps only x: the backward pass runs the block again. Gradients are the same bits, since the second
/// run repeats the first.
at::Tensor checkpointed_block(const Block& block, const at::Tensor& x_NC, const at::Tensor& positions_N,
                              const at::Tensor& cos_PD2, const at::Tensor& sin_PD2, const Attend& attend);

}  // namespace r1::model
