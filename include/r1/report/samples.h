#pragma once
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "r1/report/run_record.h"

namespace r1::report {

/// Limits on what is read and kept of the sampled texts.
struct SampleLimits {
  size_t files_per_stage = 48;                 ///< step files that are read, evenly spread over the stage
  uint64_t packed_bytes_per_stage = 64 << 20;  ///< fewer files where these are large; two at least
  size_t groups_per_file = 8;                  ///< that can be kept
  size_t text_bytes = 6000;                    ///< a longer text keeps its first and last half of that
  size_t least_text_bytes = 750;   ///< to which text_bytes is halved until every stage has groups_per_stage
  size_t groups_per_stage = 8;     ///< that should fit
  size_t total_bytes = 2'000'000;  ///< of all groups as JSON in the page, over all stages
};

/// Signs in the texts of one rollout file, all its completions counted.
struct TextSigns {
  int64_t step = 0;
  int64_t completions = 0;
  double reflective_words = 0;  ///< mean per completion of count_reflective_words
  double repetitive = 0;  ///< share of completions of at least 40 bytes with a repeated_share of 0.5 or more
};

struct StageSamples {
  std::string stage;
  std::vector<TextSigns> signs;        ///< by step
  std::vector<int64_t> steps_read;     ///< whose files were read
  int64_t files = 0;                   ///< that there are
  int64_t groups_read = 0;             ///< in the files that were read
  std::vector<nlohmann::json> groups;  ///< kept, by step and place in the file
};

/// Reads texts of rollouts/<stage>/ and, of stages that kept texts, data/<stage>/. Files are picked evenly
/// over the steps, the first and the last included. Of each file the first group with all completions wrong,
/// the first with a completion of right format and wrong answer, the first with right and wrong ones come
/// first, then the others, evenly; groups enter in that order, one of every file in turn, the files spread
/// over the steps, until `total_bytes` are used. A file that cannot be read is left out with a note in
/// `run.notes`. A group:
///
///   {"stage", "step", "id", "prompt", "gold", "all_wrong": bool, "format_only": bool, "completions":
///   [{"text", "tokens", "finish",
///    "reward", "parts": {name: value}, "verdict", "extracted", "advantage", "reflective": n, "bytes": length
///    of the whole text}]}
std::vector<StageSamples> read_samples(RunRecord& run, const SampleLimits& limits = {});

/// `text` when it is no longer than `limit` bytes; otherwise its first and last limit / 2 bytes, cut between
/// characters of UTF-8, around a line that says how many bytes are left out; `cut` gets that number. A text
/// that has been shortened before can be shortened again: `original_bytes` is then its first length.
std::string shorten(const std::string& text, size_t limit, size_t& cut, size_t original_bytes = 0);

}  // namespace r1::report
