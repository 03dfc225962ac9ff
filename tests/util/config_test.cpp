#include "r1/util/config.h"

#include <gtest/gtest.h>

#include <cmath>

#include "r1/util/error.h"
#include "util/temp_folder.h"

namespace r1 {
namespace {

using testing_support::TempFolder;
namespace fs = std::filesystem;
using Strings = std::vector<std::string>;
using Leaves = std::vector<std::pair<std::string, std::string>>;

ConfigNode parse(const std::string& yaml, const Strings& overrides = {}) {
  return ConfigNode::parse_text(yaml, "a.yaml", overrides);
}

template <typename T>
T read_one(const std::string& value) {
  T out{};
  parse("key: " + value + "\n").require("key", out);
  return out;
}

TEST(Config, ReadsEveryType) {
  const auto node = parse(
      "flag: true\ncount: 12\nrate: 1e-4\nname: two words\nfile: a/b.txt\n"
      "ints: [1, 2_000, 3e3]\nreals:\n- .5\n- -1\nwords: [a, 'b, c', 7]\nnone: []\n");
  bool flag = false;
  int64_t count = 0;
  double rate = 0;
  std::string name;
  fs::path file;
  std::vector<int64_t> ints;
  std::vector<double> reals;
  Strings words, none{"default"};
  node.read("flag", flag);
  node.read("count", count);
  node.read("rate", rate);
  node.read("name", name);
  node.read("file", file);
  node.read("ints", ints);
  node.read("reals", reals);
  node.read("words", words);
  node.read("none", none);
  EXPECT_TRUE(flag);
  EXPECT_EQ(count, 12);
  EXPECT_EQ(rate, 1e-4);
  EXPECT_EQ(name, "two words");
  EXPECT_EQ(file, fs::path("a/b.txt"));
  EXPECT_EQ(ints, (std::vector<int64_t>{1, 2000, 3000}));
  EXPECT_EQ(reals, (std::vector<double>{0.5, -1}));
  EXPECT_EQ(words, (Strings{"a", "b, c", "7"}));
  EXPECT_TRUE(none.empty());
  EXPECT_NO_THROW(node.reject_unknown_keys());
}

TEST(Config, AbsentKeysLeaveTheDefault) {
  int64_t count = 7;
  std::vector<double> reals{1};
  const auto node = parse("other: 1\n");
  node.read("count", count);
  node.child("section").read("reals", reals);
  EXPECT_EQ(count, 7);
  EXPECT_EQ(reals, std::vector<double>{1});
  EXPECT_FALSE(node.has("count"));
  EXPECT_TRUE(node.has("other"));
  ConfigNode().read("count", count);
  EXPECT_EQ(count, 7);
}

TEST(Config, IntegersInTheirForms) {
  const std::vector<std::pair<const char*, int64_t>> good = {{"0", 0},
                                                             {"-0", 0},
                                                             {"+5", 5},
                                                             {"007", 7},
                                                             {"1_000_000", 1000000},
                                                             {"1e6", 1000000},
                                                             {"1E+6", 1000000},
                                                             {"1.5e3", 1500},
                                                             {"2.50e1", 25},
                                                             {"-3e2", -300},
                                                             {"0e99", 0},
                                                             {"10.0e0", 10},
                                                             {"1_0.5e1", 105},
                                                             {"9007199254740993", 9007199254740993},
                                                             {"9.007199254740993e15", 9007199254740993},
                                                             {"9223372036854775807", INT64_MAX},
                                                             {"-9223372036854775808", INT64_MIN}};
  for (const auto& [text, value] : good) EXPECT_EQ(read_one<int64_t>(text), value) << text;
  for (const char* text : {"1.5",
                           "16.0",
                           "1.25e1",
                           "1e-1",
                           "9223372036854775808",
                           "-9223372036854775809",
                           "1e19",
                           "1e999",
                           "1e99999999999999999999",
                           "abc",
                           "'5'",
                           "\"5\"",
                           "1__0",
                           "_1",
                           "1_",
                           "0x10",
                           "1e",
                           "e5",
                           "-",
                           "+",
                           "--1",
                           "1 2",
                           "true",
                           "[1]",
                           "{a: 1}",
                           "",
                           "~",
                           "null",
                           ".5e1",
                           "5.",
                           ".inf"}) {
    EXPECT_THROW(read_one<int64_t>(text), Error) << text;
  }
}

TEST(Config, NumbersInTheirForms) {
  const std::vector<std::pair<const char*, double>> good = {
      {"0", 0.0},           {"1", 1.0},          {"-2.5", -2.5}, {"+.5", 0.5},
      {"1e-5", 1e-5},       {"1_000.5", 1000.5}, {"5.", 5.0},    {".inf", INFINITY},
      {"-.inf", -INFINITY}, {"3E+2", 300.0},     {"0.1", 0.1},   {"1e308", 1e308}};
  for (const auto& [text, value] : good) EXPECT_EQ(read_one<double>(text), value) << text;
  for (const char* text : {"nan", ".nan", "inf", "infinity", "1e400", "1.2.3", "1f", "abc", "'1'", "0x1p3",
                           "--1", "-+1", "-", "+", ".", "", "~", "[1.0]", "1,5"}) {
    EXPECT_THROW(read_one<double>(text), Error) << text;
  }
}

TEST(Config, BooleansAndTextInTheirForms) {
  for (const char* text : {"true", "True", "TRUE"}) EXPECT_TRUE(read_one<bool>(text)) << text;
  for (const char* text : {"false", "False", "FALSE"}) EXPECT_FALSE(read_one<bool>(text)) << text;
  for (const char* text : {"yes", "on", "1", "0", "'true'", "tRUE", "", "[true]"}) {
    EXPECT_THROW(read_one<bool>(text), Error) << text;
  }
  EXPECT_EQ(read_one<std::string>("135"), "135");
  EXPECT_EQ(read_one<std::string>("''"), "");
  EXPECT_EQ(read_one<std::string>("'null'"), "null");
  EXPECT_EQ(read_one<std::string>("|\n  two\n  lines\n"), "two\nlines\n");
  EXPECT_EQ(read_one<std::string>("!!str 5"), "5");
  EXPECT_EQ(read_one<std::string>("\"\\u00e9\""), "\xc3\xa9");
  for (const char* text : {"", "~", "[a]", "{a: b}"})
    EXPECT_THROW(read_one<std::string>(text), Error) << text;
}

TEST(Config, RangesIncludeOrExcludeTheirEnds) {
  int64_t count = 0;
  double rate = 0;
  const auto node = parse("two: 2\none: 1.0\n");
  node.read("two", count, at_least<int64_t>(2));
  node.read("two", count, between<int64_t>(2, 2));
  EXPECT_THROW(node.read("two", count, at_least<int64_t>(3)), Error);
  EXPECT_THROW(node.read("two", count, above<int64_t>(2)), Error);
  EXPECT_THROW(node.read("two", count, between<int64_t>(3, 9)), Error);
  node.read("one", rate, between(0.0, 1.0));
  EXPECT_THROW(node.read("one", rate, above(1.0)), Error);
  EXPECT_THROW(node.read("one", rate, between(0.0, 0.5)), Error);
  EXPECT_EQ(at_least(1e-6).text, "1e-06 or more");
  EXPECT_EQ(above(0.0).text, "above 0");
  EXPECT_EQ(between<int64_t>(1, 8).text, "1 to 8");
  EXPECT_EQ(one_of({"adam", "sgd"}).text, "adam, sgd");
}

TEST(Config, ARejectedValueLeavesTheFieldAlone) {
  int64_t count = 7;
  EXPECT_THROW(parse("n: 1\n").read("n", count, at_least<int64_t>(2)), Error);
  std::vector<int64_t> list{4};
  EXPECT_THROW(parse("n: [1, x]\n").read("n", list), Error);
  EXPECT_EQ(count, 7);
  EXPECT_EQ(list, std::vector<int64_t>{4});
}

TEST(Config, SectionsListsAndOrder) {
  const auto node = parse("b:\n  y: 1\na: 2\nstages:\n- name: sft\n- name: grpo\n  lr: 1\nempty:\n");
  EXPECT_EQ(node.keys(), (Strings{"b", "a", "stages", "empty"}));
  EXPECT_EQ(node.child("b").path(), "b");
  const auto stages = node.children("stages");
  ASSERT_EQ(stages.size(), 2u);
  std::string name;
  stages[1].require("name", name);
  EXPECT_EQ(name, "grpo");
  EXPECT_EQ(stages[1].where("lr"), "a.yaml:7: stages.1.lr");
  EXPECT_EQ(stages[0].where("lr"), "a.yaml:5: stages.0.lr");
  EXPECT_TRUE(node.children("none").empty());
  EXPECT_TRUE(node.child("empty").keys().empty());
  EXPECT_EQ(node.child("empty").where(""), "a.yaml:8: empty");
  EXPECT_EQ(node.child("b").where("y"), "a.yaml:2: b.y");
  EXPECT_EQ(node.child("absent").child("deeper").where("x"), "a.yaml:1: absent.deeper.x");
  EXPECT_EQ(node.path(), "");
}

TEST(Config, UnknownKeysAreSeenThroughCopiesAndInsideSections) {
  const auto node = parse("a:\n  x: 1\n  y: 2\nlist:\n- p: 1\n");
  int64_t value = 0;
  ConfigNode copy = node.child("a");
  copy.read("x", value);
  node.child("a").read("y", value);
  for (const auto& item : node.children("list")) item.read("p", value);
  EXPECT_NO_THROW(node.reject_unknown_keys());

  const auto other = parse("a:\n  x: 1\n  y: 2\n");
  other.child("a").read("x", value);
  EXPECT_THROW(other.reject_unknown_keys(), Error);
  const auto third = parse("list:\n- p: 1\n- q: 1\n");
  for (const auto& item : third.children("list")) item.read("p", value);
  EXPECT_THROW(third.reject_unknown_keys(), Error);
  const auto fourth = parse("never: {a: 1}\n");
  EXPECT_THROW(fourth.reject_unknown_keys(), Error);
}

TEST(Config, OverridesReplaceMergeAndCreate) {
  const auto node = parse("train:\n  lr: 1\n  betas: [1, 2]\nstages:\n- n: 1\n- n: 2\n",
                          {"train.lr=2e-4", "train.betas=[3]", "new.deep.key=x=y.z", "stages.1.n=9",
                           "train={warmup: 5}", "text='a b'", "train.lr=3e-4"});
  EXPECT_EQ(node.leaves(), (Leaves{{"new.deep.key", "x=y.z"},
                                   {"stages.0.n", "1"},
                                   {"stages.1.n", "9"},
                                   {"text", "a b"},
                                   {"train.betas.0", "3"},
                                   {"train.lr", "3e-4"},
                                   {"train.warmup", "5"}}));
  EXPECT_EQ(node.child("train").where("lr"), "command line: train.lr");
  EXPECT_EQ(node.child("train").where("warmup"), "command line: train.warmup");
  EXPECT_EQ(node.children("stages")[0].where("n"), "a.yaml:5: stages.0.n");
  EXPECT_EQ(node.children("stages")[1].where("n"), "command line: stages.1.n");
}

TEST(Config, ExtendsMergesAndKeepsThePlaceOfTheLastWriter) {
  TempFolder folder;
  folder.write("base/common.yaml",
               "seed: 1\ntrain:\n  lr: 1\n  steps: 10\n  betas: [1, 2]\nkept: {a: 1}\nsame: 1\n");
  folder.write("middle.yaml", "extends: base/common.yaml\ntrain:\n  lr: 2\nsame: 2\n");
  const auto file =
      folder.write("top.yaml", "# comment\nextends: middle.yaml\ntrain:\n  betas: [3]\nkept:\nsame: 3\n");
  const auto node = ConfigNode::load(file, {"train.steps=30"});
  EXPECT_EQ(node.leaves(), (Leaves{{"kept.a", "1"},
                                   {"same", "3"},
                                   {"seed", "1"},
                                   {"train.betas.0", "3"},
                                   {"train.lr", "2"},
                                   {"train.steps", "30"}}));
  EXPECT_FALSE(node.has("extends"));
  const auto train = node.child("train");
  EXPECT_EQ(node.where("seed"), (folder / "base/common.yaml").string() + ":1: seed");
  EXPECT_EQ(train.where("lr"), (folder / "middle.yaml").string() + ":3: train.lr");
  EXPECT_EQ(train.where("betas"), file.string() + ":4: train.betas");
  EXPECT_EQ(train.where("absent"), file.string() + ":3: train.absent");
  EXPECT_EQ(train.where("steps"), "command line: train.steps");
  EXPECT_EQ(node.where("same"), file.string() + ":6: same");
}

TEST(Config, ExtendsReplacesWhatIsNoMapping) {
  TempFolder folder;
  folder.write("base.yaml", "a: {x: 1}\nb: 2\nc: [1, 2, 3]\n");
  const auto node =
      ConfigNode::load(folder.write("top.yaml", "extends: base.yaml\na: 5\nb: {y: 1}\nc: []\n"));
  EXPECT_EQ(node.leaves(), (Leaves{{"a", "5"}, {"b.y", "1"}, {"c", "[]"}}));
}

TEST(Config, AliasesAreCopies) {
  const auto node = parse("base: &b {lr: 1, list: [2]}\nother: *b\nnumbers: &n [1]\nagain: [*n, *n]\n");
  EXPECT_EQ(node.leaves(), (Leaves{{"again.0.0", "1"},
                                   {"again.1.0", "1"},
                                   {"base.list.0", "2"},
                                   {"base.lr", "1"},
                                   {"numbers.0", "1"},
                                   {"other.list.0", "2"},
                                   {"other.lr", "1"}}));
  EXPECT_EQ(node.where("other"), "a.yaml:2: other");
}

TEST(Config, DumpReadsBackAsTheSameValues) {
  const std::string yaml =
      "plain: abc\nquoted: '12'\nnumber: 1_000\nsmall: 1e-4\nempty_text: ''\nnothing:\ntilde: ~\n"
      "odd: 'a: b # c, [x] {y} \"q\" \\ '\nlines: |\n  one\n   two\n\ncontrol: \"\\x01\\t\\n\\e\"\nunicode: "
      "\xc3\xa9\xe2\x82\xac\n"
      "dash: '-'\ndots: '...'\nlist: [1, 'a, b', [2, []], {}]\nnested:\n  deep: {deeper: {x: 1}}\n"
      "maps:\n- a: 1\n  b: [1]\n- {}\n- - c: 2\n'key with: colon': 1\n'null': 2\n'-': 3\ntrue: 4\n";
  const auto node = parse(yaml);
  const auto again = ConfigNode::parse_text(node.dump(), "dump.yaml");
  EXPECT_EQ(node.leaves(), again.leaves()) << node.dump();
  EXPECT_EQ(node.keys(), again.keys());
  EXPECT_EQ(again.dump(), node.dump());
  int64_t number = 0;
  again.read("number", number);
  EXPECT_EQ(number, 1000);
  EXPECT_THROW(again.read("quoted", number), Error) << "quotes must survive";
  EXPECT_EQ(parse("").dump(), "{}\n");
  EXPECT_TRUE(parse("").leaves().empty());
  EXPECT_EQ(parse("a: 1\nb:\n  c: [1, x]\n").dump(), "a: 1\nb:\n  c: [1, x]\n");
}

TEST(Config, CommentsOnlyIsAnEmptyConfig) { EXPECT_TRUE(parse("# nothing\n\n---\n").keys().empty()); }

}  // namespace
}  // namespace r1
