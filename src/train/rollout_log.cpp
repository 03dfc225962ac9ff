#include "r1/train/rollout_log.h"

#include <array>
#include <cstdio>

#include "json_number.h"
#include "lossless_text.h"
#include "r1/util/jsonl.h"

namespace r1 {

std::filesystem::path write_rollout_log(const std::filesystem::path& folder, int64_t step,
                                        const std::vector<RolloutLogRow>& rows) {
  std::string lines;
  for (const auto& row : rows) {
    nlohmann::ordered_json line;
    line["step"] = step;
    line["prompt_id"] = row.prompt_id;
    line["sample"] = row.sample;
    set_text(line, "prompt", row.prompt);
    set_text(line, "text", row.text);
    line["num_tokens"] = row.num_tokens;
    line["finish_reason"] = row.finish_reason;
    line["reward"] = json_number(row.score.total);
    line["rewards"] = nlohmann::ordered_json::object();
    for (const auto& [name, value] : row.score.parts) line["rewards"][name] = json_number(value);
    line["verdict"] = verdict_name(row.score.verdict);
    set_text(line, "extracted", row.score.extracted);
    set_text(line, "gold", row.gold);
    for (const auto& answer : row.score.answers) {
      auto& part = line["answers"][answer.part];
      part["verdict"] = verdict_name(answer.verdict);
      set_text(part, "extracted", answer.extracted);
    }
    line["advantage"] = json_number(row.advantage);
    lines += line.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n";
  }
  std::array<char, 64> name{};
  std::snprintf(name.data(), name.size(), "step-%06lld.jsonl.zst", static_cast<long long>(step));
  std::error_code ignored;
  std::filesystem::create_directories(folder, ignored);  // writing the file reports what went wrong
  write_zstd(folder / name.data(), lines);
  return folder / name.data();
}

}  // namespace r1
