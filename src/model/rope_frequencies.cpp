#include "rope_frequencies.h"

#include <cmath>
#include <numbers>

namespace r1::model {
namespace {

constexpr double kTwoPi = 2 * std::numbers::pi;

// Llama 3.1: long wavelengths are divided by the factor, short ones stay, between them a linear blend.
double llama3_frequency(double frequency, const RopeScaling& s) {
  const double wavelength = kTwoPi / frequency, original = static_cast<double>(s.original_max_position);
  if (wavelength < original / s.high_freq_factor) return frequency;
  if (wavelength > original / s.low_freq_factor) return frequency / s.factor;
  const double blend = (original / wavelength - s.low_freq_factor) / (s.high_freq_factor - s.low_freq_factor);
  return (1 - blend) * frequency / s.factor + blend * frequency;
}

// YaRN (arXiv:2309.00071, section 3.2): the pair index at which `rotations` fit into the original context.
double yarn_pair(double rotations, const ModelConfig& c) {
  const double D = static_cast<double>(c.head_dim), original = static_cast<double>(c.rope_scaling.original_max_position);
  return D * std::log(original / (rotations * kTwoPi)) / (2 * std::log(c.rope_theta));
}

}  // namespace

RopeTable rope_table(const ModelConfig& c, int64_t num_positions, torch::Dtype dtype) {
  const int64_t half = c.head_dim / 2;
  const auto& s = c.rope_scaling;
  const auto compute = dtype == torch::kDouble ? torch::kDouble : torch::kFloat;
  auto frequency = torch::empty({half}, compute);
  const double low = std::max(0.0, std::floor(yarn_pair(s.beta_fast, c)));
  const double high = std::min(static_cast<double>(c.head_dim - 1), std::ceil(yarn_pair(s.beta_slow, c)));
  for (int64_t i = 0; i < half; ++i) {
    const double exponent = static_cast<double>(2 * i) / static_cast<double>(c.head_dim);
    double f = compute == torch::kDouble ? 1 / std::pow(c.rope_theta, exponent)
                                         : 1.0f / std::pow(static_cast<float>(c.rope_theta), static_cast<float>(exponent));
    switch (s.kind) {
      case RopeScalingKind::kNone:
        break;
      case RopeScalingKind::kLinear:
        f /= s.factor;
        break;
      case RopeScalingKind::kLlama3:
        f = llama3_frequency(f, s);
        break;
      case RopeScalingKind::kYarn: {
        const double width = high == low ? 0.001 : high - low;
        const double ramp = std::clamp((static_cast<double>(i) - low) / width, 0.0, 1.0);
        f = f / s.factor * ramp + f * (1 - ramp);
        break;
      }
    }
    frequency[i] = f;
  }
  double magnitude = 1;
  if (s.kind == RopeScalingKind::kYarn) {
    magnitude = s.attention_factor > 0 ? s.attention_factor : 0.1 * std::log(s.factor) + 1;
  }
  const auto angle = torch::arange(num_positions, compute).unsqueeze(1) * frequency.unsqueeze(0);
  return {(angle.cos() * magnitude).to(dtype), (angle.sin() * magnitude).to(dtype)};
}

}  // namespace r1::model
