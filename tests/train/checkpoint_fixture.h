#pragma once
#include <torch/torch.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <string>
#include <vector>

#include "r1/train/checkpoint.h"
#include "util/temp_folder.h"

namespace r1::train {

/// Model, optimizer and state of a step; every value says which step it is of.
inline CheckpointContents sample_contents(int64_t step, int64_t rows = 3) {
  const auto filled = [&](double offset) {
    return torch::full({rows, 5}, static_cast<double>(step) + offset, torch::kFloat);
  };
  CheckpointContents contents;
  contents.step = step;
  contents.groups = {
      {"model", {{"b.weight", filled(0.25)}, {"a.weight", filled(0.5)}}},
      {"optimizer", {{"a.exp_avg", filled(0.75)}, {"step", torch::tensor(step, torch::kLong)}}}};
  contents.state = {{"step", step}, {"cursor", 7 * step}};
  contents.extra_files = {{"config.json", "{}\n"}};
  return contents;
}

inline bool same_bits(const torch::Tensor& a, const torch::Tensor& b) {
  const auto x = a.contiguous(), y = b.contiguous();
  return x.scalar_type() == y.scalar_type() && x.sizes() == y.sizes() &&
         (x.nbytes() == 0 || std::memcmp(x.const_data_ptr(), y.const_data_ptr(), x.nbytes()) == 0);
}

/// Names of a folder, hidden ones too, sorted.
inline std::vector<std::string> listing(const std::filesystem::path& folder) {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    names.push_back(entry.path().filename().string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

}  // namespace r1::train
