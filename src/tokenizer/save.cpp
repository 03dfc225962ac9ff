#include <nlohmann/json.hpp>

#include "byte_level.h"
#include "impl.h"
#include "r1/util/error.h"
#include "r1/util/file.h"
#include "r1/util/strings.h"

namespace r1 {
namespace {

using nlohmann::ordered_json;

ordered_json added_tokens(const TokenizerSpec& spec) {
  auto list = ordered_json::array();
  for (const AddedToken& t : spec.added)
    list.push_back({{"id", t.id},
                    {"content", t.content},
                    {"single_word", t.single_word},
                    {"lstrip", t.lstrip},
                    {"rstrip", t.rstrip},
                    {"normalized", t.normalized},
                    {"special", t.special}});
  return list;
}

ordered_json model(const Tokenizer::Impl& impl) {
  const BpeSpec& bpe = impl.bpe.spec();
  std::vector<uint8_t> added(bpe.pieces.size(), 0);
  for (const AddedToken& t : impl.spec.added) added[static_cast<size_t>(t.id)] = 1;
  const auto spelled = [&](int32_t id) {
    const std::string& piece = bpe.pieces[static_cast<size_t>(id)];
    if (added[static_cast<size_t>(id)] && !bpe.in_model[static_cast<size_t>(id)])
      return impl.bytes[static_cast<size_t>(id)];
    return bpe.byte_level ? bytes_to_byte_level(piece) : piece;
  };
  auto vocab = ordered_json::object_t();
  ByteStringMap seen;
  // Control tokens are listed too: HF numbers those that are not by counting, whatever id the file gives
  // them.
  for (size_t id = 0; id < bpe.pieces.size(); ++id) {
    if (bpe.pieces[id].empty()) continue;
    if (!seen.insert(bpe.pieces[id], static_cast<int32_t>(id)))
      throw Error(cat("cannot write tokenizer.json: ids ", seen.find(bpe.pieces[id]), " and ", id, " of ",
                      impl.spec.origin, " are the same token \"", bpe.pieces[id],
                      "\"; the format holds each once"));
    vocab.push_back({spelled(static_cast<int32_t>(id)), id});  // emplace would search all keys
  }
  auto merges = ordered_json::array();
  for (const Merge& m : bpe.merges) {
    auto left = spelled(m.left), right = spelled(m.right);
    if (left.find(' ') == left.npos && right.find(' ') == right.npos)
      merges.push_back(left + ' ' + right);
    else
      merges.push_back({left, right});
  }
  ordered_json out = {{"type", "BPE"}, {"dropout", nullptr}, {"unk_token", nullptr}};
  if (bpe.unknown_id) out["unk_token"] = bpe.pieces[static_cast<size_t>(*bpe.unknown_id)];
  out["continuing_subword_prefix"] = nullptr;
  out["end_of_word_suffix"] = nullptr;
  out["fuse_unk"] = bpe.fuse_unknown;
  out["byte_fallback"] = bpe.byte_fallback;
  out["ignore_merges"] = bpe.ignore_merges;
  if (bpe.rank_by_result) out["r1_rank_by_result"] = true;  // other readers ignore it
  out["vocab"] = std::move(vocab);
  out["merges"] = std::move(merges);
  return out;
}

ordered_json post_processor(const Tokenizer::Impl& impl) {
  const TokenizerSpec& spec = impl.spec;
  if (spec.prefix_ids.empty() && spec.suffix_ids.empty()) return nullptr;
  auto single = ordered_json::array(), pair = ordered_json::array();
  auto special_tokens = ordered_json::object();
  const auto add = [&](const std::vector<int32_t>& ids, ordered_json& list, int type_id) {
    for (const int32_t id : ids) {
      const std::string& name = impl.bytes[static_cast<size_t>(id)];
      list.push_back({{"SpecialToken", {{"id", name}, {"type_id", type_id}}}});
      special_tokens[name] = {{"id", name}, {"ids", {id}}, {"tokens", {name}}};
    }
  };
  const auto add_text = [&](ordered_json& list, const char* name, int type_id) {
    add(spec.prefix_ids, list, type_id);
    list.push_back({{"Sequence", {{"id", name}, {"type_id", type_id}}}});
    add(spec.suffix_ids, list, type_id);
  };
  add_text(single, "A", 0);
  add_text(pair, "A", 0);
  add_text(pair, "B", 1);
  return {
      {"type", "TemplateProcessing"}, {"single", single}, {"pair", pair}, {"special_tokens", special_tokens}};
}

ordered_json decoder(const Tokenizer::Impl& impl) {
  if (impl.bpe.spec().byte_level)
    return {{"type", "ByteLevel"}, {"add_prefix_space", true}, {"trim_offsets", true}, {"use_regex", true}};
  auto steps = ordered_json::array();
  steps.push_back({{"type", "Replace"}, {"pattern", {{"String", "\xE2\x96\x81"}}}, {"content", " "}});
  steps.push_back({{"type", "ByteFallback"}});
  steps.push_back({{"type", "Fuse"}});
  if (impl.spec.strip_decoded_space)
    steps.push_back({{"type", "Strip"}, {"content", " "}, {"start", 1}, {"stop", 0}});
  return {{"type", "Sequence"}, {"decoders", steps}};
}

ordered_json config(const Tokenizer::Impl& impl) {
  const TokenizerSpec& spec = impl.spec;
  ordered_json out = {{"tokenizer_class", "PreTrainedTokenizerFast"},
                      {"clean_up_tokenization_spaces", false}};
  const auto name = [&](const char* key, std::optional<int32_t> id) {
    if (id) out[key] = impl.bytes[static_cast<size_t>(*id)];
  };
  name("bos_token", spec.bos_id);
  name("eos_token", spec.eos_ids.empty() ? std::nullopt : std::optional(spec.eos_ids.front()));
  name("pad_token", spec.pad_id);
  if (spec.eos_ids.size() > 1) out["r1_eos_token_ids"] = spec.eos_ids;
  if (!spec.chat_template.empty()) out["chat_template"] = spec.chat_template;
  return out;
}

ordered_json characters_json(const Tokenizer::Impl& impl) {
  std::string all;
  for (const auto& c : impl.spec.characters) all += c;
  ordered_json out = {{"type", "characters"}, {"characters", all}, {"special", impl.spec.specials}};
  if (!impl.spec.chat_template.empty()) out["chat_template"] = impl.spec.chat_template;
  return out;
}

}  // namespace

void Tokenizer::save(const std::filesystem::path& dir) const {
  std::error_code ec;
  std::filesystem::create_directories(dir, ec);
  if (ec)
    throw Error(cat(dir.string(), " cannot be made: ", ec.message(), "; name a folder that can be written"));
  if (kind() == "characters") {
    write_file_atomic(dir / "characters.json", characters_json(*impl_).dump() + "\n");
    return;
  }
  ordered_json out = {{"version", "1.0"}, {"truncation", nullptr}, {"padding", nullptr}};
  out["added_tokens"] = added_tokens(impl_->spec);
  out["normalizer"] = impl_->spec.normalizer;
  out["pre_tokenizer"] = impl_->spec.pre_tokenizer;
  out["post_processor"] = post_processor(*impl_);
  out["decoder"] = decoder(*impl_);
  out["model"] = model(*impl_);
  write_file_atomic(dir / "tokenizer.json", out.dump() + "\n");
  write_file_atomic(dir / "tokenizer_config.json",
                    config(*impl_).dump(2, ' ', false, ordered_json::error_handler_t::replace) + "\n");
}

}  // namespace r1
