#pragma once
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace r1::pipeline {

/// Times one kind of work on a model shape with random weights and tokens: `what` is train, forward, rollout, grpo or
/// experts (one expert layer alone, forward and backward).
/// The file holds `model:` (shape or path) and
///   rows, tokens_per_row          train, forward, experts: sequences and their length
///   sequences, prompt_tokens, new_tokens, max_batch   rollout
///   prompts, prompt_tokens, completions, completion_tokens, kl_coef   grpo
///   micro_batch_tokens, repeats, warmup, threads, device
/// Returns {"name", "tokens_per_s" and "seconds" (medians), "seconds_all", "gflops_per_s", ...}. Tokens are those of the
/// work's product: trained tokens, scored tokens, new tokens, completion tokens.
nlohmann::json bench(const std::string& what, const std::filesystem::path& config, const std::vector<std::string>& overrides);

}  // namespace r1::pipeline
