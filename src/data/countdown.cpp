#include "r1/data/countdown.h"

#include <algorithm>
#include <set>

#include "r1/data/prompt_template.h"
#include "r1/util/error.h"
#include "r1/util/random.h"
#include "r1/util/strings.h"
#include "split.h"

namespace r1 {
namespace {

void read_range(const ConfigNode& node, const std::string& key, int64_t least, int64_t largest, int64_t& low,
                int64_t& high) {
  std::vector<int64_t> range = {low, high};
  Accept<std::vector<int64_t>> accept;
  accept.test = [=](const std::vector<int64_t>& pair) {
    return pair.size() == 2 && least <= pair[0] && pair[0] <= pair[1] && pair[1] <= largest;
  };
  accept.text = cat("[least, largest], ", least, " <= least <= largest <= ", largest);
  node.read(key, range, accept);
  low = range[0];
  high = range[1];
}

/// One attempt's draws, in the order they are asked for.
class Draws {
 public:
  Draws(const CountdownConfig& config, int64_t attempt)
      : key_{static_cast<uint64_t>(config.split.split_seed),
             Stream::kProblems,
             stage_id("countdown"),
             static_cast<uint32_t>(attempt >> 32),
             static_cast<uint32_t>(attempt),
             0,
             0} {}
  int64_t between(int64_t low, int64_t high) {
    const int64_t value = low + static_cast<int64_t>(draw_below(key_, static_cast<uint64_t>(high - low + 1)));
    ++key_.position;
    return value;
  }

 private:
  DrawKey key_;
};

struct Term {
  int64_t value = 0;
  std::string text;
  bool compound = false;
};

std::string bracketed(const Term& term) { return term.compound ? "(" + term.text + ")" : term.text; }

/// Joins two drawn terms by a drawn operation until one is left; every step is a positive whole number.
Term draw_expression(std::vector<Term> terms, Draws& draws) {
  constexpr int64_t kLargest = 1'000'000;
  while (terms.size() > 1) {
    const auto i = static_cast<size_t>(draws.between(0, static_cast<int64_t>(terms.size()) - 1));
    Term left = terms[i];
    terms.erase(terms.begin() + static_cast<std::ptrdiff_t>(i));
    const auto j = static_cast<size_t>(draws.between(0, static_cast<int64_t>(terms.size()) - 1));
    Term& right = terms[j];
    if (left.value < right.value) std::swap(left, right);
    int64_t value = left.value + right.value;
    char op = '+';
    const int64_t kind = draws.between(0, 3);
    if (kind == 1 && left.value > right.value) {
      op = '-';
      value = left.value - right.value;
    } else if (kind == 2 && left.value * right.value <= kLargest) {
      op = '*';
      value = left.value * right.value;
    } else if (kind == 3 && left.value % right.value == 0) {
      op = '/';
      value = left.value / right.value;
    }
    right = {value, bracketed(left) + " " + op + " " + bracketed(right), true};
  }
  return terms.front();
}

}  // namespace

CountdownConfig CountdownConfig::parse(ConfigNode node) {
  CountdownConfig config;
  std::string kind = "countdown";
  node.read("kind", kind, one_of({"countdown"}));
  node.read("count", config.count, between<int64_t>(1, 10'000'000));
  read_range(node, "numbers", 2, 8, config.numbers_min, config.numbers_max);
  read_range(node, "values", 1, 1000, config.value_min, config.value_max);
  read_range(node, "target", 1, 1'000'000, config.target_min, config.target_max);
  node.read("prompt", config.prompt);
  require_placeholders(node, "prompt", config.prompt, {"numbers", "target"});
  config.split = parse_split(node);
  node.reject_unknown_keys();
  return config;
}

ProblemSet countdown_problems(const CountdownConfig& config) {
  ProblemSet set;
  std::set<std::string> seen;
  const int64_t max_attempts = 100 * config.count;
  for (int64_t attempt = 0; attempt < max_attempts && static_cast<int64_t>(seen.size()) < config.count;
       ++attempt) {
    Draws draws(config, attempt);
    std::vector<int64_t> numbers(static_cast<size_t>(draws.between(config.numbers_min, config.numbers_max)));
    std::vector<Term> terms;
    for (auto& number : numbers) {
      number = draws.between(config.value_min, config.value_max);
      terms.push_back({number, std::to_string(number), false});
    }
    const Term solution = draw_expression(terms, draws);
    if (solution.value < config.target_min || solution.value > config.target_max) continue;
    std::vector<std::string> shown, sorted_shown;
    auto sorted = numbers;
    std::sort(sorted.begin(), sorted.end());
    for (const int64_t number : numbers) shown.push_back(std::to_string(number));
    for (const int64_t number : sorted) sorted_shown.push_back(std::to_string(number));
    const std::string task = cat(join(sorted_shown, " "), " -> ", solution.value);
    if (!seen.insert(task).second) continue;
    Problem problem;
    problem.id = static_cast<int64_t>(seen.size()) - 1;
    problem.prompt = fill_template(
        config.prompt, {{"numbers", join(shown, ", ")}, {"target", std::to_string(solution.value)}});
    problem.answer = std::to_string(solution.value);
    problem.kind = "countdown";
    problem.extra = {{"numbers", numbers}, {"target", solution.value}, {"solution", solution.text}};
    (is_held_out_text(task, config.split) ? set.eval : set.train).push_back(std::move(problem));
  }
  if (static_cast<int64_t>(seen.size()) < config.count) {
    throw Error(cat(config.split.where, ": only ", seen.size(), " of ", config.count,
                    " distinct countdown problems were found in ", max_attempts,
                    " draws; accepted: a count that the ranges hold.\n  Widen values, numbers or target."));
  }
  finish_split(set, config.split);
  return set;
}

}  // namespace r1
