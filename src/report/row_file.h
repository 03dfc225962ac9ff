#pragma once
#include <cstdint>
#include <filesystem>
#include <functional>
#include <nlohmann/json.hpp>

namespace r1::report {

/// Calls `row(line_number, object)` for each line of a JSONL file that another process may be appending to.
/// Returns false when the file ends in half a line, which is left out. No file, or an empty one: no call.
/// Throws Error "<file>:<line>: ..." for any other line that is not a JSON object.
bool read_rows(const std::filesystem::path& file,
               const std::function<void(int64_t, const nlohmann::json&)>& row);

/// A member as a double: a number, or the texts "NaN", "Infinity", "-Infinity"; `absent` for anything else.
double number_of(const nlohmann::json& object, const char* name, double absent);

/// True, and the value in `number`, for what number_of reads.
bool is_number(const nlohmann::json& value, double& number);

/// A member as text, "" when it is absent or no text.
std::string text_of(const nlohmann::json& object, const char* name);

}  // namespace r1::report
