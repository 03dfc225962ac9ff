#pragma once
#include <string_view>
#include <vector>

namespace r1::report {

// The files of page/, embedded when the program is built (cmake/Embed.cmake writes the source that defines
// the names in `embedded`).
namespace embedded {
extern const std::string_view page_html, style_css;
extern const std::string_view dom_js, chart_js, graph_js, overview_js, curves_js, tables_js, samples_js,
    main_js;
}  // namespace embedded

inline std::string_view page_skeleton() { return embedded::page_html; }
inline std::string_view page_style() { return embedded::style_css; }
/// In the order in which they stand in the page.
inline std::vector<std::string_view> page_scripts() {
  return {embedded::dom_js,    embedded::chart_js,  embedded::graph_js,   embedded::overview_js,
          embedded::curves_js, embedded::tables_js, embedded::samples_js, embedded::main_js};
}

}  // namespace r1::report
