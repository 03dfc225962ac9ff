// generate: the texts, their ids, and what they depend on.
#include <gtest/gtest.h>

#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>
#include <set>

#include "process.h"
#include "r1/util/safetensors.h"
#include "tiny_model.h"

namespace r1::apps {
namespace {

using r1::testing_support::TempFolder;
using testing_support::golden_model;
using testing_support::model_with_tokenizer;
using testing_support::Result;
using testing_support::run_r1;

std::vector<nlohmann::json> rows_of(const Result& r) {
  EXPECT_EQ(r.exit_code, 0) << r.err;
  std::vector<nlohmann::json> rows;
  for (size_t at = 0; at < r.out.size();) {
    const size_t end = r.out.find('\n', at);
    rows.push_back(nlohmann::json::parse(r.out.substr(at, end - at)));
    at = end + 1;
  }
  return rows;
}

std::vector<int64_t> golden_ids(const std::string& model, const std::string& name, size_t count) {
  const SafetensorsFile file(golden_model(model) / "expected.safetensors");
  std::vector<int64_t> ids(count);
  std::memcpy(ids.data(), file.at(name).bytes.data(), count * sizeof(int64_t));
  return ids;
}

TEST(Generate, GreedyIdsEqualTransformers) {
  const TempFolder folder;
  const std::string model = model_with_tokenizer(folder, "model");
  // The golden prompt's ids as text; the character vocabulary has a name for each of them, and no BOS of its
  // own.
  folder.write("model/characters.json", [] {
    auto json = nlohmann::json::parse(testing_support::characters_json());
    json["special"] = {"<s>", "</s>", "<pad>"};
    return json.dump();
  }());
  std::string prompt;
  for (const int64_t id : golden_ids("llama_tied_llama3_rope", "input_ids", 8)) {
    prompt += id < 3 ? std::vector<std::string>{"<s>", "</s>", "<pad>"}[static_cast<size_t>(id)]
                     : std::string(1, testing_support::kCharacters[id - 3]);
  }
  const auto rows = rows_of(run_r1({"generate", "--model", model, "--prompt", prompt, "--temperature", "0",
                                    "--max-tokens", "16", "--ignore-eos", "--json"}));
  ASSERT_EQ(rows.size(), 1u);
  EXPECT_EQ(rows[0]["prompt_ids"], golden_ids("llama_tied_llama3_rope", "input_ids", 8));
  EXPECT_EQ(rows[0]["ids"], golden_ids("llama_tied_llama3_rope", "greedy_ids", 16));
  EXPECT_EQ(rows[0]["finish"], "length");
}

TEST(Generate, LogprobsAreThoseOfTheTrainersForwardPass) {
  const TempFolder folder;
  const std::string model = model_with_tokenizer(folder, "model");
  const auto rows =
      rows_of(run_r1({"generate", "--model", model, "--prompt", "12+7=", "--prompt", "a", "--n", "3",
                      "--temperature", "1.5", "--max-tokens", "20", "--json", "--ignore-eos"}));
  ASSERT_EQ(rows.size(), 6u);
  for (const auto& row : rows) {
    auto ids = row["prompt_ids"].get<std::vector<int>>();
    const size_t prompt = ids.size();
    for (const int id : row["ids"]) ids.push_back(id);
    const auto scored = run_r1({"logprobs", "--model", model, "--temperature", "1.5"},
                               nlohmann::json{{"ids", ids}}.dump() + "\n");
    ASSERT_EQ(scored.exit_code, 0) << scored.err;
    const auto logprobs = nlohmann::json::parse(scored.out)["logprobs"].get<std::vector<float>>();
    EXPECT_EQ(row["logprobs"].get<std::vector<float>>(),
              std::vector<float>(logprobs.begin() + static_cast<int64_t>(prompt) - 1, logprobs.end()));
  }
}

TEST(Generate, SeedDecidesAndSamplesDiffer) {
  const TempFolder folder;
  const std::string model = model_with_tokenizer(folder, "model");
  const auto run = [&](const char* seed, const char* n) {
    return run_r1({"generate", "--model", model, "--prompt", "1", "--n", n, "--seed", seed, "--max-tokens",
                   "12", "--json"})
        .out;
  };
  const std::string four = run("7", "4");
  EXPECT_EQ(run("7", "4"), four);
  EXPECT_NE(run("8", "4"), four);
  EXPECT_EQ(run("7", "2"),
            four.substr(0, four.find('\n', four.find('\n') + 1) + 1));  // not changed by what else is sampled
  std::set<std::string> texts;
  for (size_t at = 0; at < four.size(); at = four.find('\n', at) + 1) {
    texts.insert(nlohmann::json::parse(four.substr(at, four.find('\n', at) - at))["ids"].dump());
  }
  EXPECT_GT(texts.size(), 1u);
}

TEST(Generate, PlainTextForOnePromptAndHeadsForSeveral) {
  const TempFolder folder;
  const std::string model = model_with_tokenizer(folder, "model");
  const auto one = run_r1({"generate", "--model", model, "--prompt", "1+1=", "--max-tokens", "4",
                           "--temperature", "0", "--ignore-eos"});
  ASSERT_EQ(one.exit_code, 0) << one.err;
  EXPECT_EQ(one.out.find("---"), std::string::npos);
  EXPECT_EQ(one.out.back(), '\n');
  const auto two =
      run_r1({"generate", "--model", model, "--max-tokens", "4", "--temperature", "0", "--ignore-eos"},
             "1+1=\n\n2+2=\n");
  ASSERT_EQ(two.exit_code, 0) << two.err;
  EXPECT_HOLDS(two.out, "--- prompt 1, completion 1, 4 tokens, ended by length\n" + one.out);
  EXPECT_HOLDS(two.out, "--- prompt 2, completion 1");
}

TEST(Generate, StopTextEndsACompletionAndIsKept) {
  const TempFolder folder;
  const std::string model = model_with_tokenizer(folder, "model");
  const std::vector<std::string> args = {"generate", "--model",      model,         "--prompt",
                                         "1+1=",     "--max-tokens", "12",          "--temperature",
                                         "0",        "--json",       "--ignore-eos"};
  const auto free_run = rows_of(run_r1(args));
  const std::string text = free_run.at(0)["completion"];
  ASSERT_GT(text.size(), 4u);
  auto stopping = args;
  stopping.insert(stopping.end(), {"--stop", "@@", "--stop", text.substr(3, 1)});
  const auto row = rows_of(run_r1(stopping)).at(0);
  EXPECT_EQ(row["finish"], "stop");
  EXPECT_EQ(row["completion"], text.substr(0, text.find(text[3]) + 1));
}

TEST(Generate, AChatIsOneTurnOfChatMl) {
  const TempFolder folder;
  const std::string model = model_with_tokenizer(folder, "model");
  auto json = nlohmann::json::parse(testing_support::characters_json());
  auto characters = json["characters"].get<std::string>();
  characters.back() = '\n';
  json["characters"] = characters;
  json["special"] = {"<eos>", "<|im_start|>", "<|im_end|>"};
  json["chat_template"] = "<|im_start|>";
  folder.write("model/characters.json", json.dump());
  const auto row = rows_of(run_r1({"generate", "--model", model, "--chat", "--system", "hi", "--prompt", "1",
                                   "--max-tokens", "1", "--json"}))
                       .at(0);
  const auto text =
      run_r1({"detokenize", "--tokenizer", model}, nlohmann::json{{"ids", row["prompt_ids"]}}.dump() + "\n");
  EXPECT_EQ(nlohmann::json::parse(text.out)["text"],
            "<|im_start|>system\nhi<|im_end|>\n<|im_start|>user\n1<|im_end|>\n<|im_start|>assistant\n");
}

}  // namespace
}  // namespace r1::apps
