#include <algorithm>
#include <cmath>
#include <numeric>

#include "byte_level.h"
#include "impl.h"
#include "json_fields.h"

namespace r1 {
namespace {

enum TokenType : int32_t {
  kNormal = 1,
  kUnknown = 2,
  kControl = 3,
  kUserDefined = 4,
  kUnused = 5,
  kByte = 6
};

void check_lengths(const GgufVocabulary& v, const std::string& origin) {
  const auto check = [&](size_t size, const char* key) {
    if (size != 0 && size != v.tokens.size())
      throw Error(cat(origin, ": tokenizer.ggml.", key, " has ", size, " entries and tokenizer.ggml.tokens ",
                      v.tokens.size(),
                      "; they must agree. The file is damaged or was written by a faulty converter."));
  };
  if (v.tokens.empty())
    throw Error(cat(origin, " has no tokenizer.ggml.tokens; expected a file with a vocabulary"));
  check(v.token_types.size(), "token_type");
  check(v.scores.size(), "scores");
}

void convert_bpe(const GgufVocabulary& v, TokenizerSpec& spec) {
  const PreTokenizerPreset* preset = find_preset(v.pre);
  if (!preset)
    throw Error(cat(spec.origin, ": tokenizer.ggml.pre is \"", v.pre,
                    "\"; accepted: ", join(Tokenizer::pretokenizer_names(), ", "),
                    ". Take the model's tokenizer.json instead, which spells its splitting out."));
  spec.kind = "byte_bpe";
  spec.pre_tokenizer = nlohmann::json::parse(preset->pre_tokenizer);
  spec.normalizer = nlohmann::json::parse(preset->normalizer);
  spec.bpe.ignore_merges = preset->ignore_merges;
  ByteStringMap ids;
  for (size_t id = 0; id < v.tokens.size(); ++id) {
    if (!spec.bpe.in_model[id]) continue;
    if (auto bytes = byte_level_to_bytes(v.tokens[id])) spec.bpe.pieces[id] = std::move(*bytes);
  }
  for (size_t id = 0; id < v.tokens.size(); ++id)
    if (spec.bpe.in_model[id]) ids.insert(spec.bpe.pieces[id], static_cast<int32_t>(id));
  for (size_t i = 0; i < v.merges.size(); ++i) {
    const std::string& line = v.merges[i];
    const size_t space = line.find(' ', 1);
    const auto left = byte_level_to_bytes(line.substr(0, space));
    const auto right = space == line.npos ? std::nullopt : byte_level_to_bytes(line.substr(space + 1));
    const int32_t l = left ? ids.find(*left) : -1, r = right ? ids.find(*right) : -1;
    const int32_t result = l >= 0 && r >= 0 ? ids.find(*left + *right) : -1;
    if (result < 0)
      throw Error(cat(spec.origin, ": tokenizer.ggml.merges[", i, "] is \"", line,
                      "\"; expected two tokens with a space between, whose concatenation is a token too"));
    spec.bpe.merges.push_back({l, r, result});
  }
}

void convert_sentencepiece(const GgufVocabulary& v, TokenizerSpec& spec) {
  if (v.scores.empty())
    throw Error(cat(spec.origin, " has no tokenizer.ggml.scores, which a \"llama\" vocabulary needs"));
  for (size_t id = 0; id < v.scores.size(); ++id)
    if (!std::isfinite(v.scores[id]))
      throw Error(cat(spec.origin, ": tokenizer.ggml.scores[", id, "] is ", v.scores[id],
                      "; accepted: finite numbers"));
  spec.kind = "sentencepiece";
  spec.bpe.byte_level = false;
  spec.bpe.byte_fallback = true;
  spec.bpe.rank_by_result = true;
  spec.bpe.unknown_id = v.unknown_id;
  nlohmann::json steps = nlohmann::json::array();
  if (v.add_space_prefix) steps.push_back({{"type", "Prepend"}, {"prepend", "\xE2\x96\x81"}});
  steps.push_back({{"type", "Replace"}, {"pattern", {{"String", " "}}}, {"content", "\xE2\x96\x81"}});
  spec.normalizer = {{"type", "Sequence"}, {"normalizers", steps}};
  spec.strip_decoded_space = v.add_space_prefix;
  std::vector<int64_t> by_score(v.tokens.size()), order(v.tokens.size());
  std::iota(by_score.begin(), by_score.end(), 0);
  std::sort(by_score.begin(), by_score.end(), [&](int64_t a, int64_t b) {
    return std::pair(-v.scores[static_cast<size_t>(a)], a) < std::pair(-v.scores[static_cast<size_t>(b)], b);
  });
  for (size_t i = 0; i < by_score.size(); ++i)
    order[static_cast<size_t>(by_score[i])] = static_cast<int64_t>(i);
  ByteStringMap ids;
  for (size_t id = 0; id < v.tokens.size(); ++id)
    if (spec.bpe.in_model[id] && v.token_types[id] != kByte)
      ids.insert(spec.bpe.pieces[id], static_cast<int32_t>(id));
  spec.bpe.merges = merges_of_pieces(spec.bpe.pieces, ids, order);
}

}  // namespace

TokenizerSpec convert_gguf(const GgufVocabulary& v, const std::string& origin) {
  check_lengths(v, origin);
  TokenizerSpec spec;
  spec.origin = origin;
  spec.bpe.pieces = v.tokens;
  spec.bpe.in_model.assign(v.tokens.size(), 1);
  for (size_t id = 0; id < v.tokens.size() && !v.token_types.empty(); ++id) {
    const int32_t type = v.token_types[id];
    if (type == kNormal || type == kByte) continue;
    spec.bpe.in_model[id] = 0;
    if (type != kUnused)
      spec.added.push_back({static_cast<int32_t>(id), v.tokens[id], type == kControl || type == kUnknown});
  }
  if (v.model == "gpt2")
    convert_bpe(v, spec);
  else if (v.model == "llama" && !v.token_types.empty())
    convert_sentencepiece(v, spec);
  else
    throw Error(cat(origin, ": tokenizer.ggml.model is \"", v.model, "\"",
                    v.token_types.empty() ? " without token_type" : "",
                    "; accepted: \"gpt2\" (byte-level BPE), \"llama\" (SentencePiece, with token_type)"));
  spec.bos_id = v.bos_id;
  spec.pad_id = v.pad_id;
  for (const int32_t id : v.eos_ids)
    if (std::find(spec.eos_ids.begin(), spec.eos_ids.end(), id) == spec.eos_ids.end())
      spec.eos_ids.push_back(id);
  if (v.add_bos && v.bos_id) spec.prefix_ids = {*v.bos_id};
  if (v.add_eos && !v.eos_ids.empty()) spec.suffix_ids = {v.eos_ids.front()};
  spec.chat_template = v.chat_template;
  return spec;
}

}  // namespace r1
