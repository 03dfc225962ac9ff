#include "sample_choice.h"

#include <algorithm>
#include <utility>

#include "page.h"
#include "r1/util/strings.h"

namespace r1::report {
using nlohmann::json;
namespace {

// The indices below `size` such that every beginning of the list is spread: the ends, then middles of what is
// left.
std::vector<size_t> spread_order(size_t size) {
  std::vector<size_t> order;
  if (size > 0) order.push_back(0);
  if (size > 1) order.push_back(size - 1);
  std::vector<std::pair<size_t, size_t>> gaps{{0, size - 1}};
  for (size_t g = 0; g < gaps.size() && order.size() < size; ++g) {
    const auto [low, high] = gaps[g];
    if (high - low < 2) continue;
    const size_t middle = (low + high) / 2;
    order.push_back(middle);
    gaps.emplace_back(low, middle);
    gaps.emplace_back(middle, high);
  }
  return order;
}

struct Choice {
  size_t stage, file, rank;
};

// One group of every stage in turn, of files spread over its steps, rank by rank, while the bytes last.
std::vector<Choice> fitting(const std::vector<GroupsOfFiles>& stages, const SampleLimits& limits) {
  std::vector<std::vector<size_t>> orders;
  size_t most_files = 0, used = 0;
  for (const auto& files : stages) {
    orders.push_back(spread_order(files.size()));
    most_files = std::max(most_files, files.size());
  }
  std::vector<Choice> chosen;
  for (size_t rank = 0; rank < limits.groups_per_file; ++rank) {
    for (size_t k = 0; k < most_files; ++k) {
      for (size_t s = 0; s < stages.size(); ++s) {
        if (k >= orders[s].size() || rank >= stages[s][orders[s][k]].size()) continue;
        const size_t bytes = script_safe_json(stages[s][orders[s][k]][rank]).size();
        if (used + bytes > limits.total_bytes) continue;
        used += bytes;
        chosen.push_back({s, orders[s][k], rank});
      }
    }
  }
  return chosen;
}

// Whether every stage has as many groups as it should, or all that it has.
bool is_enough(const std::vector<Choice>& chosen, const std::vector<GroupsOfFiles>& stages,
               const SampleLimits& limits) {
  for (size_t s = 0; s < stages.size(); ++s) {
    size_t there = 0;
    for (const auto& groups : stages[s]) there += groups.size();
    const auto taken =
        std::count_if(chosen.begin(), chosen.end(), [&](const Choice& c) { return c.stage == s; });
    if (static_cast<size_t>(taken) < std::min(there, limits.groups_per_stage)) return false;
  }
  return true;
}

void shorten_texts(std::vector<GroupsOfFiles>& stages, size_t limit) {
  for (auto& files : stages) {
    for (auto& groups : files) {
      for (auto& group : groups) {
        for (auto& completion : group["completions"]) {
          const auto text = completion["text"].get<std::string>();
          size_t cut = 0;
          completion["text"] = shorten(text, limit, cut, completion["bytes"].get<size_t>());
        }
      }
    }
  }
}

}  // namespace

void keep_fitting(std::vector<StageSamples>& stages, std::vector<GroupsOfFiles>& groups,
                  const SampleLimits& limits) {
  auto chosen = fitting(groups, limits);
  for (size_t limit = limits.text_bytes / 2;
       limit >= limits.least_text_bytes && !is_enough(chosen, groups, limits); limit /= 2) {
    shorten_texts(groups, limit);
    chosen = fitting(groups, limits);
  }
  for (const auto& c : chosen) stages[c.stage].groups.push_back(std::move(groups[c.stage][c.file][c.rank]));
  for (auto& stage : stages) {
    std::sort(stage.groups.begin(), stage.groups.end(), [](const json& a, const json& b) {
      return std::pair(a["step"].get<int64_t>(), a["place"].get<size_t>()) <
             std::pair(b["step"].get<int64_t>(), b["place"].get<size_t>());
    });
  }
}
namespace {

bool continues_character(char c) { return (static_cast<unsigned char>(c) & 0xC0U) == 0x80U; }

}  // namespace

std::string shorten(const std::string& text, size_t limit, size_t& cut, size_t original_bytes) {
  const size_t size = std::max(original_bytes, text.size());
  cut = 0;
  if (size <= limit) return text;
  size_t head = limit / 2, tail = text.size() - limit / 2;
  while (head > 0 && continues_character(text[head])) --head;
  while (tail < text.size() && continues_character(text[tail])) ++tail;
  cut = size - head - (text.size() - tail);
  return cat(text.substr(0, head), "\n[... ", cut, " bytes left out ...]\n", text.substr(tail));
}

}  // namespace r1::report
