#include <torch/torch.h>

#include <algorithm>
#include <cmath>
#include <numbers>

#include "r1/model/transformer.h"
#include "r1/util/random.h"

namespace r1::model {

// Box-Muller on Philox: element pair i of parameter p is a function of (seed, p, i) alone.
void TransformerImpl::initialize(uint64_t seed) {
  const torch::NoGradGuard no_grad;
  auto names = all_parameter_names();  // the trunk's numbers do not depend on the MTP module, nor on which experts are here
  std::stable_partition(names.begin(), names.end(), [&](const auto& name) { return !config_.is_mtp_parameter(name); });
  const auto here = named_parameters();
  uint32_t index = 0;
  for (const auto& name : names) {
    ++index;
    const auto* found = here.find(name);
    if (found == nullptr) continue;
    auto weight = *found;
    if (weight.dim() == 1) {
      weight.fill_(name.ends_with("bias") ? 0.0 : 1.0);
      continue;
    }
    auto values = torch::empty({weight.numel()}, torch::kFloat);
    float* out = values.data_ptr<float>();
    for (int64_t i = 0; i < weight.numel(); i += 2) {
      const auto bits = draw_bits({.seed = seed, .stream = Stream::kInit, .prompt = index, .position = static_cast<uint32_t>(i / 2)});
      const double u = (bits[0] + 1.0) / 4294967296.0, angle = 2 * std::numbers::pi * bits[1] / 4294967296.0;
      const double radius = config_.initializer_range * std::sqrt(-2 * std::log(u));
      out[i] = static_cast<float>(radius * std::cos(angle));
      if (i + 1 < weight.numel()) out[i + 1] = static_cast<float>(radius * std::sin(angle));
    }
    weight.copy_(values.view(weight.sizes()));
  }
}

}  // namespace r1::model
