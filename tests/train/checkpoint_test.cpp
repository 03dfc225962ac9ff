// What is saved comes back bit for bit; what is damaged is named and refused.
#include "r1/train/checkpoint.h"

#include <gtest/gtest.h>
#include <torch/torch.h>

#include <cmath>
#include <limits>

#include "r1/model/weights.h"
#include "r1/util/error.h"
#include "r1/util/file.h"
#include "r1/util/log.h"
#include "train/checkpoint_fixture.h"

namespace r1::train {
namespace {

namespace fs = std::filesystem;
using testing_support::error_of;
using testing_support::slurp;
using testing_support::TempFolder;
using Names = std::vector<std::string>;

// Warnings about damaged checkpoints are expected here; they would hide real ones in the test's output.
class Checkpoint : public ::testing::Test {
 protected:
  Checkpoint() { set_log_level(LogLevel::kError); }
  ~Checkpoint() override { set_log_level(LogLevel::kInfo); }

  fs::path save(int64_t step, int64_t keep_last = 0) {
    CheckpointPolicy policy;
    policy.keep_last = keep_last;
    return save_checkpoint(dir(), sample_contents(step), policy);
  }
  fs::path dir() const { return folder_ / "checkpoints"; }
  int64_t newest() const {
    const auto found = newest_checkpoint(dir());
    return found ? found->step : -1;
  }

