#include "page.h"

#include <gtest/gtest.h>

#include "page_files.h"
#include "util/temp_folder.h"

namespace r1::report {
namespace {

using nlohmann::ordered_json;

size_t count(const std::string& text, const std::string& part) {
  size_t found = 0;
  for (size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + part.size())) ++found;
  return found;
}

// What tries to leave the script element, or to change how the parser reads what follows.
const std::vector<std::string>& hostile_texts() {
  static const std::vector<std::string> texts = {
      "</script><script>document.title='owned'</script>",
      "</SCRIPT ><img src=x onerror=alert(1)>",
      "<!--<script>",
      "--><script>alert(1)</script>",
      "]]>",
      "<![CDATA[",
      "{{style}} {{data}} {{script}}",
      "\"}]}; alert(1); //",
      "\\u003c/script\\u003e",
      "\xE2\x80\xA8\xE2\x80\xA9 line and paragraph separators",
      std::string("\0 zero", 6),
      "\xFF\xFE no UTF-8 \xC3",
      "<template><plaintext>",
      "&lt;/script&gt;",
  };
  return texts;
}

TEST(Page, NoTextCanLeaveTheDataElement) {
  const auto plain = make_page("run", {{"text", "x"}});
  for (const auto& text : hostile_texts()) {
    const auto page = make_page(text, {{"text", text}, {text, 1}});
    EXPECT_EQ(count(page, "<script"), count(plain, "<script")) << text;
    EXPECT_EQ(count(page, "</script"), count(plain, "</script")) << text;
    EXPECT_EQ(count(page, "<!--"), count(plain, "<!--")) << text;
    EXPECT_EQ(count(page, "<img"), 0U) << text;
  }
}

TEST(Page, TheDataComesBackAsItWas) {
  for (const auto& text : hostile_texts()) {
    const auto json = script_safe_json({{"text", text}});
    EXPECT_EQ(json.find_first_of("<>&"), std::string::npos) << json;
    const auto back = ordered_json::parse(json)["text"].get<std::string>();
    if (text.find('\xFF') == std::string::npos) {
      EXPECT_EQ(back, text);
    } else {
      EXPECT_EQ(back, "\xEF\xBF\xBD\xEF\xBF\xBD no UTF-8 \xEF\xBF\xBD");
    }
  }
}

TEST(Page, NeedsNothingFromOutside) {
  const auto page = make_page("run", {});
  EXPECT_HOLDS(page, "default-src 'none'");
  for (const char* part : {"src=", "@import", "url(http", "fetch(", "XMLHttpRequest", "WebSocket",
                           "innerHTML", "document.write", "eval("}) {
    EXPECT_EQ(count(page, part), 0U) << part;
  }
  // The only address is the name of SVG's elements, which nobody fetches.
  EXPECT_EQ(count(page, "http://") + count(page, "https://"), count(page, "http://www.w3.org/2000/svg"));
}

TEST(Page, HoldsEveryFileOfItsFolder) {
  const auto page = make_page("a <b>", {});
  EXPECT_HOLDS(page, "<title>a &lt;b&gt; - r1 report</title>");
  EXPECT_HOLDS(page, std::string(page_style()));
  for (const auto& script : page_scripts()) EXPECT_HOLDS(page, std::string(script));
  EXPECT_EQ(count(page, "{{"), 0U);
}

}  // namespace
}  // namespace r1::report
