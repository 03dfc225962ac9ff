#pragma once
#include <nlohmann/json.hpp>
#include <string>

namespace r1::report {

/// `data` as JSON that can stand inside a <script> element: <, > and & are written as \u003c, \u003e and
/// \u0026, so that no text, whatever a model wrote, can end the element or begin a comment. Bytes that are no
/// UTF-8 become U+FFFD.
std::string script_safe_json(const nlohmann::ordered_json& data);

/// The whole page: the skeleton, style and scripts of page/ with `data` in a <script
/// type="application/json">. Its policy forbids every request, so it shows the same without a network.
std::string make_page(const std::string& title, const nlohmann::ordered_json& data);

}  // namespace r1::report
