#include "r1/reward/format.h"

#include <gtest/gtest.h>

#include <string>

namespace r1 {
namespace {

TEST(Format, AcceptsTheShape) {
  EXPECT_TRUE(has_think_answer_format("<think>a</think><answer>b</answer>"));
  EXPECT_TRUE(has_think_answer_format("\n<think> a < b </think>\n\n<answer> 5 </answer> \n"));
  EXPECT_TRUE(has_think_answer_format(" a</think> <answer>b</answer>", /*think_opened=*/true));
}

TEST(Format, RejectsEveryDeviation) {
  for (const std::string text : {"",
                                 "<think>",
                                 "5",
                                 "<think>a</think>",
                                 "<answer>b</answer>",
                                 "<think>a</think><answer>b",
                                 "<think>a<answer>b</answer>",
                                 "a</think><answer>b</answer>",
                                 "x<think>a</think><answer>b</answer>",
                                 "<think>a</think>x<answer>b</answer>",
                                 "<think>a</think><answer>b</answer>x",
                                 "<think> </think><answer>b</answer>",
                                 "<think>a</think><answer> \n</answer>",
                                 "<think>a<think>a</think><answer>b</answer>",
                                 "<think>a</think></think><answer>b</answer>",
                                 "<think>a</think><answer>b</answer><answer>c</answer>",
                                 "<think>a<answer>1</answer></think><answer>b</answer>",
                                 "<think>a</think><answer><think>b</answer>",
                                 "<answer>b</answer><think>a</think>",
                                 "<Think>a</Think><answer>b</answer>",
                                 "<think>a</think><answer>b</answer><"}) {
    EXPECT_FALSE(has_think_answer_format(text)) << text;
  }
  EXPECT_FALSE(has_think_answer_format("<think>a</think><answer>b</answer>", /*think_opened=*/true));
  EXPECT_FALSE(has_think_answer_format("</think><answer>b</answer>", /*think_opened=*/true));
}

}  // namespace
}  // namespace r1
