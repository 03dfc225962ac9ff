#include "tokenizer/golden_vocabulary.h"

#include <nlohmann/json.hpp>

#include "r1/util/file.h"
#include "r1/util/strings.h"

namespace r1 {

using nlohmann::json;

std::filesystem::path golden_dir() { return std::filesystem::path(R1_SOURCE_DIR) / "tests/golden/tokenizer"; }

Tokenizer golden_gpt2() {
  return Tokenizer::tiktoken(golden_dir() / "gpt2.tiktoken", "gpt2", {"<|endoftext|>"});
}

Tokenizer golden_qwen2() {
  return Tokenizer::tiktoken(golden_dir() / "qwen2.tiktoken", "qwen2",
                             {"<|endoftext|>", "<|im_start|>", "<|im_end|>"});
}

Tokenizer golden_llama3() {
  return Tokenizer::tiktoken(
      golden_dir() / "llama3.tiktoken", "llama3",
      {"<|begin_of_text|>", "<|end_of_text|>", "<|reserved_special_token_0|>", "<|reserved_special_token_1|>",
       "<|finetune_right_pad_id|>", "<|step_id|>", "<|start_header_id|>", "<|end_header_id|>", "<|eom_id|>",
       "<|eot_id|>", "<|python_tag|>", "<|image|>"});
}

GgufVocabulary golden_smollm2() {
  const json file = json::parse(read_file(golden_dir() / "smollm2.json"));
  GgufVocabulary v;
  v.model = "gpt2";
  v.pre = file["pre"];
  v.tokens.resize(file["size"]);
  v.token_types.assign(v.tokens.size(), 5);  // unused, except for those that the golden texts need
  for (size_t id = 0; id < v.tokens.size(); ++id) v.tokens[id] = cat("[UNUSED", id, "]");
  for (const auto& [token, id] : file["vocab"].items()) {
    v.tokens[id.get<size_t>()] = token;
    v.token_types[id.get<size_t>()] = 1;
  }
  for (const auto& [token, id] : file["control"].items()) {
    v.tokens[id.get<size_t>()] = token;
    v.token_types[id.get<size_t>()] = 3;
  }
  v.merges = file["merges"].get<std::vector<std::string>>();
  v.bos_id = 1;
  v.eos_ids = {2, 0};
  v.pad_id = 2;
  v.chat_template = file["chat_template"];
  return v;
}

GgufVocabulary golden_stories260k() {
  const json file = json::parse(read_file(golden_dir() / "stories260k.json"));
  GgufVocabulary v;
  v.model = "llama";
  v.tokens = file["tokens"].get<std::vector<std::string>>();
  v.scores = file["scores"].get<std::vector<float>>();
  v.token_types = file["types"].get<std::vector<int32_t>>();
  v.unknown_id = 0;
  v.bos_id = 1;
  v.eos_ids = {2};
  v.add_bos = true;
  return v;
}

}  // namespace r1
