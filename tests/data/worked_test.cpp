#include <gtest/gtest.h>

#include <map>
#include <regex>
#include <set>

#include "r1/data/worked_arithmetic.h"
#include "r1/util/strings.h"
#include "temp_file.h"

namespace r1 {
namespace {

std::string steps(const ArithmeticTask& task, WorkedSlip slip = {}) {
  return join(work_out(task, slip).steps, " ");
}

TEST(WorkOut, WritesColumns) {
  EXPECT_EQ(steps({47, 85, '+'}), "7+5=12 4+8+1=13");
  EXPECT_EQ(steps({3, 4, '+'}), "3+4=7");
  EXPECT_EQ(steps({123, 4, '+'}), "3+4=7 2+0=2 1+0=1");
  EXPECT_EQ(steps({83, 47, '-'}), "13-7=6 8-4-1=3");
  EXPECT_EQ(steps({47, 83, '-'}), "-(83-47) 13-7=6 8-4-1=3");
  EXPECT_EQ(steps({5, 5, '-'}), "5-5=0");
  EXPECT_EQ(steps({47, 8, '*'}), "7*8=56 4*8+5=37");
  EXPECT_EQ(steps({12, 34, '*'}), "12*4=48 12*30=360 48+360=408");
  EXPECT_EQ(steps({12, 30, '*'}), "12*30=360");
  EXPECT_EQ(steps({0, 0, '*'}), "0*0=0");
}

TEST(WorkOut, ResultsAreRightWithoutASlipAndWrongWithOne) {
  for (const char op : {'+', '-', '*'}) {
    for (int64_t a = 0; a < 120; a += 1) {
      for (int64_t b = 0; b < 120; b += 7) {
        const ArithmeticTask task{a, b, op};
        const auto right = work_out(task);
        ASSERT_EQ(right.result, task.result()) << a << op << b;
        const bool swapped = op == '-' && a < b;
        const auto num_steps = static_cast<int64_t>(right.steps.size()) - swapped;
        ASSERT_GE(num_steps, 1);
        for (int64_t step = 0; step < num_steps; ++step) {
          for (const int64_t delta : {-1, 1}) {
            ASSERT_NE(work_out(task, {step, delta}).result, task.result())
                << a << op << b << " step " << step;
          }
        }
      }
    }
  }
}

TEST(WorkOut, ASlipIsFollowed) {
  EXPECT_EQ(steps({47, 85, '+'}, {0, -1}), "7+5=11 4+8+1=13");
  EXPECT_EQ(work_out({47, 85, '+'}, {0, -1}).result, 131);
  EXPECT_EQ(steps({45, 44, '+'}, {0, 1}), "5+4=10 4+4+1=9");
  EXPECT_EQ(work_out({45, 44, '+'}, {0, 1}).result, 90);
}

ArithmeticConfig problems() {
  return ArithmeticConfig::parse(ConfigNode::parse_text(
      "{ops: \"+-\", a: [0, 99], b: [0, 99], prompt: \"{a}{op}{b}\\n\", eval_fraction: 0.2}", "p"));
}

WorkedConfig parse(const std::string& yaml) {
  return WorkedConfig::parse(ConfigNode::parse_text(yaml, "test.yaml"));
}

int64_t number_of(const std::string& text) { return std::stoll(text); }

/// Reads "{a}{op}{b}" back.
ArithmeticTask task_of(const std::string& prompt) {
  std::smatch match;
  EXPECT_TRUE(std::regex_match(prompt, match, std::regex("(\\d+)([-+])(\\d+)\n"))) << prompt;
  return {number_of(match[1]), number_of(match[3]), match[2].str()[0]};
}

TEST(WorkedArithmetic, EachKindIsWhatItSays) {
  const auto config = parse("{completion: \"<think> {steps} </think> <answer> {answer} </answer>\"}");
  const std::regex shape("<think> (.+) </think> <answer> (-?\\d+) </answer>");
  const auto source = problems();
  for (int kind = 0; kind < kNumWorkedKinds; ++kind) {
    auto one_kind = config;
    one_kind.mixture.fill(0);
    one_kind.mixture[static_cast<size_t>(kind)] = 1;
    const WorkedArithmetic corpus(source, one_kind, 5);
    std::set<std::string> breaks;
    for (int64_t i = 0; i < 300; ++i) {
      const auto document = corpus.document(i);
      ASSERT_EQ(document.kind, static_cast<WorkedKind>(kind));
      const auto task = task_of(document.text.prompt);
      ASSERT_FALSE(is_held_out(task, source.split));
      const std::string& text = document.text.completion;
      const std::string right_steps = join(work_out(task).steps, " "), right = std::to_string(task.result());
      std::smatch match;
      const bool shaped = std::regex_match(text, match, shape);
      switch (document.kind) {
        case WorkedKind::kCorrect:
          ASSERT_TRUE(shaped) << text;
          ASSERT_EQ(match[1], right_steps);
          ASSERT_EQ(match[2], right);
          break;
        case WorkedKind::kWrongAnswer:
          ASSERT_TRUE(shaped) << text;
          ASSERT_EQ(match[1], right_steps);
          ASSERT_NE(match[2], right);
          break;
        case WorkedKind::kWrongWork:
          ASSERT_TRUE(shaped) << text;
          ASSERT_NE(match[1], right_steps);
          ASSERT_NE(match[2], right);
          break;
        case WorkedKind::kBrokenTags: {
          ASSERT_FALSE(shaped && match[1] == right_steps) << text;
          ASSERT_NE(text.find(right_steps), std::string::npos);
          std::string layout = text;
          layout.replace(layout.find(right_steps), right_steps.size(), "S");
          layout.replace(layout.rfind(right), right.size(), "A");
          breaks.insert(layout);
          break;
        }
        case WorkedKind::kNoTags:
          ASSERT_EQ(text, " " + right_steps + " " + right + "\n");
          break;
        case WorkedKind::kAnswerOnly:
          ASSERT_EQ(text, " " + right + "\n");
          break;
        case WorkedKind::kChatter:
          ASSERT_TRUE(std::regex_match(text, std::regex("( [a-z]+){3,10}\n"))) << text;
          break;
      }
    }
    if (kind == static_cast<int>(WorkedKind::kBrokenTags)) {
      EXPECT_EQ(breaks.size(), 8u);
    }
  }
}

TEST(WorkedArithmetic, SharesAreTheMixtures) {
  const WorkedArithmetic corpus(problems(), parse("{mixture: {correct: 2, wrong_answer: 1, chatter: 1}}"), 3);
  std::map<WorkedKind, int> count;
  for (int64_t i = 0; i < 4000; ++i) ++count[corpus.document(i).kind];
  EXPECT_EQ(count.size(), 3u);
  EXPECT_NEAR(count[WorkedKind::kCorrect], 2000, 120);
  EXPECT_NEAR(count[WorkedKind::kWrongAnswer], 1000, 120);
  EXPECT_NEAR(count[WorkedKind::kChatter], 1000, 120);
}

TEST(WorkedArithmetic, ADocumentIsAFunctionOfSeedAndIndex) {
  const WorkedArithmetic one(problems(), {}, 3), two(problems(), {}, 3), other(problems(), {}, 4);
  std::vector<std::string> texts;
  for (int64_t i = 0; i < 100; ++i) texts.push_back(two.document(i).text.completion);
  int differs = 0;
  for (int64_t i = 99; i >= 0; --i) {
    EXPECT_EQ(one.document(i).text.completion, texts[static_cast<size_t>(i)]);
    differs += one.document(i).text.prompt != other.document(i).text.prompt;
  }
  EXPECT_GT(differs, 90);
}

TEST(WorkedArithmetic, BadSections) {
  EXPECT_HAS(error_of([] { parse("{completion: \"{steps}\"}"); }), "{answer}");
  EXPECT_HAS(error_of([] { parse("{mixture: {corect: 1}}"); }), "correct");
  EXPECT_HAS(error_of([] { parse("{mixture: {correct: 0}}"); }), "above 0");
  EXPECT_HAS(error_of([] { parse("{mixture: {correct: -1}}"); }), "mixture.correct");
}

}  // namespace
}  // namespace r1
