#include "r1/data/problem_file.h"

#include <functional>
#include <optional>
#include <unordered_set>

#include "r1/data/problem_fields.h"
#include "r1/data/prompt_template.h"
#include "r1/data/row_texts.h"
#include "r1/util/error.h"
#include "r1/util/jsonl.h"
#include "r1/util/log.h"
#include "r1/util/strings.h"
#include "split.h"

namespace r1 {
namespace {

using Row = std::function<void(const std::string& where, int64_t index, const nlohmann::json& row)>;

std::string trimmed(const std::string& text) {
  const char* spaces = " \t\r\n\f\v";
  const size_t first = text.find_first_not_of(spaces);
  if (first == std::string::npos) return "";
  return text.substr(first, text.find_last_not_of(spaces) - first + 1);
}

/// The question without white space: texts that differ in nothing else are the same question.
std::string without_spaces(const std::string& text) {
  std::string out;
  for (const char c : text) {
    if (c != ' ' && (c < '\t' || c > '\r')) out += c;
  }
  return out;
}

/// The field as text; a number counts as its own digits, null as no text.
std::string text_field(const nlohmann::json& row, const std::string& field, const std::string& where) {
  const auto found = row.find(field);
  if (found == row.end()) {
    std::vector<std::string> names;
    for (const auto& item : row.items()) names.push_back(item.key());
    const std::string near = nearest(field, names);
    throw Error(cat(where, ": has no field \"", field, "\"; it has ",
                    names.empty() ? "none" : join(names, ", "), ".\n  ",
                    near.empty() ? "" : cat("Did you mean \"", near, "\"? "),
                    "Set prompt_field and answer_field to the names in the file."));
  }
  if (found->is_null()) return "";
  if (found->is_number()) return found->dump();
  if (!found->is_string()) {
    throw Error(
        cat(where, ": field \"", field, "\" is ", found->type_name(), "; accepted: text or a number."));
  }
  return found->get<std::string>();
}

class Reader {
 public:
  explicit Reader(const ProblemFileConfig& config) : config_(config) {}

  /// Appends the problems of `file`; `side` picks the list by the question without white space.
  void read(const std::filesystem::path& file, ProblemSet& set,
            const std::function<std::vector<Problem>&(const std::string& key)>& side) {
    std::optional<ProblemFields> form;
    const Row row = [&](const std::string& where, int64_t index, const nlohmann::json& fields) {
      if (config_.limit > 0 && index >= config_.limit) return;
      if (!form) form = fields_of(fields);
      const std::string question = text_field(fields, form->prompt, where);
      nlohmann::json asserts;
      const std::string answer = form->is_code() ? tests_of(fields, *form, asserts) : gold_answer(*form, fields, where);
      if (trimmed(question).empty()) {
        throw Error(cat(where, ": field \"", form->prompt, "\" is empty; accepted: a question."));
      }
      if (answer.empty()) {
        ++set.gold_unreadable;
        return;
      }
      const std::string key = without_spaces(question);
      if (!seen_.insert(key).second) {
        ++set.repeated;
        return;
      }
      Problem problem;
      problem.id = next_id_ + index;
      problem.prompt = fill_template(config_.prompt, {{"prompt", question}});
      problem.answer = answer;
      problem.question = question;
      if (!form->is_code()) problem.solution = text_field(fields, form->answer, where);
      problem.kind = config_.json_array ? "json_array" : "jsonl";
      problem.extra = fields;
      problem.extra.erase(form->prompt);
      problem.extra.erase(form->answer);
      if (form->is_code()) problem.extra["asserts"] = asserts;
      side(key).push_back(std::move(problem));
    };
    int64_t num_rows = 0;
    if (config_.json_array) {
      read_json_array(file, [&](const DataRow& element) {
        num_rows = element.line + 1;
        row(cat(file.string(), ": element ", element.line), element.line, element.value);
      });
    } else {
      read_jsonl(file, [&](int64_t line, const nlohmann::json& fields) {
        row(cat(file.string(), ":", line), num_rows++, fields);
      });
    }
    next_id_ += num_rows;
  }
  int64_t next_id() const { return next_id_; }

 private:
  ProblemFields fields_of(const nlohmann::json& first_row) const {
    if (config_.recognise) {
      if (auto form = recognise_fields(first_row)) return *form;
    }
    return {"given", config_.prompt_field, config_.answer_field, config_.answer_after};
  }

  static std::string gold_answer(const ProblemFields& form, const nlohmann::json& fields, const std::string& where) {
    const std::string answer = text_field(fields, form.answer, where);
    if (form.form == "solution") return trimmed(boxed_answer(answer));
    if (form.answer_after.empty()) return trimmed(answer);
    const size_t mark = answer.rfind(form.answer_after);
    return mark == std::string::npos ? "" : trimmed(answer.substr(mark + form.answer_after.size()));
  }

