#include "r1/rollout/engine.h"
#include "r1/rollout/sampling_config.h"

namespace r1::rollout {

SamplingConfig SamplingConfig::parse(ConfigNode node) {
  SamplingConfig c;
  node.read("temperature", c.rule.temperature, at_least(0.0), "0 takes the most likely token.");
  node.read("top_k", c.rule.top_k, at_least<int64_t>(0), "0 keeps every token.");
  node.read("top_p", c.rule.top_p, between(1e-6, 1.0), "1 keeps every token.");
  node.read("min_p", c.rule.min_p, between(0.0, 1.0), "0 keeps every token.");
  node.read("max_completion_tokens", c.max_completion_tokens, at_least<int64_t>(1));
  node.read("stop", c.stop);
  for (const auto& text : c.stop) {
    if (text.empty()) node.reject("stop", "texts of at least one character", "Leave the empty one out.");
  }
  node.read("stop_at_eos", c.stop_at_eos);
  node.reject_unknown_keys();
  return c;
}

EngineConfig EngineConfig::parse(ConfigNode node) {
  EngineConfig c;
  node.read("max_batch", c.max_batch, at_least<int64_t>(1));
  node.read("prefill_tokens", c.prefill_tokens, at_least<int64_t>(1));
  node.read("kv_cache_bytes", c.kv_cache_bytes, at_least<int64_t>(1 << 16));
  std::string speculation = "auto";
  node.read("speculation", speculation, one_of({"auto", "always", "off"}));
  c.speculation = speculation_mode(speculation);
  node.reject_unknown_keys();
  return c;
}

}  // namespace r1::rollout
