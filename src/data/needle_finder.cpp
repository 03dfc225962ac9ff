#include "needle_finder.h"

#include <map>

namespace r1 {
namespace {

uint8_t small(char c) { return static_cast<uint8_t>(c >= 'A' && c <= 'Z' ? c + ('a' - 'A') : c); }

struct Node {
  std::map<uint8_t, size_t> children;  // by class
  size_t fallback = 0;
  bool ends = false;
};

}  // namespace

NeedleFinder::NeedleFinder(const std::vector<std::string_view>& needles) {
  for (const auto needle : needles) {
    for (const char c : needle) {
      auto& number = class_of_[small(c)];
      if (number == 0) number = static_cast<uint8_t>(num_classes_++);
    }
  }
  for (char c = 'A'; c <= 'Z'; ++c) class_of_[static_cast<uint8_t>(c)] = class_of_[small(c)];
  std::vector<Node> nodes(1);
  for (const auto needle : needles) {
    size_t at = 0;
    for (const char c : needle) {
      const auto [child, is_new] = nodes[at].children.try_emplace(class_of_[small(c)], nodes.size());
      at = child->second;
      if (is_new) nodes.emplace_back();
    }
    nodes[at].ends = true;
  }
  // Breadth first: the fallback of a node is shorter than the node, so it is complete when it is needed.
  std::vector<size_t> order{0};
  std::vector<std::vector<size_t>> table(nodes.size(), std::vector<size_t>(num_classes_, 0));
  for (size_t i = 0; i < order.size(); ++i) {
    const size_t node = order[i];
    if (nodes[nodes[node].fallback].ends) nodes[node].ends = true;
    for (size_t c = 0; c < num_classes_; ++c) {
      const auto child = nodes[node].children.find(static_cast<uint8_t>(c));
      const size_t elsewhere = node == 0 ? 0 : table[nodes[node].fallback][c];
      if (child == nodes[node].children.end()) {
        table[node][c] = elsewhere;
      } else {
        table[node][c] = child->second;
        nodes[child->second].fallback = elsewhere;
        order.push_back(child->second);
      }
    }
  }
  // Renumber: states that have seen a needle come last, so that one comparison tells.
  std::vector<size_t> number(nodes.size());
  size_t count = 0;
  for (const bool ends : {false, true}) {
    if (ends) first_end_ = static_cast<uint32_t>(count);
    for (size_t node = 0; node < nodes.size(); ++node) {
      if (nodes[node].ends == ends) number[node] = count++;
    }
  }
  next_.resize(nodes.size() * num_classes_);
  for (size_t node = 0; node < nodes.size(); ++node) {
    for (size_t c = 0; c < num_classes_; ++c)
      next_[number[node] * num_classes_ + c] = static_cast<uint16_t>(number[table[node][c]]);
  }
}

}  // namespace r1
