#pragma once
#include <string>

#include "r1/model/weights.h"

namespace r1::model {

/// Throws Error unless transformers and llama.cpp have a class with this combination of biases and norms: a
/// model from a `model:` section may have one that nobody else can load. `where` is what the message begins
/// with.
void require_known_class(const std::string& where, const ModelConfig& config);

/// The tensors in the order of expected_parameters(config), without the head of a tied model.
/// Throws Error naming the first tensor that is missing, superfluous, given twice or of another shape.
NamedTensors ordered_parameters(const std::string& where, const ModelConfig& config,
                                const NamedTensors& tensors);

/// `tensor` as a contiguous CPU tensor of `dtype`.
/// Throws Error naming it when a finite value becomes infinite in that dtype.
at::Tensor converted(const std::string& where, const std::string& name, const at::Tensor& tensor,
                     at::ScalarType dtype);

}  // namespace r1::model
