#pragma once
#include <filesystem>
#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

namespace r1 {

/// A text of a row of data. The view lives as long as the row.
struct RowText {
  std::string field;  ///< "question", "messages[1]"
  std::string_view text;
  bool is_question = false;  ///< by the field's name: question, problem, prompt, ...
};

/// The texts of a row: of `fields` when any are named, else of all fields with names that are used for texts
/// (question, problem, prompt, instruction, text, completion, response, answer, solution, test, messages,
/// ...; without case). A field may hold a text, a list of texts, or a list of messages with "content" or
/// "value". Numbers are no texts.
std::vector<RowText> row_texts(const nlohmann::json& row, const std::vector<std::string>& fields = {});

/// The row's own name: id, task_id, problem_id, unique_id; empty when it has none.
std::string row_id(const nlohmann::json& row);

/// A row of a data file.
struct DataRow {
  int64_t line = 0;             ///< from 1; in an array the element, from 0
  const nlohmann::json& value;  ///< an object
  std::string_view raw;         ///< the line as it stands in the file; of an array the element as one line
  double part = 0;              ///< of the file that was read to here, 0 to 1
};

/// Reads `.json` as one array of objects, anything else as an object per line (also .jsonl.zst), one row at a
/// time. Throws Error naming file and line or element for what cannot be read, and for a file without rows.
void read_rows(const std::filesystem::path& file, const std::function<void(const DataRow&)>& row);
/// The same for an array in a file of any name.
void read_json_array(const std::filesystem::path& file, const std::function<void(const DataRow&)>& row);

/// "data/x.jsonl:12", "data/x.json: element 12".
std::string row_place(const std::filesystem::path& file, int64_t line);

}  // namespace r1
