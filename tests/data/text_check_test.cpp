#include "r1/data/text_check.h"

#include <gtest/gtest.h>

#include "r1/data/problem_file.h"
#include "r1/util/error.h"
#include "temp_file.h"

namespace r1 {
namespace {

constexpr const char* kLong =
    "Tom has 3 red apples and 4 green apples in his basket. How many apples does Tom have?";

TextCheckConfig parse(const std::string& yaml) {
  const auto node = ConfigNode::parse_text(yaml, "test.yaml");
  auto config = TextCheckConfig::parse(node);
  node.reject_unknown_keys();
  return config;
}

struct Checked {
  std::vector<bool> kept;
  std::vector<nlohmann::ordered_json> findings;
};

Checked check(const TextCheckConfig& config, const std::vector<std::string>& texts) {
  Checked out;
  TextChecker checker(config,
                      [&](const nlohmann::ordered_json& finding) { out.findings.push_back(finding); });
  for (size_t i = 0; i < texts.size(); ++i) {
    out.kept.push_back(
        checker.keeps({"train.jsonl", static_cast<int64_t>(i + 1), "", "line"}, {{"text", texts[i], false}}));
  }
  return out;
}

TEST(TextCheck, DropsContaminationWithItsEvidence) {
  const auto eval = temp_file(
      "eval.jsonl", std::string("{\"id\": \"e1\", \"question\": \"") + kLong +
                        "\", \"answer\": \"It is 3 + 4 = 7 apples that he has in there.\\n#### 7\"}\n");
  const auto config = parse("{decontaminate: {against: [\"" + eval.string() + "\"]}}");
  const auto r = check(
      config, {"clean text", std::string("copied: ") + kLong, "it is 3 + 4 = 7 apples that he had in there",
               "it is 3 + 4 = 7 apples that he has in there"});
  EXPECT_EQ(r.kept, (std::vector<bool>{true, false, true, false}));
  ASSERT_EQ(r.findings.size(), 2u);
  EXPECT_EQ(
      r.findings[0].dump(),
      R"({"file":"train.jsonl","line":2,"dropped":true,"reason":"contamination","field":"text","ngram":"tom has 3 red apples and 4 green apples in","against":{"file":")" +
          eval.string() + R"(","line":1,"id":"e1","field":"question"}})");
  EXPECT_EQ(r.findings[1]["against"]["field"], "answer");
}

TEST(TextCheck, IdentityIsDroppedOrReported) {
  const std::vector<std::string> texts = {"I am ChatGPT.", "I use ChatGPT.", "I am DeepSeek-R1."};
  auto r = check(parse("{identity: drop, own_names: [DeepSeek-R1]}"), texts);
  EXPECT_EQ(r.kept, (std::vector<bool>{false, true, true}));
  r = check(parse("{identity: report}"), texts);
  EXPECT_EQ(r.kept, (std::vector<bool>{true, true, true}));
  ASSERT_EQ(r.findings.size(), 2u);
  EXPECT_EQ(r.findings[0]["dropped"], false);
  EXPECT_EQ(r.findings[0]["who"], "ChatGPT");
}

TEST(TextCheck, RepeatsDifferInNothingThatCounts) {
  const auto r = check(parse("{deduplicate: true}"),
                       {"What is x + 1?", "what  is X+1?\n", "What is x - 1?", "What is x \xE2\x88\x92 1?",
                        "\xEF\xBC\xB7hat is x + 1?", "\xFF", "\xFE"});
  EXPECT_EQ(r.kept, (std::vector<bool>{true, false, true, false, false, true, true}));
  EXPECT_EQ(r.findings[0]["of"].dump(), R"({"file":"train.jsonl","line":1})");
  // A row that was dropped for another reason is no first of its kind.
  const auto both = check(parse("{identity: drop, deduplicate: true}"), {"I am ChatGPT.", "I am ChatGPT."});
  EXPECT_EQ(both.findings[1]["reason"], "identity");
}

TEST(TextCheck, BadSettingsNameTheKey) {
  const auto error = [](const std::string& yaml) { return error_of([&] { parse(yaml); }); };
  EXPECT_HAS(error("{decontaminate: {against: [nowhere.jsonl]}}"), "There is no file nowhere.jsonl");
  EXPECT_HAS(error("{decontaminate: {against: []}}"), "at least one file");
  EXPECT_HAS(error("{decontaminate: {agianst: [held_out]}}"), "against");
  EXPECT_HAS(error("{decontaminate: {against: [held_out], ngram: 2}}"),
             "decontaminate.ngram is 2; accepted: 4 to 100");
  EXPECT_HAS(error("{identity: remove}"), "identity is remove; accepted: drop, report");
  EXPECT_HAS(error("{own_names: [x]}"), "own_names");
  const auto empty = temp_file("odd.jsonl", "{\"name\": 1}\n");
  EXPECT_HAS(
      error_of([&] { check(parse("{decontaminate: {against: [\"" + empty.string() + "\"]}}"), {"x"}); }),
      "no row has a field with a text");
  const auto broken = temp_file("broken.jsonl", "{\"question\": \"x\"}\n{\"question\"\n");
  EXPECT_HAS(
      error_of([&] { check(parse("{decontaminate: {against: [\"" + broken.string() + "\"]}}"), {"x"}); }),
      "broken.jsonl:2");
}

