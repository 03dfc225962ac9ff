#include <array>
#include <vector>

#include "rational.h"

namespace r1 {
namespace {

struct Rule {
  std::string_view from, to;
};

/// Longest first where one begins another. A command's name must not go on with a letter.
constexpr std::array<Rule, 30> kRules = {{
    {"\\\\", "\\\\"},  // ends a row: what follows it is no command
    {"\\left", ""},
    {"\\right", ""},
    {"\\dfrac", "\\frac"},
    {"\\tfrac", "\\frac"},
    {"\\cfrac", "\\frac"},
    {"\\quad", " "},
    {"\\qquad", " "},
    {"\\degree", "^\\circ"},
    {"{,}", ","},
    {"\\!", ""},
    {"\\,", " "},
    {"\\;", " "},
    {"\\:", " "},
    {"\\ ", " "},
    {"\\(", " "},
    {"\\)", " "},
    {"\\[", " "},
    {"\\]", " "},
    {"\\$", " "},
    {"\\%", "%"},
    {"$", " "},
    {"~", " "},
    {"\xE2\x88\x92", "-"},
    {"\xC2\xA0", " "},
    {"\xC2\xB0", "^\\circ"},
    {"\xE2\x82\xAC", " "},
    {"\xC2\xA3", " "},
    {"^{\\circ}", "^\\circ"},
    {"\xE2\x80\xAF", " "},
}};

/// Commands whose braces only dress their content.
constexpr std::array<std::string_view, 9> kWrappers = {"\\text{",   "\\textbf{", "\\textit{",
                                                       "\\textrm{", "\\mathrm{", "\\mathbf{",
                                                       "\\mbox{",   "\\boxed{",  "\\fbox{"};

bool is_command_name(std::string_view text) {
  return text.size() > 1 && text[0] == '\\' && is_letter(text[1]);
}

/// Whether any rule begins with `c`: most characters need no look at the table.
bool may_begin_rule(char c) {
  return c == '\\' || c == '{' || c == '$' || c == '~' || c == '^' || c == '\xE2' || c == '\xC2';
}

std::string replace_rules(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (size_t i = 0; i < text.size();) {
    const Rule* found = nullptr;
    if (!may_begin_rule(text[i])) {
      out += text[i++];
      continue;
    }
    for (const auto& rule : kRules) {
      if (!text.substr(i).starts_with(rule.from)) continue;
      const size_t end = i + rule.from.size();
      if (is_command_name(rule.from) && end < text.size() && is_letter(text[end])) continue;
      found = &rule;
      break;
    }
    if (found == nullptr) {
      out += text[i++];
      continue;
    }
    out += found->to;
    i += found->from.size();
  }
  return out;
}

/// Removes the wrappers and their closing braces; a space stands where a wrapper began, so "5\text{cm}" is "5
/// cm".
std::string remove_wrappers(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  std::vector<bool> open_is_wrapper;
  for (size_t i = 0; i < text.size();) {
    std::string_view wrapper;
    if (text[i] == '\\') {
      for (const auto& candidate : kWrappers) {
        if (text.substr(i).starts_with(candidate)) wrapper = candidate;
      }
    }
    if (!wrapper.empty()) {
      open_is_wrapper.push_back(true);
      out += ' ';
      i += wrapper.size();
      continue;
    }
    const char c = text[i++];
    if (c == '\\' && i < text.size() && (text[i] == '{' || text[i] == '}')) {
      out += c;
      out += text[i++];
    } else if (c == '}' && !open_is_wrapper.empty()) {
      if (!open_is_wrapper.back()) out += c;
      open_is_wrapper.pop_back();
    } else {
      if (c == '{') open_is_wrapper.push_back(false);
      out += c;
    }
  }
  return out;
}

}  // namespace

std::string plain_maths(std::string_view text) {
  return std::string(trimmed(remove_wrappers(replace_rules(text))));
}

}  // namespace r1
