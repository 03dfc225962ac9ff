#include "r1/model/model_config.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <functional>
#include <nlohmann/json.hpp>

#include "r1/util/error.h"
#include "r1/util/strings.h"

namespace r1::model {
namespace {

using nlohmann::json;

std::string error_of(const std::function<void()>& action) {
  try {
    action();
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

#define EXPECT_SAYS(text, part) EXPECT_NE((text).find(part), std::string::npos) << text

// Sizes of published models; a wrong formula of any part moves the count.
json smollm2() {
  return json::parse(R"({"architectures": ["LlamaForCausalLM"], "attention_bias": false, "bos_token_id": 1,
      "eos_token_id": 2, "hidden_act": "silu", "hidden_size": 576, "intermediate_size": 1536,
      "max_position_embeddings": 8192, "model_type": "llama", "num_attention_heads": 9, "num_hidden_layers": 30,
      "num_key_value_heads": 3, "rms_norm_eps": 1e-05, "rope_scaling": null, "rope_theta": 100000,
      "tie_word_embeddings": true, "vocab_size": 49152})");
}
json qwen2() {  // Qwen2.5-0.5B
  return json::parse(
      R"({"architectures": ["Qwen2ForCausalLM"], "bos_token_id": 151643, "eos_token_id": 151643,
      "hidden_act": "silu", "hidden_size": 896, "intermediate_size": 4864, "max_position_embeddings": 32768,
      "max_window_layers": 24, "model_type": "qwen2", "num_attention_heads": 14, "num_hidden_layers": 24,
      "num_key_value_heads": 2, "rms_norm_eps": 1e-06, "rope_theta": 1000000.0, "sliding_window": 32768,
      "tie_word_embeddings": true, "use_sliding_window": false, "vocab_size": 151936})");
}
json qwen3() {  // Qwen3-0.6B
  return json::parse(
      R"({"architectures": ["Qwen3ForCausalLM"], "attention_bias": false, "bos_token_id": 151643,
      "eos_token_id": 151645, "head_dim": 128, "hidden_act": "silu", "hidden_size": 1024, "intermediate_size": 3072,
      "max_position_embeddings": 40960, "model_type": "qwen3", "num_attention_heads": 16, "num_hidden_layers": 28,
      "num_key_value_heads": 8, "rms_norm_eps": 1e-06, "rope_scaling": null, "rope_theta": 1000000,
      "sliding_window": null, "tie_word_embeddings": true, "use_sliding_window": false, "vocab_size": 151936})");
}
json mistral() {  // Mistral-7B-v0.1
  return json::parse(R"({"architectures": ["MistralForCausalLM"], "bos_token_id": 1, "eos_token_id": 2,
      "hidden_act": "silu", "hidden_size": 4096, "intermediate_size": 14336, "max_position_embeddings": 32768,
      "model_type": "mistral", "num_attention_heads": 32, "num_hidden_layers": 32, "num_key_value_heads": 8,
      "rms_norm_eps": 1e-05, "rope_theta": 10000.0, "sliding_window": 4096, "tie_word_embeddings": false,
      "vocab_size": 32000})");
}
json llama32() {  // Llama-3.2-1B
  return json::parse(
      R"({"architectures": ["LlamaForCausalLM"], "attention_bias": false, "bos_token_id": 128000,
      "eos_token_id": [128001, 128008, 128009], "head_dim": 64, "hidden_act": "silu", "hidden_size": 2048,
      "intermediate_size": 8192, "max_position_embeddings": 131072, "mlp_bias": false, "model_type": "llama",
      "num_attention_heads": 32, "num_hidden_layers": 16, "num_key_value_heads": 8, "pretraining_tp": 1,
      "rms_norm_eps": 1e-05, "rope_scaling": {"factor": 32.0, "high_freq_factor": 4.0, "low_freq_factor": 1.0,
      "original_max_position_embeddings": 8192, "rope_type": "llama3"}, "rope_theta": 500000.0,
      "tie_word_embeddings": true, "vocab_size": 128256})");
}

ModelConfig from(const json& object) { return ModelConfig::from_hf_json(object, "config.json"); }

