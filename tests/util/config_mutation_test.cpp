// Random mutations of configs: each is read or refused with r1::Error, and what is read survives dump().
#include <gtest/gtest.h>

#include <random>

#include "r1/util/config.h"
#include "r1/util/error.h"

namespace r1 {
namespace {

const char* const kSeeds[] = {
    R"(# tiny
name: tiny
seed: 1
train:
  lr: 1e-4
  betas: [0.9, 0.95]
  text: 'a: b'
stages:
- name: sft
  steps: 10
- name: grpo
  reward: {accuracy: 1, format: 0.1}
)",
    R"(a: &x {b: [1, *y, ~], c: "\u00e9\n"}
d: *x
e: |
  literal
   text
f: >-
  folded
  text
? g
: h
)",
    "%YAML 1.2\n---\na: !!str 5\nb: !t [c]\n...\n",
    "deep: {a: {b: {c: {d: [[[[1, 2], {x: y}], -1], 'q''q']}}}}\n",
};
const char* const kPieces[] = {":",    ": ",
                               "- ",   "-",
                               "\n",   "\n  ",
                               "\t",   "{",
                               "}",    "[",
                               "]",    ",",
                               "&a ",  "*a",
                               "!",    "|",
                               ">",    "'",
                               "\"",   "#",
                               "%",    "@",
                               "`",    "? ",
                               "---",  "...",
                               "<<",   "~",
                               "\\",   "\r",
                               "=",    "\xff",
                               "\xc3", "\xef\xbb\xbf",
                               "1e9",  "null",
                               "!<",   "!!",
                               "\x01"};

std::string mutate(std::string text, std::mt19937& random) {
  const auto below = [&](size_t n) { return n == 0 ? 0 : random() % n; };
  for (size_t edits = 1 + below(6); edits > 0; --edits) {
    const size_t at = below(text.size() + 1), length = below(std::min<size_t>(text.size() - at, 12) + 1);
    switch (below(6)) {
      case 0:
        text.erase(at, length);
        break;
      case 1:
        text.insert(at, kPieces[below(std::size(kPieces))]);
        break;
      case 2:
        text.insert(at, text.substr(below(text.size() + 1), 1 + below(40)));
        break;
      case 3:
        if (at < text.size()) text[at] = static_cast<char>(below(256));
        break;
      case 4:
        text.resize(at);
        break;
      default:
        for (size_t repeat = below(30); repeat > 0; --repeat)
          text.insert(at, kPieces[below(std::size(kPieces))]);
    }
  }
  return text;
}

void check(const std::string& text) {
  ConfigNode node;
  try {
    node = ConfigNode::parse_text(text, "fuzz.yaml");
  } catch (const Error&) {
    return;
  }
  const std::string dump = node.dump();
  ASSERT_NO_THROW({
    const auto again = ConfigNode::parse_text(dump, "dump.yaml");
    ASSERT_EQ(again.leaves(), node.leaves()) << dump;
    ASSERT_EQ(again.dump(), dump);
  }) << dump;
  // Every way of reading must answer with a value or an Error.
  for (const auto& key : node.keys()) {
    const auto quietly = [](auto&& action) {
      try {
        action();
      } catch (const Error& e) {
        ASSERT_NE(e.what()[0], '\0');
      }
    };
    quietly([&] {
      bool out;
      node.read(key, out);
    });
    quietly([&] {
      int64_t out;
      node.read(key, out, at_least<int64_t>(0));
    });
    quietly([&] {
      double out;
      node.read(key, out, between(0.0, 1.0));
    });
    quietly([&] {
      std::vector<double> out;
      node.read(key, out);
    });
    quietly([&] {
      std::vector<std::string> out;
      node.read(key, out);
    });
    quietly([&] { node.child(key).reject_unknown_keys(); });
    quietly([&] { node.children(key); });
  }
}

TEST(ConfigMutation, MutatedFilesAreReadOrRefused) {
  std::mt19937 random(1);
  int read = 0;
  for (int i = 0; i < 10000; ++i) {
    const std::string text = mutate(kSeeds[random() % std::size(kSeeds)], random);
    SCOPED_TRACE(::testing::PrintToString(text));
    ASSERT_NO_FATAL_FAILURE(check(text));
    try {
      ConfigNode::parse_text(text, "fuzz.yaml");
      ++read;
    } catch (const Error&) {
    }
  }
  EXPECT_GT(read, 500) << "mutations that destroy everything test little";
  EXPECT_LT(read, 9500);
}

TEST(ConfigMutation, RandomPiecesAreReadOrRefused) {
  std::mt19937 random(2);
  for (int i = 0; i < 5000; ++i) {
    std::string text = random() % 2 ? "a: " : "";
    for (size_t n = random() % 40; n > 0; --n) text += kPieces[random() % std::size(kPieces)];
    SCOPED_TRACE(::testing::PrintToString(text));
    ASSERT_NO_FATAL_FAILURE(check(text));
  }
}

TEST(ConfigMutation, MutatedOverridesAreAppliedOrRefused) {
  std::mt19937 random(3);
  for (int i = 0; i < 5000; ++i) {
    const char* const seeds[] = {"train.lr=1e-4", "stages.0.steps=[1, 2]", "a={b: {c: 'd'}}"};
    const std::string text = mutate(seeds[random() % 3], random);
    try {
      const auto node = ConfigNode::parse_text(kSeeds[0], "base.yaml", {text});
      ASSERT_EQ(ConfigNode::parse_text(node.dump(), "dump.yaml").leaves(), node.leaves()) << text << "\n"
                                                                                          << node.dump();
    } catch (const Error& e) {
      ASSERT_EQ(std::string(e.what()).rfind("command line: ", 0), 0u) << text << "\n" << e.what();
    }
  }
}

}  // namespace
}  // namespace r1
