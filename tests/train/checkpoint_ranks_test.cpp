// What some ranks save, any number of ranks reads; what a rank does wrong fails on all of them.
#include <gtest/gtest.h>
#include <torch/torch.h>

#include "r1/model/weights.h"
#include "r1/train/checkpoint.h"
#include "r1/util/error.h"
#include "r1/util/file.h"
#include "r1/util/log.h"
#include "r1/util/safetensors.h"
#include "r1/util/strings.h"
#include "train/checkpoint_ranks_fixture.h"

namespace r1::train {
namespace {

namespace fs = std::filesystem;
using test::run_ranks;
using testing_support::error_of;
using testing_support::slurp;
using testing_support::TempFolder;
using Names = std::vector<std::string>;

class CheckpointRanks : public ::testing::Test {
 protected:
  CheckpointRanks() { set_log_level(LogLevel::kError); }
  ~CheckpointRanks() override { set_log_level(LogLevel::kInfo); }
  fs::path dir() const { return folder_ / "checkpoints"; }
  TempFolder folder_;
};

// Uneven shares, ranks without any, tensors cut in two and in three.
const std::vector<std::vector<int64_t>> kShares = {{1}, {1, 1}, {5, 1}, {2, 0, 3}, {1, 1, 1, 1}, {0, 7, 1, 2}, {0, 0, 1, 0}};

TEST_F(CheckpointRanks, AnyNumberOfRanksReadsIt) {
  for (size_t i = 0; i < kShares.size(); ++i) {
    const auto step = static_cast<int64_t>(i + 1);
    const fs::path saved = save_by_ranks(dir(), step, kShares[i]);
    EXPECT_EQ(saved, dir() / fs::read_symlink(dir() / "latest"));
    for (const int readers : {1, 2, 3}) {
      SCOPED_TRACE(cat("saved by ", kShares[i].size(), " ranks in shares ", i, ", read by ", readers));
      run_ranks(readers, [&](const Ranks& ranks) {
        Names damaged;
        const auto found = newest_checkpoint(dir(), *ranks, &damaged);
        ASSERT_TRUE(found);
        EXPECT_EQ(found->path, saved);
        EXPECT_EQ(damaged, Names());
        const CheckpointReader reader(*found);
        expect_step(reader, step);
        // Every share that a reader of another number of ranks may want.
        const std::vector<int64_t> even(static_cast<size_t>(readers), 1);
        for (const auto& wanted : share_of(optimizer_state(step), ranks->rank(), even)) {
          const auto slice = at::zeros_like(wanted.values);
          reader.load_slice("optimizer", wanted.name, wanted.begin, slice);
          EXPECT_TRUE(same_bits(slice, wanted.values)) << wanted.name;
        }
      });
    }
    expect_step(CheckpointReader(dir() / "latest"), step);  // hashes verified by one
  }
}

TEST_F(CheckpointRanks, FilesOfFour) {
  const fs::path saved = save_by_ranks(dir(), 9, {1, 1, 1, 1});
  EXPECT_EQ(listing(saved),
            (Names{"config.json", "manifest.json", "model-00001-of-00004.safetensors", "model-00002-of-00004.safetensors",
                   "model-00003-of-00004.safetensors", "model-00004-of-00004.safetensors", "model.safetensors.index.json",
                   "optimizer-00001-of-00004.safetensors", "optimizer-00002-of-00004.safetensors", "optimizer-00003-of-00004.safetensors",
                   "optimizer-00004-of-00004.safetensors", "score.safetensors", "state.json"}));
  const SafetensorsFile second(saved / "optimizer-00002-of-00004.safetensors");
  Names entries;
  for (const auto& view : second.tensors()) entries.push_back(view.name);
  EXPECT_EQ(entries, (Names{"a.exp_avg@11"}));  // 47 elements: the second of four gets 11 to 22
  EXPECT_EQ(second.metadata().at("r1_slice_shapes"), R"({"a.exp_avg":[5,7]})");
  const auto index = nlohmann::json::parse(slurp(saved / "model.safetensors.index.json"));
  EXPECT_EQ(index["weight_map"].size(), 5u);
  EXPECT_EQ(index["metadata"]["total_size"], 4 * (32 + 35 + 1 + 36) + 2 * 6);
  for (const auto& [name, file] : index["weight_map"].items()) {
    EXPECT_NE(SafetensorsFile(saved / file.get<std::string>()).find(name), nullptr) << name;
  }
}

TEST_F(CheckpointRanks, SameContentsGiveSameBytes) {
  const fs::path first = save_by_ranks(folder_ / "one", 7, {3, 1, 2}), second = save_by_ranks(folder_ / "two", 7, {3, 1, 2});
  EXPECT_EQ(listing(first), listing(second));
  for (const auto& name : listing(first)) EXPECT_EQ(slurp(first / name), slurp(second / name)) << name;
}

// Slices of one rank are whole tensors: the files are those of a program that knows no ranks.
TEST_F(CheckpointRanks, OneRankWritesWhatItAlwaysWrote) {
  auto whole = ranks_contents(3, 0, {1});
  whole.groups[1].slices.clear();
  for (const auto& [name, values] : optimizer_state(3)) whole.groups[1].tensors.emplace_back(name, values);
  const fs::path plain = save_checkpoint(folder_ / "plain", whole), one = save_by_ranks(dir(), 3, {1});
  EXPECT_EQ(listing(one), (Names{"config.json", "manifest.json", "model.safetensors", "optimizer.safetensors", "score.safetensors", "state.json"}));
  for (const auto& name : listing(one)) EXPECT_EQ(slurp(one / name), slurp(plain / name)) << name;
  // Bytes of the version before there were ranks.
  const fs::path sample = save_checkpoint(folder_ / "sample", sample_contents(7));
  EXPECT_EQ(hash_file(sample / "model.safetensors"), "9bfafb27beecc26f11f8bb75c17c8c91");
  EXPECT_EQ(hash_file(sample / "optimizer.safetensors"), "1cd30c40a39fe2458ba11f2ce43d2228");
  EXPECT_EQ(hash_file(sample / "manifest.json"), "f82a8f06333c9870b28ad160ce07953e");
}

TEST_F(CheckpointRanks, BytesAreDealtEvenly) {
  constexpr int64_t kTensors = 40, kLargest = 4 * 4000;
  run_ranks(4, [&](const Ranks& ranks) {
    CheckpointContents contents;
    contents.groups.push_back({"model", {}});
    for (int64_t i = 0; i < kTensors; ++i) contents.groups[0].tensors.emplace_back(cat("weight.", i), torch::zeros({100 * (i + 1)}));
    save_checkpoint(dir(), contents, {}, *ranks);
  });
  std::vector<uintmax_t> sizes;
  for (const auto& entry : fs::directory_iterator(dir() / "step-000000")) {
    if (entry.path().extension() == ".safetensors") sizes.push_back(entry.file_size());
  }
  ASSERT_EQ(sizes.size(), 4u);
  const auto [least, most] = std::minmax_element(sizes.begin(), sizes.end());
  EXPECT_LT(*most - *least, static_cast<uintmax_t>(kLargest / 8));  // of 82 KB each
}

TEST_F(CheckpointRanks, EmptySharesLeaveNoEntry) {
  run_ranks(3, [&](const Ranks& ranks) {
    auto contents = ranks_contents(1, ranks->rank(), {0, 1, 0});
    if (ranks->rank() == 2) contents.groups[1].slices = {{"a.exp_avg", {5, 7}, 12, torch::zeros({0})}};  // begins anywhere
    save_checkpoint(dir(), contents, {}, *ranks);
  });
  const CheckpointReader reader(dir() / "latest");
  expect_step(reader, 1);
  Names entries;
  for (const auto& name : listing(reader.path())) {
    if (!name.starts_with("optimizer")) continue;
    const SafetensorsFile file(reader.path() / name);
    for (const auto& view : file.tensors()) entries.push_back(view.name);
  }
  std::sort(entries.begin(), entries.end());
  EXPECT_EQ(entries, (Names{"a.exp_avg", "b.exp_avg", "c.exp_avg", "empty.exp_avg", "scalar.exp_avg", "step"}));
}

// Experts dealt over ranks and held by two of them each: one of the two writes.
TEST_F(CheckpointRanks, SlicesThatSeveralHoldAreWrittenOnce) {
  run_ranks(4, [&](const Ranks& ranks) {
    CheckpointContents contents;
    contents.groups.push_back({"model", {{"router", counted({4}, 1, 0)}}});
    const auto experts = counted({4, 3}, 1, 10);
    for (int64_t e = 0; e < 4; ++e) {
      if (e % 2 != ranks->rank() % 2) continue;
      contents.groups[0].slices.push_back({cat("expert.", e), {3}, 0, experts[e]});
      contents.groups[0].slices.push_back({"stacked", {4, 3}, 3 * e, experts[e]});
    }
    save_checkpoint(dir(), contents, {}, *ranks);
  });
  const CheckpointReader reader(dir() / "latest");
  EXPECT_EQ(reader.names("model"), (Names{"expert.0", "expert.1", "expert.2", "expert.3", "router", "stacked"}));
  EXPECT_TRUE(same_bits(reader.tensor("model", "stacked"), counted({4, 3}, 1, 10)));
  EXPECT_TRUE(same_bits(reader.tensor("model", "expert.2"), counted({4, 3}, 1, 10)[2]));
  size_t entries = 0;
  for (const auto& entry : fs::directory_iterator(reader.path())) {
    if (entry.path().extension() != ".safetensors") continue;
    const SafetensorsFile file(entry.path());
    entries += file.tensors().size();
  }
  EXPECT_EQ(entries, 9u);
}

TEST_F(CheckpointRanks, FolderIsAModelDirectory) {
  model::ModelConfig config;
  config.architecture = "LlamaForCausalLM";
  config.vocab_size = 12;
  config.hidden_size = 8;
  config.intermediate_size = 16;
  config.num_layers = config.num_heads = config.num_kv_heads = 2;
  config.head_dim = 4;
  config.max_positions = 16;
  config.bos_token_id = 0;
  config.eos_token_ids = {1};
  CheckpointContents contents;
  contents.groups.push_back({"model", {}});
  double value = 0;
  for (const auto& spec : model::expected_parameters(config)) {
    contents.groups[0].tensors.emplace_back(spec.name, torch::full(spec.shape, value += 0.125, torch::kFloat));
  }
  contents.extra_files = {{"config.json", config.to_hf_json().dump()}};
  run_ranks(3, [&](const Ranks& ranks) { save_checkpoint(dir(), contents, {}, *ranks); });
  ASSERT_FALSE(fs::exists(dir() / "latest/model.safetensors"));
  const auto source = model::open_weights(dir() / "latest");
  EXPECT_EQ(source->config(), config);
  model::check_weights(*source, config);
  for (const auto& [name, tensor] : contents.groups[0].tensors) EXPECT_TRUE(same_bits(source->load(name), tensor)) << name;
}

TEST_F(CheckpointRanks, EveryRankRefusesWhatDoesNotFitTogether) {
  const auto refused = [&](const std::string& message, const std::function<void(CheckpointContents&, int)>& change) {
    std::vector<std::string> texts(3);
    run_ranks(3, [&](const Ranks& ranks) {
      auto contents = ranks_contents(1, ranks->rank(), {1, 1, 1});
      change(contents, ranks->rank());
      try {
        save_checkpoint(dir(), contents, {}, *ranks);
      } catch (const c10::Error& e) {
        texts[static_cast<size_t>(ranks->rank())] = e.what_without_backtrace();
      }
    });
    for (const auto& text : texts) EXPECT_HOLDS(text, message);
  };
  const auto slice = [](CheckpointContents& c, const std::string& name) -> TensorSlice& {
    return *std::find_if(c.groups[1].slices.begin(), c.groups[1].slices.end(), [&](const auto& s) { return s.name == name; });
  };
  // 47 elements: rank 0 has a.exp_avg's first 15, rank 1 up to 31, rank 2 the rest.
  refused("the slices of 'a.exp_avg' of 'optimizer' overlap: one begins at 14 where 15 of 35", [&](auto& c, int r) {
    if (r == 1) slice(c, "a.exp_avg").begin = 14;
  });
  refused("the slices of 'a.exp_avg' of 'optimizer' leave a gap: one begins at 15 where 0 of 35", [&](auto& c, int r) {
    if (r == 0) c.groups[1].slices.clear();
  });
  refused("the slices of 'a.exp_avg' of 'optimizer' end at 31 of 35", [&](auto& c, int r) {
    if (r == 2) slice(c, "a.exp_avg").values = torch::zeros({0});
  });
  refused("the slices of 'a.exp_avg' of 'optimizer' leave a gap: one begins at 31 where 30", [&](auto& c, int r) {
    if (r == 1) slice(c, "a.exp_avg").values = torch::zeros({15});
  });
  refused("'a.exp_avg' of 'optimizer' two shapes or dtypes", [&](auto& c, int r) {
    if (r == 1) slice(c, "a.exp_avg").shape = {7, 5};
  });
  refused("two shapes or dtypes", [&](auto& c, int r) {
    if (r == 2) slice(c, "a.exp_avg").values = torch::zeros({4}, torch::kDouble);
  });
  refused("'b.exp_avg' of 'optimizer' is given whole and in slices", [&](auto& c, int) { c.groups[1].tensors.emplace_back("b.exp_avg", torch::zeros({3})); });
  refused("rank 0 has 'norm.weight' of 'model', Float [1] where rank 2 has 'norm.weight' of 'model', Float [2]", [&](auto& c, int r) {
    if (r == 2) c.groups[0].tensors[3].second = torch::zeros({2});
  });
  refused("rank 0 has step 1 where rank 1 has step 2", [&](auto& c, int r) { c.step += r == 1; });
  refused("rank 0 has the group 'score' where rank 1 has nothing more", [&](auto& c, int r) {
    if (r == 1) c.groups.pop_back();
  });
  EXPECT_FALSE(fs::exists(dir()));
}

TEST_F(CheckpointRanks, SlicesThatAreNotAllowed) {
  const auto refused = [&](const std::function<void(TensorSlice&)>& change) {
    auto contents = ranks_contents(1, 0, {1});
    change(contents.groups[1].slices[0]);
    EXPECT_THROW(save_checkpoint(dir(), contents), c10::Error);
  };
  refused([](auto& s) { s.values = at::Tensor(); });
  refused([](auto& s) { s.values = s.values.view({5, 7}); });
  refused([](auto& s) { s.begin = -1; });
  refused([](auto& s) { s.begin = 1; });
  refused([](auto& s) { s.name = "a@1"; });
  refused([](auto& s) { s.name = "b.exp_avg"; });
  refused([](auto& s) { s.values = s.values.to(at::kComplexFloat); });
  EXPECT_FALSE(fs::exists(dir()));
}

TEST_F(CheckpointRanks, LoadSliceNamesFileAndTensor) {
  const CheckpointReader reader(save_by_ranks(dir(), 1, {1, 1}));
  const std::string file = (dir() / "step-000001/optimizer-00001-of-00002.safetensors").string();
  EXPECT_HOLDS(error_of([&] { reader.load_slice("optimizer", "a.exp_avg", 30, torch::zeros({6})); }),
               file + ": tensor 'a.exp_avg' is Float [5, 7] in the checkpoint, of 35 elements; expected: Float with elements 30 to 36");
  EXPECT_HOLDS(error_of([&] { reader.load_slice("optimizer", "a.exp_avg", 0, torch::zeros({6}, torch::kDouble)); }), "expected: Double");
  EXPECT_HOLDS(error_of([&] { reader.load_slice("optimizer", "a.exp_av", 0, torch::zeros({6})); }), file + " and 1 more: holds no tensor 'a.exp_av'");
  EXPECT_HOLDS(error_of([&] { reader.load_into("optimizer", "a.exp_avg", torch::zeros({7, 5})); }),
               file + ": tensor 'a.exp_avg' is Float [5, 7] in the checkpoint; expected: Float [7, 5]");
  const auto copy = torch::zeros({4}, torch::kBFloat16);  // float32 into bf16, as for whole tensors
  reader.load_slice("optimizer", "a.exp_avg", 22, copy);
  EXPECT_TRUE(same_bits(copy, counted({4}, 1, 22, at::kBFloat16)));
}

TEST_F(CheckpointRanks, DifferencesAreOfTensorsNotOfFiles) {
  const fs::path one = save_by_ranks(folder_ / "one", 5, {1}), four = save_by_ranks(folder_ / "four", 5, {1, 2, 1, 1});
  EXPECT_EQ(CheckpointReader(one).differences(CheckpointReader(four)), Names());
  auto other = ranks_contents(5, 0, {1});
  other.groups[0].tensors[0].second = other.groups[0].tensors[0].second.clone();
  other.groups[0].tensors[0].second[7][3] += 1;                // z.weight
  other.groups[0].tensors[3].first = "normal.weight";          // of norm.weight
  other.groups[1].slices[1].shape = {1, 3};                    // b.exp_avg
  other.groups.pop_back();                                     // score
  const CheckpointReader changed(save_checkpoint(folder_ / "changed", other));
  EXPECT_EQ(CheckpointReader(four).differences(changed),
            (Names{"model/norm.weight", "model/normal.weight", "model/z.weight", "optimizer/b.exp_avg", "score/score.weight"}));
}

TEST_F(CheckpointRanks, HashOfAGroup) {
  const fs::path one = save_by_ranks(folder_ / "one", 5, {1}), two = save_by_ranks(folder_ / "two", 5, {1, 1}), next = save_by_ranks(folder_ / "next", 6, {1, 1});
  EXPECT_EQ(group_hash(folder_ / "one/latest", "model"), hash_file(one / "model.safetensors"));
  EXPECT_EQ(group_hash(two, "model"), hash_bytes(hash_file(two / "model-00001-of-00002.safetensors") + hash_file(two / "model-00002-of-00002.safetensors")));
  EXPECT_NE(group_hash(two, "model"), group_hash(next, "model"));
  EXPECT_HOLDS(error_of([&] { group_hash(two, "reference"); }), "manifest.json: lists no tensors 'reference'; it lists: model, optimizer, score");
}

TEST_F(CheckpointRanks, PhaseIsNamed) {
  run_ranks(2, [&](const Ranks& ranks) {
    ranks->set_phase("backward");
    save_checkpoint(dir(), ranks_contents(1, ranks->rank(), {1, 1}), {}, *ranks);
    EXPECT_EQ(std::static_pointer_cast<test::ThreadRank>(ranks)->phase_of(ranks->rank()), "checkpoint");
  });
}

}  // namespace
}  // namespace r1::train
