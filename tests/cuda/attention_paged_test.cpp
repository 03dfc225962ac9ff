#include "kernels/attention/attention_paged_cuda.h"

#include <numeric>

#include "cuda/orders.h"
#include "support/device_array.h"

namespace r1::test {
namespace {

namespace cuda = kernels::cuda;

constexpr int64_t kPage = kernels::kPageTokens;

/// A run of `rows` new tokens behind `position` cached ones. Runs of one group follow each other and have the
/// first `prefix` tokens, whole pages, in common. Its numbers depend on `seed` alone, the prefix's on the group.
struct NewRows {
  int64_t position, rows = 1, prefix = 0;
  uint32_t group = 0, seed = 0;  ///< seed 0: its place in the batch
};

std::vector<int32_t> offsets(const std::vector<int64_t>& counts) {
  std::vector<int32_t> sums{0};
  for (const int64_t c : counts) sums.push_back(sums.back() + static_cast<int32_t>(c));
  return sums;
}

class Batch {
 public:
  Batch(const cuda::PagedShape& shape, std::vector<NewRows> runs, int64_t split, bool grouped, float spread = 1)
      : shape_(shape), runs_(std::move(runs)), split_(split) {
    const int64_t key_width = shape.num_kv_heads * shape.head_dim, query_width = shape.num_heads * shape.head_dim;
    int32_t next_page = 0;
    std::vector<int64_t> rows, group_sizes;
    std::vector<std::vector<int32_t>> tables;
    std::vector<int32_t> prefixes;
    for (size_t r = 0; r < runs_.size(); ++r) {
      NewRows& run = runs_[r];
      if (run.seed == 0) run.seed = static_cast<uint32_t>(r) + 1;
      const bool fresh = r == 0 || run.group == 0 || runs_[r - 1].group != run.group;
      if (fresh) group_sizes.push_back(0);
      ++group_sizes.back();
      const int64_t length = std::max<int64_t>(run.position, 0) + run.rows;
      auto k = random_values<Bf16>(length * key_width, 100 + run.seed, spread),
           v = random_values<Bf16>(length * key_width, 200 + run.seed);
      const auto shared_k = random_values<Bf16>(run.prefix * key_width, 300 + run.group, spread),
                 shared_v = random_values<Bf16>(run.prefix * key_width, 400 + run.group);
      std::copy(shared_k.begin(), shared_k.end(), k.begin());
      std::copy(shared_v.begin(), shared_v.end(), v.begin());
      keys_.push_back(std::move(k));
      values_.push_back(std::move(v));
      const auto q = random_values<Bf16>(run.rows * query_width, 500 + run.seed);
      q_.insert(q_.end(), q.begin(), q.end());
      rows.push_back(run.rows);
      prefixes.push_back(static_cast<int32_t>(run.prefix));
      std::vector<int32_t> table;
      for (int64_t p = 0; p < (length + kPage - 1) / kPage; ++p) {
        table.push_back(!fresh && p < run.prefix / kPage ? tables.back()[static_cast<size_t>(p)] : next_page++);
      }
      tables.push_back(std::move(table));
      fresh_.push_back(fresh);
      stride_ = std::max(stride_, static_cast<int64_t>(tables.back().size()));
    }
    num_pages_ = next_page;
    first_rows_ = offsets(rows);
    for (auto& table : tables) {
      for (auto& page : table) page = next_page - 1 - page;  // later tokens lie before earlier ones
      table.resize(static_cast<size_t>(stride_), -1);
      tables_.insert(tables_.end(), table.begin(), table.end());
    }
    grouped_ = grouped;
    if (grouped) {
      prefixes_ = prefixes;
      first_runs_ = offsets(group_sizes);
    }
  }

  /// Writes all keys through write_pages, then attends.
  std::vector<Bf16> attend() {
    DeviceArray<Bf16> pool_k(num_pages_ * kPage * width(), "keys"),
        pool_v(shape_.values_are_keys ? 0 : num_pages_ * kPage * width(), "values");
    const cuda::DevicePages pages{pool_k.data(), shape_.values_are_keys ? nullptr : pool_v.data()};
    write(pages, false);
    write(pages, true);
    DeviceArray<int32_t> first_rows(first_rows_, "first_rows"), tables(tables_, "tables"), positions(positions_of(true), "positions");
    DeviceArray<int32_t> prefixes(prefixes_, "prefixes"), first_runs(first_runs_, "first_runs");
    auto runs = describe(first_rows.data(), positions.data(), tables.data());
    if (grouped_) {
      runs.prefix_tokens = prefixes.data();
      runs.num_groups = static_cast<int64_t>(first_runs_.size()) - 1;
      runs.first_runs = first_runs.data();
    }
    DeviceArray<Bf16> q(q_, "q"), out(first_rows_.back() * shape_.num_heads * shape_.value_dim, "out");
    DeviceArray<float> scratch(cuda::paged_attention_scratch_floats(shape_, runs), "scratch");
#if !defined(R1_ON_GPU)
    emulator::reset_traffic();
#endif
    cuda::paged_attention(shape_, runs, q.data(), pages, out.data(), scratch.data(), nullptr);
    return out.to_host();
  }

