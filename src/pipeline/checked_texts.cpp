#include "checked_texts.h"

#include "r1/util/error.h"
#include "r1/util/file.h"
#include "r1/util/log.h"
#include "r1/util/strings.h"

namespace r1::pipeline {

CheckedTexts check_texts(const TextCheckConfig& checks, const std::string& origin,
                         std::vector<TextExample> examples, const std::vector<Problem>& held_out) {
  CheckedTexts out;
  TextChecker checker(checks,
                      [&](const nlohmann::ordered_json& finding) { out.findings.push_back(finding); });
  if (checks.against_held_out) {
    for (const auto& problem : held_out) {
      checker.protect({"held_out", problem.id, row_id(problem.extra)},
                      {{"question", problem.question, true}, {"solution", problem.solution, false}});
    }
  }
  for (size_t i = 0; i < examples.size(); ++i) {
    auto& example = examples[i];
    std::vector<RowText> texts{{"completion", example.completion, false}};
    if (!example.prompt.empty()) texts.insert(texts.begin(), {"prompt", example.prompt, true});
    if (checker.keeps({origin, static_cast<int64_t>(i), ""}, texts))
      out.examples.push_back(std::move(example));
  }
  log_info(cat(origin, ": ", checker.describe_counts(),
               checks.decontaminates() ? " (" + checker.describe_evaluation() + ")" : ""));
  if (out.examples.empty()) {
    throw Error(
        cat(origin, ": no text is left, ", checker.describe_counts(),
            "; accepted: at least one.\n  `r1 check-data` writes a report of what is dropped and why."));
  }
  return out;
}

void write_findings(const std::filesystem::path& run_dir, const std::string& name,
                    const std::vector<nlohmann::ordered_json>& findings) {
  std::string lines;
  for (const auto& finding : findings)
    lines += finding.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n";
  std::filesystem::create_directories(run_dir / "data_report");
  write_file_atomic(run_dir / "data_report" / (name + ".jsonl"), lines);
}

}  // namespace r1::pipeline
