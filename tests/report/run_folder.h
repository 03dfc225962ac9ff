#pragma once
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "r1/util/jsonl.h"
#include "util/temp_folder.h"

namespace r1::report::testing_support {

using r1::testing_support::TempFolder;

inline const char* const kConfig = R"(name: small
reward:
  parts:
    accuracy: {kind: exact_answer}
    format: {kind: format, weight: 0.2}
pipeline:
  - {name: base_model, kind: pretrain, steps: 20}
  - {name: zero, kind: grpo, steps: 40}
)";

/// A metrics row of stage zero: `values` as in {"reward_accuracy": 0.5}.
inline std::string row(int64_t step, const nlohmann::json& values, const std::string& stage = "zero") {
  nlohmann::json line{{"stage", stage}, {"step", step}};
  line.update(values);
  return line.dump() + "\n";
}

inline nlohmann::json completion(int64_t prompt, int64_t sample, const std::string& text,
                                 const std::string& verdict, double format = 1) {
  return {{"step", 1},
          {"prompt_id", prompt},
          {"sample", sample},
          {"prompt", "question " + std::to_string(prompt)},
          {"text", text},
          {"num_tokens", 7},
          {"finish_reason", "eos"},
          {"reward", verdict == "right" ? 1.2 : 0.2},
          {"rewards", {{"accuracy", verdict == "right" ? 1 : 0}, {"format", format}}},
          {"verdict", verdict},
          {"extracted", "5"},
          {"gold", "6"},
          {"advantage", 0.5}};
}

/// Writes rollouts/<stage>/step-<step>.jsonl.zst.
inline void write_rollout(const TempFolder& folder, const std::string& stage, int64_t step,
                          const std::vector<nlohmann::json>& rows) {
  std::string text;
  for (const auto& line : rows)
    text += line.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
  char name[64];
  std::snprintf(name, sizeof name, "step-%06d.jsonl.zst", static_cast<int>(step));
  std::filesystem::create_directories(folder / "rollouts" / stage);
  write_zstd(folder / "rollouts" / stage / name, text);
}

}  // namespace r1::report::testing_support
