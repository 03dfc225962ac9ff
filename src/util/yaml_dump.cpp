// Writing of YAML trees: whole documents, and one-line forms for messages.
#include <algorithm>

#include "r1/util/strings.h"
#include "yaml_tree.h"

namespace r1::yaml {
namespace {

using Kind = Value::Kind;

constexpr size_t kMaxDescription = 60;

// Plain forms that every reader takes as the same text in any context; the rest is quoted.
bool is_safe_plain(const std::string& text) {
  if (text.empty() || text == "~" || text == "null" || text == "Null" || text == "NULL") return false;
  const auto safe = [](unsigned char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' ||
           c == '.' || c == '/' || c == '+' || c == '-';
  };
  const unsigned char first = static_cast<unsigned char>(text[0]);
  const bool lone_sign = (first == '-' || first == '.') && (text.size() == 1 || text[1] == first);
  return !lone_sign && std::all_of(text.begin(), text.end(), safe);
}

std::string quote(const std::string& text) {
  static const char* kHex = "0123456789abcdef";
  std::string out = "\"";
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (c == '\n') {
      out += "\\n";
    } else if (c == '\t') {
      out += "\\t";
    } else if (byte < 0x20 || byte == 0x7f) {
      out += "\\x";
      out += kHex[byte >> 4];
      out += kHex[byte & 15];
    } else {
      out += c;
    }
  }
  return out + '"';
}

std::string scalar(const std::string& text, bool quoted) {
  return !quoted && is_safe_plain(text) ? text : quote(text);
}

bool is_flow(const Value& value) {
  if (value.kind == Kind::kList) return std::all_of(value.items.begin(), value.items.end(), is_flow);
  return value.kind != Kind::kMapping || value.items.empty();
}

std::string flow(const Value& value) {
  std::vector<std::string> parts;
  switch (value.kind) {
    case Kind::kNull:
      return "null";
    case Kind::kScalar:
      return scalar(value.text, value.quoted);
    case Kind::kList:
      for (const auto& item : value.items) parts.push_back(flow(item));
      return "[" + join(parts, ", ") + "]";
    case Kind::kMapping:
      for (const auto& item : value.items) parts.push_back(scalar(item.key, false) + ": " + flow(item));
      return "{" + join(parts, ", ") + "}";
  }
  return "";
}

void block(const Value& value, size_t indent, std::string& out) {
  const std::string margin(indent, ' ');
  for (const auto& item : value.items) {
    out += margin + (value.kind == Kind::kList ? "-" : scalar(item.key, false) + ":");
    if (is_flow(item)) {
      out += " " + flow(item) + "\n";
    } else {
      out += "\n";
      block(item, indent + 2, out);
    }
  }
}

}  // namespace

std::string dump(const Value& value) {
  if (is_flow(value)) return flow(value) + "\n";
  std::string out;
  block(value, 0, out);
  return out;
}

std::string describe(const Value& value) {
  std::string text = value.kind == Kind::kNull ? "empty" : flow(value);
  if (text.size() <= kMaxDescription) return text;
  size_t end = kMaxDescription - 3;
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xC0) == 0x80) --end;  // no half UTF-8 character
  return text.substr(0, end) + "...";
}

}  // namespace r1::yaml
