#pragma once
#include <filesystem>
#include <string>

#include "yaml_tree.h"

namespace r1::yaml {

/// The file's text. Throws r1::Error for a missing file, naming the nearest one in its folder.
std::string read_config_file(const std::filesystem::path& file);

/// Parses `text`, called `name`, to a mapping and merges it over the file its `extends` names, if any, and so
/// on. Throws r1::Error for broken YAML, a document that is no mapping, a missing file, and a cycle.
Value parse_config(const std::string& text, const std::string& name);

}  // namespace r1::yaml
