#include "r1/data/text_examples.h"

#include <gtest/gtest.h>

#include "temp_file.h"

namespace r1 {
namespace {

TEST(TextExamples, ReadsBothForms) {
  const auto examples = read_text_examples(temp_file(
      "a.jsonl", "{\"prompt\": \"p\", \"completion\": \"c\", \"source\": 1}\n\n{\"text\": \"t\\u00e9\"}\n"));
  ASSERT_EQ(examples.size(), 2u);
  EXPECT_EQ(examples[0].prompt, "p");
  EXPECT_EQ(examples[0].completion, "c");
  EXPECT_EQ(examples[1].prompt, "");
  EXPECT_EQ(examples[1].completion, "t\xC3\xA9");
}

TEST(TextExamples, ErrorsNameTheLine) {
  const auto message = [](const std::string& line) {
    const auto file = temp_file("b.jsonl", "{\"text\": \"fine\"}\n" + line + "\n");
    return error_of([&] { read_text_examples(file); });
  };
  EXPECT_HAS(message("{\"prompt\": \"p\"}"), "b.jsonl:2: has no \"completion\"");
  EXPECT_HAS(message("{\"completion\": \"p\"}"), "b.jsonl:2: has no \"prompt\"");
  EXPECT_HAS(message("{\"promt\": \"p\"}"), "b.jsonl:2: has promt");
  EXPECT_HAS(message("{}"), "b.jsonl:2: has no field");
  EXPECT_HAS(message("{\"text\": 5}"), "b.jsonl:2: \"text\" is number");
  EXPECT_HAS(message("{\"text\": \"\"}"), "b.jsonl:2: \"text\" is empty");
  EXPECT_HAS(message("{\"prompt\": \"p\", \"completion\": \"\"}"), "\"completion\" is empty");
  EXPECT_HAS(message("{\"prompt\": \"p\", \"text\": \"t\"}"), "beside");
  EXPECT_HAS(message("{\"text\": \"half"), "b.jsonl:2");
  EXPECT_HAS(error_of([] { read_text_examples(temp_file("c.jsonl", "")); }), "c.jsonl");
}

}  // namespace
}  // namespace r1
