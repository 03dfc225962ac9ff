#include "r1/model/flops.h"

namespace r1::model {

PassCounts& PassCounts::operator+=(const PassCounts& other) {
  tokens += other.tokens;
  logit_rows += other.logit_rows;
  attended += other.attended;
  return *this;
}

PassCounts PassCounts::operator-(const PassCounts& other) const {
  return {tokens - other.tokens, logit_rows - other.logit_rows, attended - other.attended};
}

PassCounts counts_of(const ops::PackedLayout& layout, int64_t logit_rows) {
  PassCounts counts{static_cast<double>(layout.num_rows), static_cast<double>(logit_rows), 0};
  for (const auto& s : layout.segments) {
    counts.attended += counts_of(1, static_cast<double>(s.first_position), static_cast<double>(s.num_rows)).attended;
  }
  return counts;
}

PassCounts counts_of(double sequences, double context, double length) {
  const double tokens = sequences * length;
  return {tokens, tokens, sequences * (length * context + length * (length + 1) / 2)};
}

PassCounts mtp_counts(const ModelConfig& config, const PassCounts& rows) {
  const double block = FlopShape::of(config).block_parameters;
  return {rows.tokens * static_cast<double>(config.num_active_mtp_parameters()) / block, rows.logit_rows,
          rows.attended / static_cast<double>(config.num_layers)};
}

FlopShape FlopShape::of(const ModelConfig& c) {
  const auto head = static_cast<double>(c.vocab_size * c.hidden_size);
  return {static_cast<double>(c.num_active_parameters()) - head * (c.tie_embeddings ? 1 : 2), head,
          2.0 * static_cast<double>(c.num_layers * c.num_heads * (c.key_dim() + c.value_dim()))};
}

double forward_flops(const FlopShape& shape, const PassCounts& counts) {
  return 2 * shape.block_parameters * counts.tokens + 2 * shape.head_parameters * counts.logit_rows +
         shape.attention_per_pair * counts.attended;
}

double training_flops(const FlopShape& shape, const PassCounts& counts, bool activation_checkpointing) {
  const double head = 2 * shape.head_parameters * counts.logit_rows;
  return (activation_checkpointing ? 4 : 3) * (forward_flops(shape, counts) - head) + 4 * head;
}

}  // namespace r1::model