  template <class A>
  std::vector<A> reference() const {
    const int64_t H = shape_.num_heads, D = shape_.head_dim, DV = shape_.value_dim, per_key = H / shape_.num_kv_heads;
    std::vector<A> out;
    for (size_t r = 0; r < runs_.size(); ++r) {
      for (int64_t t = 0; t < runs_[r].rows; ++t) {
        for (int64_t h = 0; h < H; ++h) {
          if (runs_[r].position < 0) {
            out.insert(out.end(), static_cast<size_t>(DV), A(0));
            continue;
          }
          const auto number = [&](const std::vector<Bf16>& x, int64_t j, int64_t d) {
            return static_cast<A>(value(x[static_cast<size_t>(j * width() + h / per_key * D + d)]));
          };
          std::vector<A> p;
          for (int64_t j = 0; j <= runs_[r].position + t; ++j) {
            A s = 0;
            for (int64_t d = 0; d < D; ++d) {
              s += static_cast<A>(value(q_[static_cast<size_t>(((first_rows_[r] + t) * H + h) * D + d)])) * number(keys_[r], j, d);
            }
            p.push_back(s * static_cast<A>(shape_.scale));
          }
          const A largest = *std::max_element(p.begin(), p.end());
          A total = 0;
          for (auto& x : p) total += x = std::exp(x - largest);
          for (int64_t d = 0; d < DV; ++d) {
            A sum = 0;
            for (size_t j = 0; j < p.size(); ++j) {
              sum += p[j] / total * number(shape_.values_are_keys ? keys_[r] : values_[r], static_cast<int64_t>(j), d);
            }
            out.push_back(sum);
          }
        }
      }
    }
    return out;
  }

  /// The rows of run r among `out`.
  std::vector<Bf16> of_run(const std::vector<Bf16>& out, size_t r) const {
    const int64_t row = shape_.num_heads * shape_.value_dim;
    return {out.begin() + first_rows_[r] * row, out.begin() + first_rows_[r + 1] * row};
  }

 private:
  int64_t width() const { return shape_.num_kv_heads * shape_.head_dim; }

  /// Of the new rows, or of the history that is written before: a run's tokens that no earlier run has written.
  std::vector<int32_t> positions_of(bool fresh_rows) const {
    std::vector<int32_t> positions;
    for (size_t r = 0; r < runs_.size(); ++r) {
      const NewRows& run = runs_[r];
      positions.push_back(static_cast<int32_t>(fresh_rows || run.position < 0 ? run.position : fresh_[r] ? 0 : run.prefix));
    }
    return positions;
  }

  cuda::PagedRuns describe(const int32_t* first_rows, const int32_t* positions, const int32_t* tables) const {
    cuda::PagedRuns runs{};
    runs.num_rows = first_rows_.back();
    runs.num_runs = static_cast<int64_t>(runs_.size());
    runs.first_rows = first_rows;
    runs.positions = positions;
    runs.tables = tables;
    runs.table_stride = stride_;
    runs.split_tokens = split_;
    int64_t group_rows = 0;
    for (size_t r = 0; r < runs_.size(); ++r) {
      runs.max_run_rows = std::max(runs.max_run_rows, runs_[r].rows);
      runs.max_tokens = std::max(runs.max_tokens, std::max<int64_t>(runs_[r].position, 0) + runs_[r].rows);
      group_rows = fresh_[r] ? runs_[r].rows : group_rows + runs_[r].rows;
      runs.max_group_rows = std::max(runs.max_group_rows, group_rows);
      runs.max_prefix_tokens = std::max(runs.max_prefix_tokens, runs_[r].prefix);
    }
    return runs;
  }

  void write(const cuda::DevicePages& pages, bool fresh_rows) {
    const auto positions = positions_of(fresh_rows);
    std::vector<int64_t> counts;
    std::vector<Bf16> k, v;
    for (size_t r = 0; r < runs_.size(); ++r) {
      const int64_t first = std::max(positions[r], 0);
      counts.push_back(fresh_rows ? runs_[r].rows : std::max<int64_t>(0, runs_[r].position - first));
      k.insert(k.end(), keys_[r].begin() + first * width(), keys_[r].begin() + (first + counts.back()) * width());
      v.insert(v.end(), values_[r].begin() + first * width(), values_[r].begin() + (first + counts.back()) * width());
    }
    const auto first_rows = offsets(counts);
    DeviceArray<Bf16> dk(k, "k"), dv(v, "v");
    DeviceArray<int32_t> dfirst(first_rows, "first_rows"), dpositions(positions, "positions"), dtables(tables_, "tables");
    auto runs = describe(dfirst.data(), dpositions.data(), dtables.data());
    runs.num_rows = first_rows.back();
    cuda::write_pages(shape_, runs, dk.data(), shape_.values_are_keys ? nullptr : dv.data(), pages, nullptr);
  }

