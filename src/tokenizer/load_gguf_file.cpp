#include <limits>

#include "impl.h"
#include "json_fields.h"
#include "r1/util/gguf.h"

namespace r1 {

GgufVocabulary read_gguf_vocabulary(const GgufFile& file) {
  GgufVocabulary v;
  const std::string prefix = "tokenizer.ggml.";
  const std::string origin = file.path().string();
  if (!file.has(prefix + "tokens"))
    throw Error(cat(origin, " has no ", prefix,
                    "tokens; expected a file with a vocabulary. Name the tokenizer apart."));
  v.model = file.get_string(prefix + "model");
  v.pre = file.get_string(prefix + "pre", v.model == "gpt2" ? "gpt-2" : "");
  v.tokens = file.get_strings(prefix + "tokens");
  if (file.has(prefix + "merges")) v.merges = file.get_strings(prefix + "merges");
  if (file.has(prefix + "scores"))
    for (const double score : file.get_numbers(prefix + "scores"))
      v.scores.push_back(static_cast<float>(score));
  if (file.has(prefix + "token_type"))
    for (const int64_t type : file.get_ints(prefix + "token_type"))
      v.token_types.push_back(static_cast<int32_t>(type));
  const auto id = [&](const char* key) -> std::optional<int32_t> {
    const std::string name = prefix + key;
    if (!file.has(name)) return std::nullopt;
    const int64_t value = file.get_int(name);
    if (value == -1 || value == std::numeric_limits<uint32_t>::max())
      return std::nullopt;  // written for "none"
    if (value < 0 || value >= static_cast<int64_t>(v.tokens.size()))
      throw Error(
          cat(origin, ": ", name, " is ", value, "; accepted: an id from 0 to ", v.tokens.size() - 1));
    return static_cast<int32_t>(value);
  };
  v.bos_id = id("bos_token_id");
  v.pad_id = id("padding_token_id");
  v.unknown_id = id("unknown_token_id");
  for (const char* key : {"eos_token_id", "eot_token_id", "eom_token_id"})
    if (const auto eos = id(key)) v.eos_ids.push_back(*eos);
  v.add_bos = file.get_bool(prefix + "add_bos_token", v.model == "llama");
  v.add_eos = file.get_bool(prefix + "add_eos_token", false);
  v.add_space_prefix = file.get_bool(prefix + "add_space_prefix", true);
  v.chat_template = file.get_string("tokenizer.chat_template", "");
  return v;
}

TokenizerSpec read_gguf_file(const std::filesystem::path& file) {
  return convert_gguf(read_gguf_vocabulary(GgufFile(file)), file.string());
}

}  // namespace r1
