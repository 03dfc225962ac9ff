#pragma once
#include <numeric>

#include "support/thread_ranks.h"
#include "train/checkpoint_fixture.h"

namespace r1::train {

using Ranks = std::shared_ptr<dist::Communicator>;

/// A tensor of the optimizer, which all ranks own a piece of.
struct WholeState {
  std::string name;
  at::Tensor values;
};

/// Values that no two elements of the tests' tensors share within a step.
inline at::Tensor counted(std::vector<int64_t> shape, int64_t step, int64_t first, at::ScalarType dtype = at::kFloat) {
  const int64_t count = c10::multiply_integers(shape);
  return (at::arange(count, at::kDouble) + static_cast<double>(1000 * step + first)).to(dtype).reshape(shape);
}

inline std::vector<WholeState> optimizer_state(int64_t step, int64_t rows = 5) {
  return {{"a.exp_avg", counted({rows, 7}, step, 0)},
          {"b.exp_avg", counted({3}, step, 100)},
          {"c.exp_avg", counted({2, 2, 2}, step, 200, at::kBFloat16)},
          {"empty.exp_avg", counted({0, 4}, step, 0)},
          {"scalar.exp_avg", counted({}, step, 300)}};
}

/// The share of `rank` when the flattened tensors, one behind the other, are cut into pieces in the ratio of `weights`: what ZeRO-1
/// does. A rank gets no slice of a tensor that its piece does not touch, every second rank then an empty one.
inline std::vector<TensorSlice> share_of(const std::vector<WholeState>& state, int rank, const std::vector<int64_t>& weights) {
  int64_t total = 0;
  for (const auto& tensor : state) total += tensor.values.numel();
  const int64_t sum = std::accumulate(weights.begin(), weights.end(), int64_t{0});
  const auto cut = [&](int r) { return total * std::accumulate(weights.begin(), weights.begin() + r, int64_t{0}) / sum; };
  std::vector<TensorSlice> slices;
  int64_t first = 0;
  for (const auto& [name, values] : state) {
    const int64_t begin = std::clamp(cut(rank) - first, int64_t{0}, values.numel()), end = std::clamp(cut(rank + 1) - first, int64_t{0}, values.numel());
    if (begin < end || rank % 2 == 0) slices.push_back({name, values.sizes().vec(), begin, values.reshape(-1).narrow(0, begin, end - begin)});
    first += values.numel();
  }
  return slices;
}

/// What `rank` of weights.size() ranks saves: a model that all have, and its share of the optimizer's state.
inline CheckpointContents ranks_contents(int64_t step, int rank, const std::vector<int64_t>& weights, int64_t rows = 5) {
  CheckpointContents contents;
  contents.step = step;
  contents.groups = {{"model",
                      {{"z.weight", counted({8, 4}, step, 400)},
                       {"a.weight", counted({rows, 7}, step, 500)},
                       {"half.weight", counted({6}, step, 600, at::kBFloat16)},
                       {"norm.weight", counted({1}, step, 700)},
                       {"transposed", counted({4, 9}, step, 800).t()}}},
                     {"optimizer", {{"step", torch::tensor(step, at::kLong)}}, share_of(optimizer_state(step, rows), rank, weights)},
                     {"score", {{"score.weight", counted({2}, step, 900)}}}};
  contents.state = {{"step", step}, {"rank", rank}};
  contents.extra_files = {{"config.json", "{}\n"}};
  return contents;
}

/// Saves step `step` by weights.size() ranks.
inline std::filesystem::path save_by_ranks(const std::filesystem::path& dir, int64_t step, const std::vector<int64_t>& weights, int64_t keep_last = 0) {
  std::filesystem::path path;
  test::run_ranks(static_cast<int>(weights.size()), [&](const Ranks& ranks) {
    CheckpointPolicy policy;
    policy.keep_last = keep_last;
    const auto saved = save_checkpoint(dir, ranks_contents(step, ranks->rank(), weights), policy, *ranks);
    if (ranks->is_first()) path = saved;
  });
  return path;
}

/// Checks every value of step `step` by every way of reading.
inline void expect_step(const CheckpointReader& reader, int64_t step, int64_t rows = 5) {
  const auto contents = ranks_contents(step, 0, {1}, rows);
  EXPECT_EQ(reader.step(), step);
  EXPECT_EQ(reader.state(), contents.state);
  EXPECT_EQ(reader.groups(), (std::vector<std::string>{"model", "optimizer", "score"}));
  auto expected = std::vector<std::pair<std::string, NamedTensors>>{
      {"model", contents.groups[0].tensors}, {"optimizer", contents.groups[1].tensors}, {"score", contents.groups[2].tensors}};
  for (const auto& [name, values] : optimizer_state(step, rows)) expected[1].second.emplace_back(name, values);
  for (auto& [group, tensors] : expected) {
    std::sort(tensors.begin(), tensors.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
    std::vector<std::string> names;
    NamedTensors loaded;
    const auto mapped = reader.mapped(group);
    ASSERT_EQ(mapped.size(), tensors.size()) << group;
    for (size_t i = 0; i < tensors.size(); ++i) {
      const auto& [name, values] = tensors[i];
      names.push_back(name);
      EXPECT_EQ(reader.shape(group, name), values.sizes().vec()) << name;
      EXPECT_TRUE(same_bits(reader.tensor(group, name), values)) << name;
      EXPECT_EQ(mapped[i].first, name);
      EXPECT_TRUE(same_bits(mapped[i].second, values)) << name;
      // Once into memory of the same layout, once into one with other strides.
      const auto dense = at::zeros(values.sizes(), values.options()), strided = at::zeros({2, values.numel()}, values.options()).t().select(1, 0);
      reader.load_into(group, name, dense);
      EXPECT_TRUE(same_bits(dense, values)) << name;
      reader.load_slice(group, name, 0, strided);
      EXPECT_TRUE(same_bits(strided, values.reshape(-1))) << name;
      loaded.emplace_back(name, at::zeros(values.sizes(), values.options()));
    }
    EXPECT_EQ(reader.names(group), names);
    reader.load_group(group, loaded);
    for (size_t i = 0; i < tensors.size(); ++i) EXPECT_TRUE(same_bits(loaded[i].second, tensors[i].second)) << names[i];
  }
}

}  // namespace r1::train
