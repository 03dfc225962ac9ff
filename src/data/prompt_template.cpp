#include "r1/data/prompt_template.h"

#include "r1/util/strings.h"

namespace r1 {

std::string fill_template(std::string_view text,
                          const std::vector<std::pair<std::string, std::string>>& values) {
  std::string out;
  for (size_t i = 0; i < text.size();) {
    const std::pair<std::string, std::string>* found = nullptr;
    if (text[i] == '{') {
      for (const auto& value : values) {
        const size_t close = i + 1 + value.first.size();
        if (text.substr(i + 1).starts_with(value.first) && close < text.size() && text[close] == '}')
          found = &value;
      }
    }
    if (found == nullptr) {
      out += text[i++];
    } else {
      out += found->second;
      i += found->first.size() + 2;
    }
  }
  return out;
}

void require_placeholders(const ConfigNode& node, const std::string& key, const std::string& text,
                          const std::vector<std::string>& names) {
  std::vector<std::string> all;
  for (const auto& name : names) all.push_back("{" + name + "}");
  for (const auto& name : all) {
    if (text.find(name) == std::string::npos) {
      node.reject(key, cat("a text with ", join(all, ", ")), cat("It lacks ", name, "."));
    }
  }
}

}  // namespace r1