  cuda::PagedShape shape_;
  std::vector<NewRows> runs_;
  int64_t split_, stride_ = 0, num_pages_ = 0;
  bool grouped_ = false;
  std::vector<bool> fresh_;
  std::vector<std::vector<Bf16>> keys_, values_;  // of every run's tokens from position 0 on
  std::vector<Bf16> q_;
  std::vector<int32_t> first_rows_, tables_, prefixes_, first_runs_;
};

cuda::PagedShape heads(int64_t H, int64_t key_heads, int64_t D) {
  return {H, key_heads, D, D, static_cast<float>(1 / std::sqrt(static_cast<double>(D))), false};
}
cuda::PagedShape latent(int64_t H, int64_t D, int64_t DV) {
  return {H, 1, D, DV, static_cast<float>(1 / std::sqrt(192.0)), true};
}

struct Case {
  const char* what;
  cuda::PagedShape shape;
  std::vector<NewRows> runs;
  int64_t split;
  bool grouped = false;
};

void expect_right(const Case& c) {
  Batch batch(c.shape, c.runs, c.split, c.grouped);
  const auto got = deterministic<Bf16>([&] { return batch.attend(); });
  EXPECT_TRUE(within_twice_plain(got, batch.reference<float>(), batch.reference<double>())) << c.what;
}

const std::vector<NewRows> kDecoding = {{0}, {1}, {14}, {15}, {16}, {-1}, {62}, {63}, {64}, {127}, {200}};
const std::vector<NewRows> kGroups = {{70, 1, 48, 1}, {48, 1, 48, 1}, {113, 1, 48, 1}, {37}, {16, 1, 16, 2}, {20, 1, 16, 2}};

TEST(PagedAttention, AgainstFloat64WhileDecoding) {
  expect_right({"seven heads per key head", heads(14, 2, 64), kDecoding, 64});
  expect_right({"as many key heads", heads(2, 2, 128), {{5}, {130}}, 128});
  expect_right({"no split", heads(4, 2, 128), {{3}, {90}}, 0});
  expect_right({"more heads than a small tile", heads(20, 1, 40), {{33}, {70}}, 64});
  expect_right({"narrow heads", heads(6, 3, 8), kDecoding, 64});
  expect_right({"nothing", heads(2, 1, 64), {}, 64});
}

TEST(PagedAttention, AgainstFloat64WithSeveralNewRows) {
  expect_right({"speculation", heads(14, 2, 64), {{100, 2}, {15, 2}, {16, 1}, {62, 2}}, 64});
  expect_right({"more rows than a small tile", heads(8, 2, 128), {{100, 5}, {63, 2}, {0, 5}}, 64});
  expect_right({"whole prompts", heads(4, 2, 64), {{0, 70}, {0, 3}, {0, 33}}, 0});
  expect_right({"chunked prefill", heads(4, 2, 128), {{50, 40}, {7, 1}}, 0});
}

TEST(PagedAttention, AgainstFloat64WithSharedPrefixes) {
  expect_right({"groups", heads(14, 2, 64), kGroups, 64, true});
  expect_right({"a group of more than a tile", heads(8, 1, 128), std::vector<NewRows>(9, {80, 1, 64, 1}), 64, true});
  expect_right({"speculation in a group", heads(4, 2, 64), {{70, 2, 64, 1}, {64, 1, 64, 1}}, 64, true});
}

TEST(PagedAttention, AgainstFloat64OverALatent) {
  expect_right({"V2-Lite", latent(16, 576, 512), {{0}, {130}, {64}}, 64});
  expect_right({"more heads than a tile", latent(72, 576, 512), {{70}}, 64});
  expect_right({"tiny", latent(3, 24, 16), {{40}, {-1}, {15, 2}, {63}}, 64});
  expect_right({"groups", latent(16, 80, 72), {{70, 1, 48, 1}, {48, 1, 48, 1}, {70, 1, 48, 1}, {48, 1, 48, 1}, {65, 1, 48, 1}}, 64, true});
  expect_right({"prompts", latent(4, 40, 32), {{0, 37}, {20, 5}}, 0});
}

#if !defined(R1_ON_GPU)
TEST(PagedAttention, ALatentFitsASmallerCard) {
  Batch batch(latent(16, 576, 512), {{150}}, 0, false);
  const auto two_stages = batch.attend();
  emulator::set_options({.shared_bytes = emulator::kSmallSharedBytes});
  const auto one_stage = batch.attend();
  emulator::set_options({});
  EXPECT_TRUE(same_bits(two_stages, one_stage));
  emulator::set_options({.shared_bytes = 100 * 1024});
  EXPECT_THROW(batch.attend(), std::exception);
  emulator::set_options({});
}
#endif

TEST(PagedAttention, LargeScoresStayFinite) {
  Batch batch(heads(4, 2, 64), {{150}, {70}}, 64, false, 200);
  EXPECT_TRUE(within_twice_plain(batch.attend(), batch.reference<float>(), batch.reference<double>()));
}

TEST(PagedAttention, ARowDoesNotDependOnTheBatch) {
  const auto shape = heads(6, 2, 64);
  const NewRows one{150, 1, 48, 1, 77};
  Batch alone(shape, {one}, 64, true);
  Batch among(shape, {{300, 1, 0, 0, 5}, {60, 1, 48, 1, 6}, one, {99, 1, 48, 1, 8}, {-1}}, 64, true);
  EXPECT_TRUE(same_bits(alone.attend(), among.of_run(among.attend(), 2)));
}

TEST(PagedAttention, APrefixOfWholeSplitsChangesNoBit) {
  const auto shape = heads(6, 2, 64);
  const std::vector<NewRows> runs{{200, 1, 128, 1}, {150, 1, 128, 1}, {128, 1, 128, 1}};
  Batch shared(shape, runs, 64, true);
  Batch own(shape, runs, 64, false);
  EXPECT_TRUE(same_bits(shared.attend(), own.attend()));
}

#if !defined(R1_ON_GPU)
TEST(PagedAttention, AGroupReadsItsPrefixOnce) {
  const auto shape = heads(4, 2, 64);
  const std::vector<NewRows> runs(8, {512, 1, 512, 1});
  Batch shared(shape, runs, 512, true);
  shared.attend();
  const int64_t once = emulator::traffic().read_bytes;
  Batch own(shape, runs, 512, false);
  own.attend();
  const int64_t each = emulator::traffic().read_bytes, prefix = int64_t{512} * 2 * 2 * 64 * 2;
  EXPECT_GT(each, 8 * prefix);
  EXPECT_LT(once, 2 * prefix) << "keys and values of the prefix are " << prefix << " bytes";
}
#endif

TEST(PagedAttention, SplitsCoverTheCard) {
  const auto shape = heads(14, 2, 64);
  cuda::PagedRuns runs{};
  runs.num_runs = 1;
  runs.max_run_rows = 1;
  runs.max_tokens = 8192;
  EXPECT_EQ(cuda::fast_split_tokens(shape, runs, 132), 64);  // 132 pieces of 62.06 keys
  runs.num_runs = 64;
  EXPECT_EQ(cuda::fast_split_tokens(shape, runs, 132), 2752);  // 3 pieces
  runs.num_runs = 1024;
  EXPECT_EQ(cuda::fast_split_tokens(shape, runs, 132), 8192);
  EXPECT_EQ(cuda::fixed_split_tokens(shape) % 64, 0);
}

TEST(PagedAttention, RefusesWhatItCannotDo) {
  DeviceArray<Bf16> x(std::vector<Bf16>(64), "x");
  const cuda::DevicePages pages{x.data(), x.data()};
  cuda::PagedRuns runs{};
  const auto attend = [&](const cuda::PagedShape& shape) { cuda::paged_attention(shape, runs, x.data(), pages, x.data(), nullptr, nullptr); };
  EXPECT_NO_THROW(attend(heads(4, 2, 64)));
  EXPECT_THROW(attend(heads(5, 2, 64)), std::runtime_error);
  EXPECT_THROW(attend(heads(4, 2, 136)), std::runtime_error);
  EXPECT_THROW(attend(heads(4, 2, 60)), std::runtime_error);
  EXPECT_THROW(attend(latent(4, 576, 520)), std::runtime_error);
  EXPECT_THROW(attend(latent(4, 640, 512)), std::runtime_error);
  runs.split_tokens = 100;
  EXPECT_THROW(attend(heads(4, 2, 64)), std::runtime_error);
  runs.split_tokens = 0;
  runs.num_groups = 1;
  EXPECT_THROW(attend(heads(4, 2, 64)), std::runtime_error);
  runs = {};
  runs.num_rows = 1;
  EXPECT_THROW(attend(heads(4, 2, 64)), std::runtime_error);
  EXPECT_THROW(cuda::paged_attention(heads(4, 2, 64), {}, x.data() + 1, pages, x.data(), nullptr, nullptr), std::runtime_error);
  EXPECT_THROW(cuda::write_pages(heads(4, 2, 64), {}, x.data(), nullptr, pages, nullptr), std::runtime_error);
}

}  // namespace
}  // namespace r1::test
