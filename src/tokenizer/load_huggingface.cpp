#include <algorithm>

#include "byte_level.h"
#include "impl.h"
#include "json_fields.h"
#include "r1/util/file.h"
#include "utf8.h"

namespace r1 {
namespace {

using json_fields::boolean;
using json_fields::find;
using json_fields::integer;
using json_fields::need;
using json_fields::quote;
using json_fields::text;

constexpr int64_t kMaxVocab = 2'000'000;  // a larger id is a damaged file, not a vocabulary

const nlohmann::json& section(const nlohmann::json& file, const char* key) {
  static const nlohmann::json kNull;
  const auto it = file.find(key);
  return it == file.end() ? kNull : *it;
}

void resize(BpeSpec& bpe, int64_t id) {
  if (static_cast<size_t>(id) < bpe.pieces.size()) return;
  bpe.pieces.resize(static_cast<size_t>(id) + 1);
  bpe.in_model.resize(bpe.pieces.size(), 0);
}

void read_vocab(const nlohmann::json& vocab, const std::string& where, BpeSpec& bpe) {
  if (!vocab.is_object()) throw Error(cat(where, " is ", quote(vocab), "; accepted: an object of token: id"));
  for (const auto& [key, value] : vocab.items()) {
    const int64_t id = integer(value, 0, kMaxVocab, cat(where, "[\"", key, "\"]"));
    resize(bpe, id);
    std::string& piece = bpe.pieces[static_cast<size_t>(id)];
    if (bpe.in_model[static_cast<size_t>(id)])
      throw Error(cat(where, ": id ", id, " belongs to two tokens, one of them \"", key,
                      "\"; accepted: distinct ids"));
    std::optional<std::string> bytes;
    if (bpe.byte_level) bytes = byte_level_to_bytes(key);
    piece = bytes ? std::move(*bytes) : key;
    bpe.in_model[static_cast<size_t>(id)] = 1;
  }
}

void read_merges(const nlohmann::json& merges, const std::string& where, BpeSpec& bpe) {
  if (!merges.is_array())
    throw Error(cat(where, " is ", quote(merges), "; accepted: a list of \"left right\""));
  ByteStringMap ids;
  for (size_t id = 0; id < bpe.pieces.size(); ++id)
    if (bpe.in_model[id]) ids.insert(bpe.pieces[id], static_cast<int32_t>(id));
  const auto piece = [&](const std::string& spelled) {
    std::optional<std::string> bytes;
    if (bpe.byte_level) bytes = byte_level_to_bytes(spelled);
    return bytes ? *bytes : spelled;
  };
  bpe.merges.reserve(merges.size());
  for (size_t i = 0; i < merges.size(); ++i) {
    const auto& entry = merges[i];
    std::string left, right;
    if (entry.is_string()) {
      const auto& line = entry.get_ref<const std::string&>();
      const size_t space = line.find(' ', 1);
      if (space != line.npos) left = line.substr(0, space), right = line.substr(space + 1);
    } else if (entry.is_array() && entry.size() == 2 && entry[0].is_string() && entry[1].is_string()) {
      left = entry[0], right = entry[1];
    }
    left = piece(left), right = piece(right);
    const int32_t l = ids.find(left), r = ids.find(right), result = ids.find(left + right);
    if (left.empty() || right.empty() || l < 0 || r < 0 || result < 0)
      throw Error(
          cat(where, "[", i, "] is ", quote(entry), "; expected two tokens of the vocabulary whose ",
              "concatenation is a token too. The file's vocabulary and merges do not belong together."));
    bpe.merges.push_back({l, r, result});
  }
}

void read_added(const nlohmann::json& list, const std::string& where, TokenizerSpec& spec) {
  if (list.is_null()) return;
  if (!list.is_array()) throw Error(cat(where, " is ", quote(list), "; accepted: a list of tokens"));
  for (size_t i = 0; i < list.size(); ++i) {
    const std::string here = cat(where, "[", i, "]");
    AddedToken t;
    t.id = static_cast<int32_t>(integer(need(list[i], "id", here), 0, kMaxVocab, here + ".id"));
    t.content = text(list[i], "content", here);
    t.special = boolean(list[i], "special", false, here);
    t.single_word = boolean(list[i], "single_word", false, here);
    t.lstrip = boolean(list[i], "lstrip", false, here);
    t.rstrip = boolean(list[i], "rstrip", false, here);
    t.normalized = boolean(list[i], "normalized", !t.special, here);
    resize(spec.bpe, t.id);
    auto& piece = spec.bpe.pieces[static_cast<size_t>(t.id)];
    if (piece.empty()) piece = t.content;
    spec.added.push_back(std::move(t));
  }
  std::sort(spec.added.begin(), spec.added.end(), [](const auto& a, const auto& b) { return a.id < b.id; });
  for (size_t i = 1; i < spec.added.size(); ++i)
    if (spec.added[i].id == spec.added[i - 1].id)
      throw Error(cat(where, ": id ", spec.added[i].id, " is there twice (\"", spec.added[i - 1].content,
                      "\" and \"", spec.added[i].content, "\"); accepted: distinct ids"));
}

// What a post-processor puts before and after a text.
void read_post_processor(const nlohmann::json& post, const std::string& where, TokenizerSpec& spec) {
  if (post.is_null()) return;
  const auto add_id = [&](const nlohmann::json& id, bool before) {
    (before ? spec.prefix_ids : spec.suffix_ids)
        .push_back(static_cast<int32_t>(integer(id, 0, kMaxVocab, where)));
  };
  const std::string type = text(post, "type", where);
  if (type == "Sequence") {
    const auto& list = need(post, "processors", where);
    if (!list.is_array()) throw Error(cat(where, ".processors is ", quote(list), "; accepted: a list"));
    for (size_t i = 0; i < list.size(); ++i)
      read_post_processor(list[i], cat(where, ".processors[", i, "]"), spec);
  } else if (type == "TemplateProcessing") {
    bool before = true;
    const auto& single = need(post, "single", where);
    if (!single.is_array()) throw Error(cat(where, ".single is ", quote(single), "; accepted: a list"));
    for (const auto& part : single) {
      if (find(part, "Sequence", where)) {
        before = false;
        continue;
      }
      const std::string name = text(need(part, "SpecialToken", where), "id", where);
      const auto& token = need(need(post, "special_tokens", where), name.c_str(), where + ".special_tokens");
      const auto& ids = need(token, "ids", where);
      if (!ids.is_array())
        throw Error(cat(where, ".special_tokens.", name, ".ids is ", quote(ids), "; accepted: a list"));
      for (const auto& id : ids) add_id(id, before);
    }
  } else if (type == "RobertaProcessing" || type == "BertProcessing") {
    for (const char* key : {"cls", "sep"}) {
      const auto& pair = need(post, key, where);
      if (!pair.is_array() || pair.size() != 2)
        throw Error(cat(where, ".", key, " is ", quote(pair), "; accepted: [\"token\", id]"));
      add_id(pair[1], key[0] == 'c');
    }
  } else if (type != "ByteLevel") {
    throw Error(
        cat(where, ".type is \"", type,
            "\"; accepted: Sequence, TemplateProcessing, ByteLevel, RobertaProcessing, BertProcessing"));
  }
}

bool strips_a_space(const nlohmann::json& decoder) {
  if (!decoder.is_object()) return false;
  const auto type = decoder.value("type", nlohmann::json());
  if (type == "Metaspace") return decoder.value("prepend_scheme", nlohmann::json("always")) != "never";
  if (type == "Strip") return decoder.value("start", nlohmann::json(0)) != 0;
  if (type == "Sequence" && decoder.contains("decoders") && decoder["decoders"].is_array())
    return std::any_of(decoder["decoders"].begin(), decoder["decoders"].end(), strips_a_space);
  return false;
}

void refuse_unsupported(const nlohmann::json& model, const std::string& where) {
  const std::string type = text(model, "type", "BPE", where);
  if (type != "BPE")
    throw Error(
        cat(where, ".type is \"", type, "\"; accepted: BPE (byte-level, or SentencePiece-like with U+2581)"));
  for (const char* key : {"continuing_subword_prefix", "end_of_word_suffix"})
    if (!text(model, key, "", where).empty())
      throw Error(
          cat(where, ".", key, " is \"", text(model, key, where), "\"; accepted: none (null or \"\")"));
  if (const auto* dropout = find(model, "dropout", where); dropout && *dropout != 0)
    throw Error(cat(where, ".dropout is ", quote(*dropout),
                    "; accepted: null or 0, so that a text has one tokenisation"));
}

}  // namespace

TokenizerSpec parse_huggingface(const nlohmann::json& file, const std::string& origin) {
  TokenizerSpec spec;
  spec.origin = origin;
  const auto& model = need(file, "model", origin);
  const std::string where = origin + ": model";
  refuse_unsupported(model, where);
  spec.normalizer = section(file, "normalizer");
  spec.pre_tokenizer = section(file, "pre_tokenizer");
  spec.bpe.byte_level = PreTokenizer(spec.pre_tokenizer, origin + ": pre_tokenizer").byte_level();
  spec.bpe.byte_fallback = boolean(model, "byte_fallback", false, where);
  spec.bpe.fuse_unknown = boolean(model, "fuse_unk", false, where);
  spec.bpe.ignore_merges = boolean(model, "ignore_merges", false, where);
  spec.bpe.rank_by_result = boolean(model, "r1_rank_by_result", false, where);
  spec.kind = spec.bpe.byte_level ? "byte_bpe" : "sentencepiece";
  const std::string rules = spec.normalizer.dump() + spec.pre_tokenizer.dump();
  if (!spec.bpe.byte_level && rules.find("\xE2\x96\x81") == rules.npos)
    throw Error(cat(
        origin, ": neither a ByteLevel pre_tokenizer nor U+2581 for a space in normalizer or pre_tokenizer; ",
        "accepted: byte-level BPE or SentencePiece-like BPE, which can spell every text"));
  read_vocab(need(model, "vocab", where), where + ".vocab", spec.bpe);
  read_merges(need(model, "merges", where), where + ".merges", spec.bpe);
  read_added(section(file, "added_tokens"), origin + ": added_tokens", spec);
  read_post_processor(section(file, "post_processor"), origin + ": post_processor", spec);
  spec.strip_decoded_space = !spec.bpe.byte_level && strips_a_space(section(file, "decoder"));
  if (const std::string unknown = text(model, "unk_token", "", where); !unknown.empty()) {
    for (size_t id = 0; id < spec.bpe.pieces.size() && !spec.bpe.unknown_id; ++id)
      if (spec.bpe.pieces[id] == unknown) spec.bpe.unknown_id = static_cast<int32_t>(id);
    if (!spec.bpe.unknown_id)
      throw Error(cat(where, ".unk_token is \"", unknown,
                      "\", which is not in the vocabulary; accepted: a token or null"));
  }
  return spec;
}

void read_huggingface_config(const std::filesystem::path& dir, TokenizerSpec& spec) {
  const auto read = [&](const char* name) {
    const auto path = dir / name;
    std::error_code ec;
    if (!std::filesystem::exists(path, ec)) return nlohmann::json();
    auto json = nlohmann::json::parse(read_file(path), nullptr, false);
    if (!json.is_object()) throw Error(cat(path.string(), " is not a JSON object; repair it or remove it"));
    return json;
  };
  const auto id_of = [&](const nlohmann::json& token) -> std::optional<int32_t> {
    const auto& content = token.is_object() ? token.value("content", nlohmann::json()) : token;
    if (!content.is_string()) return std::nullopt;
    for (const auto& t : spec.added)
      if (t.content == content.get_ref<const std::string&>()) return t.id;
    for (size_t id = 0; id < spec.bpe.pieces.size(); ++id)
      if (spec.bpe.pieces[id] == content.get_ref<const std::string&>()) return static_cast<int32_t>(id);
    return std::nullopt;
  };
  const auto add_eos = [&](const nlohmann::json& ids, const std::string& where) {
    for (const auto& id : ids.is_array() ? ids : nlohmann::json::array({ids})) {
      const auto value = static_cast<int32_t>(integer(id, 0, kMaxVocab, where));
      if (std::find(spec.eos_ids.begin(), spec.eos_ids.end(), value) == spec.eos_ids.end())
        spec.eos_ids.push_back(value);
    }
  };
  const auto config = read("tokenizer_config.json");
  const std::string where = (dir / "tokenizer_config.json").string();
  if (config.is_object()) {
    spec.bos_id = id_of(section(config, "bos_token"));
    spec.pad_id = id_of(section(config, "pad_token"));
    if (const auto eos = id_of(section(config, "eos_token"))) spec.eos_ids = {*eos};
    if (const auto* ids = find(config, "r1_eos_token_ids", where))
      add_eos(*ids, where + ": r1_eos_token_ids");
    const auto& chat = section(config, "chat_template");
    if (chat.is_string()) spec.chat_template = chat;
    for (const auto& named :
         chat.is_array() ? chat : nlohmann::json::array())  // a list of {"name", "template"}
      if (spec.chat_template.empty() || text(named, "name", where) == "default")
        spec.chat_template = text(named, "template", where);
    if (find(config, "add_bos_token", where) && spec.bos_id) {
      const bool add = boolean(config, "add_bos_token", false, where);
      if (add && spec.prefix_ids.empty()) spec.prefix_ids = {*spec.bos_id};
      if (!add && spec.prefix_ids == std::vector{*spec.bos_id}) spec.prefix_ids.clear();
    }
  }
  std::error_code ec;
  if (std::filesystem::exists(dir / "chat_template.jinja", ec))
    spec.chat_template = read_file(dir / "chat_template.jinja");
  for (const char* name : {"generation_config.json", "config.json"}) {
    const auto json = read(name);
    if (json.is_object() && find(json, "eos_token_id", name)) {
      add_eos(json["eos_token_id"], cat((dir / name).string(), ": eos_token_id"));
      break;  // config.json only where there is no generation_config.json that says it
    }
  }
}

void guess_special_ids(TokenizerSpec& spec) {
  const auto id_of = [&](std::string_view name) -> std::optional<int32_t> {
    for (const auto& t : spec.added)
      if (t.content == name) return t.id;
    return std::nullopt;
  };
  for (const char* name : {"<s>", "<|begin_of_text|>", "<｜begin▁of▁sentence｜>", "<bos>"})
    if (!spec.bos_id) spec.bos_id = id_of(name);
  for (const char* name : {"<pad>", "<|finetune_right_pad_id|>", "<｜▁pad▁｜>"})
    if (!spec.pad_id) spec.pad_id = id_of(name);
  if (!spec.eos_ids.empty()) return;
  for (const char* name : {"<|im_end|>", "<|eot_id|>", "<|eom_id|>", "<|end_of_text|>",
                           "<｜end▁of▁sentence｜>", "</s>", "<|endoftext|>", "<eos>"})
    if (const auto id = id_of(name)) spec.eos_ids.push_back(*id);
}

}  // namespace r1
