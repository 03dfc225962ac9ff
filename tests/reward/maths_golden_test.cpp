// The maths verifier beside the PyPI package math-verify: equal on every pair of the golden but those listed
// here.
#include <gtest/gtest.h>

#include <map>
#include <nlohmann/json.hpp>
#include <string>

#include "r1/reward/maths.h"
#include "r1/util/jsonl.h"

namespace r1 {
namespace {

struct Difference {
  std::string gold, answer;
  bool ours;  ///< right or not; math-verify says the other
  std::string reason;
};

const std::vector<Difference> kDifferences = {
#include "maths_differences.inc"
};

TEST(MathsGolden, AgreesWithMathVerifyButForTheListedDifferences) {
  std::map<std::pair<std::string, std::string>, const Difference*> listed;
  for (const auto& difference : kDifferences) listed[{difference.gold, difference.answer}] = &difference;
  int64_t pairs = 0;
  read_jsonl(std::string(R1_SOURCE_DIR) + "/tests/golden/maths/pairs.jsonl", [&](int64_t line,
                                                                                 const nlohmann::json& row) {
    if (!row.contains("gold")) return;  // the versions
    ++pairs;
    const std::string gold = row["gold"], answer = row["answer"];
    const Verdict verdict = compare_maths(answer, gold, /*deadline_s=*/5);
    const bool theirs = row["math_verify"];
    const auto difference = listed.find({gold, answer});
    const bool wanted = difference != listed.end() ? difference->second->ours : theirs;
    EXPECT_EQ(verdict == Verdict::kRight, wanted) << line << ": " << row["kind"] << ", gold " << gold
                                                  << ", answer " << answer << ": " << verdict_name(verdict);
    if (difference == listed.end()) return;
    EXPECT_NE(theirs, difference->second->ours) << gold << " || " << answer << " is no difference any more";
    listed.erase(difference);
  });
  EXPECT_GE(pairs, 500);
  for (const auto& [pair, difference] : listed)
    ADD_FAILURE() << "not in the golden: " << pair.first << " || " << pair.second;
}

}  // namespace
}  // namespace r1
