#include "r1/data/problem_fields.h"

#include <gtest/gtest.h>

#include "r1/data/problem_file.h"
#include "temp_file.h"

namespace r1 {
namespace {

std::string form_of(const char* row) {
  const auto fields = recognise_fields(nlohmann::json::parse(row));
  return fields ? fields->form + " " + fields->prompt + " " + fields->answer : "none";
}

TEST(ProblemFields, KnowsTheBenchmarksByTheirFields) {
  EXPECT_EQ(form_of(R"({"question": "2+2?", "answer": "2+2=4\n#### 4"})"), "gsm8k question answer");
  EXPECT_EQ(form_of(R"({"problem": "x", "answer": "4", "solution": "\\boxed{4}", "subject": "Algebra"})"),
            "answer problem answer");
  EXPECT_EQ(form_of(R"({"problem": "x", "solution": "so \\boxed{4}", "level": "Level 5"})"),
            "solution problem solution");
  EXPECT_EQ(form_of(R"({"ID": "2024-I-1", "Problem": "x", "Answer": 204})"), "answer Problem Answer");
  EXPECT_EQ(
      form_of(R"({"task_id": "HumanEval/0", "prompt": "def f():", "canonical_solution": "    return 1\n",
                        "test": "def check(f): assert f() == 1", "entry_point": "f"})"),
      "humaneval prompt test");
  EXPECT_EQ(form_of(R"({"text": "Write f.", "code": "x", "test_list": ["assert f() == 1"]})"),
            "mbpp text test_list");
  EXPECT_EQ(form_of(R"({"problem": "x", "solution": "no box"})"), "none");
  EXPECT_EQ(form_of(R"({"text": "x"})"), "none");
  EXPECT_EQ(form_of("{}"), "none");
}

TEST(ProblemFields, BoxedAnswers) {
  EXPECT_EQ(boxed_answer("\\boxed{1} then \\boxed{\\frac{1}{2}}."), "\\frac{1}{2}");
  EXPECT_EQ(boxed_answer("is $\\boxed 5$."), "5");
  EXPECT_EQ(boxed_answer("\\boxed{\\{1,2\\}}"), "\\{1,2\\}");
  EXPECT_EQ(boxed_answer("\\boxed{1"), "");
  EXPECT_EQ(boxed_answer("\\boxed"), "");
  EXPECT_EQ(boxed_answer("nothing"), "");
}

TEST(ProblemFields, TestsBecomeAsserts) {
  const auto row = nlohmann::json::parse(
      R"({"prompt": "def f():", "test": "def check(g): assert g() == 1", "entry_point": "f"})");
  EXPECT_EQ(code_asserts(row, *recognise_fields(row)),
            (nlohmann::json{"def check(g): assert g() == 1\n\ncheck(f)\n"}));
  const auto mbpp = nlohmann::json::parse(
      R"j({"text": "t", "test_setup_code": "import math", "test_list": ["assert f(1)", "assert f(2)"]})j");
  EXPECT_EQ(code_asserts(mbpp, *recognise_fields(mbpp)),
            (nlohmann::json{"import math\nassert f(1)", "import math\nassert f(2)"}));
}

TEST(ProblemFields, FilesAreReadWithoutNamingFields) {
  const auto file = temp_file(
      "math.jsonl",
      "{\"problem\": \"a\", \"solution\": \"\\\\boxed{7}\"}\n{\"problem\": \"b\", \"solution\": \"none\"}\n");
  const auto set = file_problems(ProblemFileConfig::parse(
      ConfigNode::parse_text("{file: \"" + file.string() + "\", eval_fraction: 0}", "t")));
  ASSERT_EQ(set.train.size(), 1u);
  EXPECT_EQ(set.train[0].prompt, "a");
  EXPECT_EQ(set.train[0].answer, "7");
  EXPECT_EQ(set.gold_unreadable, 1);
  const auto code = read_benchmark(temp_file("code.jsonl",
                                             "{\"task_id\": \"x/0\", \"prompt\": \"def f():\", \"test\": "
                                             "\"def check(f): pass\", \"entry_point\": \"f\"}\n"));
  ASSERT_EQ(code.size(), 1u);
  EXPECT_EQ(code[0].extra.at("asserts").size(), 1u);
  EXPECT_EQ(code[0].extra.at("task_id"), "x/0");
  const auto gsm8k = read_benchmark(std::string(R1_SOURCE_DIR) + "/data/gsm8k_train.jsonl");
  EXPECT_EQ(gsm8k.size(), 7473u);
  const auto math = read_benchmark(std::string(R1_SOURCE_DIR) + "/data/math_train.json");
  EXPECT_EQ(math.size(), 7474u - 4 - 2);
}

TEST(ProblemFields, BadBenchmarksNameWhatIsThere) {
  const auto error = [](const char* name, const std::string& content) {
    const auto file = temp_file(name, content);
    return error_of([&] { read_benchmark(file); });
  };
  EXPECT_HAS(error("a.jsonl", "{\"prmpt\": \"x\", \"reply\": 1}\n"),
             "a.jsonl:1: has no field \"question\"; it has prmpt, reply");
  EXPECT_HAS(error("a.jsonl", "{\"question\": \"x\", \"answer\": \"\"}\n"), "no problem with a gold answer");
  EXPECT_HAS(error("a.jsonl", "{\"question\": \"x\", \"answer\": 1}\n{\"question\": \"y\"\n"), "a.jsonl:2");
  EXPECT_HAS(error("a.jsonl", "{\"question\": \"x\", \"answer\": 1}\n{\"problem\": \"y\", \"answer\": 1}\n"),
             "a.jsonl:2: has no field \"question\"");
  EXPECT_HAS(error("a.jsonl", ""), "holds no row");
  EXPECT_HAS(error("a.json", "{}"), "accepted: one array of objects");
}

}  // namespace
}  // namespace r1
