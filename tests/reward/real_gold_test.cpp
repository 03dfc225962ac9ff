// Every gold answer of GSM8K and MATH can be read and equals itself as a model would write it.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "r1/reward/answer.h"
#include "r1/reward/number.h"
#include "r1/util/file.h"
#include "r1/util/jsonl.h"

namespace r1 {
namespace {

const std::string kData = std::string(R1_SOURCE_DIR) + "/data/";

TEST(RealGold, Gsm8kSolutionsScoreThemselvesRight) {
  int64_t problems = 0;
  read_jsonl(kData + "gsm8k_train.jsonl", [&](int64_t line, const nlohmann::json& row) {
    const std::string solution = row["answer"];
    const std::string gold = solution.substr(solution.rfind("####") + 4);
    ++problems;
    ASSERT_TRUE(canonical_number(gold)) << line << gold;
    for (const Extract extractor : {Extract::kHashes, Extract::kLastNumber}) {
      const auto answer = extract_answer(solution, {extractor});
      ASSERT_TRUE(answer) << line;
      EXPECT_EQ(compare_answers(*answer, gold, Compare::kNumber), Verdict::kRight) << line << *answer;
    }
    EXPECT_EQ(compare_answers(*canonical_number(gold) + "1", gold), Verdict::kWrong) << line;
  });
  EXPECT_EQ(problems, 7473);
}

TEST(RealGold, MathAnswersInABoxAreRight) {
  int64_t unreadable = 0, numbers = 0, right = 0;
  for (const auto& row : nlohmann::json::parse(read_file(kData + "math_train.json"))) {
    const std::string gold = row["answer"].is_string() ? row["answer"].get<std::string>() : "";
    const auto answer = extract_answer("So it is $\\boxed{" + gold + "}$.", {Extract::kBoxed});
    const auto verdict = compare_answers(answer.value_or(""), gold);
    unreadable += verdict == Verdict::kGoldUnreadable;
    right += verdict == Verdict::kRight;
    numbers += canonical_number(gold).has_value();
  }
  EXPECT_EQ(unreadable, 4);
  EXPECT_EQ(right, 7470);
  EXPECT_EQ(numbers, 6100);
}

}  // namespace
}  // namespace r1
