// r1 check-data: what of training files is contaminated by evaluation sets, claims to be another model, or is
// a repeat.
#include <cstdio>
#include <nlohmann/json.hpp>

#include "command_line.h"
#include "commands.h"
#include "output.h"
#include "r1/data/text_check.h"
#include "r1/util/error.h"
#include "r1/util/line_output.h"
#include "r1/util/progress.h"
#include "r1/util/strings.h"

namespace r1::apps {
namespace {

namespace fs = std::filesystem;

struct CheckDataOptions {
  std::vector<fs::path> files;
  TextCheckConfig checks;
  std::string identity = "off";
  std::vector<std::string> fields;
  fs::path out, report;
  bool json = false;
};

// What is written is new: an input that is also the output would be lost.
std::unique_ptr<LineOutput> open_output(const fs::path& file, const char* option) {
  if (file.empty()) return nullptr;
  if (fs::exists(file)) throw Error(cat(file.string(), " exists; name another file for ", option));
  return std::make_unique<LineOutput>(file);
}

void require_files(const std::vector<fs::path>& files) {
  for (const auto& file : files) {
    const auto name = file.filename().string();
    if (!name.ends_with(".jsonl") && !name.ends_with(".jsonl.zst") && !name.ends_with(".json")) {
      throw Error(cat(file.string(),
                      ": is neither .jsonl, .jsonl.zst nor .json; accepted: an object per line, or one array "
                      "of objects (.json)"));
    }
    if (!fs::exists(file))
      throw Error(cat(file.string(), ": no such file; accepted: .jsonl, .jsonl.zst or .json"));
  }
}

void check_file(const fs::path& file, const CheckDataOptions& options, TextChecker& checker, LineOutput* kept,
                const std::function<void(double part)>& progress) {
  const char* row_key = file.extension() == ".json" ? "row" : "line";
  read_rows(file, [&](const DataRow& row) {
    const auto texts = row_texts(row.value, options.fields);
    if (texts.empty()) {
      std::vector<std::string> names;
      for (const auto& item : row.value.items()) names.push_back(item.key());
      throw Error(cat(row_place(file, row.line), ": has no field with a text to check; it has ",
                      names.empty() ? "none" : join(names, ", "), ".\n  Name the fields: --fields a,b"));
    }
    if (checker.keeps({file.string(), row.line, row_id(row.value), row_key}, texts) && kept != nullptr)
      kept->write(row.raw);
    progress(row.part);
  });
}

void print_result(const CheckDataOptions& options, const TextChecker& checker, double seconds, double bytes) {
  const auto& c = checker.counts();
  if (options.json) {
    print(nlohmann::ordered_json{{"checked", c.checked},
                                 {"kept", c.kept},
                                 {"contaminated", c.contaminated},
                                 {"identity_dropped", c.identity_dropped},
                                 {"identity_reported", c.identity_reported},
                                 {"duplicates", c.duplicates},
                                 {"seconds", seconds},
                                 {"bytes", bytes}}
              .dump() +
          "\n");
    return;
  }
  std::string out;
  if (options.checks.decontaminates()) out += "evaluation   " + checker.describe_evaluation() + "\n";
  out += cat("rows         ", c.checked, ", kept ", c.kept, "\n");
  if (options.checks.decontaminates()) out += cat("contaminated ", c.contaminated, "\n");
  if (options.checks.identity != TextCheckConfig::Identity::kOff) {
    out += cat("identity     ", c.identity_dropped, " dropped, ", c.identity_reported, " reported\n");
  }
  if (options.checks.deduplicate) out += cat("duplicates   ", c.duplicates, "\n");
  char speed[64];
  std::snprintf(speed, sizeof speed, "%.1f MB in %.1f s, %.0f MB/min", bytes / 1e6, seconds,
                bytes / 1e6 / std::max(seconds, 1e-9) * 60);
  print(out + "speed        " + speed + "\n");
}

int check_data(CheckDataOptions& options) {
  using Identity = TextCheckConfig::Identity;
  options.checks.identity = options.identity == "drop"     ? Identity::kDrop
                            : options.identity == "report" ? Identity::kReport
                                                           : Identity::kOff;
  if (!options.checks.own_names.empty() && options.checks.identity == Identity::kOff) {
    throw Error("--own names what --identity allows; add --identity drop or --identity report");
  }
  if (!options.checks.any())
    throw Error("nothing to check; name at least one of --against FILE, --identity drop, --deduplicate");
  require_files(options.files);
  require_files(options.checks.against);
  const auto kept = open_output(options.out, "--out"), report = open_output(options.report, "--report");
  const double start_s = monotonic_s();
  TextChecker checker(options.checks, [&](const nlohmann::ordered_json& finding) {
    if (report) report->write(finding.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace));
  });
  double total_bytes = 0, done_bytes = 0;
  for (const auto& file : options.files) total_bytes += static_cast<double>(fs::file_size(file));
  Progress progress("check-data", static_cast<int64_t>(total_bytes));
  for (const auto& file : options.files) {
    const auto bytes = static_cast<double>(fs::file_size(file));
    check_file(file, options, checker, kept.get(), [&, rows = int64_t{0}](double part) mutable {
      if (++rows % 256 == 0)
        progress.update(static_cast<int64_t>(done_bytes + part * bytes), checker.describe_counts());
    });
    done_bytes += bytes;
  }
  progress.finish(checker.describe_counts());
  for (const auto& output : {kept.get(), report.get()}) {
    if (output != nullptr) output->commit();
  }
  print_result(options, checker, monotonic_s() - start_s, total_bytes);
  return 0;
}

}  // namespace

