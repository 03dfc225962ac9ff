#include "group_bytes.h"

#include <cstring>
#include <nlohmann/json.hpp>

#include "r1/util/error.h"
#include "r1/util/strings.h"

namespace r1::train {
namespace {

using nlohmann::json;

template <typename T>
json raw(const std::vector<T>& values) {
  const auto* bytes = reinterpret_cast<const uint8_t*>(values.data());
  return json::binary({bytes, bytes + values.size() * sizeof(T)});
}

template <typename T>
std::vector<T> values_of(const json& raw) {
  const auto& bytes = raw.get_binary();
  std::vector<T> values(bytes.size() / sizeof(T));
  std::memcpy(values.data(), bytes.data(), values.size() * sizeof(T));
  return values;
}

// Texts of a model need not be UTF-8.
json raw_text(const std::string& text) { return json::binary({text.begin(), text.end()}); }
std::string text_of(const json& raw) { return {raw.get_binary().begin(), raw.get_binary().end()}; }

// Doubles as bytes too: a total may be NaN.
json score_json(const Score& score) {
  json parts = json::array(), answers = json::array();
  std::vector<double> numbers{score.total};
  for (const auto& [name, value] : score.parts) {
    parts.push_back(name);
    numbers.push_back(value);
  }
  for (const auto& answer : score.answers) answers.push_back({answer.part, static_cast<int>(answer.verdict), raw_text(answer.extracted)});
  return {raw(numbers), parts, static_cast<int>(score.verdict), raw_text(score.extracted), answers};
}

Score score_of(const json& row) {
  Score score;
  const auto numbers = values_of<double>(row.at(0));
  score.total = numbers.at(0);
  for (size_t i = 0; i < row.at(1).size(); ++i) score.parts.emplace_back(row.at(1)[i], numbers.at(i + 1));
  score.verdict = static_cast<Verdict>(row.at(2).get<int>());
  score.extracted = text_of(row.at(3));
  for (const auto& answer : row.at(4)) {
    score.answers.push_back({answer.at(0), static_cast<Verdict>(answer.at(1).get<int>()), text_of(answer.at(2))});
  }
  return score;
}

}  // namespace

std::string to_bytes(const std::vector<size_t>& places, const std::vector<ScoredGroup>& groups) {
  json rows = json::array();
  for (size_t i = 0; i < groups.size(); ++i) {
    const auto& g = groups[i];
    json completions = json::array(), scores = json::array(), texts = json::array();
    for (const auto& c : g.group.completions) {
      completions.push_back({raw(c.tokens), raw(c.rollout_logprobs), static_cast<int>(c.finish), raw(c.routes)});
    }
    for (const auto& score : g.scores) scores.push_back(score_json(score));
    for (const auto& text : g.texts) texts.push_back(raw_text(text));
    rows.push_back({places[i], completions, raw(g.group.prompt_routes), scores, texts});
  }
  std::string bytes;
  json::to_cbor(rows, bytes);
  return bytes;
}

void from_bytes(const std::string& bytes, std::vector<ScoredGroup>& groups) {
  try {
    for (const auto& row : json::from_cbor(bytes)) {
      auto& g = groups.at(row.at(0).get<size_t>());
      g.group.completions.clear();
      for (const auto& c : row.at(1)) {
        g.group.completions.push_back({values_of<int32_t>(c.at(0)), values_of<float>(c.at(1)), static_cast<rollout::Finish>(c.at(2).get<int>()),
                                       values_of<int16_t>(c.at(3))});
      }
      g.group.prompt_routes = values_of<int16_t>(row.at(2));
      g.scores.clear();
      for (const auto& score : row.at(3)) g.scores.push_back(score_of(score));
      g.texts.clear();
      for (const auto& text : row.at(4)) g.texts.push_back(text_of(text));
    }
  } catch (const std::exception& e) {
    throw Error(cat("groups of another rank cannot be read: ", e.what(), ".\n  All ranks must run the same r1."));
  }
}

}  // namespace r1::train
