#pragma once
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "r1/util/config.h"

namespace r1 {

/// Replaces each "{name}" of `values` in one pass; other braces stay as they are (LaTeX, JSON).
std::string fill_template(std::string_view text,
                          const std::vector<std::pair<std::string, std::string>>& values);

/// Rejects `key` unless its template contains every one of `names` as "{name}".
void require_placeholders(const ConfigNode& node, const std::string& key, const std::string& text,
                          const std::vector<std::string>& names);

}  // namespace r1
