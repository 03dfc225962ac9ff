#include "r1/data/arithmetic.h"

#include <algorithm>
#include <unordered_set>

#include "r1/data/prompt_template.h"
#include "r1/util/error.h"
#include "r1/util/random.h"
#include "r1/util/strings.h"
#include "split.h"

namespace r1 {
namespace {

constexpr int64_t kMaxOperand =
    1'000'000'000;  // products stay below 2^63, and a draw's coordinates have 32 bits

void read_range(const ConfigNode& node, const std::string& key, int64_t& low, int64_t& high) {
  std::vector<int64_t> range = {low, high};
  Accept<std::vector<int64_t>> accept;
  accept.test = [](const std::vector<int64_t>& pair) {
    return pair.size() == 2 && 0 <= pair[0] && pair[0] <= pair[1] && pair[1] <= kMaxOperand;
  };
  accept.text = cat("[least, largest], 0 <= least <= largest <= ", kMaxOperand);
  node.read(key, range, accept);
  low = range[0];
  high = range[1];
}

Accept<std::string> operators() {
  Accept<std::string> accept;
  accept.test = [](const std::string& ops) {
    for (size_t i = 0; i < ops.size(); ++i) {
      if (std::string("+-*").find(ops[i]) == std::string::npos ||
          ops.find(ops[i], i + 1) != std::string::npos) {
        return false;
      }
    }
    return !ops.empty();
  };
  accept.text = "one or more of + - *, each once, as one text like \"+-\"";
  return accept;
}

int64_t space_size(const ArithmeticConfig& config) {
  const int64_t pairs = (config.a_max - config.a_min + 1) * (config.b_max - config.b_min + 1);
  return pairs * static_cast<int64_t>(config.ops.size());
}

ArithmeticTask task_at(const ArithmeticConfig& config, int64_t index) {
  const int64_t num_b = config.b_max - config.b_min + 1, num_a = config.a_max - config.a_min + 1;
  return {config.a_min + index / num_b % num_a, config.b_min + index % num_b,
          config.ops[static_cast<size_t>(index / num_b / num_a)]};
}

int64_t index_of(const ArithmeticConfig& config, const ArithmeticTask& task) {
  const int64_t num_b = config.b_max - config.b_min + 1, num_a = config.a_max - config.a_min + 1;
  return (static_cast<int64_t>(config.ops.find(task.op)) * num_a + task.a - config.a_min) * num_b + task.b -
         config.b_min;
}

std::vector<std::pair<std::string, std::string>> placeholders(const ArithmeticTask& task) {
  return {{"a", std::to_string(task.a)},
          {"op", std::string(1, task.op)},
          {"b", std::to_string(task.b)},
          {"answer", std::to_string(task.result())}};
}

/// Distinct solved training tasks of other operands, drawn by (split_seed, task), or by split_seed alone when
/// fixed.
std::string shots(const ArithmeticConfig& config, const std::vector<ArithmeticTask>& train,
                  const ArithmeticTask& asked) {
  std::string text;
  const int64_t id = index_of(config, asked);
  std::vector<int64_t> taken;
  const auto prompt = static_cast<uint32_t>(config.shots_fixed ? 0 : id);
  const auto step = static_cast<uint32_t>(config.shots_fixed ? 0 : id >> 32);
  for (uint32_t position = 0; taken.size() < static_cast<size_t>(config.shot_count); ++position) {
    const DrawKey key{static_cast<uint64_t>(config.split.split_seed),
                      Stream::kProblems,
                      stage_id("shots"),
                      step,
                      prompt,
                      0,
                      position};
    const auto& task = train[draw_below(key, train.size())];
    const int64_t index = index_of(config, task);
    if (std::minmax(task.a, task.b) == std::minmax(asked.a, asked.b)) continue;
    if (std::find(taken.begin(), taken.end(), index) != taken.end()) continue;
    taken.push_back(index);
    text += fill_template(config.shot_template, placeholders(task));
  }
  return text;
}

}  // namespace

ArithmeticConfig ArithmeticConfig::parse(ConfigNode node) {
  ArithmeticConfig config;
  std::string kind = "arithmetic";
  node.read("kind", kind, one_of({"arithmetic"}));
  node.read("ops", config.ops, operators());
  read_range(node, "a", config.a_min, config.a_max);
  read_range(node, "b", config.b_min, config.b_max);
  node.read("negative_results", config.negative_results);
  node.read("max_problems", config.max_problems, between<int64_t>(1, 10'000'000));
  node.read("prompt", config.prompt);
  require_placeholders(node, "prompt", config.prompt, {"a", "op", "b"});
  const ConfigNode shots = node.child("shots");
  shots.read("count", config.shot_count, between<int64_t>(0, 100));
  shots.read("template", config.shot_template);
  require_placeholders(shots, "template", config.shot_template, {"a", "op", "b", "answer"});
  shots.read("fixed", config.shots_fixed);
  config.split = parse_split(node);
  node.reject_unknown_keys();
  return config;
}

bool is_held_out(const ArithmeticTask& task, const SplitConfig& split) {
  const bool ordered = task.op == '-';
  const auto first = static_cast<uint32_t>(ordered ? task.a : std::min(task.a, task.b));
  const auto second = static_cast<uint32_t>(ordered ? task.b : std::max(task.a, task.b));
  const DrawKey key{static_cast<uint64_t>(split.split_seed),
                    Stream::kProblems,
                    stage_id("split"),
                    first,
                    second,
                    static_cast<uint32_t>(task.op),
                    0};
  return draw_uniform(key) < split.eval_fraction;
}

std::vector<ArithmeticTask> arithmetic_tasks(const ArithmeticConfig& config) {
  const auto accepted = [&](const ArithmeticTask& task) {
    return config.negative_results || task.result() >= 0;
  };
  const int64_t size = space_size(config);
  std::vector<ArithmeticTask> tasks;
  if (size <= config.max_problems) {
    for (int64_t i = 0; i < size; ++i) {
      if (const auto task = task_at(config, i); accepted(task)) tasks.push_back(task);
    }
  } else {
    std::unordered_set<int64_t> seen;
    const int64_t max_draws = 100 * config.max_problems;
    for (int64_t draw = 0; draw < max_draws && static_cast<int64_t>(tasks.size()) < config.max_problems;
         ++draw) {
      const DrawKey key{static_cast<uint64_t>(config.split.split_seed),
                        Stream::kProblems,
                        stage_id("tasks"),
                        static_cast<uint32_t>(draw >> 32),
                        static_cast<uint32_t>(draw),
                        0,
                        0};
      const auto index = static_cast<int64_t>(draw_below(key, static_cast<uint64_t>(size)));
      const auto task = task_at(config, index);
      if (accepted(task) && seen.insert(index).second) tasks.push_back(task);
    }
  }
  if (tasks.empty()) {
    throw Error(cat(config.split.where, ": no problem is left of ", size, " (a ", config.a_min, " to ",
                    config.a_max, ", b ", config.b_min, " to ", config.b_max, ", ops ", config.ops,
                    "); accepted: at least one.\n  Widen the ranges or allow negative_results."));
  }
  return tasks;
}

std::string arithmetic_prompt(const ArithmeticConfig& config, const ArithmeticTask& task) {
  auto values = placeholders(task);
  values.pop_back();  // the answer has no place in a prompt
  return fill_template(config.prompt, values);
}

ProblemSet arithmetic_problems(const ArithmeticConfig& config) {
  const auto tasks = arithmetic_tasks(config);
  std::vector<ArithmeticTask> train;
  for (const auto& task : tasks) {
    if (!is_held_out(task, config.split)) train.push_back(task);
  }
  if (config.shot_count > 0 && static_cast<int64_t>(train.size()) < 2 * config.shot_count + 12) {
    throw Error(cat(config.split.where, ": ", config.shot_count, " shots from ", train.size(),
                    " training problems; accepted: fewer than half of them, 6 spare.\n  Widen the ranges or "
                    "lower shots.count."));
  }
  ProblemSet set;
  for (const auto& task : tasks) {
    Problem problem;
    problem.id = index_of(config, task);
    problem.prompt = shots(config, train, task) + arithmetic_prompt(config, task);
    problem.answer = std::to_string(task.result());
    problem.kind = "arithmetic";
    problem.extra = {{"a", task.a}, {"b", task.b}, {"op", std::string(1, task.op)}};
    (is_held_out(task, config.split) ? set.eval : set.train).push_back(std::move(problem));
  }
  finish_split(set, config.split);
  return set;
}

}  // namespace r1