  TempFolder folder_;
};

TEST_F(Checkpoint, RoundTripKeepsEveryBit) {
  const float kNan = std::numeric_limits<float>::quiet_NaN();
  const auto wide = torch::arange(24, torch::kFloat).reshape({4, 6});
  auto odd_nan = torch::tensor({0.0f, -0.0f, kNan, INFINITY, 1e-45f});
  const uint32_t payload = 0xffc12345;  // a NaN with sign and payload
  std::memcpy(odd_nan.data_ptr<float>(), &payload, sizeof payload);
  CheckpointContents contents;
  contents.step = 123;
  contents.groups = {{"model",
                      {{"z", odd_nan},
                       {"double", torch::tensor({1.0 / 3, -2e300}, torch::kDouble)},
                       {"transposed", wide.t()},
                       {"column", wide.select(1, 2)},
                       {"expanded", torch::tensor({2.5f}).expand({3, 2})},
                       {"leaf", torch::ones({2}).requires_grad_()},
                       {"scalar", torch::tensor(int64_t{-5}, torch::kLong)},
                       {"empty", torch::empty({0, 4})},
                       {"half", torch::tensor({1.5f, -0.1f}).to(torch::kHalf)},
                       {"bf16", torch::tensor({1.5f, -0.1f}).to(torch::kBFloat16)},
                       {"int", torch::tensor({1, -2}, torch::kInt)},
                       {"byte", torch::tensor({1, 255}, torch::kByte)},
                       {"bool", torch::tensor({true, false, true})}}},
                     {"optimizer", {{"step", torch::tensor(int64_t{1} << 53 | 1, torch::kLong)}}},
                     {"nothing", {}}};
  contents.state = {{"cursor", INT64_MAX},  {"seed", UINT64_MAX},  {"loss", 0.1 + 0.2},
                    {"tiny", 5e-324},       {"zero", -0.0},        {"one", 1.0},
                    {"text", "\xc3\xa9\n"}, {"rows", {1, {2, 3}}}, {"none", nullptr},
                    {"-1", INT64_MIN}};
  const fs::path path = save_checkpoint(dir(), contents);
  EXPECT_EQ(path, dir() / "step-000123");
  EXPECT_EQ(fs::read_symlink(dir() / "latest"), "step-000123");

  for (const auto& from : {path, dir() / "latest", fs::path(path.string() + "/")}) {
    const CheckpointReader reader(from);
    EXPECT_EQ(reader.step(), 123);
    EXPECT_EQ(reader.state(), contents.state);
    EXPECT_TRUE(std::signbit(reader.state().at("zero").get<double>()));
    EXPECT_TRUE(reader.state().at("one").is_number_float());
    EXPECT_EQ(reader.names("nothing"), Names());
    EXPECT_TRUE(reader.has_group("optimizer"));
    EXPECT_FALSE(reader.has_group("reference"));
    for (const auto& group : contents.groups) {
      const NamedTensors mapped = reader.mapped(group.name);
      EXPECT_EQ(mapped.size(), group.tensors.size());
      for (const auto& [name, saved] : group.tensors) {
        EXPECT_TRUE(same_bits(reader.tensor(group.name, name), saved.detach())) << name;
        const auto loaded = torch::zeros_like(saved);
        reader.load_into(group.name, name, loaded);
        EXPECT_TRUE(same_bits(loaded, saved.detach())) << name;
        for (const auto& [mapped_name, view] : mapped) {
          if (mapped_name != name) continue;
          EXPECT_TRUE(same_bits(view, saved.detach())) << name;
        }
      }
    }
  }
}

TEST_F(Checkpoint, MappedTensorsOutliveReaderAndFolder) {
  NamedTensors mapped;
  {
    const CheckpointReader reader(save(4));
    mapped = reader.mapped("model");
  }
  fs::remove_all(dir());
  ASSERT_EQ(mapped.size(), 2u);
  EXPECT_EQ(mapped[0].first, "a.weight");
  EXPECT_TRUE(same_bits(mapped[0].second, torch::full({3, 5}, 4.5f)));
}

TEST_F(Checkpoint, SameContentsGiveSameBytes) {
  const auto first = save_checkpoint(folder_ / "one", sample_contents(7));
  const auto second = save_checkpoint(folder_ / "two", sample_contents(7));
  EXPECT_EQ(listing(first), (Names{"config.json", "manifest.json", "model.safetensors",
                                   "optimizer.safetensors", "state.json"}));
  for (const auto& name : listing(first)) EXPECT_EQ(slurp(first / name), slurp(second / name)) << name;
}

TEST_F(Checkpoint, FolderIsAModelDirectory) {
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
    contents.groups[0].tensors.emplace_back(spec.name,
                                            torch::full(spec.shape, value += 0.125, torch::kFloat));
  }
  contents.extra_files = {{"config.json", config.to_hf_json().dump()}};
  const auto source = model::open_weights(save_checkpoint(dir(), contents));
  EXPECT_EQ(source->config(), config);
  model::check_weights(*source, config);
  for (const auto& [name, tensor] : contents.groups[0].tensors) {
    EXPECT_TRUE(same_bits(source->load(name), tensor)) << name;
  }
}

TEST_F(Checkpoint, LoadNamesTensorAndBothShapes) {
  const CheckpointReader reader(save(1));
  const std::string file = (dir() / "step-000001/model.safetensors").string();
  auto a = torch::zeros({3, 5}), b = torch::zeros({3, 4});
  const std::string text = error_of([&] { reader.load_group("model", {{"a.weight", a}, {"b.weight", b}}); });
  EXPECT_HOLDS(text, file + ": tensor 'b.weight' is Float [3, 5] in the checkpoint; expected: Float [3, 4]");
  EXPECT_TRUE(same_bits(a, torch::zeros({3, 5})));  // nothing is changed before all is checked
  EXPECT_HOLDS(error_of([&] { reader.load_into("model", "a.weight", torch::zeros({3, 5}, torch::kDouble)); }),
               "is Float [3, 5] in the checkpoint; expected: Double [3, 5]");
  EXPECT_HOLDS(error_of([&] { reader.load_group("model", {{"a.weight", a}}); }),
               file + ": holds a tensor 'b.weight' that this run does not have");
  EXPECT_HOLDS(error_of([&] { reader.tensor("model", "a.weigth"); }), "a.weight");
  EXPECT_HOLDS(error_of([&] { reader.names("reference"); }),
               "no 'reference' tensors; it holds: model, optimizer");

  auto leaf = torch::zeros({3, 5}).requires_grad_(), strided = torch::zeros({5, 3}).t();
  reader.load_group("model", {{"b.weight", leaf}, {"a.weight", strided}});
  EXPECT_TRUE(same_bits(leaf.detach(), torch::full({3, 5}, 1.25f)));
  EXPECT_TRUE(same_bits(strided, torch::full({3, 5}, 1.5f)));
}

TEST_F(Checkpoint, ContentsThatCannotComeBackAreRefused) {
  auto contents = sample_contents(1);
  contents.state["rows"] = {{{"loss", 1.0}}, {{"loss", std::nan("")}}};
  EXPECT_HOLDS(error_of([&] { save_checkpoint(dir(), contents); }), "/rows/1/loss is nan");
  contents.state = {{"text", "\xff"}};
  EXPECT_HOLDS(error_of([&] { save_checkpoint(dir(), contents); }), "state.json: cannot be written as JSON");
  const auto refused = [&](const std::function<void(CheckpointContents&)>& change) {
    auto changed = sample_contents(1);
    change(changed);
    EXPECT_THROW(save_checkpoint(dir(), changed), c10::Error);
  };
  refused([](auto& c) { c.step = -1; });
  refused([](auto& c) { c.groups[0].name = "../model"; });
  refused([](auto& c) { c.groups[0].name = ""; });
  refused([](auto& c) { c.groups[1].name = "model"; });
  refused([](auto& c) { c.groups[0].tensors[1].first = "b.weight"; });
  refused([](auto& c) { c.groups[0].tensors[1].second = torch::Tensor(); });
  refused([](auto& c) { c.groups[0].tensors[1].second = torch::ones({2}, torch::kComplexFloat); });
  refused([](auto& c) { c.groups[0].tensors[1].second = torch::ones({2, 2}).to_sparse(); });
  refused([](auto& c) { c.extra_files.emplace_back("state.json", ""); });
  refused([](auto& c) { c.extra_files.emplace_back("manifest.json", ""); });
  refused([](auto& c) { c.extra_files.emplace_back("model.safetensors", ""); });
  refused([](auto& c) { c.extra_files.emplace_back("../outside", ""); });
  EXPECT_FALSE(fs::exists(dir()));
}

TEST_F(Checkpoint, OldOnesAreRemoved) {
  for (int64_t step = 1; step <= 4; ++step) save(step, 2);
  EXPECT_EQ(listing(dir()), (Names{"latest", "step-000003", "step-000004"}));
  save(5, 0);  // keeps all
  EXPECT_EQ(listing(dir()), (Names{"latest", "step-000003", "step-000004", "step-000005"}));
  save(6, 1);
  EXPECT_EQ(listing(dir()), (Names{"latest", "step-000006"}));
  // After going back, the folder of a larger step is neither counted nor touched, and the new one stays.
  save(2, 1);
  EXPECT_EQ(listing(dir()), (Names{"latest", "step-000002", "step-000006"}));
  EXPECT_EQ(fs::read_symlink(dir() / "latest"), "step-000002");
  EXPECT_EQ(newest(), 6);
}

TEST_F(Checkpoint, NewestIsByNumberNotByName) {
  EXPECT_EQ(newest(), -1);  // no such folder
  fs::create_directories(dir());
  EXPECT_EQ(newest(), -1);
  save(0);
  EXPECT_EQ(newest(), 0);
  save(1000000);
  save(999999);  // "step-999999" sorts after "step-1000000"
  EXPECT_EQ(newest(), 1000000);
  for (const char* name :
       {"step-2000000x", "step-", "step-7", "step-+00009", "Step-9999999", "step-99999999999999999999"}) {
    fs::create_directories(dir() / name);  // nothing we wrote
  }
  Names damaged;
  EXPECT_EQ(newest_checkpoint(dir(), &damaged)->step, 1000000);
  EXPECT_EQ(damaged, Names());
  folder_.write("file", "");
  EXPECT_HOLDS(error_of([&] { newest_checkpoint(folder_ / "file"); }), "file: cannot list the checkpoints");
}

TEST_F(Checkpoint, SameStepIsReplaced) {
  save(5);
  auto other = sample_contents(5, 8);
  other.extra_files.clear();
  save_checkpoint(dir(), other);
  EXPECT_EQ(listing(dir()), (Names{"latest", "step-000005"}));
  const CheckpointReader reader(newest_checkpoint(dir()).value());
  EXPECT_EQ(reader.tensor("model", "a.weight").size(0), 8);
  EXPECT_FALSE(fs::exists(dir() / "step-000005/config.json"));
}

TEST_F(Checkpoint, LeftoversAreIgnoredThenRemoved) {
  save(1);
  save(2);
  // Killed while saving, while removing, while replacing the link; and between the two renames that replace a
  // folder where the file system cannot swap.
  fs::copy(dir() / "step-000002", dir() / ".step-000009.partial");
  fs::create_symlink("step-000009", dir() / ".latest.123.0.tmp");
  fs::rename(dir() / "step-000002", dir() / ".step-000002.old");
  Names damaged;
  const auto found = newest_checkpoint(dir(), &damaged);
  EXPECT_EQ(found->step, 2);
  EXPECT_EQ(CheckpointReader(found->path).step(), 2);
  EXPECT_EQ(damaged, Names());
  save(3, 2);
  EXPECT_EQ(listing(dir()), (Names{"latest", "step-000001", "step-000003"}));
}

struct Damage {
  const char* name;
  std::function<void(const fs::path&)> make;
  const char* file;
  const char* message;
};

void flip(const fs::path& file, size_t position) {
  std::string bytes = slurp(file);
  bytes.at(position) = static_cast<char>(bytes[position] ^ 1);
  std::ofstream(file, std::ios::binary) << bytes;
}

void edit_manifest(const fs::path& folder, const std::function<void(nlohmann::json&)>& edit) {
  auto manifest = nlohmann::json::parse(slurp(folder / "manifest.json"));
  edit(manifest);
  std::ofstream(folder / "manifest.json") << manifest.dump();
}

TEST_F(Checkpoint, DamagedOnesAreNamedAndTheOlderOneIsFound) {
  const std::vector<Damage> damages = {
      {"cut off", [](const fs::path& p) { fs::resize_file(p / "model.safetensors", 100); },
       "model.safetensors", "has 100 bytes; expected: "},
      {"longer", [](const fs::path& p) { std::ofstream(p / "state.json", std::ios::app) << "x"; },
       "state.json", "bytes; expected: "},
      {"flipped byte",
       [](const fs::path& p) {
         flip(p / "optimizer.safetensors", fs::file_size(p / "optimizer.safetensors") - 1);
       },
       "optimizer.safetensors", "has the XXH3-128 hash "},
      {"flipped byte in a header", [](const fs::path& p) { flip(p / "model.safetensors", 12); },
       "model.safetensors", "has the XXH3-128 hash "},
      {"changed config", [](const fs::path& p) { std::ofstream(p / "config.json") << "[]\n"; }, "config.json",
       "has the XXH3-128 hash "},
      {"missing file", [](const fs::path& p) { fs::remove(p / "model.safetensors"); }, "model.safetensors",
       "is missing; expected: "},
      {"missing state", [](const fs::path& p) { fs::remove(p / "state.json"); }, "state.json", "is missing"},
      {"missing manifest", [](const fs::path& p) { fs::remove(p / "manifest.json"); }, "manifest.json",
       "is missing"},
      {"empty manifest", [](const fs::path& p) { fs::resize_file(p / "manifest.json", 0); }, "manifest.json",
       "is not JSON"},
      {"folder for a file",
       [](const fs::path& p) {
         fs::remove(p / "state.json");
         fs::create_directory(p / "state.json");
       },
       "state.json", "is not a regular file"},
      {"empty folder",
       [](const fs::path& p) {
         fs::remove_all(p);
         fs::create_directory(p);
       },
       "manifest.json", "is missing"},
      {"a file for the folder",
       [](const fs::path& p) {
         fs::remove_all(p);
         std::ofstream(p) << "x";
       },
       "manifest.json", "is missing"},
      {"another step", [](const fs::path& p) { edit_manifest(p, [](auto& m) { m["step"] = 9; }); },
       "manifest.json", "'step' is 9; expected from the folder's name: 2"},
      {"negative step", [](const fs::path& p) { edit_manifest(p, [](auto& m) { m["step"] = -2; }); },
       "manifest.json", "'step' is -2"},
      {"newer version", [](const fs::path& p) { edit_manifest(p, [](auto& m) { m["version"] = 2; }); },
       "manifest.json", "'version' is 2; accepted: 1"},
      {"another format", [](const fs::path& p) { std::ofstream(p / "manifest.json") << "[1]"; },
       "manifest.json", "'format' is not"},
      {"file elsewhere",
       [](const fs::path& p) {
         edit_manifest(p, [](auto& m) { m["files"]["../x"] = m["files"]["state.json"]; });
       },
       "manifest.json", "lists '../x'"},
      {"no hash",
       [](const fs::path& p) {
         edit_manifest(p, [](auto& m) { m["files"]["state.json"].erase("xxh3_128"); });
       },
       "manifest.json", "has no hash of 'state.json'"},
      {"no size",
       [](const fs::path& p) { edit_manifest(p, [](auto& m) { m["files"]["state.json"].erase("bytes"); }); },
       "manifest.json", "'bytes' is missing"},
      {"state not listed",
       [](const fs::path& p) { edit_manifest(p, [](auto& m) { m["files"].erase("state.json"); }); },
       "manifest.json", "does not list state.json"},
      {"group not listed",
       [](const fs::path& p) { edit_manifest(p, [](auto& m) { m["groups"].push_back("reference"); }); },
       "manifest.json", "lists the group 'reference' but not its file"},
      {"no groups", [](const fs::path& p) { edit_manifest(p, [](auto& m) { m.erase("groups"); }); },
       "manifest.json", "'groups' or 'files' is missing"},
  };
  for (const Damage& damage : damages) {
    SCOPED_TRACE(damage.name);
    fs::remove_all(dir());
    save(1);
    const fs::path broken = save(2);
    damage.make(broken);
    const std::string text = error_of([&] { CheckpointReader reader(broken); });
    EXPECT_EQ(text.rfind((broken / damage.file).string() + ": ", 0), 0u) << text;
    EXPECT_HOLDS(text, damage.message);
    Names damaged;
    const auto found = newest_checkpoint(dir(), &damaged);
    ASSERT_TRUE(found);
    EXPECT_EQ(found->step, 1);
    EXPECT_EQ(damaged, Names{text});
    // With nothing older the caller learns that there was something.
    fs::remove_all(dir() / "step-000001");
    EXPECT_FALSE(newest_checkpoint(dir(), &damaged));
    EXPECT_EQ(damaged.size(), 2u);
  }
}

// A change of any byte of any file is noticed, or (white space of the manifest) changes nothing.
TEST_F(Checkpoint, EveryFlippedByteIsNoticedOrHarmless) {
  const fs::path path = save(2);
  for (const auto& name : listing(path)) {
    const std::string bytes = slurp(path / name);
    for (size_t i = 0; i < bytes.size(); i += name == "manifest.json" ? 1 : 7) {
      flip(path / name, i);
      try {
        const CheckpointReader reader(path);
        EXPECT_EQ(name, "manifest.json") << "byte " << i;
        EXPECT_TRUE(std::isspace(static_cast<unsigned char>(bytes[i]))) << "byte " << i << " " << bytes[i];
      } catch (const Error&) {
      }
      std::ofstream(path / name, std::ios::binary) << bytes;
    }
  }
}

TEST_F(Checkpoint, WarningNamesTheDamagedFile) {
  set_log_level(LogLevel::kWarning);
  save(1);
  fs::remove(save(2) / "state.json");
  ::testing::internal::CaptureStderr();
  newest_checkpoint(dir());
  EXPECT_HOLDS(::testing::internal::GetCapturedStderr(),
               (dir() / "step-000002/state.json").string() + ": is missing");
}

TEST_F(Checkpoint, PolicyOfTheConfig) {
  const auto policy =
      CheckpointPolicy::parse(ConfigNode::parse_text("every_steps: 20\nkeep_last: 3\n", "run.yaml"));
  EXPECT_EQ(policy.every_steps, 20);
  EXPECT_EQ(policy.keep_last, 3);
  EXPECT_HOLDS(
      error_of([] { CheckpointPolicy::parse(ConfigNode::parse_text("keep_last: -1\n", "run.yaml")); }),
      "run.yaml:1: keep_last is -1; accepted: 0 or more");
  EXPECT_HOLDS(error_of([] { CheckpointPolicy::parse(ConfigNode::parse_text("keep: 1\n", "run.yaml")); }),
               "keep_last");
}

}  // namespace
}  // namespace r1::train
