// logprobs against the golden numbers of transformers, and its two ways to compute against each other.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <nlohmann/json.hpp>

#include "process.h"
#include "r1/util/safetensors.h"
#include "tiny_model.h"

namespace r1::apps {
namespace {

using testing_support::golden_model;
using testing_support::run_r1;

struct Golden {
  std::vector<std::vector<int64_t>> ids;             // [B][T]
  std::vector<std::vector<double>> logprobs;         // [B][T-1] at temperature 1
  std::vector<std::vector<double>> halved_logprobs;  // at temperature 2
};

double log_softmax_at(const double* logits, int64_t V, int64_t token, double temperature) {
  double sum = 0;
  for (int64_t v = 0; v < V; ++v) sum += std::exp(logits[v] / temperature);
  return logits[token] / temperature - std::log(sum);
}

Golden read_golden(const std::string& name) {
  const SafetensorsFile file(golden_model(name) / "expected.safetensors");
  const auto &ids = file.at("input_ids"), &logits = file.at("logits_f64");
  const int64_t B = logits.shape[0], T = logits.shape[1], V = logits.shape[2];
  std::vector<int64_t> id(static_cast<size_t>(B * T));
  std::vector<double> z(static_cast<size_t>(B * T * V));
  std::memcpy(id.data(), ids.bytes.data(), ids.bytes.size());
  std::memcpy(z.data(), logits.bytes.data(), logits.bytes.size());
  Golden out;
  for (int64_t b = 0; b < B; ++b) {
    out.ids.emplace_back(id.begin() + b * T, id.begin() + (b + 1) * T);
    out.logprobs.emplace_back();
    out.halved_logprobs.emplace_back();
    for (int64_t t = 0; t + 1 < T; ++t) {
      const double* row = z.data() + (b * T + t) * V;
      const int64_t next = id[static_cast<size_t>(b * T + t + 1)];
      out.logprobs.back().push_back(log_softmax_at(row, V, next, 1));
      out.halved_logprobs.back().push_back(log_softmax_at(row, V, next, 2));
    }
  }
  return out;
}

std::string lines_of(const Golden& golden) {
  std::string text;
  for (const auto& ids : golden.ids) text += nlohmann::json{{"ids", ids}}.dump() + "\n";
  return text;
}

double largest_distance(const std::string& out, const std::vector<std::vector<double>>& expected) {
  double largest = 0;
  size_t at = 0;
  for (const auto& row : expected) {
    const size_t end = out.find('\n', at);
    const auto found = nlohmann::json::parse(out.substr(at, end - at))["logprobs"].get<std::vector<double>>();
    at = end + 1;
    if (found.size() != row.size()) return INFINITY;
    for (size_t i = 0; i < row.size(); ++i) largest = std::max(largest, std::abs(found[i] - row[i]));
  }
  return at == out.size() ? largest : INFINITY;
}

class LogprobsOfGolden : public ::testing::TestWithParam<const char*> {};

TEST_P(LogprobsOfGolden, EqualTransformersAndTheirCachedTwin) {
  const Golden golden = read_golden(GetParam());
  const std::string model = golden_model(GetParam());
  const auto packed = run_r1({"logprobs", "--model", model}, lines_of(golden));
  ASSERT_EQ(packed.exit_code, 0) << packed.err;
  EXPECT_LT(largest_distance(packed.out, golden.logprobs), 2e-5);
  const auto cached = run_r1({"logprobs", "--cached", "--model", model}, lines_of(golden));
  EXPECT_EQ(cached.out, packed.out);  // 9 digits: equal text is equal bits
  const auto prefilled =
      run_r1({"logprobs", "--cached", "--prefill", "7", "--model", model}, lines_of(golden));
  EXPECT_EQ(prefilled.out, packed.out);
  const auto exact = run_r1({"logprobs", "--dtype", "float64", "--model", model}, lines_of(golden));
  ASSERT_EQ(exact.exit_code, 0) << exact.err;
  EXPECT_LT(largest_distance(exact.out, golden.logprobs), 1e-12);
  const auto exact_cached =
      run_r1({"logprobs", "--dtype", "float64", "--cached", "--model", model}, lines_of(golden));
  EXPECT_LT(largest_distance(exact_cached.out, golden.logprobs), 1e-12);
}

INSTANTIATE_TEST_SUITE_P(Families, LogprobsOfGolden,
                         ::testing::Values("llama_tied_llama3_rope", "llama_linear_rope_bf16",
                                           "llama_yarn_rope_f16", "qwen2_bias_sharded", "qwen3_qk_norm"));

TEST(Logprobs, TemperatureDividesTheLogits) {
  const Golden golden = read_golden("qwen3_qk_norm");
  const auto r = run_r1(
      {"logprobs", "--temperature", "2", "--dtype", "float64", "--model", golden_model("qwen3_qk_norm")},
      lines_of(golden));
  ASSERT_EQ(r.exit_code, 0) << r.err;
  EXPECT_LT(largest_distance(r.out, golden.halved_logprobs), 1e-12);
  EXPECT_GT(largest_distance(r.out, golden.logprobs), 1e-2);
}

TEST(Logprobs, OneIdPredictsNothingAndTheContextMayBeFull) {
  std::vector<int> ids(64, 5);
  const std::string full = nlohmann::json{{"ids", ids}}.dump() + "\n";
  for (const bool cached : {false, true}) {
    std::vector<std::string> args = {"logprobs", "--model", golden_model("llama_tied_llama3_rope")};
    if (cached) args.push_back("--cached");
    const auto r = run_r1(args, "{\"ids\":[3]}\n" + full);
    ASSERT_EQ(r.exit_code, 0) << r.err;
    EXPECT_EQ(r.out.substr(0, r.out.find('\n')), "{\"logprobs\":[]}");
    EXPECT_EQ(nlohmann::json::parse(r.out.substr(r.out.find('\n')))["logprobs"].size(), 63u);
  }
}

TEST(Logprobs, ThreadsChangeNothing) {
  const Golden golden = read_golden("llama_yarn_rope_f16");
  const std::vector<std::string> args = {"logprobs", "--model", golden_model("llama_yarn_rope_f16")};
  auto one = args;
  one.insert(one.end(), {"--threads", "1"});
  EXPECT_EQ(run_r1(one, lines_of(golden)).out, run_r1(args, lines_of(golden)).out);
}

}  // namespace
}  // namespace r1::apps
