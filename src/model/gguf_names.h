#pragma once
#include <cstdint>
#include <string>

#include "r1/model/model_config.h"

namespace r1::model {

/// llama.cpp's architecture name ("llama", "qwen2", "qwen3") of a HF class; Mistral is a "llama" there.
std::string gguf_architecture(const std::string& hf_architecture);

/// "blk.3.attn_q.weight" -> "model.layers.3.self_attn.q_proj.weight"; "" for a name that is no parameter.
std::string hf_name_of_gguf(const std::string& name);
/// The inverse; "" when there is none.
std::string gguf_name_of_hf(const std::string& name);

/// Heads of a weight or bias whose rows llama.cpp stores in another order (q_proj and k_proj of architecture
/// "llama"), or 0 for one that is stored as in HF.
int64_t permuted_heads(const ModelConfig& config, const std::string& hf_name);

/// llama.cpp's rotary code for "llama" turns neighbouring channels (2i, 2i+1), HF's turns (i, i + D/2).
/// Therefore row h D + 2i + j of the GGUF tensor is row h D + j D/2 + i of the HF tensor (i < D/2, j < 2).
/// Returns the HF row.
inline int64_t hf_row_of_gguf_row(int64_t row, int64_t head_dim) {
  const int64_t in_head = row % head_dim;
  return row - in_head + in_head % 2 * (head_dim / 2) + in_head / 2;
}

}  // namespace r1::model
