#pragma once
// Models with an MTP module that has something to say: trained in the test for a second on a language of digits.
#include <torch/torch.h>

#include "r1/model/transformer.h"
#include "r1/tokenizer/tokenizer.h"
#include "r1/util/random.h"

namespace r1::rollout::test {

inline Tokenizer digits_tokenizer() { return Tokenizer::characters("0123456789", {"<pad>", "<bos>", "<eos>"}); }

inline model::ModelConfig digits_config(bool mixture) {
  model::ModelConfig c;
  c.vocab_size = digits_tokenizer().vocab_size();
  c.hidden_size = 32;
  c.intermediate_size = 48;
  c.num_layers = 2;
  c.num_heads = 4;
  c.num_kv_heads = 2;
  c.head_dim = 8;
  c.max_positions = 128;
  c.initializer_range = 0.1;
  c.num_nextn_predict_layers = 1;
  if (mixture) {
    c.architecture = "DeepseekV3ForCausalLM";
    c.num_kv_heads = 4;
    c.kv_lora_rank = 18;
    c.qk_nope_head_dim = 8;
    c.qk_rope_head_dim = c.head_dim = 4;
    c.v_head_dim = 10;
    c.n_routed_experts = 8;
    c.num_experts_per_tok = 2;
    c.n_shared_experts = 1;
    c.moe_intermediate_size = 12;
    c.first_k_dense_replace = 1;
  }
  return c;
}

/// Three times of four a digit is one more than the last, else any; now and then the text ends.
inline std::vector<int64_t> digits_text(uint32_t number, int64_t length) {
  const auto tokenizer = digits_tokenizer();
  std::vector<int64_t> out{*tokenizer.bos_id()};
  uint64_t digit = number % 10;
  const auto zero = static_cast<uint64_t>(tokenizer.encode("0")[0]);
  for (uint32_t i = 0; static_cast<int64_t>(out.size()) < length; ++i) {
    const DrawKey key{.seed = 11, .stream = Stream::kTest, .prompt = number, .position = 2 * i};
    digit = draw_below(key, 4) < 3 ? (digit + 1) % 10 : draw_below({.seed = 11, .stream = Stream::kTest, .prompt = number, .position = 2 * i + 1}, 10);
    out.push_back(static_cast<int64_t>(zero + digit));
    if (i > 8 && digit == 9) out.push_back(*tokenizer.eos_id());
  }
  out.resize(static_cast<size_t>(length));
  return out;
}

inline model::Transformer trained_model(bool mixture, int64_t steps = 80) {
  model::Transformer model(digits_config(mixture));
  model->initialize(3);
  torch::optim::Adam optimizer(model->parameters(), torch::optim::AdamOptions(5e-3));
  constexpr int64_t kRows = 16, kLength = 24;
  ops::PackedLayout layout;
  for (int64_t b = 0; b < kRows; ++b) layout.add_sequence(kLength);
  layout.finish();
  const model::MtpLayout mtp(layout);
  const auto grid = torch::arange(kRows * kLength).view({kRows, kLength});
  const auto mtp_grid = torch::arange(kRows * (kLength - 1)).view({kRows, kLength - 1});
  for (int64_t step = 0; step < steps; ++step) {
    std::vector<int64_t> ids;
    for (int64_t b = 0; b < kRows; ++b) {
      const auto text = digits_text(static_cast<uint32_t>(step * kRows + b), kLength);
      ids.insert(ids.end(), text.begin(), text.end());
    }
    const auto ids_N = torch::tensor(ids, torch::kLong);
    const auto hidden = model->hidden(ids_N, layout);
    const auto mtp_hidden = model->mtp_hidden(ids_N, hidden, mtp, model::MtpGradient::kWithTrunk);
    const auto trunk = std::get<0>(model->logprobs(hidden.index_select(0, grid.narrow(1, 0, kLength - 1).reshape({-1})),
                                                   ids_N.view({kRows, kLength}).narrow(1, 1, kLength - 1).reshape({-1}), 1.0));
    const auto module = std::get<0>(model->mtp_logprobs(mtp_hidden.index_select(0, mtp_grid.narrow(1, 0, kLength - 2).reshape({-1})),
                                                        ids_N.view({kRows, kLength}).narrow(1, 2, kLength - 2).reshape({-1}), 1.0,
                                                        model::MtpGradient::kWithTrunk));
    optimizer.zero_grad();
    (-trunk.mean() - 0.3 * module.mean()).backward();
    optimizer.step();
  }
  return model;
}

}  // namespace r1::rollout::test
