#pragma once
// A model of two layers and a stage's surroundings, small enough that a step takes milliseconds.
#include <gtest/gtest.h>
#include <torch/torch.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <string>

#include "r1/model/transformer.h"
#include "r1/train/stage.h"
#include "r1/util/strings.h"

namespace r1::train::test {

inline Tokenizer tiny_tokenizer() { return Tokenizer::characters("012+=", {"<pad>", "<bos>", "<eos>"}); }

inline model::Transformer tiny_model(uint64_t seed = 3) {
  model::ModelConfig c;
  c.vocab_size = tiny_tokenizer().vocab_size();
  c.hidden_size = 32;
  c.intermediate_size = 48;
  c.num_layers = 2;
  c.num_heads = 4;
  c.num_kv_heads = 2;
  c.head_dim = 8;
  c.max_positions = 64;
  c.initializer_range = 0.2;
  model::Transformer model(c);
  model->initialize(seed);
  return model;
}

/// Latent attention, experts in the second of two layers.
inline model::Transformer tiny_mixture(uint64_t seed = 3) {
  model::ModelConfig c;
  c.architecture = "DeepseekV3ForCausalLM";
  c.vocab_size = tiny_tokenizer().vocab_size();
  c.hidden_size = 32;
  c.intermediate_size = 48;
  c.num_layers = 2;
  c.num_heads = c.num_kv_heads = 4;
  c.kv_lora_rank = 16;
  c.qk_nope_head_dim = c.v_head_dim = 8;
  c.qk_rope_head_dim = c.head_dim = 4;
  c.n_routed_experts = 8;
  c.num_experts_per_tok = 2;
  c.n_shared_experts = 1;
  c.moe_intermediate_size = 16;
  c.first_k_dense_replace = 1;
  c.max_positions = 64;
  c.initializer_range = 0.2;
  model::Transformer model(c);
  model->initialize(seed);
  return model;
}

/// One of the two with an MTP module; the trunk's weights are those of the model without.
inline model::Transformer with_mtp(const model::Transformer& like, uint64_t seed = 3) {
  auto c = like->config();
  c.num_nextn_predict_layers = 1;
  model::Transformer model(c);
  model->initialize(seed);
  return model;
}

/// A folder of its own for one test; removed at the end.
class RunFolder {
 public:
  explicit RunFolder(const std::string& name) : path_(std::filesystem::temp_directory_path() / cat("r1_stage_test_", ::getpid(), "_", name)) {
    std::filesystem::remove_all(path_);
    std::filesystem::create_directories(path_);
    tiny_tokenizer().save(path_ / "tokenizer");
  }
  ~RunFolder() { std::filesystem::remove_all(path_); }
  const std::filesystem::path& path() const { return path_; }
  StageContext context(const std::string& stage, model::Transformer model) const {
    return {stage, path_, 7, model, tiny_tokenizer(), false};
  }

 private:
  std::filesystem::path path_;
};

inline double value_of(const Metrics& metrics, const std::string& name) {
  for (const auto& [key, value] : metrics) {
    if (key == name) return value;
  }
  ADD_FAILURE() << "no figure " << name;
  return -1;
}

inline std::vector<torch::Tensor> copy_of(const model::Transformer& model) {
  std::vector<torch::Tensor> out;
  for (const auto& [name, tensor] : model->named_tensors()) out.push_back(tensor.clone());
  return out;
}

/// Bit for bit, NaN included.
inline bool same_bits(const std::vector<torch::Tensor>& a, const std::vector<torch::Tensor>& b) {
  if (a.size() != b.size()) return false;
  for (size_t i = 0; i < a.size(); ++i) {
    if (a[i].sizes() != b[i].sizes() || std::memcmp(a[i].data_ptr(), b[i].data_ptr(), a[i].nbytes()) != 0) return false;
  }
  return true;
}

}  // namespace r1::train::test
