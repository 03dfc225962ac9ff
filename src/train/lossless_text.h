#pragma once
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

namespace r1 {

/// Whether `bytes` are UTF-8 as RFC 3629 has it: no overlong forms, no surrogates, nothing above U+10FFFF.
bool is_utf8(std::string_view bytes);

std::string base64(std::string_view bytes);  ///< RFC 4648, section 4, with padding

/// Sets row[name]; bytes that are not UTF-8 also go, exact, to row[name + "_base64"]. Dump `row` with
/// error_handler_t::replace.
void set_text(nlohmann::ordered_json& row, const std::string& name, const std::string& bytes);

}  // namespace r1
