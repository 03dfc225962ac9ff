#pragma once
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "r1/reward/reward.h"

namespace r1 {

/// One sampled completion with all that was decided about it.
struct RolloutLogRow {
  int64_t prompt_id = 0;  ///< Problem::id
  int64_t sample = 0;     ///< 0 to G - 1
  std::string prompt;
  std::string text;        ///< the completion's bytes, not necessarily UTF-8
  int64_t num_tokens = 0;  ///< of the completion
  std::string finish_reason;
  Score score;
  std::string gold;
  double advantage = 0;
};

/// Writes <folder>/step-000010.jsonl.zst, atomically, one line per completion:
///
///   {"step": 10, "prompt_id": 7, "sample": 0, "prompt": "...", "text": "...", "num_tokens": 12,
///    "finish_reason": "stop", "reward": 1.2, "rewards": {"accuracy": 1.0, "format": 1.0}, "verdict":
///    "right", "extracted": "19", "gold": "19", "advantage": 0.7}
///
/// A text that is not UTF-8 has U+FFFD for what cannot be read and its exact bytes as base64 under
/// "<name>_base64" (prompt_base64, text_base64, extracted_base64, gold_base64). NaN stands as the text "NaN".
/// Returns the file's path. Throws Error naming path and reason.
std::filesystem::path write_rollout_log(const std::filesystem::path& folder, int64_t step,
                                        const std::vector<RolloutLogRow>& rows);

}  // namespace r1
