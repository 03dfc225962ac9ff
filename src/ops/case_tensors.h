#pragma once
#include <torch/torch.h>

#include <string>
#include <utility>
#include <vector>

// What the tables of kernel cases have in common.
namespace r1::ops {

inline std::string shape_text(const std::vector<std::pair<std::string, int64_t>>& sizes) {
  std::string text;
  for (const auto& [name, size] : sizes) text += (text.empty() ? "" : " ") + name + "=" + std::to_string(size);
  return text;
}

/// N tokens, each to K of E experts of C x F.
struct MoeShape {
  int64_t N, K, E, C, F;
  std::string text() const { return shape_text({{"N", N}, {"K", K}, {"E", E}, {"C", C}, {"F", F}}); }
};

/// [N, K] int64: K different experts per token, all equally likely.
inline at::Tensor random_routes(const MoeShape& s, at::Device device) {
  return std::get<1>(torch::rand({s.N, s.E}, device).topk(s.K, -1));
}

}  // namespace r1::ops
