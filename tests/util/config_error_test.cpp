// What a user reads after a mistake in a config: the exact words for the common ones, place and remedy for
// the rest.
#include <gtest/gtest.h>
#include <sys/stat.h>

#include "r1/util/config.h"
#include "util/temp_folder.h"

namespace r1 {
namespace {

using testing_support::error_of;
using testing_support::TempFolder;
using Strings = std::vector<std::string>;

const std::string kName = "configs/grpo/tiny.yaml";

ConfigNode parse(const std::string& yaml, const Strings& overrides = {}) {
  return ConfigNode::parse_text(yaml, kName, overrides);
}

std::string parse_error(const std::string& yaml, const Strings& overrides = {}) {
  return error_of([&] { parse(yaml, overrides); });
}

// As the examples of a section do: two keys, then unknown ones are refused.
void parse_grpo(const ConfigNode& node) {
  int64_t group_size = 16;
  double kl_coef = 0;
  std::string aggregation = "token";
  node.read("group_size", group_size, at_least<int64_t>(2),
            "a group of one has zero advantage, so nothing would be learned. Try 8 or 16");
  node.read("kl_coef", kl_coef, at_least(0.0));
  node.read("aggregation", aggregation, one_of({"sequence", "token", "constant"}));
  node.reject_unknown_keys();
}

std::string grpo_error(const std::string& yaml, const Strings& overrides = {}) {
  return error_of([&] { parse_grpo(parse(yaml, overrides).child("grpo")); });
}

TEST(ConfigError, OutOfRange) {
  EXPECT_EQ(grpo_error("# a\n\ngrpo:\n  group_size: 1\n"),
            "configs/grpo/tiny.yaml:4: grpo.group_size is 1; accepted: 2 or more.\n"
            "  A group of one has zero advantage, so nothing would be learned. Try 8 or 16.");
  EXPECT_EQ(grpo_error("grpo:\n  kl_coef: -0.5\n"), kName + ":2: grpo.kl_coef is -0.5; accepted: 0 or more.");
}

TEST(ConfigError, WrongType) {
  EXPECT_EQ(grpo_error("grpo: {kl_coef: high}\n"),
            kName + ":1: grpo.kl_coef is high; accepted: a number, 0 or more.");
  EXPECT_EQ(grpo_error("grpo: {kl_coef: '0.1'}\n"),
            kName + ":1: grpo.kl_coef is \"0.1\"; accepted: a number, 0 or more.\n  Remove the quotes.");
  EXPECT_EQ(grpo_error("grpo: {kl_coef: }\n"),
            kName + ":1: grpo.kl_coef is empty; accepted: a number, 0 or more.");
  EXPECT_EQ(grpo_error("grpo: {kl_coef: [1, {a: b}]}\n"),
            kName + ":1: grpo.kl_coef is [1, {a: b}]; accepted: a number, 0 or more.");
  EXPECT_EQ(grpo_error("grpo: 3\n"), kName + ":1: grpo is 3; accepted: a section of `key: value` lines.");
}

TEST(ConfigError, NotOneOf) {
  EXPECT_EQ(
      grpo_error("grpo: {aggregation: tokens}\n"),
      kName + ":1: grpo.aggregation is tokens; accepted: sequence, token, constant.\n  Did you mean token?");
  EXPECT_EQ(grpo_error("grpo: {aggregation: mean_of_all}\n"),
            kName + ":1: grpo.aggregation is mean_of_all; accepted: sequence, token, constant.");
  EXPECT_EQ(grpo_error("grpo: {aggregation: [token]}\n"),
            kName + ":1: grpo.aggregation is [token]; accepted: sequence, token, constant.");
}

TEST(ConfigError, UnknownKey) {
  EXPECT_EQ(grpo_error("grpo:\n  kl_coef: 0\n  groupsize: 8\n"),
            kName +
                ":3: grpo.groupsize is no known key; accepted: aggregation, group_size, kl_coef.\n"
                "  Did you mean group_size?");
  EXPECT_EQ(grpo_error("grpo:\n  temperature: 1\n"),
            kName +
                ":2: grpo.temperature is no known key; accepted: aggregation, group_size, kl_coef.\n"
                "  Remove it.");
  EXPECT_EQ(error_of([] {
              const auto node = parse("gpro: {group_size: 8}\n");
              node.child("grpo");
              node.reject_unknown_keys();
            }),
            kName + ":1: gpro is no known key; accepted: grpo.\n  Did you mean grpo?");
  EXPECT_EQ(grpo_error("grpo:\n", {"grpo.group_sice=8"}),
            "command line: grpo.group_sice is no known key; accepted: aggregation, group_size, kl_coef.\n"
            "  Did you mean group_size?");
}

TEST(ConfigError, MissingRequiredKey) {
  std::string text;
  int64_t count = 0;
  const auto node = parse("a: 1\nmodel:\n  b: 1\n");
  EXPECT_EQ(error_of([&] { node.child("model").require("path", text); }),
            kName + ":2: model.path is missing; accepted: text.");
  EXPECT_EQ(
      error_of([&] { node.child("model").require("kind", text, one_of({"llama", "qwen"}), "say which"); }),
      kName + ":2: model.kind is missing; accepted: llama, qwen.\n  Say which.");
  EXPECT_EQ(error_of([&] { node.require("steps", count, at_least<int64_t>(1)); }),
            kName + ":1: steps is missing; accepted: a whole number, 1 or more.");
}

TEST(ConfigError, RejectNamesTheValueOrTheSection) {
  const auto node = parse("a: {b: 1}\n").child("a");
  EXPECT_EQ(error_of([&] { node.reject("b", "2", "because of c!"); }),
            kName + ":1: a.b is 1; accepted: 2.\n  Because of c!");
  EXPECT_EQ(error_of([&] { node.reject("", "two keys", ""); }),
            kName + ":1: a is {b: 1}; accepted: two keys.");
  const auto large =
      parse("a: [" + std::string(30, 'x') + ", \"" + std::string(30, 'y') + "\xc3\xa9\xc3\xa9\xc3\xa9\"]\n");
  const std::string text = error_of([&] { large.reject("a", "less", ""); });
  EXPECT_HOLDS(text, "...; accepted: less.");
  EXPECT_LT(text.size(), 120u);
}

TEST(ConfigError, ListOfSections) {
  const std::string want = kName +
                           ":1: stages is [1]; accepted: a list of sections.\n  Start each with `- ` and "
                           "indent its keys.";
  EXPECT_EQ(error_of([] { parse("stages: [1]\n").children("stages"); }), want);
  EXPECT_HOLDS(error_of([] { parse("stages: {a: 1}\n").children("stages"); }),
               kName + ":1: stages is {a: 1}");
}

TEST(ConfigError, DuplicateKeys) {
  EXPECT_EQ(parse_error("a: 1\nb: 2\na: 3\n"),
            kName + ":3:1: key a is given twice, first at " + kName + ":1.\n  Remove one of them.");
  EXPECT_HOLDS(parse_error("x: {lr: 1, lr: 1}\n"), ":1:12: key lr is given twice");
}

TEST(ConfigError, BrokenYaml) {
  EXPECT_HOLDS(parse_error("a: [1, 2\nb: 3\n"), kName + ":");
  EXPECT_HOLDS(parse_error("a: [1, 2\nb: 3\n"), ": is no YAML: ");
  EXPECT_HOLDS(parse_error("a: 1\n\tb: 2\n"), kName + ":2:");
  for (const char* open : {"a: 'open\n", "a: 'open", "a: \"open\n\nb: 2\n", "a: 'open \t", "a: \"open\r\n"}) {
    EXPECT_HOLDS(parse_error(open), ": is no YAML: illegal EOF in scalar");
  }
  EXPECT_HOLDS(parse_error("a: {b: 1\n"), ": is no YAML: ");
  EXPECT_HOLDS(parse_error("a: 1\n---\nb: 2\n"), "more than one YAML document");
  EXPECT_HOLDS(parse_error("- a\n- b\n"), kName + ":1: the file is [a, b]; accepted: `key: value` lines.");
  EXPECT_HOLDS(parse_error("just text\n"), ":1: the file is \"just text\"");
  EXPECT_HOLDS(parse_error("? [a, b]\n: 1\n"), "a key is empty, an alias, a list or a mapping");
  EXPECT_HOLDS(parse_error(": 1\n"), "a key is empty");
  EXPECT_HOLDS(parse_error("'': 1\n"), "a key is empty");
  EXPECT_HOLDS(parse_error("&a x: 1\n*a : 2\n"), "a key is empty, an alias");
  EXPECT_HOLDS(parse_error("a.b: 1\n"), "key a.b holds a dot");
  EXPECT_HOLDS(parse_error("a: &x {b: 1}\nc:\n  <<: *x\n"), "extends");
  EXPECT_HOLDS(parse_error("a: !!int 3\n"), ":1:4: the type tag");
  EXPECT_HOLDS(parse_error("a: !thing {b: 1}\n"), "the type tag !thing is not read");
  EXPECT_HOLDS(parse_error("a: &x [*x]\n"), "an alias stands inside the value it names");
  EXPECT_HOLDS(parse_error("a: *nothing\n"), kName + ":1:");
}

TEST(ConfigError, Bombs) {
  EXPECT_HOLDS(parse_error("a: " + std::string(100, '[') + std::string(100, ']') + "\n"),
               "nested deeper than 64");
  EXPECT_HOLDS(parse_error("a: " + std::string(200000, '[')), kName + ":1:");
  std::string laughs = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n";
  for (int i = 1; i < 10; ++i) {
    const std::string below = "*a" + std::to_string(i - 1);
    laughs += "a" + std::to_string(i) + ": &a" + std::to_string(i) + " [" + below;
    for (int j = 1; j < 10; ++j) laughs += ", " + below;
    laughs += "]\n";
  }
  EXPECT_HOLDS(parse_error(laughs), "more than 100000 values, aliases counted");
  EXPECT_HOLDS(parse_error(std::string(5 << 20, '\n')), "5.0 MiB of YAML; accepted: at most 4.0 MiB");
}

TEST(ConfigError, Overrides) {
  const std::string yaml = "a:\n  b: 1\nlist: [{n: 1}]\n";
  EXPECT_EQ(parse_error(yaml, {"a.b"}),
            "command line: a.b: is no override; accepted: key=value, for example train.lr=1e-4");
  EXPECT_HOLDS(parse_error(yaml, {"=3"}), "is no override");
  EXPECT_HOLDS(parse_error(yaml, {"a..b=3"}), "has an empty key");
  EXPECT_HOLDS(parse_error(yaml, {".a=3"}), "has an empty key");
  EXPECT_HOLDS(parse_error(yaml, {"a.=3"}), "has an empty key");
  EXPECT_EQ(parse_error(yaml, {"a.b.c=3"}),
            "command line: a.b.c=3: a.b is 1 at " + kName + ":2 and has no keys");
  EXPECT_HOLDS(parse_error(yaml, {"list.1.n=3"}),
               "list is a list of 1 at " + kName + ":3; accepted: an index below");
  EXPECT_HOLDS(parse_error(yaml, {"list.n=3"}), "list is a list of 1");
  EXPECT_HOLDS(parse_error(yaml, {"list.99999999999999999999=3"}), "list is a list of 1");
  EXPECT_HOLDS(parse_error(yaml, {"a.b=[1"}), "command line: a.b=[1: value:1:");
  EXPECT_HOLDS(grpo_error("grpo:\n  group_size: 8\n", {"grpo.group_size=1"}),
               "command line: grpo.group_size is 1; accepted: 2 or more.");
  EXPECT_HOLDS(grpo_error("grpo:\n  group_size: 8\n", {"grpo.group_size="}),
               "command line: grpo.group_size is empty");
}

TEST(ConfigError, MissingFiles) {
  TempFolder folder;
  folder.write("r1_zero.yaml", "a: 1\n");
  const std::string near = (folder / "r1_zero.yaml").string(), file = (folder / "r1_zer.yaml").string();
  EXPECT_EQ(error_of([&] { ConfigNode::load(file); }),
            file + " does not exist; accepted: a YAML file.\n  Did you mean " + near + "?");
  EXPECT_HOLDS(error_of([&] { ConfigNode::load(folder / "no/such/config"); }), "does not exist");
  EXPECT_HOLDS(error_of([&] { ConfigNode::load(folder.path()); }), "is a directory");
  const auto top = folder.write("top.yaml", "a: 1\nextends: base.yaml\n");
  EXPECT_HOLDS(error_of([&] { ConfigNode::load(top); }),
               top.string() + ":2: extends: " + (folder / "base.yaml").string() + " does not exist");
}

TEST(ConfigError, Extends) {
  TempFolder folder;
  const auto a = folder.write("a.yaml", "extends: sub/b.yaml\n");
  const auto b = folder.write("sub/b.yaml", "x: 1\nextends: ../a.yaml\n");
  EXPECT_EQ(error_of([&] { ConfigNode::load(a); }),
            b.string() +
                ":2: extends is ../a.yaml, a cycle: a.yaml -> b.yaml -> a.yaml; accepted: a file that does "
                "not lead back here.");
  const auto self = folder.write("self.yaml", "extends: ./self.yaml\n");
  EXPECT_HOLDS(error_of([&] { ConfigNode::load(self); }), "a cycle: self.yaml -> self.yaml");
  EXPECT_HOLDS(parse_error("extends: [a.yaml]\n"),
               ":1: extends is [a.yaml]; accepted: the path of one YAML file");
  EXPECT_HOLDS(parse_error("extends:\n"), ":1: extends is empty");
  folder.write("list.yaml", "- 1\n");
  const auto top = folder.write("top.yaml", "extends: list.yaml\n");
  EXPECT_HOLDS(error_of([&] { ConfigNode::load(top); }), "list.yaml:1: the file is [1]");
  folder.write("broken.yaml", "a: [\n");
  const auto above = folder.write("above.yaml", "extends: broken.yaml\n");
  EXPECT_HOLDS(error_of([&] { ConfigNode::load(above); }), (folder / "broken.yaml").string() + ":");
}

}  // namespace
}  // namespace r1
