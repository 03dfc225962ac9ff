#include "r1/data/problem_source.h"

#include "r1/util/error.h"
#include "r1/util/log.h"
#include "r1/util/random.h"
#include "r1/util/strings.h"

namespace r1 {

ProblemsConfig ProblemsConfig::parse(ConfigNode node) {
  std::string kind;
  node.require("kind", kind, one_of({"arithmetic", "countdown", "jsonl", "json_array"}));
  ProblemsConfig config;
  if (kind == "arithmetic") {
    config.source = ArithmeticConfig::parse(node);
  } else if (kind == "countdown") {
    config.source = CountdownConfig::parse(node);
  } else {
    config.source = ProblemFileConfig::parse(node);
  }
  return config;
}

ProblemSet load_problems(const ProblemsConfig& config) {
  struct Load {
    ProblemSet operator()(const ArithmeticConfig& source) const { return arithmetic_problems(source); }
    ProblemSet operator()(const CountdownConfig& source) const { return countdown_problems(source); }
    ProblemSet operator()(const ProblemFileConfig& source) const { return file_problems(source); }
  };
  auto set = std::visit(Load(), config.source);
  log_info(cat("problems: ", set.train.size(), " for training, ", set.eval.size(), " held out"));
  if (set.gold_unreadable > 0) {
    log_warning(
        cat("problems: ", set.gold_unreadable, " left out, their gold answer cannot be read (empty)"));
  }
  if (set.repeated > 0)
    log_warning(cat("problems: ", set.repeated, " left out, an earlier one has the same question"));
  if (!set.checks.empty()) log_info("problems: " + set.checks);
  return set;
}

ProblemStream::ProblemStream(std::vector<Problem> problems, uint64_t seed, uint32_t stage)
    : problems_(std::move(problems)), seed_(seed), stage_(stage) {
  if (problems_.empty()) throw Error("problems: there is none to train on; accepted: at least one.");
}

const Problem& ProblemStream::at(int64_t position) const {
  if (position < 0) throw Error(cat("problems: position is ", position, "; accepted: 0 or more."));
  const int64_t epoch = position / epoch_size();
  if (epoch != epoch_) {
    const DrawKey key{seed_, Stream::kShuffle, stage_, static_cast<uint32_t>(epoch), 0, 0, 0};
    order_ = draw_permutation(key, epoch_size());
    epoch_ = epoch;
  }
  return problems_[static_cast<size_t>(order_[static_cast<size_t>(position % epoch_size())])];
}

}  // namespace r1
