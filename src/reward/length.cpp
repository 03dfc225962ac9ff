#include "r1/reward/length.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace r1 {

LengthConfig LengthConfig::parse(const ConfigNode& node) {
  LengthConfig c;
  node.require("max_characters", c.max_characters, at_least<int64_t>(1),
               "The length at which the cosine ends; a token of English has about four characters.");
  const auto accept = between(-1000.0, 1000.0);
  node.read("right_short", c.right_short, accept);
  node.read("right_long", c.right_long, accept);
  node.read("wrong_short", c.wrong_short, accept);
  node.read("wrong_long", c.wrong_long, accept);
  return c;
}

double length_value(std::string_view completion, bool right, const LengthConfig& config) {
  // Bytes that start a character of UTF-8.
  const auto characters = std::count_if(completion.begin(), completion.end(),
                                        [](unsigned char byte) { return (byte & 0xC0) != 0x80; });
  const double t =
      double(std::min<int64_t>(characters, config.max_characters)) / double(config.max_characters);
  const double a = right ? config.right_short : config.wrong_short,
               b = right ? config.right_long : config.wrong_long;
  return b + (a - b) * (1 + std::cos(std::numbers::pi * t)) / 2;
}

}  // namespace r1