TEST(ModelConfig, CountsTheParametersOfPublishedModels) {
  EXPECT_EQ(from(smollm2()).num_parameters(), 134'515'008);
  EXPECT_EQ(from(qwen2()).num_parameters(), 494'032'768);
  EXPECT_EQ(from(qwen3()).num_parameters(), 596'049'920);
  EXPECT_EQ(from(mistral()).num_parameters(), 7'241'732'096);
  EXPECT_EQ(from(llama32()).num_parameters(), 1'235'814'400);
}

std::filesystem::path preset(const std::string& name) { return std::filesystem::path(R1_SOURCE_DIR) / "configs/models" / (name + ".yaml"); }

// arXiv:2412.19437v2 section 4.2: 671B, 37B active; arXiv:2405.04434 appendix B: 15.7B, 2.4B. Of the embedding a token meets one row.
TEST(ModelConfig, CountsTheParametersOfDeepSeek) {
  const auto counts = [](const std::string& name) {
    const auto c = ModelConfig::parse(ConfigNode::load(preset(name)));
    return std::pair(c.num_parameters() / 1e9, static_cast<double>(c.num_active_parameters() - c.vocab_size * c.hidden_size) / 1e9);
  };
  const auto v3 = counts("deepseek_v3_671b"), lite = counts("deepseek_v2_lite_16b");
  EXPECT_NEAR(v3.first, 671.03, 0.01);
  EXPECT_NEAR(v3.second, 36.6, 0.05);
  EXPECT_NEAR(lite.first, 15.7, 0.05);
  EXPECT_NEAR(lite.second, 2.45, 0.01);
}

TEST(ModelConfig, DeepSeekSurvivesHfJson) {
  for (const char* name : {"deepseek_v3_671b", "deepseek_v2_lite_16b"}) {
    const auto c = ModelConfig::parse(ConfigNode::load(preset(name)));
    EXPECT_EQ(ModelConfig::from_hf_json(c.to_hf_json(), "again"), c) << name;
    EXPECT_EQ(c.cache_values(), 576);
    EXPECT_EQ(c.key_dim(), 192);
  }
  // (128 + 64)^-0.5 (0.1 ln 40 + 1)^2
  EXPECT_NEAR(ModelConfig::parse(ConfigNode::load(preset("deepseek_v3_671b"))).attention_scale(), 0.1352338, 1e-6);
}

TEST(ModelConfig, DeepSeeksMistakesAreNamed) {
  const auto v3 = ModelConfig::parse(ConfigNode::load(preset("deepseek_v3_671b")));
  const auto says = [](ModelConfig c, auto change, const char* what) {
    change(c);
    EXPECT_SAYS(error_of([&] { c.validate("here"); }), what);
  };
  says(v3, [](auto& c) { c.n_group = 7; }, "n_group is 7; accepted: a divisor of n_routed_experts = 256");
  says(v3, [](auto& c) { c.topk_group = 9; }, "topk_group is 9; accepted: 1 to n_group = 8");
  says(v3, [](auto& c) { c.num_experts_per_tok = 129; }, "num_experts_per_tok is 129; accepted: 1 to 128");
  says(v3, [](auto& c) { c.kv_lora_rank = 0; }, "kv_lora_rank is 0; accepted: 1 to 2^31");
  says(v3, [](auto& c) { c.first_k_dense_replace = 62; }, "first_k_dense_replace is 62; accepted: 0 to num_layers = 61");
  says(v3, [](auto& c) { c.num_kv_heads = 8; }, "num_kv_heads is 8; accepted: num_heads = 128");
  says(v3, [](auto& c) { c.scoring_func = "softmax"; }, "accepted: sigmoid, noaux_tc");
  auto object = v3.to_hf_json();
  object["moe_layer_freq"] = 2;
  EXPECT_SAYS(error_of([&] { from(object); }), "moe_layer_freq is 2; accepted: 1");
  auto dense = from(smollm2());
  dense.n_routed_experts = 8;
  EXPECT_SAYS(error_of([&] { dense.validate("here"); }), "n_routed_experts is 8; accepted: 0");
}

TEST(ModelConfig, ReadsTheFamilies) {
  const auto s = from(smollm2());
  EXPECT_EQ(s.head_dim, 64);
  EXPECT_EQ(s.rope_theta, 1e5);
  EXPECT_TRUE(s.tie_embeddings);
  EXPECT_FALSE(s.qkv_bias || s.o_bias || s.qk_norm || s.mlp_bias);
  EXPECT_EQ(s.eos_token_ids, (std::vector<int64_t>{2}));
  const auto q2 = from(qwen2());
  EXPECT_TRUE(q2.qkv_bias);
  EXPECT_FALSE(q2.o_bias || q2.qk_norm);
  EXPECT_EQ(q2.max_positions, 32768);
  const auto q3 = from(qwen3());
  EXPECT_TRUE(q3.qk_norm);
  EXPECT_FALSE(q3.qkv_bias);
  EXPECT_EQ(q3.head_dim, 128);
  const auto l = from(llama32());
  EXPECT_EQ(l.rope_scaling.kind, RopeScalingKind::kLlama3);
  EXPECT_EQ(l.rope_scaling.factor, 32.0);
  EXPECT_EQ(l.rope_scaling.original_max_position, 8192);
  EXPECT_EQ(l.eos_token_ids, (std::vector<int64_t>{128001, 128008, 128009}));
}

TEST(ModelConfig, TheContextEndsAtAnActiveSlidingWindow) {
  EXPECT_EQ(from(mistral()).max_positions, 4096);
  auto object = qwen2();
  object["sliding_window"] = 4096;
  EXPECT_EQ(from(object).max_positions, 32768);
  object["use_sliding_window"] = true;
  EXPECT_EQ(from(object).max_positions, 4096);
}

TEST(ModelConfig, BiasSwitchesOfTheFamilies) {
  auto object = smollm2();
  object["attention_bias"] = true;
  object["mlp_bias"] = true;
  const auto c = from(object);
  EXPECT_TRUE(c.qkv_bias && c.o_bias && c.mlp_bias);
  // 30 layers of q 576, k 192, v 192, o 576, gate 1536, up 1536, down 576
  EXPECT_EQ(c.num_parameters(), 134'515'008 + 30 * (576 + 192 + 192 + 576 + 1536 + 1536 + 576));
  auto mistral_bias = mistral();
  mistral_bias["attention_bias"] = true;  // that class ignores it
  EXPECT_FALSE(from(mistral_bias).qkv_bias);
}

TEST(ModelConfig, RopeParametersOfTransformers5) {
  auto object = llama32();
  object["rope_parameters"] = object["rope_scaling"];
  object["rope_parameters"]["rope_theta"] = object["rope_theta"];
  object.erase("rope_scaling");
  object.erase("rope_theta");
  EXPECT_EQ(from(object), from(llama32()));
}

TEST(ModelConfig, YarnAndLinear) {
  auto object = qwen2();
  object["rope_scaling"] = {{"type", "yarn"}, {"factor", 4.0}, {"original_max_position_embeddings", 32768}};
  auto c = from(object);
  EXPECT_EQ(c.rope_scaling.kind, RopeScalingKind::kYarn);
  EXPECT_EQ(c.rope_scaling.beta_fast, 32.0);
  EXPECT_EQ(c.rope_scaling.attention_factor, 0.0);
  object["rope_scaling"]["mscale"] = 1.0;
  object["rope_scaling"]["mscale_all_dim"] = 0.5;
  EXPECT_NEAR(from(object).rope_scaling.attention_factor,
              (0.1 * std::log(4.0) + 1) / (0.05 * std::log(4.0) + 1), 1e-15);
  object["rope_scaling"] = {{"rope_type", "linear"}, {"factor", 2.0}};
  c = from(object);
  EXPECT_EQ(c.rope_scaling.kind, RopeScalingKind::kLinear);
  EXPECT_EQ(c.rope_scaling.factor, 2.0);
}

TEST(ModelConfig, HfJsonRoundTrip) {
  for (auto object : {smollm2(), qwen2(), qwen3(), mistral(), llama32()}) {
    auto c = from(object);
    EXPECT_EQ(ModelConfig::from_hf_json(c.to_hf_json(), "again"), c) << object.dump();
    c.bos_token_id = -1;
    c.eos_token_ids.clear();
    c.rope_scaling = {RopeScalingKind::kYarn, 4.0, 4096, 1, 4, 16.0, 2.0, 1.5};
    c.rope_scaling.low_freq_factor = 1.0;
    EXPECT_EQ(ModelConfig::from_hf_json(c.to_hf_json(), "again"), c);
  }
}

TEST(ModelConfig, WhatIsNotSupportedIsSaid) {
  struct Case {
    const char* patch;
    const char* says;
  };
  for (const auto& [patch, says] : std::vector<Case>{
           {R"({"architectures": ["GemmaForCausalLM"]})",
            "architectures is GemmaForCausalLM; accepted: Llama"},
           {R"({"architectures": null})", "architectures is absent"},
           {R"({"architectures": []})", "architectures is a JSON array"},
           {R"({"hidden_act": "gelu"})", "hidden_act is \"gelu\"; accepted: silu"},
           {R"({"hidden_size": null})", "hidden_size is absent"},
           {R"({"hidden_size": "576"})", "hidden_size is \"576\"; accepted: an integer"},
           {R"({"hidden_size": 576.5})", "accepted: an integer"},
           {R"({"hidden_size": 18446744073709551615})", "accepted: an integer"},
           {R"({"hidden_size": -576})", "hidden_size is -576"},
           {R"({"hidden_size": 577})", "a divisor of hidden_size = 577"},
           {R"({"num_attention_heads": 0})", "num_attention_heads is 0"},
           {R"({"num_key_value_heads": 2})", "num_kv_heads is 2; accepted: a divisor of num_heads = 9"},
           {R"({"num_key_value_heads": 0})", "num_kv_heads is 0"},
           {R"({"head_dim": 63})", "head_dim is 63"},
           {R"({"vocab_size": 0})", "vocab_size is 0"},
           {R"({"rms_norm_eps": 0})", "rms_norm_eps is 0"},
           {R"({"rope_theta": -1})", "rope_theta is -1"},
           {R"({"eos_token_id": 49152})", "eos_token_ids is 49152; accepted: 0 to vocab_size - 1 = 49151"},
           {R"({"eos_token_id": [1, "x"]})", "eos_token_id is a JSON array; accepted: a token id"},
           {R"({"bos_token_id": 99999})", "bos_token_id is 99999"},
           {R"({"tie_word_embeddings": 1})", "tie_word_embeddings is 1; accepted: true or false"},
           {R"({"quantization_config": {"bits": 4}})",
            "quantization_config is a JSON object; accepted: absent"},
           {R"({"partial_rotary_factor": 0.5})", "partial_rotary_factor is 0.5; accepted: 1"},
           {R"({"rope_scaling": 5})", "rope_scaling is 5; accepted: an object"},
           {R"({"rope_scaling": {"type": "dynamic", "factor": 2}})",
            "rope_scaling.type is \"dynamic\"; accepted: default"},
           {R"({"rope_scaling": {"rope_type": "longrope"}})", "rope_scaling.rope_type is \"longrope\""},
           {R"({"rope_scaling": {"rope_type": "linear"}})", "rope_scaling.factor is absent"},
           {R"({"rope_scaling": {"rope_type": "linear", "factor": 0.5}})", "rope_scaling.factor is 0.5"},
           {R"({"rope_scaling": {"rope_type": "llama3", "factor": 8}})",
            "rope_scaling.low_freq_factor is absent"},
           {R"({"rope_scaling": {"rope_type": "yarn", "factor": 4, "truncate": false}})",
            "rope_scaling.truncate is false"},
       }) {
    auto object = smollm2();
    object.update(json::parse(patch));
    const auto text = error_of([&] { from(object); });
    EXPECT_SAYS(text, says);
    EXPECT_SAYS(text, "config.json");
  }
  EXPECT_SAYS(error_of([] { from(json::array()); }), "not a JSON object");
  auto object = qwen2();
  object.erase("num_key_value_heads");
  EXPECT_SAYS(error_of([&] { from(object); }), "num_key_value_heads is absent");
}

class ModelConfigFiles : public ::testing::Test {
 protected:
  void SetUp() override {
    dir_ = std::filesystem::temp_directory_path() / cat("r1_model_config_", ::getpid());
    std::filesystem::create_directories(dir_);
  }
  void TearDown() override { std::filesystem::remove_all(dir_); }
  void write(const char* name, const std::string& text) const { std::ofstream(dir_ / name) << text; }
  std::filesystem::path dir_;
};

TEST_F(ModelConfigFiles, GenerationConfigAddsEndTokens) {
  write("config.json", smollm2().dump());
  EXPECT_EQ(ModelConfig::from_hf(dir_), from(smollm2()));
  EXPECT_EQ(ModelConfig::from_hf(dir_ / "config.json"), from(smollm2()));
  write("generation_config.json", R"({"eos_token_id": [2, 0, 7]})");
  EXPECT_EQ(ModelConfig::from_hf(dir_).eos_token_ids, (std::vector<int64_t>{2, 0, 7}));
  write("generation_config.json", R"({"eos_token_id": 60000})");
  EXPECT_SAYS(error_of([&] { ModelConfig::from_hf(dir_); }),
              "generation_config.json: eos_token_ids is 60000");
}

TEST_F(ModelConfigFiles, BrokenFilesAreNamed) {
  EXPECT_SAYS(error_of([&] { ModelConfig::from_hf(dir_); }), (dir_ / "config.json").string());
  write("config.json", R"({"hidden_size": 5)");
  EXPECT_SAYS(error_of([&] { ModelConfig::from_hf(dir_); }), "not JSON");
  write("config.json", "");
  EXPECT_SAYS(error_of([&] { ModelConfig::from_hf(dir_); }), "not JSON");
  write("config.json", std::string(100000, '['));
  EXPECT_SAYS(error_of([&] { ModelConfig::from_hf(dir_); }), "nested deeper than 32");
}

TEST(ModelConfig, ParsesASection) {
  const auto node = ConfigNode::parse_text(R"(
model:
  architecture: Qwen3ForCausalLM
  hidden_size: 192
  intermediate_size: 512
  num_layers: 6
  num_heads: 6
  num_kv_heads: 2
  max_positions: 256
  rope_theta: 5000
  rope_scaling: {kind: yarn, factor: 4, original_max_position: 128}
  tie_embeddings: true
  eos_token_ids: [1, 3]
)",
                                           "tiny.yaml");
  const auto c = ModelConfig::parse(node.child("model"));
  EXPECT_EQ(c.vocab_size, 0);
  EXPECT_EQ(c.head_dim, 32);
  EXPECT_TRUE(c.qk_norm);
  EXPECT_FALSE(c.qkv_bias);
  EXPECT_EQ(c.rope_scaling.kind, RopeScalingKind::kYarn);
  EXPECT_EQ(c.rope_scaling.original_max_position, 128);
  EXPECT_EQ(c.eos_token_ids, (std::vector<int64_t>{1, 3}));
  node.reject_unknown_keys();
}

TEST(ModelConfig, ASectionsMistakesNameFileLineAndKey) {
  const std::string good = "hidden_size: 64\nintermediate_size: 128\nnum_layers: 2\nnum_heads: 4\n";
  struct Case {
    const char* more;
    const char* says;
  };
  for (const auto& [more, says] : std::vector<Case>{
           {"num_kv_heads: 3\n", "m.yaml:5: num_kv_heads is 3; accepted: a divisor of num_heads = 4"},
           {"head_dim: 7\n", "m.yaml:5: head_dim is 7"},
           {"architecture: GPT2LMHeadModel\n", "m.yaml:5: architecture is GPT2LMHeadModel"},
           {"rope_theta: 0\n", "m.yaml:5: rope_theta is 0"},
           {"n_heads: 3\n", "n_heads"},
           {"rope_scaling: {kind: dynamic}\n", "rope_scaling.kind is dynamic"},
           {"rope_scaling: {kind: linear}\n", "rope_scaling"},
           {"vocab_size: 10\nbos_token_id: 10\n", "bos_token_id is 10"},
       })
    EXPECT_SAYS(error_of([&] { ModelConfig::parse(ConfigNode::parse_text(good + more, "m.yaml")); }), says);
  EXPECT_SAYS(error_of([&] { ModelConfig::parse(ConfigNode::parse_text("hidden_size: 64\n", "m.yaml")); }),
              "intermediate_size");
  EXPECT_EQ(error_of([&] { ModelConfig::parse(ConfigNode::parse_text(good, "m.yaml")); }), "no error");
}

TEST(ModelConfig, ExpectedParametersAreThoseOfTheHfCheckpoint) {
  auto object = qwen3();
  object["num_hidden_layers"] = 1;
  object["tie_word_embeddings"] = false;
  const auto specs = expected_parameters(from(object));
  std::vector<std::string> names;
  for (const auto& spec : specs) names.push_back(spec.name);
  EXPECT_EQ(names, (std::vector<std::string>{
                       "model.embed_tokens.weight", "model.layers.0.input_layernorm.weight",
                       "model.layers.0.self_attn.q_proj.weight", "model.layers.0.self_attn.k_proj.weight",
                       "model.layers.0.self_attn.v_proj.weight", "model.layers.0.self_attn.o_proj.weight",
                       "model.layers.0.self_attn.q_norm.weight", "model.layers.0.self_attn.k_norm.weight",
                       "model.layers.0.post_attention_layernorm.weight",
                       "model.layers.0.mlp.gate_proj.weight", "model.layers.0.mlp.up_proj.weight",
                       "model.layers.0.mlp.down_proj.weight", "model.norm.weight", "lm_head.weight"}));
  EXPECT_EQ(specs[2].shape, (std::vector<int64_t>{2048, 1024}));
  EXPECT_EQ(specs[3].shape, (std::vector<int64_t>{1024, 1024}));
  EXPECT_EQ(specs[5].shape, (std::vector<int64_t>{1024, 2048}));
  EXPECT_EQ(specs[6].shape, (std::vector<int64_t>{128}));
  EXPECT_EQ(specs[11].shape, (std::vector<int64_t>{1024, 3072}));
}

}  // namespace
}  // namespace r1::model
