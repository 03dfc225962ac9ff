#pragma once
#include "r1/model/layers.h"

namespace r1::model {

/// block(x) that keeps only x: the backward pass runs the block again. Gradients are the same bits, since the second
/// run repeats the first.
at::Tensor checkpointed_block(const Block& block, const at::Tensor& x_NC, const std::shared_ptr<const BlockPass>& pass);

}  // namespace r1::model
