#include <charconv>
#include <set>

#include "r1/pipeline/simulate.h"
#include "r1/util/error.h"
#include "r1/util/strings.h"

namespace r1::pipeline {
namespace {

std::vector<std::string> split_at_commas(const std::vector<std::string>& words) {
  std::vector<std::string> out;
  for (const auto& word : words) {
    size_t from = 0;
    for (size_t comma = word.find(','); comma != std::string::npos; comma = word.find(',', from)) {
      out.push_back(word.substr(from, comma - from));
      from = comma + 1;
    }
    out.push_back(word.substr(from));
  }
  return out;
}

}  // namespace

SimulateOptions SimulateOptions::parse(const std::vector<std::string>& words) {
  SimulateOptions o;
  const std::vector<std::pair<std::string, int64_t*>> known = {{"ranks", &o.ranks},         {"pipeline", &o.pipeline},           {"expert", &o.expert},
                                                               {"sampler", &o.sampler},     {"gpus_per_node", &o.gpus_per_node}, {"nodes_per_token", &o.nodes_per_token}};
  std::vector<std::string> names;
  for (const auto& [name, value] : known) names.push_back(name);
  std::set<std::string> seen;
  for (const auto& word : split_at_commas(words)) {
    const size_t equals = word.find('=');
    const auto key = word.substr(0, equals);
    int64_t* value = nullptr;
    for (const auto& [name, place] : known) {
      if (name == key) value = place;
    }
    if (equals == std::string::npos || value == nullptr) {
      const auto near = nearest(key, names);
      throw Error(cat("--simulate: found '", word, "'; accepted: key=value with ", join(names, ", "), ".\n  ", near.empty() || near == key ? "For example --simulate ranks=512,expert=64." : cat("Did you mean ", near, "=?")));
    }
    if (!seen.insert(key).second) throw Error(cat("--simulate: ", key, " is given twice; accepted: once.\n  Leave one of them out."));
    const auto text = word.substr(equals + 1);
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), *value);
    if (error != std::errc() || end != text.data() + text.size() || *value < 1 || *value > (1 << 24)) {
      throw Error(cat("--simulate: ", key, " is '", text, "'; accepted: a whole number from 1 to ", 1 << 24, ".\n  Leave ", key, key == "ranks" ? "=512, for example." : " out for what is fastest or usual."));
    }
  }
  if (o.ranks == 0) throw Error(cat("--simulate: ranks is missing; accepted: ranks=N, and of ", join(names, ", "), " what is wanted.\n  For example --simulate ranks=512."));
  if (o.gpus_per_node > 0 && o.ranks > o.gpus_per_node && o.ranks % o.gpus_per_node != 0) {
    throw Error(cat("--simulate: ", o.ranks, " ranks are no multiple of gpus_per_node=", o.gpus_per_node, "; accepted: whole nodes, or a part of one."));
  }
  return o;
}

}  // namespace r1::pipeline
