#pragma once
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "r1/data/problem.h"
#include "r1/data/text_check.h"
#include "r1/data/text_examples.h"

namespace r1::pipeline {

/// Texts that passed the checks of their source, and what was found in the others.
struct CheckedTexts {
  std::vector<TextExample> examples;
  std::vector<nlohmann::ordered_json> findings;
};

/// Applies `checks` to texts of `origin` (a file, or "stage <name>"). `held_out`: the problems that
/// `held_out` means. Logs what was dropped. Throws Error when no text is left.
CheckedTexts check_texts(const TextCheckConfig& checks, const std::string& origin,
                         std::vector<TextExample> examples, const std::vector<Problem>& held_out);

/// Writes <run_dir>/data_report/<name>.jsonl, a finding per line, atomically.
void write_findings(const std::filesystem::path& run_dir, const std::string& name,
                    const std::vector<nlohmann::ordered_json>& findings);

}  // namespace r1::pipeline
