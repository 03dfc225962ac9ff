#include "r1/model/weights.h"

#include <gtest/gtest.h>
#include <torch/torch.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <random>

#include "r1/util/error.h"
#include "r1/util/file.h"
#include "r1/util/gguf.h"
#include "r1/util/safetensors.h"
#include "r1/util/strings.h"

namespace r1::model {
namespace {

namespace fs = std::filesystem;

std::string error_of(const std::function<void()>& action) {
  try {
    action();
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

#define EXPECT_SAYS(text, part) EXPECT_NE((text).find(part), std::string::npos) << text

ModelConfig tiny(const std::string& architecture = "LlamaForCausalLM") {
  ModelConfig c;
  c.architecture = architecture;
  c.vocab_size = 40;
  c.hidden_size = 32;
  c.intermediate_size = 64;
  c.num_layers = 2;
  c.num_heads = 4;
  c.num_kv_heads = 2;
  c.head_dim = 12;  // not hidden_size / num_heads
  c.max_positions = 64;
  c.qkv_bias = architecture == "Qwen2ForCausalLM";
  c.qk_norm = architecture == "Qwen3ForCausalLM";
  c.bos_token_id = 0;
  c.eos_token_ids = {3};
  return c;
}

NamedTensors random_tensors(const ModelConfig& config) {
  auto generator = at::make_generator<at::CPUGeneratorImpl>(5);
  NamedTensors tensors;
  for (const auto& spec : expected_parameters(config))
    tensors.emplace_back(spec.name, torch::randn(spec.shape, generator));
  return tensors;
}

GgufTokenizer tokenizer_of(int64_t num_tokens) {
  GgufTokenizer t;
  t.model = "gpt2";
  t.pre = "smollm";
  for (int64_t i = 0; i < num_tokens; ++i) t.tokens.push_back(cat("t", i));
  t.token_types.assign(static_cast<size_t>(num_tokens), 1);
  t.merges = {"a b"};
  t.bos_id = 0;
  t.eos_id = 3;
  t.chat_template = "{{ messages }}";
  return t;
}

class Weights : public ::testing::Test {
 protected:
  void SetUp() override {
    dir_ =
        fs::temp_directory_path() /
        cat("r1_weights_", ::testing::UnitTest::GetInstance()->current_test_info()->name(), "_", ::getpid());
    fs::create_directories(dir_);
  }
  void TearDown() override { fs::remove_all(dir_); }

  /// Every tensor of `path` equals `expected` after `change`, bit for bit, and there are no others.
  void expect_tensors(
      const fs::path& path, const NamedTensors& expected,
      const std::function<at::Tensor(const at::Tensor&)>& change = [](const at::Tensor& t) { return t; }) {
    const auto source = open_weights(path);
    EXPECT_EQ(source->names().size(), expected.size());
    for (const auto& [name, tensor] : expected) {
      const auto loaded = source->load(name);
      EXPECT_EQ(loaded.scalar_type(), at::kFloat);
      EXPECT_TRUE(loaded.is_contiguous());
      EXPECT_EQ(source->shape(name), tensor.sizes().vec()) << name;
      EXPECT_TRUE(at::equal(loaded, change(tensor))) << name;
    }
  }

  fs::path dir_;
};

TEST_F(Weights, ReadsTheFoldersThatTransformersWrote) {
  const auto root = fs::path(R1_SOURCE_DIR) / "tests/golden/model";
  int models = 0;
  for (const auto& entry : fs::directory_iterator(root)) {
    if (!entry.is_directory()) continue;
    const auto source = open_weights(entry.path());
    check_weights(*source, source->config());
    for (const auto& name : source->names()) {
      const auto tensor = source->load(name);
      EXPECT_EQ(tensor.scalar_type(), at::kFloat);
      EXPECT_GT(tensor.abs().max().item<float>(), 0) << entry.path() << " " << name;
    }
    ++models;
  }
  EXPECT_GE(models, 4);
}

TEST_F(Weights, HfFolderRoundTripIsExact) {
  for (const auto* architecture :
       {"LlamaForCausalLM", "MistralForCausalLM", "Qwen2ForCausalLM", "Qwen3ForCausalLM"}) {
    const auto config = tiny(architecture);
    const auto tensors = random_tensors(config);
    const auto path = dir_ / architecture;
    write_hf_directory(path, config, tensors, HfDtype::kF32);
    EXPECT_EQ(open_weights(path)->config(), config);
    expect_tensors(path, tensors);
    check_weights(*open_weights(path), config);
    EXPECT_EQ(SafetensorsFile(path / "model.safetensors").metadata().at("format"), "pt");
  }
}

TEST_F(Weights, FoldersOfDeepSeekRoundTrip) {
  for (const char* name : {"deepseek_v3_yarn", "deepseek_v2_lite", "deepseek_v2_groups"}) {
    const auto source = open_weights(fs::path(R1_SOURCE_DIR) / "tests/golden/model" / name);
    NamedTensors tensors;
    for (const auto& spec : expected_parameters(source->config())) tensors.emplace_back(spec.name, source->load(spec.name));
    write_hf_directory(dir_ / name, source->config(), tensors, HfDtype::kF32);
    EXPECT_EQ(open_weights(dir_ / name)->config(), source->config()) << name;
    expect_tensors(dir_ / name, tensors);
  }
}

TEST_F(Weights, HalfPrecisionsRoundOnce) {
  const auto config = tiny();
  const auto tensors = random_tensors(config);
  write_hf_directory(dir_ / "f16", config, tensors, HfDtype::kF16);
  expect_tensors(dir_ / "f16", tensors, [](const at::Tensor& t) { return t.to(at::kHalf).to(at::kFloat); });
  write_hf_directory(dir_ / "bf16", config, tensors, HfDtype::kBF16);
  expect_tensors(dir_ / "bf16", tensors,
                 [](const at::Tensor& t) { return t.to(at::kBFloat16).to(at::kFloat); });
  EXPECT_EQ(SafetensorsFile(dir_ / "bf16" / "model.safetensors").at(tensors[0].first).dtype,
            TensorDtype::kBF16);
}

TEST_F(Weights, Float16OverflowIsRefused) {
  const auto config = tiny();
  auto tensors = random_tensors(config);
  tensors[3].second = tensors[3].second.clone();
  tensors[3].second[0][0] = 1e6;
  const auto text = error_of([&] { write_hf_directory(dir_ / "f16", config, tensors, HfDtype::kF16); });
  EXPECT_SAYS(text, tensors[3].first);
  EXPECT_SAYS(text, "65504");
  EXPECT_FALSE(fs::exists(dir_ / "f16" / "config.json"));
  write_hf_directory(dir_ / "bf16", config, tensors, HfDtype::kBF16);
}

TEST_F(Weights, ShardsHoldEveryTensorOnce) {
  const auto config = tiny();
  const auto tensors = random_tensors(config);
  const uint64_t limit = 12000;
  write_hf_directory(dir_ / "m", config, tensors, HfDtype::kF32, limit);
  EXPECT_FALSE(fs::exists(dir_ / "m" / "model.safetensors"));
  int shards = 0;
  for (const auto& entry : fs::directory_iterator(dir_ / "m")) {
    if (entry.path().extension() != ".safetensors") continue;
    ++shards;
    uint64_t bytes = 0;
    const SafetensorsFile file(entry.path());
    for (const auto& tensor : file.tensors()) bytes += tensor.bytes.size();
    EXPECT_LE(bytes, limit);
    EXPECT_GT(bytes, 0u);
  }
  EXPECT_GT(shards, 3);
  expect_tensors(dir_ / "m", tensors);
  write_hf_directory(dir_ / "each", config, tensors, HfDtype::kF32, 1);  // every tensor is above the limit
  expect_tensors(dir_ / "each", tensors);
}

TEST_F(Weights, ATiedHeadIsNotWritten) {
  auto config = tiny();
  auto tensors = random_tensors(config);  // with a head
  config.tie_embeddings = true;
  write_hf_directory(dir_ / "m", config, tensors, HfDtype::kF32);
  write_gguf(dir_ / "m.gguf", config, tensors, GgufDtype::kF32, tokenizer_of(40));
  tensors.pop_back();
  expect_tensors(dir_ / "m", tensors);
  expect_tensors(dir_ / "m.gguf", tensors);
  EXPECT_TRUE(open_weights(dir_ / "m.gguf")->config().tie_embeddings);
}

TEST_F(Weights, GgufRoundTripIsExactAndKeepsTheConfig) {
  for (const auto* architecture : {"LlamaForCausalLM", "Qwen2ForCausalLM", "Qwen3ForCausalLM"}) {
    const auto config = tiny(architecture);
    const auto tensors = random_tensors(config);
    const auto path = dir_ / cat(architecture, ".gguf");
    write_gguf(path, config, tensors, GgufDtype::kF32, tokenizer_of(40));
    EXPECT_EQ(open_weights(path)->config(), config);
    expect_tensors(path, tensors);
    check_weights(*open_weights(path), config);
  }
}

TEST_F(Weights, BiasesOfLlamaArePermutedWithTheirRows) {
  auto config = tiny();
  config.qkv_bias = config.o_bias = config.mlp_bias = true;
  const auto tensors = random_tensors(config);
  write_gguf(dir_ / "m.gguf", config, tensors, GgufDtype::kQ8_0, tokenizer_of(40));  // biases stay float32
  const auto source = open_weights(dir_ / "m.gguf");
  EXPECT_EQ(source->config(), config);
  for (const auto& [name, tensor] : tensors) {
    if (tensor.dim() == 1) {
      EXPECT_TRUE(at::equal(source->load(name), tensor)) << name;
    }
  }
}

// The order that llama.cpp expects, written out by hand for heads of 4: HF rows 0 1 2 3 are stored as 0 2
// 1 3.
TEST_F(Weights, RowsOfQAndKAreStoredInterleaved) {
  for (const bool llama : {true, false}) {
    auto config = tiny(llama ? "LlamaForCausalLM" : "Qwen3ForCausalLM");
    config.head_dim = 4;
    auto tensors = random_tensors(config);
    for (auto& [name, tensor] : tensors)
      if (tensor.dim() == 2)
        tensor = at::arange(tensor.size(0), at::kFloat).unsqueeze(1).expand(tensor.sizes()).contiguous();
    const auto path = dir_ / (llama ? "l.gguf" : "q.gguf");
    write_gguf(path, config, tensors, GgufDtype::kF32, tokenizer_of(40));
    const GgufFile file(path);
    const auto first_of_rows = [&](const char* name) {
      const auto* tensor = file.find(name);
      std::vector<int> values;
      for (int64_t row = 0; row < tensor->dims[1]; ++row) {
        float value;
        std::memcpy(&value, tensor->bytes.data() + row * tensor->dims[0] * 4, 4);
        values.push_back(static_cast<int>(value));
      }
      return values;
    };
    const std::vector<int> plain = {0, 1, 2, 3, 4, 5, 6, 7}, interleaved = {0, 2, 1, 3, 4, 6, 5, 7};
    EXPECT_EQ(first_of_rows("blk.1.attn_k.weight"), llama ? interleaved : plain);
    EXPECT_EQ(first_of_rows("blk.1.attn_v.weight"), plain);
    EXPECT_EQ(first_of_rows("blk.0.attn_q.weight").size(), 16u);
    EXPECT_EQ(first_of_rows("blk.0.attn_q.weight")[13], llama ? 14 : 13);
  }
}

TEST_F(Weights, QuantizedGgufIsNearAndNormsAreExact) {
  auto config = tiny();
  config.intermediate_size = 48;  // rows of down_proj are not a multiple of 32: float16
  const auto tensors = random_tensors(config);
  write_gguf(dir_ / "q8.gguf", config, tensors, GgufDtype::kQ8_0, tokenizer_of(40));
  write_gguf(dir_ / "f16.gguf", config, tensors, GgufDtype::kF16, tokenizer_of(40));
  const GgufFile file(dir_ / "q8.gguf");
  EXPECT_EQ(file.find("blk.0.attn_q.weight")->type, GgufType::kQ8_0);
  EXPECT_EQ(file.find("blk.0.ffn_down.weight")->type, GgufType::kF16);
  EXPECT_EQ(file.find("blk.0.attn_norm.weight")->type, GgufType::kF32);
  const auto q8 = open_weights(dir_ / "q8.gguf"), f16 = open_weights(dir_ / "f16.gguf");
  for (const auto& [name, tensor] : tensors) {
    const float limit = tensor.dim() == 1 ? 0 : tensor.abs().max().item<float>() / 200;
    EXPECT_LE((q8->load(name) - tensor).abs().max().item<float>(), limit) << name;
    const auto once = tensor.dim() == 1 ? tensor : tensor.to(at::kHalf).to(at::kFloat);
    EXPECT_TRUE(at::equal(f16->load(name), once)) << name;
  }
}

TEST_F(Weights, GgufHoldsTheTokenizerPaddedToTheVocabulary) {
  write_gguf(dir_ / "m.gguf", tiny(), random_tensors(tiny()), GgufDtype::kF32, tokenizer_of(38));
  const GgufFile file(dir_ / "m.gguf");
  EXPECT_EQ(file.get_string("tokenizer.ggml.pre"), "smollm");
  const auto tokens = file.get_strings("tokenizer.ggml.tokens");
  ASSERT_EQ(tokens.size(), 40u);
  EXPECT_EQ(tokens[37], "t37");
  EXPECT_EQ(tokens[39], "[PAD39]");
  EXPECT_EQ(file.get_ints("tokenizer.ggml.token_type")[39], 5);
  EXPECT_EQ(file.get_strings("tokenizer.ggml.merges"), (std::vector<std::string>{"a b"}));
  EXPECT_EQ(file.get_int("tokenizer.ggml.eos_token_id"), 3);
  EXPECT_FALSE(file.has("tokenizer.ggml.padding_token_id"));
  EXPECT_EQ(file.get_string("tokenizer.chat_template"), "{{ messages }}");
  EXPECT_SAYS(error_of([&] {
                write_gguf(dir_ / "n.gguf", tiny(), random_tensors(tiny()), GgufDtype::kF32,
                           tokenizer_of(41));
              }),
              "has 41 tokens, the model a vocabulary of 40");
  auto bad = tokenizer_of(40);
  bad.eos_id = 40;
  EXPECT_SAYS(
      error_of([&] { write_gguf(dir_ / "n.gguf", tiny(), random_tensors(tiny()), GgufDtype::kF32, bad); }),
      "eos_token_id is 40");
  EXPECT_FALSE(fs::exists(dir_ / "n.gguf"));
}

TEST_F(Weights, RopeScalingsSurviveGguf) {
  auto config = tiny();
  config.head_dim = 64;
  config.rope_theta = 500000;
  const auto round_trip = [&](const RopeScaling& scaling) {
    config.rope_scaling = scaling;
    write_gguf(dir_ / "m.gguf", config, random_tensors(config), GgufDtype::kF16, tokenizer_of(40));
    return open_weights(dir_ / "m.gguf")->config().rope_scaling;
  };
  RopeScaling llama3{RopeScalingKind::kLlama3, 32.0, 8192};
  EXPECT_EQ(round_trip(llama3), llama3);
  RopeScaling linear{RopeScalingKind::kLinear, 2.5};
  EXPECT_EQ(round_trip(linear), linear);
  RopeScaling yarn{RopeScalingKind::kYarn, 4.0, 32768};
  EXPECT_EQ(round_trip(yarn), yarn);
  yarn.attention_factor = 1.25;
  EXPECT_NEAR(round_trip(yarn).attention_factor, 1.25, 1e-6);
  llama3.original_max_position = 4096;  // divisors of no published model
  EXPECT_SAYS(error_of([&] { round_trip(llama3); }), "rope_freqs.weight has");
}

TEST_F(Weights, WeightsOfAnotherModelAreNamed) {
  const auto config = tiny();
  write_hf_directory(dir_ / "m", config, random_tensors(config), HfDtype::kF32);
  const auto source = open_weights(dir_ / "m");
  auto other = config;
  other.intermediate_size = 65;
  auto text = error_of([&] { check_weights(*source, other); });
  EXPECT_SAYS(text,
              "model.layers.0.mlp.down_proj.weight' has shape [32, 64], the model config expects [32, 65]");
  EXPECT_SAYS(text, (dir_ / "m").string());
  other = config;
  other.num_layers = 3;
  EXPECT_SAYS(error_of([&] { check_weights(*source, other); }),
              "9 tensors of the model are missing (model.layers.2.");
  other.num_layers = 1;
  EXPECT_SAYS(error_of([&] { check_weights(*source, other); }),
              "9 tensors are not part of it (model.layers.1.");
  other = config;
  other.qk_norm = true;
  other.num_layers = 1;
  text = error_of([&] { check_weights(*source, other); });
  EXPECT_SAYS(text, "2 tensors of the model are missing");
  EXPECT_SAYS(text, "; 9 tensors are not part of it");
  other = config;
  other.tie_embeddings = true;  // a superfluous head is common and harmless
  EXPECT_EQ(error_of([&] { check_weights(*source, other); }), "no error");
  EXPECT_SAYS(error_of([&] { source->load("model.layers.0.mlp.up.weight"); }),
              "model.layers.0.mlp.up_proj.weight");
  EXPECT_SAYS(error_of([&] { source->shape("nothing like it"); }),
              "holds no tensor 'nothing like it' among its 21");
}

TEST_F(Weights, PathsThatHoldNoModelAreNamed) {
  EXPECT_SAYS(error_of([&] { open_weights(dir_ / "no"); }), "no such file or folder");
  std::ofstream(dir_ / "model.bin") << "x";
  EXPECT_SAYS(error_of([&] { open_weights(dir_ / "model.bin"); }), "not a folder and not a .gguf file");
  std::ofstream(dir_ / "bad.gguf") << "x";
  EXPECT_SAYS(error_of([&] { open_weights(dir_ / "bad.gguf"); }), "does not begin with 'GGUF'");
  EXPECT_SAYS(error_of([&] { open_weights(dir_); }), "config.json");
  write_hf_directory(dir_ / "m", tiny(), random_tensors(tiny()), HfDtype::kF32);
  fs::remove(dir_ / "m" / "model.safetensors");
  EXPECT_SAYS(error_of([&] { open_weights(dir_ / "m"); }), "neither model.safetensors nor");
}

TEST_F(Weights, DamagedIndexesAreNamed) {
  const auto path = dir_ / "m";
  write_hf_directory(path, tiny(), random_tensors(tiny()), HfDtype::kF32, 20000);
  const auto index = path / "model.safetensors.index.json";
  const std::string good = read_file(index);
  const auto with = [&](const std::string& text) {
    write_file_atomic(index, text);
    return error_of([&] { open_weights(path); });
  };
  EXPECT_SAYS(with("{"), "not JSON");
  EXPECT_SAYS(with("[]"), "no object 'weight_map'");
  EXPECT_SAYS(with(R"({"weight_map": {}})"), "'weight_map' is empty");
  EXPECT_SAYS(with(R"({"weight_map": {"a": 1}})"), "entry 'a' is not a file name");
  EXPECT_SAYS(with(R"({"weight_map": {"a": "../x.safetensors"}})"), "a file in the same folder");
  EXPECT_SAYS(with(R"({"weight_map": {"a": "x.safetensors"}})"), "x.safetensors");
  std::string moved = good;
  const size_t at = moved.find("model-00001-of");
  moved.replace(at, 14, "model-00002-of");
  EXPECT_SAYS(with(moved), "but it is in model-00001-of");
  EXPECT_EQ(with(good), "no error");
}

TEST_F(Weights, ExportRefusesAnIncompleteModel) {
  const auto config = tiny();
  auto tensors = random_tensors(config);
  const auto target = dir_ / "m";
  const auto write = [&](const NamedTensors& t, const ModelConfig& c) {
    return error_of([&] { write_hf_directory(target, c, t, HfDtype::kF32); });
  };
  auto changed = tensors;
  changed.erase(changed.begin() + 2);
  EXPECT_SAYS(write(changed, config), "'model.layers.0.self_attn.q_proj.weight' of the model is missing");
  changed = tensors;
  changed.emplace_back("extra", at::ones({1}));
  EXPECT_SAYS(write(changed, config), "'extra' is no parameter");
  changed = tensors;
  changed.push_back(tensors[0]);
  EXPECT_SAYS(write(changed, config), "given twice");
  changed = tensors;
  changed[0].second = at::ones({2, 2});
  EXPECT_SAYS(write(changed, config), "has shape [2, 2], the model config expects [40, 32]");
  auto odd = config;
  odd.qkv_bias = true;  // no Llama of transformers has a bias on q, k and v alone
  EXPECT_SAYS(write(random_tensors(odd), odd), "accepted: Llama with qkv_bias = o_bias");
  EXPECT_FALSE(fs::exists(target));
  EXPECT_EQ(write(tensors, config), "no error");
  EXPECT_SAYS(write(tensors, config), "exists already");
}

TEST_F(Weights, GgufVariantsThatCannotBeReadAreNamed) {
  const auto write = [&](const std::vector<std::pair<std::string, GgufValue>>& metadata,
                         const std::string& tensor) {
    GgufWriter writer(dir_ / "v.gguf", metadata, {{tensor, GgufType::kF32, {4, 8}, {}}});
    const std::vector<float> values(32);
    writer.write(std::as_bytes(std::span(values)));
    writer.close();
    return error_of([&] { open_weights(dir_ / "v.gguf"); });
  };
  std::vector<std::pair<std::string, GgufValue>> m = {{"general.architecture", GgufValue::string("llama")}};
  EXPECT_SAYS(write({}, "t"), "no metadata key 'general.architecture'");
  EXPECT_SAYS(write({{"general.architecture", GgufValue::string("mamba")}}, "t"),
              "general.architecture is mamba");
  EXPECT_SAYS(write(m, "t"), "no metadata key 'llama.embedding_length'");
  for (const auto& [key, value] :
       std::vector<std::pair<const char*, uint32_t>>{{"llama.embedding_length", 4},
                                                     {"llama.feed_forward_length", 8},
                                                     {"llama.block_count", 1},
                                                     {"llama.attention.head_count", 2},
                                                     {"llama.context_length", 16}})
    m.emplace_back(key, GgufValue::u32(value));
  m.emplace_back("llama.attention.layer_norm_rms_epsilon", GgufValue::f32(1e-5f));
  EXPECT_SAYS(write(m, "t"), "no tensor token_embd.weight");
  EXPECT_EQ(write(m, "token_embd.weight"), "no error");
  EXPECT_EQ(open_weights(dir_ / "v.gguf")->config().rms_norm_eps, 1e-5);  // not 9.99999974738e-06
  EXPECT_SAYS(error_of([&] {
                const auto source = open_weights(dir_ / "v.gguf");
                check_weights(*source, source->config());
              }),
              "tensors of the model are missing");
  auto moe = m;
  moe.emplace_back("llama.expert_count", GgufValue::u32(8));
  EXPECT_SAYS(write(moe, "token_embd.weight"), "expert_count is 8");
  auto rotary = m;
  rotary.emplace_back("llama.rope.dimension_count", GgufValue::u32(4));
  EXPECT_SAYS(write(rotary, "token_embd.weight"), "4 rotated channels");
  auto heads = m;
  heads[4].second = GgufValue::u32(3);
  EXPECT_SAYS(write(heads, "token_embd.weight"), "head_count is 3");
}

// Random damage to a GGUF header or to the JSON files of a folder: the model is read or refused with
// r1::Error.
TEST_F(Weights, MutationsNeverCrash) {
  auto config = tiny();
  config.rope_scaling = {RopeScalingKind::kLlama3, 8.0, 8192};
  write_gguf(dir_ / "m.gguf", config, random_tensors(config), GgufDtype::kF32, tokenizer_of(40));
  write_hf_directory(dir_ / "m", config, random_tensors(config), HfDtype::kF32, 8000);
  struct Target {
    fs::path open, file;
    size_t header_bytes;
  };
  std::vector<Target> targets = {{dir_ / "m.gguf", dir_ / "m.gguf", 0},
                                 {dir_ / "m", dir_ / "m" / "config.json", 0},
                                 {dir_ / "m", dir_ / "m" / "model.safetensors.index.json", 0}};
  const std::string first_tensor = "rope_freqs.weight";
  targets[0].header_bytes = read_file(targets[0].file).find(first_tensor) + 3000;  // metadata and tensor list
  std::mt19937_64 random(3);
  const auto below = [&](size_t n) { return static_cast<size_t>(random() % n); };
  const std::vector<std::string> pieces = {"0", "9", "-", "1e999", "null", "[",
                                           "]", "{", "}", "\"",    ",",    "4294967296"};
  int refused = 0, read = 0;
  for (const auto& target : targets) {
    const std::string whole = read_file(target.file);
    const size_t reach =
        target.header_bytes == 0 ? whole.size() : std::min(whole.size(), target.header_bytes);
    for (int round = 0; round < 1000; ++round) {
      std::string bytes = whole;
      for (size_t edits = 1 + below(2); edits > 0; --edits) {
        const size_t at = below(reach);
        const uint64_t extreme = uint64_t{1} << below(64);
        switch (below(4)) {
          case 0:
            bytes[at] = static_cast<char>(bytes[at] ^ 1 << below(8));
            break;
          case 1:
            bytes[at] = static_cast<char>(random());
            break;
          case 2:
            if (target.header_bytes == 0)
              bytes.insert(at, pieces[below(pieces.size())]);
            else if (at + 4 <= bytes.size())
              std::memcpy(bytes.data() + at, &extreme, 4);
            break;
          case 3:
            if (target.header_bytes == 0) bytes.erase(at, 1 + below(3));
            break;
        }
      }
      fs::remove(target.file);
      std::ofstream(target.file, std::ios::binary) << bytes;
      try {
        const auto source = open_weights(target.open);
        for (const auto& name : source->names()) EXPECT_EQ(source->load(name).scalar_type(), at::kFloat);
        check_weights(*source, source->config());
        ++read;
      } catch (const Error&) {
        ++refused;
      }
    }
    fs::remove(target.file);
    std::ofstream(target.file, std::ios::binary) << whole;
    EXPECT_EQ(error_of([&] { check_weights(*open_weights(target.open), config); }), "no error");
  }
  EXPECT_GT(refused, 800);
  EXPECT_GT(read, 300);  // many values of the metadata may be any number or text
}

// A published model of 260K parameters, where somebody has it: set R1_STORIES_GGUF to the path of
// stories260K.gguf.
TEST_F(Weights, ReadsStories260K) {
  const char* path = std::getenv("R1_STORIES_GGUF");
  if (path == nullptr) {
    std::printf("not checked: R1_STORIES_GGUF does not say where stories260K.gguf is\n");
    return;
  }
  const auto source = open_weights(path);
  check_weights(*source, source->config());
  EXPECT_EQ(source->names().size(), 48u);
  EXPECT_EQ(source->config().num_parameters(), 292800);
  EXPECT_EQ(source->config().num_kv_heads, 4);
}

}  // namespace
}  // namespace r1::model
