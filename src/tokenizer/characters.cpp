#include <algorithm>

#include "impl.h"
#include "json_fields.h"
#include "utf8.h"

namespace r1 {

TokenizerSpec make_characters(std::string_view characters, const std::vector<std::string>& special,
                              const std::string& origin) {
  TokenizerSpec spec;
  spec.kind = "characters";
  spec.origin = origin;
  spec.specials = special;
  for (size_t i = 0; i < special.size(); ++i) {
    if (special[i].empty())
      throw Error(cat(origin, ": special[", i, "] is empty; accepted: a name such as \"<eos>\""));
    if (utf8::valid_prefix(special[i]) != special[i].size())
      throw Error(cat(origin, ": special[", i, "] is not valid UTF-8"));
    if (std::count(special.begin(), special.end(), special[i]) > 1)
      throw Error(
          cat(origin, ": special token \"", special[i], "\" is there twice; accepted: distinct names"));
    const auto id = static_cast<int32_t>(i);
    if (special[i] == "<bos>") spec.bos_id = id;
    if (special[i] == "<eos>") spec.eos_ids = {id};
    if (special[i] == "<pad>") spec.pad_id = id;
  }
  for (size_t at = 0; at < characters.size();) {
    const auto c = utf8::decode(characters, at);
    if (c.length == 0)
      throw Error(
          cat(origin, ": byte ", at, " of the characters is not valid UTF-8; write the list as UTF-8"));
    spec.characters.emplace_back(characters.substr(at, c.length));
    at += c.length;
  }
  auto sorted = spec.characters;
  std::sort(sorted.begin(), sorted.end());
  const auto twice = std::adjacent_find(sorted.begin(), sorted.end());
  if (twice != sorted.end())
    throw Error(cat(origin, ": character '", *twice, "' is there twice; accepted: each character once"));
  return spec;
}

TokenizerSpec parse_characters(const nlohmann::json& json, const std::string& origin) {
  using namespace json_fields;
  std::vector<std::string> special;
  if (const auto* list = find(json, "special", origin)) {
    if (!list->is_array())
      throw Error(cat(origin, ": special is ", quote(*list), "; accepted: a list of names"));
    for (const auto& name : *list) {
      if (!name.is_string()) throw Error(cat(origin, ": special holds ", quote(name), "; accepted: strings"));
      special.push_back(name.get<std::string>());
    }
  }
  TokenizerSpec spec = make_characters(text(json, "characters", origin), special, origin);
  spec.chat_template = text(json, "chat_template", "", origin);
  return spec;
}

void Tokenizer::Impl::encode_characters(std::string_view text, const EncodeOptions& options,
                                        std::vector<int32_t>& out) const {
  const auto characters = [&](size_t begin, size_t end) {
    while (begin < end) {
      const size_t length = std::max<size_t>(utf8::decode(text, begin).length, 1);
      const std::string_view character = text.substr(begin, length);
      const int32_t id = id_of_bytes.find(character);
      if (id < 0 || special[static_cast<size_t>(id)]) {
        std::string list;
        for (const auto& c : spec.characters) list += c;
        throw Error(cat("character '", character, "' at byte ", begin,
                        " of the text is not in the vocabulary of ", spec.origin, "; accepted: \"", list,
                        "\". Add it to the vocabulary before training, or remove it from the text."));
      }
      out.push_back(id);
      begin += length;
    }
  };
  AddedTokenFinder::Hit hit;
  size_t done = 0;
  while (options.parse_special && raw_finder.find(text, done, done, true, hit)) {
    characters(done, hit.begin);
    out.push_back(hit.token->id);
    done = hit.end;
  }
  characters(done, text.size());
}

}  // namespace r1
