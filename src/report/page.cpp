#include "page.h"

#include "page_files.h"
#include "r1/util/error.h"
#include "r1/util/strings.h"

namespace r1::report {
namespace {

std::string html_text(const std::string& text) {
  std::string out;
  for (const char c : text) {
    switch (c) {
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '&':
        out += "&amp;";
        break;
      case '"':
        out += "&quot;";
        break;
      default:
        out += c;
    }
  }
  return out;
}

}  // namespace

std::string script_safe_json(const nlohmann::ordered_json& data) {
  const auto json = data.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
  std::string out;
  out.reserve(json.size() + json.size() / 16);
  for (const char c : json) {
    switch (c) {
      case '<':
        out += "\\u003c";
        break;
      case '>':
        out += "\\u003e";
        break;
      case '&':
        out += "\\u0026";
        break;
      default:
        out += c;
    }
  }
  return out;
}

std::string make_page(const std::string& title, const nlohmann::ordered_json& data) {
  std::string scripts;
  for (const auto& script : page_scripts()) scripts += cat(script, "\n");
  // The first three places come from the skeleton, before any text of a run has been put into the page.
  const std::string_view skeleton = page_skeleton();
  std::string page;
  for (size_t begin = 0; begin < skeleton.size();) {
    const size_t open = skeleton.find("{{", begin),
                 close = open == std::string_view::npos ? open : skeleton.find("}}", open);
    if (close == std::string_view::npos) {
      page += skeleton.substr(begin);
      break;
    }
    page += skeleton.substr(begin, open - begin);
    const auto name = skeleton.substr(open + 2, close - open - 2);
    if (name == "title") {
      page += html_text(title);
    } else if (name == "style") {
      page += page_style();
    } else if (name == "script") {
      page += scripts;
    } else if (name == "data") {
      page += script_safe_json(data);
    } else {
      throw Error(cat("page/page.html: a place called ", name, "; accepted: title, style, script, data"));
    }
    begin = close + 2;
  }
  return page;
}

}  // namespace r1::report
