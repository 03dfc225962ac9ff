#include "r1/train/metrics.h"

#include <cerrno>
#include <chrono>
#include <cstring>
#include <nlohmann/json.hpp>

#include "json_number.h"
#include "r1/util/error.h"
#include "r1/util/file.h"
#include "r1/util/strings.h"
#include "tensorboard.h"

namespace r1 {
namespace {

constexpr const char* kRowsFile = "metrics.jsonl";

double system_time_s() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

bool is_beyond(const nlohmann::json& row, const std::string& stage, int64_t last_step) {
  return row.value("stage", std::string()) == stage && row.at("step").get<int64_t>() > last_step;
}

/// How many bytes of `text` a run that goes on from `last_step` keeps.
size_t kept_bytes(const std::string& text, const std::string& stage, int64_t last_step,
                  const std::filesystem::path& file) {
  int64_t line = 0;
  for (size_t begin = 0; begin < text.size();) {
    ++line;
    const size_t end = text.find('\n', begin);
    if (end == std::string::npos) return begin;  // a killed process left half a line
    try {
      if (is_beyond(nlohmann::json::parse(text.substr(begin, end - begin)), stage, last_step)) return begin;
    } catch (const nlohmann::json::exception& error) {
      if (end + 1 >= text.size()) return begin;
      throw Error(
          cat(file.string(), ":", line, ": not a row of metrics (", error.what(),
              "); accepted: a JSON object with a step.\n  Remove the line, or move the file away: the run "
              "goes on with a new one."));
    }
    begin = end + 1;
  }
  return text.size();
}

}  // namespace

MetricsWriter::MetricsWriter(std::filesystem::path run_dir, MetricsOptions options)
    : MetricsWriter(std::move(run_dir), std::move(options), -1) {}

MetricsWriter::MetricsWriter(std::filesystem::path run_dir, MetricsOptions options, int64_t purge_step)
    : rows_path_(run_dir / kRowsFile), options_(std::move(options)) {
  if (!options_.wall_time_s) options_.wall_time_s = system_time_s;
  std::error_code ignored;
  std::filesystem::create_directories(run_dir, ignored);  // opening the file reports what went wrong
  errno = 0;
  rows_.open(rows_path_, std::ios::binary | std::ios::app);
  if (!rows_) throw Error(cat(rows_path_.string(), ": cannot open for writing: ", std::strerror(errno)));
  board_ = std::make_unique<TensorBoardFile>(run_dir / "tb", options_.wall_time_s(), purge_step);
}

MetricsWriter::~MetricsWriter() = default;
MetricsWriter::MetricsWriter(MetricsWriter&& other) noexcept = default;
MetricsWriter& MetricsWriter::operator=(MetricsWriter&& other) noexcept = default;

MetricsWriter MetricsWriter::open_resumed(std::filesystem::path run_dir, int64_t last_step,
                                          MetricsOptions options) {
  const auto file = run_dir / kRowsFile;
  if (std::filesystem::exists(file)) {
    const std::string text = read_file(file);
    const size_t kept = kept_bytes(text, options.stage, last_step, file);
    if (kept < text.size()) write_file_atomic(file, std::string_view(text).substr(0, kept));
  }
  return MetricsWriter(std::move(run_dir), std::move(options), last_step + 1);
}

std::string MetricsWriter::tag(const std::string& name) const {
  return options_.stage.empty() ? name : options_.stage + "/" + name;
}

void MetricsWriter::write(int64_t step, const std::vector<std::pair<std::string, double>>& values) {
  nlohmann::ordered_json row;
  if (!options_.stage.empty()) row["stage"] = options_.stage;
  row["step"] = step;
  std::vector<std::pair<std::string, double>> tagged;
  for (const auto& [name, value] : values) {
    row[name] = json_number(value);
    tagged.emplace_back(tag(name), value);
  }
  const std::string line = row.dump() + "\n";
  errno = 0;
  rows_ << line << std::flush;
  if (!rows_)
    throw Error(cat(rows_path_.string(), ": cannot write ", line.size(), " bytes: ", std::strerror(errno)));
  board_->scalars(options_.wall_time_s(), step, tagged);
}

void MetricsWriter::write_text(int64_t step, const std::string& name, const std::string& text) {
  board_->text(options_.wall_time_s(), step, tag(name), text);
}

std::string take_stage_rows(const std::filesystem::path& run_dir, const std::string& stage) {
  const auto file = run_dir / kRowsFile;
  if (!std::filesystem::exists(file)) return "";
  const std::string text = read_file(file);
  std::string own, others;
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.find('\n', begin), text.size() - 1) + 1;
    const auto line = text.substr(begin, end - begin);
    const auto row = nlohmann::json::parse(line, nullptr, false);
    (row.is_object() && row.value("stage", "") == stage ? own : others) += line;
    begin = end;
  }
  if (!own.empty()) write_file_atomic(file, others);
  return own;
}

}  // namespace r1
