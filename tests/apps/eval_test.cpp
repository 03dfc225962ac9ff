// r1 eval as a script sees it, with a random tiny model.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <sstream>

#include "process.h"
#include "tiny_model.h"

namespace r1::apps {
namespace {

using r1::testing_support::slurp;
using r1::testing_support::TempFolder;
using testing_support::model_with_tokenizer;
using testing_support::run_r1;

std::vector<nlohmann::json> rows_of(const std::string& text) {
  std::vector<nlohmann::json> rows;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) rows.push_back(nlohmann::json::parse(line));
  return rows;
}

std::string gsm8k_rows(int count) {
  std::string rows;
  for (int i = 0; i < count; ++i) {
    rows += nlohmann::json{{"question", std::to_string(i) + " + 1"},
                           {"answer", "so it is\n#### " + std::to_string(i + 1)}}
                .dump() +
            "\n";
  }
  return rows;
}

TEST(EvalCommand, ABenchmarkFileNeedsNoConfig) {
  const TempFolder folder;
  const auto model = model_with_tokenizer(folder, "model");
  const auto data = folder.write("gsm8k.jsonl", gsm8k_rows(6));
  const std::vector<std::string> base = {"eval",     "--model",    model,          "--data", data,
                                         "--prompt", "{prompt} =", "--max-tokens", "4"};
  const auto with = [&](std::vector<std::string> more) {
    auto arguments = base;
    arguments.insert(arguments.end(), more.begin(), more.end());
    return run_r1(arguments);
  };
  const auto r = with({"--samples", "4", "--temperature", "0.6", "--top-p", "0.95", "--json", "--out",
                       folder / "samples.jsonl"});
  ASSERT_EQ(r.exit_code, 0) << r.err;
  const auto figures = nlohmann::json::parse(r.out);
  EXPECT_EQ(figures["problems"], 6);
  EXPECT_EQ(figures["samples"], 4);
  for (const char* name : {"accuracy", "accuracy_low", "accuracy_high", "pass_at_2", "pass_at_4", "cons_at_4",
                           "reward_accuracy"}) {
    ASSERT_TRUE(figures[name].is_number()) << name;
  }
  const auto rows = rows_of(slurp(folder / "samples.jsonl"));
  ASSERT_EQ(rows.size(), 24u);
  double right = 0;
  for (const auto& row : rows) {
    right += row["verdict"] == "right" ? 1 : 0;
    EXPECT_LE(row["num_tokens"].get<int>(), 4);
    EXPECT_EQ(row["gold"].get<std::string>(), std::to_string(row["problem"].get<int>() + 1));
    EXPECT_EQ(row["prompt"].get<std::string>(), std::to_string(row["problem"].get<int>()) + " + 1 =");
  }
  EXPECT_NEAR(figures["accuracy"].get<double>(), right / 24, 1e-12);
  // Sample 0 is the same alone, the seed repeats it, and another seed gives others.
  const auto texts = [&](const std::string& name, std::vector<std::string> more) {
    more.insert(more.end(), {"--out", folder / name});
    EXPECT_EQ(with(more).exit_code, 0);
    std::vector<std::string> out;
    for (const auto& row : rows_of(slurp(folder / name))) {
      if (row["sample"] == 0) out.push_back(row["completion"]);
    }
    return out;
  };
  std::vector<std::string> first;
  for (const auto& row : rows) {
    if (row["sample"] == 0) first.push_back(row["completion"]);
  }
  EXPECT_EQ(texts("one.jsonl", {"--temperature", "0.6", "--top-p", "0.95"}), first);
  EXPECT_NE(texts("other.jsonl", {"--temperature", "0.6", "--top-p", "0.95", "--seed", "2"}), first);
}

TEST(EvalCommand, TheTableForPeople) {
  const TempFolder folder;
  const auto model = model_with_tokenizer(folder, "model");
  const auto data = folder.write(
      "aime.json",
      R"([{"Problem": "1 + 1", "Answer": 2}, {"Problem": "2 + 2", "Answer": 4}, {"Problem": "x", "Answer": ""}])");
  const auto r = run_r1({"eval", "--model", model, "--data", data, "--prompt", "{prompt} =", "--max-tokens",
                         "3", "--problems", "1"});
  ASSERT_EQ(r.exit_code, 0) << r.err;
  EXPECT_NE(r.out.find("problems             1, 1 sample of each"), std::string::npos) << r.out;
  EXPECT_NE(r.out.find("pass@1"), std::string::npos) << r.out;
  EXPECT_NE(r.out.find("95 % interval"), std::string::npos) << r.out;
  EXPECT_EQ(r.out.find("cons@"), std::string::npos) << r.out;
  EXPECT_NE(r.err.find("1 problems left out, without a gold answer"), std::string::npos) << r.err;
}

TEST(EvalCommand, AConfigsHeldOutProblems) {
  const TempFolder folder;
  const auto model = model_with_tokenizer(folder, "model");
  const auto config = folder.write("c.yaml", "model: {path: " + model.string() + R"(}
problems: {kind: arithmetic, a: [0, 9], b: [0, 9], prompt: "{a} {op} {b} =", eval_fraction: 0.3}
reward: {parts: {accuracy: {kind: exact_answer, extract: first_line, compare: number}}}
pipeline:
  - {name: judge, kind: eval, eval: {problems: 5, samples: 2, sampling: {temperature: 0.6, top_p: 0.95, max_completion_tokens: 3}}}
)");
  const auto r = run_r1({"eval", config, "--model", model, "--json"});
  ASSERT_EQ(r.exit_code, 0) << r.err;
  const auto figures = nlohmann::json::parse(r.out);
  EXPECT_EQ(figures["problems"], 5);
  EXPECT_EQ(figures["samples"], 2);
  EXPECT_TRUE(figures.contains("cons_at_2"));
  const auto more = run_r1({"eval", config, "--model", model, "--json", "--samples", "3", "--problems", "4",
                            "pipeline.0.eval.samples=1"});
  ASSERT_EQ(more.exit_code, 0) << more.err;
  EXPECT_EQ(nlohmann::json::parse(more.out)["samples"], 3);
  EXPECT_EQ(nlohmann::json::parse(more.out)["problems"], 4);
}

}  // namespace
}  // namespace r1::apps
