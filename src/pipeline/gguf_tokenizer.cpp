#include "gguf_tokenizer.h"

#include <nlohmann/json.hpp>
#include <optional>

#include "r1/tokenizer/tokenizer.h"
#include "r1/util/error.h"
#include "r1/util/gguf.h"
#include "r1/util/log.h"
#include "r1/util/strings.h"
#include "tokenizer_rules.h"

namespace r1::pipeline {

namespace fs = std::filesystem;

namespace {

enum TokenType : int32_t {
  kNormal = 1,
  kUnknown = 2,
  kControl = 3,
  kUserDefined = 4,
  kUnused = 5,
  kByte = 6
};

// The names that llama.cpp knows, one per way of splitting.
constexpr const char* kSplittings[] = {"gpt-2", "smollm", "qwen2", "llama-bpe", "deepseek-v3"};

// What a reader makes of the exported tokenizer.
GgufVocabulary as_vocabulary(const model::GgufTokenizer& t) {
  const auto id = [](int64_t value) {
    return value < 0 ? std::nullopt : std::optional(static_cast<int32_t>(value));
  };
  GgufVocabulary v;
  v.model = t.model;
  v.pre = t.pre;
  v.tokens = t.tokens;
  v.merges = t.merges;
  v.scores = t.scores;
  v.token_types = t.token_types;
  v.bos_id = id(t.bos_id);
  if (const auto eos = id(t.eos_id)) v.eos_ids = {*eos};
  v.pad_id = id(t.padding_id);
  v.unknown_id = id(t.unknown_id);
  v.add_bos = t.add_bos;
  v.chat_template = t.chat_template;
  return v;
}

model::GgufTokenizer from_vocabulary(const GgufVocabulary& v) {
  model::GgufTokenizer t;
  t.model = v.model;
  t.pre = v.pre;
  t.tokens = v.tokens;
  t.token_types = v.token_types.empty() ? std::vector<int32_t>(v.tokens.size(), kNormal) : v.token_types;
  t.scores = v.scores;
  t.merges = v.merges;
  t.bos_id = v.bos_id.value_or(-1);
  t.eos_id = v.eos_ids.empty() ? -1 : v.eos_ids.front();
  t.unknown_id = v.unknown_id.value_or(-1);
  t.padding_id = v.pad_id.value_or(-1);
  t.add_bos = v.add_bos;
  t.chat_template = v.chat_template;
  return t;
}

void set_special_ids(model::GgufTokenizer& t, const Tokenizer& tokenizer) {
  t.bos_id = tokenizer.bos_id().value_or(-1);
  t.eos_id = tokenizer.eos_id().value_or(-1);
  t.padding_id = tokenizer.pad_id().value_or(-1);
  t.add_bos = tokenizer.add_bos();
  t.chat_template = tokenizer.chat_template();
}

void set_tokens(model::GgufTokenizer& t, const Tokenizer& tokenizer, const nlohmann::json& rules) {
  const bool byte_level = tokenizer.kind() == "byte_bpe";
  const auto size = static_cast<size_t>(tokenizer.vocab_size());
  t.tokens.assign(size, "");
  t.token_types.assign(size, kUnused);
  for (const auto& [spelled, id] : rules["model"]["vocab"].items()) {
    const bool byte =
        !byte_level && spelled.size() == 6 && spelled.starts_with("<0x") && spelled.back() == '>';
    t.tokens[id.get<size_t>()] = spelled;
    t.token_types[id.get<size_t>()] = byte ? kByte : kNormal;
    if (rules["model"]["unk_token"] == spelled) t.unknown_id = id;
  }
  for (const auto& token : rules["added_tokens"]) {
    const auto id = token["id"].get<size_t>();
    t.tokens[id] = token["content"];
    t.token_types[id] = token["special"].get<bool>() ? kControl : kUserDefined;
    if (static_cast<int64_t>(id) == t.unknown_id) t.token_types[id] = kUnknown;
  }
}

// The name of the way to split text, "" when it has none.
std::string splitting_of(const nlohmann::json& rules) {
  for (const char* name : kSplittings) {
    GgufVocabulary least;
    least.model = "gpt2";
    least.pre = name;
    least.tokens = {"a"};
    const auto known = tokenizer_rules(Tokenizer::gguf(least));
    if (known["pre_tokenizer"] == rules["pre_tokenizer"] && known["normalizer"] == rules["normalizer"])
      return name;
  }
  return "";
}

model::GgufTokenizer from_byte_level(const Tokenizer& tokenizer, const nlohmann::json& rules,
                                     const std::string& path) {
  model::GgufTokenizer t;
  t.model = "gpt2";
  t.pre = splitting_of(rules);
  set_tokens(t, tokenizer, rules);
  for (const auto& merge : rules["model"]["merges"]) t.merges.push_back(merge.get<std::string>());
  set_special_ids(t, tokenizer);
  if (t.pre.empty()) {
    throw Error(cat(path, ": GGUF cannot hold this tokenizer: its way to split text is none of ",
                    join({std::begin(kSplittings), std::end(kSplittings)}, ", "),
                    ".\n  Export a HF folder instead."));
  }
  return t;
}

model::GgufTokenizer from_sentencepiece(const Tokenizer& tokenizer, const nlohmann::json& rules,
                                        const std::string& path) {
  model::GgufTokenizer t;
  t.model = "llama";
  set_tokens(t, tokenizer, rules);
  // Merges are in the order of their result's score, and equal results follow each other.
  t.scores.assign(t.tokens.size(), -1e6f);
  std::map<std::string, size_t> ids;
  for (size_t id = 0; id < t.tokens.size(); ++id) ids.emplace(t.tokens[id], id);
  float score = 0;
  for (const auto& merge : rules["model"]["merges"]) {
    std::string left, right;
    if (merge.is_array()) {
      left = merge[0], right = merge[1];
    } else {
      const auto line = merge.get<std::string>();
      left = line.substr(0, line.find(' ', 1)), right = line.substr(line.find(' ', 1) + 1);
    }
    const auto result = ids.find(left + right);
    if (result != ids.end() && t.scores[result->second] == -1e6f) t.scores[result->second] = score--;
  }
  set_special_ids(t, tokenizer);
  if (Tokenizer::gguf(as_vocabulary(t), path).hash() == tokenizer.hash()) return t;
  throw Error(
      cat(path,
          ": GGUF cannot hold this SentencePiece-like tokenizer so that every text gets the same ids.\n  "
          "Export a HF folder instead."));
}

model::GgufTokenizer from_characters(const Tokenizer& tokenizer, const std::string& path) {
  // A byte that is spelled as another character in GPT-2's alphabet: all but the printable ASCII ones.
  const auto spelled = [](unsigned char byte) {
    if (byte > 0x20 && byte < 0x7F) return std::string(1, static_cast<char>(byte));
    const unsigned code = byte <= 0x20 ? 0x100u + byte : 0x121u;  // 0x7F is the 34th, after 0 to 0x20
    return std::string{static_cast<char>(0xC0 | code >> 6), static_cast<char>(0x80 | (code & 0x3F))};
  };
  model::GgufTokenizer t;
  t.model = "gpt2";
  t.pre = "gpt-2";
  for (int32_t id = 0; id < tokenizer.vocab_size(); ++id) {
    const std::string bytes = tokenizer.decode_token(id);
    if (tokenizer.is_special(id)) {
      t.tokens.push_back(bytes);
      t.token_types.push_back(kControl);
      continue;
    }
    if (bytes.size() != 1) {
      throw Error(cat(path, ": GGUF cannot hold the character '", bytes,
                      "' of this vocabulary; accepted: ASCII.\n  "
                      "Export a HF folder instead."));
    }
    t.tokens.push_back(spelled(static_cast<unsigned char>(bytes[0])));
    t.token_types.push_back(kNormal);
  }
  set_special_ids(t, tokenizer);
  const Tokenizer back = Tokenizer::gguf(as_vocabulary(t), path);
  for (int32_t id = 0; id < tokenizer.vocab_size(); ++id) {
    const std::string bytes = tokenizer.decode_token(id);
    if (back.decode_token(id) != bytes || back.encode(bytes) != std::vector<int32_t>{id}) {
      throw Error(cat(path, ": token ", id, " ('", bytes,
                      "') would not be read back from a GGUF file.\n  "
                      "Export a HF folder instead."));
    }
  }
  return t;
}

}  // namespace

model::GgufTokenizer gguf_tokenizer(const fs::path& path) {
  const std::string where = path.string();
  if (path.extension() == ".gguf") {
    const GgufVocabulary vocabulary = read_gguf_vocabulary(GgufFile(path));
    auto t = from_vocabulary(vocabulary);
    if (Tokenizer::gguf(as_vocabulary(t), where).hash() != Tokenizer::gguf(vocabulary, where).hash()) {
      throw Error(
          cat(where,
              ": the tokenizer adds EOS or leaves out the space before a text, which cannot be written.\n  "
              "Export a HF folder instead."));
    }
    return t;
  }
  const Tokenizer tokenizer = Tokenizer::load(path);
  if (tokenizer.eos_ids().size() > 1) {
    log_warning(cat(where, ": has ", tokenizer.eos_ids().size(),
                    " end-of-sequence ids; the GGUF file names the first, ", tokenizer.eos_ids().front()));
  }
  if (tokenizer.kind() == "characters") return from_characters(tokenizer, where);
  const auto rules = tokenizer_rules(tokenizer);
  const auto t = tokenizer.kind() == "byte_bpe" ? from_byte_level(tokenizer, rules, where)
                                                : from_sentencepiece(tokenizer, rules, where);
  if (tokenizer_rules(Tokenizer::gguf(as_vocabulary(t), where)) != rules) {
    throw Error(cat(where,
                    ": GGUF cannot hold this tokenizer so that every text gets the same ids.\n  "
                    "Export a HF folder instead."));
  }
  return t;
}

}  // namespace r1::pipeline
