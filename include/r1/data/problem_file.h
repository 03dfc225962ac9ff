#pragma once
#include <cstdint>
#include <filesystem>
#include <string>

#include "r1/data/problem.h"
#include "r1/data/text_check.h"
#include "r1/util/config.h"

namespace r1 {

/// `problems: {kind: jsonl}` and `{kind: json_array}`: questions and answers from a file.
///
///   problems:
///     kind: jsonl                    # an object per line, also .jsonl.zst; json_array: an array of objects
///     file: data/gsm8k_train.jsonl
///     eval_file: data/held_out.jsonl # optional: then all of `file` is training
///     prompt_field: question         # these three are recognised from the first row when none is given:
///     answer_field: answer           # GSM8K, MATH, AIME, HumanEval, MBPP, see problem_fields.h
///     answer_after: "####"           # the gold answer follows the last one of these; "": the whole field
///     prompt: "{prompt}\n"           # template
///     limit: 0                       # only the first so many, all when 0
///     eval_fraction: 0.1             # and eval_size, split_seed: see SplitConfig
///     decontaminate, identity, own_names, deduplicate: see TextCheckConfig; they drop training problems by their question
///
/// The split is by a hash of the question without white space; questions that differ in nothing else are one.
///
/// A repeated question and an empty gold answer (also null, or none after answer_after) are left out, counted
/// and warned of.
struct ProblemFileConfig {
  bool json_array = false;
  bool recognise = true;  ///< the three fields below by each file's first row; as they stand when it has no known form
  std::filesystem::path file;
  std::filesystem::path eval_file;
  std::string prompt_field = "question";
  std::string answer_field = "answer";
  std::string answer_after;
  std::string prompt = "{prompt}";
  int64_t limit = 0;
  SplitConfig split;
  TextCheckConfig checks;
  static ProblemFileConfig parse(ConfigNode node);
};

/// Throws Error "<file>:<line>: ..." (array: "<file>: element 12: ...") for a missing or non-text field, for
/// a broken file, and when no problem is left.
ProblemSet file_problems(const ProblemFileConfig& config);

/// All problems of one file with recognised fields, none held out, in the order of the keyed shuffle that held-out
/// problems have: the first n are a sample. `.json` is an array of objects, anything else an object per line.
/// Throws as above.
std::vector<Problem> read_benchmark(const std::filesystem::path& file);

}  // namespace r1
