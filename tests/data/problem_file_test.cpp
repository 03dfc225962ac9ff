#include "r1/data/problem_file.h"

#include <gtest/gtest.h>

#include <set>

#include "temp_file.h"

namespace r1 {
namespace {

ProblemFileConfig parse(const std::string& yaml) {
  return ProblemFileConfig::parse(ConfigNode::parse_text(yaml, "test.yaml"));
}

ProblemFileConfig lines(const std::string& content, const std::string& more = "") {
  const auto file = temp_file("problems.jsonl", content);
  return parse("{kind: jsonl, file: \"" + file.string() + "\", eval_fraction: 0" + more + "}");
}

TEST(ProblemFile, ReadsFieldsTemplateAndMark) {
  const auto set =
      file_problems(lines("{\"question\": \"2+2?\", \"answer\": \"four\\n#### 4 \", \"level\": 3}\n",
                          ", answer_after: \"####\", prompt: \"Q: {prompt}\\nA:\""));
  ASSERT_EQ(set.train.size(), 1u);
  EXPECT_EQ(set.train[0].answer, "4");
  EXPECT_EQ(set.train[0].prompt, "Q: 2+2?\nA:");
  EXPECT_EQ(set.train[0].extra, (nlohmann::json{{"level", 3}}));
}

TEST(ProblemFile, CountsWhatItLeavesOut) {
  const auto set =
      file_problems(lines("{\"question\": \"a\", \"answer\": \"#### 1\"}\n"
                          "{\"question\": \"b\", \"answer\": \"#### \"}\n"
                          "{\"question\": \"c\", \"answer\": \"3\"}\n"
                          "{\"question\": \"a\", \"answer\": \"#### 1\"}\n"
                          "\n"
                          "{\"question\": \"d\", \"answer\": \"#### 4\"}\n",
                          ", answer_after: \"####\""));
  ASSERT_EQ(set.train.size(), 2u);
  EXPECT_EQ(set.gold_unreadable, 2);
  EXPECT_EQ(set.repeated, 1);
  EXPECT_EQ(set.train[1].id, 4);
}

TEST(ProblemFile, TheSplitFollowsTheQuestion) {
  std::string forwards, backwards;
  for (int i = 0; i < 400; ++i) {
    const std::string row = "{\"question\": \"q" + std::to_string(i) + "\", \"answer\": 1}\n";
    forwards += row;
    backwards = row + backwards;
  }
  const auto held_out = [](const std::string& name, const std::string& content) {
    const auto file = temp_file(name, content);
    const auto set = file_problems(parse("{file: \"" + file.string() + "\", eval_fraction: 0.25}"));
    std::set<std::string> questions;
    for (const auto& problem : set.eval) questions.insert(problem.prompt);
    EXPECT_EQ(set.train.size() + set.eval.size(), 400u);
    return questions;
  };
  const auto one = held_out("a.jsonl", forwards);
  EXPECT_EQ(one, held_out("b.jsonl", backwards));
  EXPECT_NEAR(static_cast<double>(one.size()), 100, 30);
}

TEST(ProblemFile, AnEvalFileTakesItsQuestionsOutOfTraining) {
  const auto eval = temp_file("eval.jsonl", "{\"question\": \"b\", \"answer\": 2}\n");
  auto config = lines("{\"question\": \"a\", \"answer\": 1}\n{\"question\": \"b\", \"answer\": 2}\n");
  config.eval_file = eval;
  const auto set = file_problems(config);
  ASSERT_EQ(set.train.size(), 1u);
  ASSERT_EQ(set.eval.size(), 1u);
  EXPECT_EQ(set.train[0].prompt, "a");
  EXPECT_EQ(set.repeated, 1);
}

TEST(ProblemFile, Gsm8kAndMathAsTheyAre) {
  const std::string data = std::string(R1_SOURCE_DIR) + "/data/";
  auto set = file_problems(parse("{kind: jsonl, file: " + data +
                                 "gsm8k_train.jsonl, answer_after: \"####\", "
                                 "eval_fraction: 0.1}"));
  EXPECT_EQ(set.train.size() + set.eval.size(), 7473u);
  EXPECT_EQ(set.gold_unreadable, 0);
  set = file_problems(parse("{kind: json_array, file: " + data +
                            "math_train.json, prompt_field: problem, "
                            "eval_fraction: 0.1, eval_size: 500}"));
  EXPECT_EQ(set.eval.size(), 500u);
  EXPECT_EQ(set.gold_unreadable, 4);
  EXPECT_EQ(set.repeated, 2);
}

TEST(ProblemFile, ErrorsNameFileAndLine) {
  EXPECT_HAS(
      error_of([] { file_problems(lines("{\"question\": \"a\", \"answer\": 1}\n{\"questoin\": \"b\"}\n")); }),
      "problems.jsonl:2: has no field \"question\"");
  EXPECT_HAS(error_of([] { file_problems(lines("{\"questoin\": \"b\", \"answer\": 1}\n")); }),
             "Did you mean \"questoin\"");
  EXPECT_HAS(error_of([] { file_problems(lines("{\"question\": [1], \"answer\": 1}\n")); }),
             ":1: field \"question\" is array");
  EXPECT_HAS(error_of([] { file_problems(lines("{\"question\": \" \", \"answer\": 1}\n")); }), "is empty");
  EXPECT_HAS(error_of([] { file_problems(lines("{\"question\": \"a\", \"ans\n")); }), "problems.jsonl:1");
  EXPECT_HAS(error_of([] { file_problems(lines("")); }), "problems.jsonl");
  EXPECT_HAS(error_of([] { file_problems(lines("{\"question\": \"a\", \"answer\": \"\"}\n")); }),
             "no training problem");
  EXPECT_HAS(error_of([] { file_problems(parse("{file: /nowhere/x.jsonl}")); }), "/nowhere/x.jsonl");
  EXPECT_HAS(error_of([] { parse("{kind: jsonl}"); }), "file");
  EXPECT_HAS(error_of([] { parse("{file: a, eval_file: b, eval_fraction: 0.1}"); }), "eval_fraction");
  const auto array = [](const std::string& content) {
    const auto file = temp_file("array.json", content);
    return error_of([&] { file_problems(parse("{kind: json_array, file: \"" + file.string() + "\"}")); });
  };
  EXPECT_HAS(array("[1]"), "element 0 is number");
  EXPECT_HAS(array("[]"), "empty array");
  EXPECT_HAS(array("{}"), "object");
  EXPECT_HAS(array("[{\"question\""), "array.json");
}

}  // namespace
}  // namespace r1