  /// The tests as one text, which stands for the gold answer in logs; empty when there is none.
  static std::string tests_of(const nlohmann::json& fields, const ProblemFields& form, nlohmann::json& asserts) {
    asserts = code_asserts(fields, form);
    std::vector<std::string> texts;
    for (const auto& test : asserts) texts.push_back(test.get<std::string>());
    return join(texts, "\n");
  }

  const ProblemFileConfig& config_;
  std::unordered_set<std::string> seen_;
  int64_t next_id_ = 0;
};

/// Drops training problems by their question; the held-out ones stay, and are what `held_out` means. `first_id`: of the
/// training file.
void check_problems(const ProblemFileConfig& config, int64_t first_id, ProblemSet& set) {
  TextChecker checker(config.checks, [&](const nlohmann::ordered_json& finding) { set.findings.push_back(finding); });
  const auto place = [&](const Problem& problem, const std::filesystem::path& file) {
    return TextPlace{file.string(), problem.id - (file == config.file ? first_id : 0), row_id(problem.extra)};
  };
  for (const auto& problem : set.eval) {
    std::vector<RowText> texts{{"question", problem.question, true}};
    if (config.checks.against_held_out) texts.push_back({"solution", problem.solution, false});
    checker.protect(place(problem, config.eval_file.empty() ? config.file : config.eval_file), texts);
  }
  std::erase_if(set.train, [&](const Problem& problem) { return !checker.keeps(place(problem, config.file), {{"question", problem.question, true}}); });
  set.checks = checker.describe_counts();
  if (config.checks.decontaminates()) set.checks += cat(" (", checker.describe_evaluation(), ")");
  if (set.train.empty()) {
    throw Error(cat(config.file.string(), ": no training problem is left, ", set.checks, "; accepted: at least one.\n  `r1 check-data` writes a report of what is dropped and why."));
  }
}

}  // namespace

ProblemFileConfig ProblemFileConfig::parse(ConfigNode node) {
  ProblemFileConfig config;
  std::string kind = "jsonl";
  node.read("kind", kind, one_of({"jsonl", "json_array"}));
  config.json_array = kind == "json_array";
  node.require("file", config.file);
  node.read("eval_file", config.eval_file);
  config.recognise = !node.has("prompt_field") && !node.has("answer_field") && !node.has("answer_after");
  node.read("prompt_field", config.prompt_field);
  node.read("answer_field", config.answer_field);
  node.read("answer_after", config.answer_after);
  node.read("prompt", config.prompt);
  require_placeholders(node, "prompt", config.prompt, {"prompt"});
  node.read("limit", config.limit, at_least<int64_t>(0), "0 takes all.");
  config.split = parse_split(node);
  config.checks = TextCheckConfig::parse(node);
  node.reject_unknown_keys();
  if (node.has("eval_file") && node.has("eval_fraction")) {
    node.reject("eval_fraction", "no eval_fraction beside an eval_file",
                "The held-out problems are those of the file.");
  }
  return config;
}

ProblemSet file_problems(const ProblemFileConfig& config) {
  ProblemSet set;
  Reader reader(config);
  int64_t first_id = 0;
  if (config.eval_file.empty()) {
    reader.read(config.file, set, [&](const std::string& key) -> std::vector<Problem>& {
      return is_held_out_text(key, config.split) ? set.eval : set.train;
    });
  } else {
    // The held-out file first, so that a question that stands in both is left out of training.
    reader.read(config.eval_file, set, [&](const std::string&) -> std::vector<Problem>& { return set.eval; });
    first_id = reader.next_id();
    reader.read(config.file, set, [&](const std::string&) -> std::vector<Problem>& { return set.train; });
  }
  // Before the split is cut to eval_size: what a smaller evaluation leaves out stays out of training.
  if (config.checks.any() && !set.train.empty()) check_problems(config, first_id, set);
  finish_split(set, config.split);
  return set;
}

std::vector<Problem> read_benchmark(const std::filesystem::path& file) {
  ProblemFileConfig config;
  config.json_array = file.extension() == ".json";
  ProblemSet set;
  Reader(config).read(file, set, [&](const std::string&) -> std::vector<Problem>& { return set.eval; });
  if (set.eval.empty()) {
    throw Error(cat(file.string(), ": no problem with a gold answer that can be read (", set.gold_unreadable,
                    " without); accepted: at least one."));
  }
  if (set.gold_unreadable > 0) log_warning(cat(file.string(), ": ", set.gold_unreadable, " problems left out, without a gold answer"));
  if (set.repeated > 0) log_warning(cat(file.string(), ": ", set.repeated, " problems left out, an earlier one has the same question"));
  shuffle_held_out(set.eval, config.split);
  return std::move(set.eval);
}

}  // namespace r1