ProblemSet problems(const std::string& rows, const std::string& more) {
  const auto file = temp_file("train.jsonl", rows);
  return file_problems(ProblemFileConfig::parse(
      ConfigNode::parse_text("{file: \"" + file.string() + "\", " + more + "}", "test.yaml")));
}

TEST(TextCheck, ProblemsAreCheckedByTheirQuestion) {
  const auto eval =
      temp_file("eval.jsonl", std::string("{\"question\": \"") + kLong + "\", \"answer\": 7}\n");
  const auto set = problems(std::string("{\"question\": \"What is 1 + 1?\", \"answer\": 2}\n{\"question\": "
                                        "\"WHAT is 1 + 1 ?\", \"answer\": 2}\n\n"
                                        "{\"question\": \"Well, ") +
                                kLong + "\", \"answer\": 7, \"id\": \"t3\"}\n",
                            "eval_fraction: 0, deduplicate: true, decontaminate: {against: [\"" +
                                eval.string() + "\"]}, prompt: \"Tom has 3 red: {prompt}\"");
  ASSERT_EQ(set.train.size(), 1u);
  EXPECT_EQ(set.train[0].question, "What is 1 + 1?");
  ASSERT_EQ(set.findings.size(), 2u);
  EXPECT_EQ(set.findings[0]["reason"], "duplicate");
  EXPECT_EQ(set.findings[1]["row"], 2);
  EXPECT_EQ(set.findings[1]["id"], "t3");
  EXPECT_HAS(set.checks, "dropped 2 of 3: 1 for contamination, 1 duplicate");
}

TEST(TextCheck, TrainingSharesNothingWithTheHeldOutProblems) {
  // Pairs of problems that differ in the name alone: by the hash of the question some fall on both sides.
  std::string rows;
  for (int i = 0; i < 60; ++i) {
    for (const char* name : {"Tom", "Ann"}) {
      const auto n = std::to_string(i);
      rows += std::string("{\"question\": \"") + name + " saw " + n + " red and " + std::to_string(7 * i) +
              " green apples in basket " + n + ". How many of them?\", \"answer\": 1}\n";
    }
  }
  const auto plain = problems(rows, "eval_fraction: 0.3"),
             checked = problems(rows, "eval_fraction: 0.3, decontaminate: {against: [held_out]}");
  const auto pairs = [](const ProblemSet& set) {
    int count = 0;
    for (const auto& train : set.train) {
      for (const auto& eval : set.eval) count += train.question.substr(4) == eval.question.substr(4) ? 1 : 0;
    }
    return count;
  };
  EXPECT_GT(pairs(plain), 5);
  EXPECT_EQ(pairs(checked), 0);
  EXPECT_EQ(checked.eval.size(), plain.eval.size());
  EXPECT_EQ(static_cast<int>(plain.train.size() - checked.train.size()), pairs(plain));
  EXPECT_EQ(checked.findings.size(), plain.train.size() - checked.train.size());
  EXPECT_HAS(error_of([&] {
               problems("{\"question\": \"I am ChatGPT.\", \"answer\": 1}\n",
                        "eval_fraction: 0, identity: drop");
             }),
             "no training problem is left, dropped 1 of 1");
}

TEST(RowTexts, FindsTextsByName) {
  const auto row = nlohmann::json::parse(
      R"({"id": 7, "Question": "q", "level": "hard", "answer": "a", "messages": [{"role": "user", "content": "hi"}, {"from": "gpt", "value": "ho"}],
          "test_list": ["t1", 2], "score": 1})");
  std::vector<std::string> found;
  for (const auto& text : row_texts(row))
    found.push_back(text.field + "=" + std::string(text.text) + (text.is_question ? "?" : ""));
  EXPECT_EQ(found, (std::vector<std::string>{"Question=q?", "answer=a", "messages[0]=hi", "messages[1]=ho",
                                             "test_list[0]=t1"}));
  EXPECT_EQ(row_texts(row, {"level"}).size(), 1u);
  EXPECT_EQ(row_id(row), "7");
  EXPECT_TRUE(row_texts(nlohmann::json::array()).empty());
}

}  // namespace
}  // namespace r1