void add_check_data_command(CLI::App& app, Action& action) {
  auto* command = app.add_subcommand(
      "check-data",
      "contamination, foreign identity and repeats in training files: report, and what is left");
  const auto options = std::make_shared<CheckDataOptions>();
  command
      ->add_option("files", options->files,
                   "training data: .jsonl, .jsonl.zst (an object per line) or .json (one array)")
      ->required();
  command
      ->add_option("--against", options->checks.against,
                   "evaluation files: drop rows that share an n-gram of words with one, may be repeated")
      ->allow_extra_args(false)
      ->take_all();
  command->add_option("--ngram", options->checks.ngram, "n of --against; the DeepSeek-R1 paper's is 10")
      ->check(from_to(4, 100))
      ->capture_default_str();
  command
      ->add_option("--identity", options->identity,
                   "texts in which a model claims to be another one: drop, report or off")
      ->check(one_of({"drop", "report", "off"}))
      ->capture_default_str();
  command->add_option("--own", options->checks.own_names, "a name that --identity allows, may be repeated")
      ->allow_extra_args(false)
      ->take_all();
  command->add_flag("--deduplicate", options->checks.deduplicate,
                    "drop rows that equal an earlier one but for white space, case and quotes");
  command
      ->add_option("--fields", options->fields,
                   "fields to check, separated by commas; default: those with names used for texts")
      ->delimiter(',');
  command->add_option("--out", options->out, "a new file for the rows that stay, as they stand in the input");
  command->add_option(
      "--report", options->report,
      "a new file with one JSON line per finding: file, line, reason, n-gram, evaluation item");
  command->add_flag("--json", options->json, "the counts as one JSON line");
  set_examples(
      *command,
      "  r1 check-data train.jsonl --against gsm8k_test.jsonl --against aime24.jsonl --report dropped.jsonl "
      "--out kept.jsonl\n"
      "  r1 check-data sft.jsonl.zst --identity drop --own DeepSeek-R1 --deduplicate --out kept.jsonl\n"
      "  r1 check-data sft.jsonl --identity report --report claims.jsonl\n"
      "A row is dropped for the first of contamination, identity, duplicate. --out and --report appear when "
      "all is done. In a\n"
      "config the same checks are keys of `problems:` and of a text stage's `data:`; docs/data.md says what "
      "they find.\n");
  command->callback([options, &action] { action = [options] { return check_data(*options); }; });
}

}  // namespace r1::apps
