#include "r1/data/preference_examples.h"

#include <gtest/gtest.h>

#include <set>

#include "temp_file.h"

namespace r1 {
namespace {

TEST(PreferenceExamples, ReadsPairsAndJudgedCompletions) {
  const auto examples = read_preferences(temp_file("p.jsonl",
                                                   "{\"prompt\": \"p\", \"chosen\": \"c\", \"rejected\": \"\", \"margin\": 1}\n"
                                                   "{\"prompt\": \"q\", \"completion\": \"g\", \"good\": true}\n"
                                                   "{\"prompt\": \"q\", \"completion\": \"b\", \"good\": false}\n"));
  ASSERT_EQ(examples.size(), 3u);
  EXPECT_TRUE(examples[0].is_pair());
  EXPECT_EQ(*examples[0].chosen, "c");
  EXPECT_EQ(*examples[0].rejected, "");
  EXPECT_FALSE(examples[1].is_pair());
  EXPECT_EQ(*examples[1].chosen, "g");
  EXPECT_FALSE(examples[1].rejected);
  EXPECT_EQ(*examples[2].rejected, "b");
}

TEST(PreferenceExamples, ErrorsNameTheLine) {
  const auto message = [](const std::string& line) {
    const auto file = temp_file("bad.jsonl", "{\"prompt\": \"p\", \"chosen\": \"c\", \"rejected\": \"r\"}\n" + line + "\n");
    return error_of([&] { read_preferences(file); });
  };
  EXPECT_HAS(message("{\"prompt\": \"p\", \"chosen\": \"c\"}"), "bad.jsonl:2: has no \"rejected\"");
  EXPECT_HAS(message("{\"chosen\": \"c\", \"rejected\": \"r\"}"), "bad.jsonl:2: has no \"prompt\"");
  EXPECT_HAS(message("{\"prompt\": \"p\", \"chosen\": 3, \"rejected\": \"r\"}"), "bad.jsonl:2: \"chosen\" is number");
  EXPECT_HAS(message("{\"prompt\": \"p\", \"chosen\": \"r\", \"rejected\": \"r\"}"), "bad.jsonl:2: \"chosen\" and \"rejected\" are the same");
  EXPECT_HAS(message("{\"prompt\": \"p\", \"completion\": \"r\"}"), "bad.jsonl:2: \"good\" is not true or false");
  EXPECT_HAS(message("{\"prompt\": \"p\", \"completion\": \"r\", \"good\": 1}"), "\"good\" is not true or false");
}

TEST(PreferenceExamples, APromptIsHeldOutWithAllItsExamples) {
  std::vector<PreferenceExample> examples;
  for (int i = 0; i < 2000; ++i) examples.push_back({std::to_string(i % 500), "a", "b"});
  const auto set = split_preferences(examples, 0.2);
  EXPECT_EQ(set.train.size() + set.eval.size(), examples.size());
  EXPECT_NEAR(static_cast<double>(set.eval.size()), 400.0, 120.0);
  std::set<std::string> trained;
  for (const auto& example : set.train) trained.insert(example.prompt);
  for (const auto& example : set.eval) EXPECT_FALSE(trained.contains(example.prompt));
  EXPECT_TRUE(split_preferences(examples, 0.0).eval.empty());
}

}  // namespace
}  // namespace r1
