// r1 check-data as a script sees it.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <sstream>

#include "process.h"
#include "r1/util/jsonl.h"
#include "util/temp_folder.h"

namespace r1::apps {
namespace {

namespace fs = std::filesystem;
using r1::testing_support::slurp;
using r1::testing_support::TempFolder;
using testing_support::run_r1;

constexpr const char* kQuestion =
    "Tom has 3 red apples and 4 green apples in his basket. How many apples does Tom have?";

TEST(CheckDataCommand, KeepsReportsAndCounts) {
  const TempFolder folder;
  const auto eval = folder.write(
      "test.jsonl", std::string("{\"id\": \"t1\", \"question\": \"") + kQuestion + "\", \"answer\": 7}\n");
  // Spaces and the order of members must come out as they went in.
  const std::string good = "{ \"prompt\":\"What is 1 + 1?\",   \"completion\": \"2\", \"b\": 1, \"a\": 2}";
  const auto train = folder.write(
      "train.jsonl",
      good + "\n\n{\"prompt\": \"what is 1+1?\", \"completion\": \"2\"}\n{\"prompt\": \"Q: " + kQuestion +
          "\", \"completion\": \"7\"}\n{\"prompt\": \"Who are you?\", \"completion\": \"I am ChatGPT.\", "
          "\"id\": 9}\n");
  const auto r = run_r1({"check-data", train, "--against", eval, "--identity", "drop", "--deduplicate",
                         "--out", folder / "kept.jsonl", "--report", folder / "dropped.jsonl"});
  ASSERT_EQ(r.exit_code, 0) << r.err;
  EXPECT_EQ(slurp(folder / "kept.jsonl"), good + "\n");
  std::vector<nlohmann::json> findings;
  read_jsonl(folder / "dropped.jsonl", [&](int64_t, const nlohmann::json& row) { findings.push_back(row); });
  ASSERT_EQ(findings.size(), 3u);
  EXPECT_EQ(findings[0]["reason"], "duplicate");
  EXPECT_EQ(findings[0]["line"], 3);
  EXPECT_EQ(findings[0]["of"]["line"], 1);
  EXPECT_EQ(findings[1]["reason"], "contamination");
  EXPECT_EQ(findings[1]["line"], 4);
  EXPECT_EQ(findings[1]["ngram"], "tom has 3 red apples and 4 green apples in");
  EXPECT_EQ(findings[1]["against"],
            (nlohmann::json{{"file", eval.string()}, {"line", 1}, {"id", "t1"}, {"field", "question"}}));
  EXPECT_EQ(findings[2]["reason"], "identity");
  EXPECT_EQ(findings[2]["field"], "completion");
  EXPECT_EQ(findings[2]["id"], "9");
  EXPECT_NE(r.out.find("rows         4, kept 1"), std::string::npos) << r.out;
  EXPECT_NE(r.out.find("contaminated 1"), std::string::npos) << r.out;
}

TEST(CheckDataCommand, ReadsArraysAndCompressedFiles) {
  const TempFolder folder;
  const auto array = folder.write("train.json", R"([{"text": "a"}, {"text": "b"}, {"text": "a"}])");
  write_zstd(folder / "more.jsonl.zst", "{\"text\": \"b\"}\n{\"text\": \"c\"}\n");
  const auto r = run_r1({"check-data", array, folder / "more.jsonl.zst", "--deduplicate", "--json", "--out",
                         folder / "kept.jsonl"});
  ASSERT_EQ(r.exit_code, 0) << r.err;
  const auto counts = nlohmann::json::parse(r.out);
  EXPECT_EQ(counts["checked"], 5);
  EXPECT_EQ(counts["duplicates"], 2);
  EXPECT_EQ(slurp(folder / "kept.jsonl"), "{\"text\":\"a\"}\n{\"text\":\"b\"}\n{\"text\": \"c\"}\n");
}

TEST(CheckDataCommand, ABrokenLineLeavesNoOutput) {
  const TempFolder folder;
  const auto train = folder.write("train.jsonl", "{\"text\": \"a\"}\n{\"text\": \"b\"\n");
  const auto r = run_r1({"check-data", train, "--deduplicate", "--out", folder / "kept.jsonl", "--report",
                         folder / "report.jsonl"});
  EXPECT_EQ(r.exit_code, 1);
  EXPECT_NE(r.err.find("train.jsonl:2"), std::string::npos) << r.err;
  EXPECT_FALSE(fs::exists(folder / "kept.jsonl"));
  EXPECT_FALSE(fs::exists(folder / "report.jsonl"));
  EXPECT_EQ(std::distance(fs::directory_iterator(folder / "."), fs::directory_iterator()), 1);
}

}  // namespace
}  // namespace r1::apps
