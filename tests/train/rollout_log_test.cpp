#include "r1/train/rollout_log.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "../../src/train/lossless_text.h"
#include "r1/util/jsonl.h"

namespace r1 {
namespace {

std::vector<nlohmann::json> read_rows(const std::filesystem::path& file) {
  std::vector<nlohmann::json> rows;
  read_jsonl(file, [&](int64_t, const nlohmann::json& row) { rows.push_back(row); });
  return rows;
}

TEST(RolloutLog, KeepsEverythingOfARow) {
  const auto folder = std::filesystem::path(::testing::TempDir()) / "r1_rollout_log" / "rollouts";
  std::filesystem::remove_all(folder);
  RolloutLogRow row;
  row.prompt_id = 7;
  row.sample = 3;
  row.prompt = "12 + 7 =";
  row.text = " 19\n\"\\ \xE2\x88\x92";
  row.num_tokens = 4;
  row.finish_reason = "stop";
  row.score.total = 1.2;
  row.score.parts = {{"format", 1.0}, {"accuracy", 0.0}};
  row.score.verdict = Verdict::kRight;
  row.score.extracted = "19";
  row.score.answers = {{"accuracy", Verdict::kRight, "19"}, {"reach", Verdict::kAnswerUnreadable, ""}};
  row.gold = "19";
  row.advantage = 1.0 / 3;
  auto broken = row;
  broken.text = std::string("a\xFF\0b\xE2\x88", 6);
  broken.score.total = std::nan("");
  broken.score.verdict = Verdict::kGoldUnreadable;
  const auto file = write_rollout_log(folder, 10, {row, broken});
  EXPECT_EQ(file.filename(), "step-000010.jsonl.zst");
  const auto rows = read_rows(file);
  ASSERT_EQ(rows.size(), 2u);
  EXPECT_EQ(rows[0], (nlohmann::json{{"step", 10},
                                     {"prompt_id", 7},
                                     {"sample", 3},
                                     {"prompt", "12 + 7 ="},
                                     {"text", row.text},
                                     {"num_tokens", 4},
                                     {"finish_reason", "stop"},
                                     {"reward", 1.2},
                                     {"rewards", {{"format", 1.0}, {"accuracy", 0.0}}},
                                     {"verdict", "right"},
                                     {"extracted", "19"},
                                     {"gold", "19"},
                                     {"answers",
                                      {{"accuracy", {{"verdict", "right"}, {"extracted", "19"}}},
                                       {"reach", {{"verdict", "answer_unreadable"}, {"extracted", ""}}}}},
                                     {"advantage", 1.0 / 3}}));
  EXPECT_EQ(rows[1]["text"], std::string("a\xEF\xBF\xBD\0b\xEF\xBF\xBD", 9));
  EXPECT_EQ(rows[1]["text_base64"], "Yf8AYuKI");
  EXPECT_EQ(rows[1]["reward"], "NaN");
  EXPECT_EQ(rows[1]["verdict"], "gold_unreadable");
  EXPECT_FALSE(rows[1].contains("prompt_base64"));
}

TEST(LosslessText, Base64AsInTheStandard) {  // RFC 4648, section 10
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"", ""}, {"f", "Zg=="}, {"fo", "Zm8="}, {"foo", "Zm9v"}, {"foob", "Zm9vYg=="}, {"foobar", "Zm9vYmFy"}};
  for (const auto& [bytes, text] : cases) EXPECT_EQ(base64(bytes), text);
}

TEST(LosslessText, Utf8IsWhatJsonTakes) {
  // Every sequence of up to three bytes over the interesting ones: is_utf8 must agree with the JSON writer,
  // or bytes would be lost without a base64 twin.
  const std::string alphabet =
      "a\x7F\x80\x8F\x90\x9F\xA0\xBF\xC0\xC1\xC2\xDF\xE0\xE1\xED\xEF\xF0\xF1\xF4\xF5\xFF";
  const auto json_takes = [](const std::string& text) {
    try {
      nlohmann::json(text).dump();
      return true;
    } catch (const nlohmann::json::exception&) {
      return false;
    }
  };
  for (const char a : alphabet) {
    for (const char b : alphabet) {
      for (const char c : alphabet) {
        for (const std::string& text :
             {std::string{a}, std::string{a, b}, std::string{a, b, c}, std::string{a, b, c, '\x80'}}) {
          ASSERT_EQ(is_utf8(text), json_takes(text)) << nlohmann::json(base64(text));
        }
      }
    }
  }
}

}  // namespace
}  // namespace r1
