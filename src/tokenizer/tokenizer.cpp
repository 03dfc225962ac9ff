#include "r1/tokenizer/tokenizer.h"

#include <algorithm>

#include "impl.h"
#include "json_fields.h"
#include "r1/util/error.h"
#include "r1/util/file.h"
#include "r1/util/strings.h"
#include "utf8.h"

namespace r1 {
namespace {

constexpr const char* kMetaspace = "\xE2\x96\x81";  // U+2581

// What decode writes for a piece of a SentencePiece-like vocabulary.
std::string sentencepiece_bytes(const std::string& piece) {
  if (piece.size() == 6 && piece.compare(0, 3, "<0x") == 0 && piece[5] == '>') {
    const auto hex = [](char c) {
      return c >= '0' && c <= '9'   ? c - '0'
             : c >= 'A' && c <= 'F' ? c - 'A' + 10
             : c >= 'a' && c <= 'f' ? c - 'a' + 10
                                    : -1;
    };
    if (hex(piece[3]) >= 0 && hex(piece[4]) >= 0)
      return std::string(1, static_cast<char>(hex(piece[3]) * 16 + hex(piece[4])));
  }
  std::string out;
  for (size_t at = 0; at < piece.size();) {
    if (piece.compare(at, 3, kMetaspace) == 0) {
      out += ' ';
      at += 3;
    } else {
      out += piece[at++];
    }
  }
  return out;
}

void append_number(std::string& out, int64_t n) { out.append(reinterpret_cast<const char*>(&n), sizeof n); }

void append_text(std::string& out, std::string_view text) {
  append_number(out, static_cast<int64_t>(text.size()));
  out += text;
}

// Leaves in the model only what encoding can reach, so that equal vocabularies from different formats look
// alike.
void keep_reachable(TokenizerSpec& spec) {
  BpeSpec& bpe = spec.bpe;
  std::vector<uint8_t> reachable(bpe.pieces.size(), bpe.ignore_merges);
  for (const AddedToken& t : spec.added) reachable[static_cast<size_t>(t.id)] = 0;
  for (const Merge& m : bpe.merges)
    for (const int32_t id : {m.left, m.right, m.result}) reachable[static_cast<size_t>(id)] = 1;
  for (size_t id = 0; id < bpe.pieces.size(); ++id) {
    const std::string& piece = bpe.pieces[id];
    const bool byte = bpe.byte_fallback && piece.size() == 6 && piece.compare(0, 3, "<0x") == 0;
    const bool symbol = bpe.byte_level ? piece.size() == 1 : utf8::decode(piece, 0).length == piece.size();
    if (piece.empty() || !(reachable[id] || byte || symbol)) bpe.in_model[id] = 0;
  }
}

// Everything that decides ids, in one canonical string.
std::string fingerprint(const Tokenizer::Impl& impl) {
  const TokenizerSpec& spec = impl.spec;
  const BpeSpec& bpe = impl.bpe.spec();
  std::string out;
  append_text(out, spec.kind);
  for (const auto& token : impl.bytes) append_text(out, token);
  for (size_t id = 0; id < bpe.pieces.size(); ++id) append_number(out, bpe.in_model[id]);
  for (const Merge& m : bpe.merges) out.append(reinterpret_cast<const char*>(&m), sizeof m);
  append_number(out, bpe.rank_by_result | bpe.byte_level << 1 | bpe.byte_fallback << 2 |
                         bpe.ignore_merges << 3 | bpe.fuse_unknown << 4 | spec.strip_decoded_space << 5);
  append_number(out, bpe.unknown_id.value_or(-1));
  append_text(out, spec.normalizer.dump());
  append_text(out, spec.pre_tokenizer.dump());
  for (const AddedToken& t : spec.added) {
    append_number(out, t.id);
    append_text(out, t.content);
    append_number(out, t.special | t.single_word << 1 | t.lstrip << 2 | t.rstrip << 3 | t.normalized << 4);
  }
  for (const auto* ids : {&spec.prefix_ids, &spec.suffix_ids}) {
    append_number(out, static_cast<int64_t>(ids->size()));
    for (const int32_t id : *ids) append_number(out, id);
  }
  return out;
}

void check_spec(const TokenizerSpec& spec) {
  const auto n = static_cast<int64_t>(
      spec.kind == "characters" ? spec.characters.size() + spec.specials.size() : spec.bpe.pieces.size());
  const auto check = [&](int64_t id, const char* what) {
    if (id < 0 || id >= n)
      throw Error(cat(spec.origin, ": ", what, " is ", id, "; accepted: an id from 0 to ", n - 1,
                      ", since the vocabulary has ", n, " tokens"));
  };
  if (n == 0) throw Error(cat(spec.origin, ": the vocabulary is empty; expected at least one token"));
  for (const auto& t : spec.added) check(t.id, "the id of an added token");
  for (const int32_t id : spec.eos_ids) check(id, "an end-of-sequence id");
  for (const int32_t id : spec.prefix_ids) check(id, "the id of a token put before a text");
  for (const int32_t id : spec.suffix_ids) check(id, "the id of a token put after a text");
  if (spec.bos_id) check(*spec.bos_id, "the begin-of-sequence id");
  if (spec.pad_id) check(*spec.pad_id, "the padding id");
  if (spec.bpe.unknown_id) check(*spec.bpe.unknown_id, "the unknown id");
  for (const AddedToken& t : spec.added)
    if (utf8::valid_prefix(t.content) != t.content.size())
      throw Error(
          cat(spec.origin, ": the added token with id ", t.id, " is not valid UTF-8; accepted: UTF-8 text"));
  for (size_t id = 0; id < spec.bpe.pieces.size() && !spec.bpe.byte_level; ++id)
    if (utf8::valid_prefix(spec.bpe.pieces[id]) != spec.bpe.pieces[id].size())
      throw Error(cat(spec.origin, ": token ", id, " is not valid UTF-8; accepted: UTF-8 text"));
  for (const Merge& m : spec.bpe.merges)
    for (const int32_t id : {m.left, m.right, m.result}) check(id, "an id of a merge");
}

// Readers recurse into nested values: a file with more levels than any tokenizer has would overflow the
// stack.
void check_nesting(std::string_view json, const std::string& origin) {
  constexpr int kMaxDepth = 64;
  int depth = 0;
  bool in_string = false;
  for (size_t i = 0; i < json.size(); ++i) {
    const char c = json[i];
    if (in_string) {
      if (c == '\\')
        ++i;
      else if (c == '"')
        in_string = false;
      continue;
    }
    if (c == '"') in_string = true;
    if (c == '[' || c == '{') ++depth;
    if (c == ']' || c == '}') --depth;
    if (depth > kMaxDepth)
      throw Error(cat(origin, ": byte ", i, " opens more than ", kMaxDepth,
                      " nested values; expected a tokenizer's JSON"));
  }
}

}  // namespace

Tokenizer make_tokenizer(TokenizerSpec spec) {
  check_spec(spec);
  return Tokenizer(std::make_shared<const Tokenizer::Impl>(std::move(spec)));
}

Tokenizer::Impl::Impl(TokenizerSpec s) : spec(std::move(s)) {
  if (spec.kind == "characters") {
    bytes = spec.specials;
    bytes.insert(bytes.end(), spec.characters.begin(), spec.characters.end());
    special.assign(bytes.size(), 0);
    std::fill_n(special.begin(), spec.specials.size(), uint8_t{1});
    for (size_t i = 0; i < spec.specials.size(); ++i)
      spec.added.push_back({static_cast<int32_t>(i), spec.specials[i]});
  } else {
    keep_reachable(spec);
    normalizer = Normalizer(spec.normalizer, spec.origin + ": normalizer");
    pretokenizer = PreTokenizer(spec.pre_tokenizer, spec.origin + ": pre_tokenizer");
    bytes = spec.bpe.pieces;
    if (!spec.bpe.byte_level)
      for (auto& piece : bytes) piece = sentencepiece_bytes(piece);
    special.assign(bytes.size(), 0);
    for (const AddedToken& t : spec.added) {
      bytes[static_cast<size_t>(t.id)] = t.content;
      special[static_cast<size_t>(t.id)] = t.special;
    }
    bpe = BpeModel(std::move(spec.bpe));
  }
  for (const AddedToken& t : spec.added) {
    if (!t.normalized) continue;
    normalized_added.push_back(t);
    std::string buffer;
    const size_t valid = utf8::valid_prefix(t.content);
    if (valid == t.content.size()) normalized_added.back().content = normalizer.apply(t.content, buffer);
  }
  std::vector<const AddedToken*> raw, normalized;
  for (const AddedToken& t : spec.added)
    if (!t.normalized) raw.push_back(&t);
  for (const AddedToken& t : normalized_added) normalized.push_back(&t);
  raw_finder = AddedTokenFinder(raw);
  normalized_finder = AddedTokenFinder(normalized);
  for (const bool specials : {true, false})  // a control token's name wins over an equal piece
    for (size_t id = 0; id < bytes.size(); ++id)
      if (!bytes[id].empty() && (special[id] != 0) == specials)
        id_of_bytes.insert(bytes[id], static_cast<int32_t>(id));
  hash = hash_bytes(fingerprint(*this));
}

Tokenizer::Impl::Borrowed::Borrowed(const Impl& impl) : impl_(impl) {
  {
    const std::lock_guard lock(impl_.mutex);
    if (!impl_.idle.empty()) {
      scratch_ = std::move(impl_.idle.back());
      impl_.idle.pop_back();
    }
  }
  if (!scratch_) scratch_ = std::make_unique<Scratch>(impl_);
}

Tokenizer::Impl::Borrowed::~Borrowed() {
  const std::lock_guard lock(impl_.mutex);
  impl_.idle.push_back(std::move(scratch_));
}

void Tokenizer::Impl::encode_words(std::string_view text, bool at_start, Scratch& scratch,
                                   std::vector<int32_t>& out) const {
  struct Words final : PreTokenizer::Sink {
    const BpeModel& bpe;
    BpeModel::Scratch& scratch;
    std::vector<int32_t>& out;
    Words(const BpeModel& b, BpeModel::Scratch& s, std::vector<int32_t>& o) : bpe(b), scratch(s), out(o) {}
    void word(std::string_view w) override { bpe.encode(w, scratch, out); }
  } words(bpe, scratch.bpe, out);
  pretokenizer.split(text, at_start, scratch.pretokenizer, words);
}

void Tokenizer::Impl::encode_valid(std::string_view text, bool at_start, bool with_special, Scratch& scratch,
                                   std::vector<int32_t>& out) const {
  text = normalizer.apply(text, scratch.normalized);
  AddedTokenFinder::Hit hit;
  size_t done = 0;
  for (size_t from = 0; normalized_finder.find(text, from, done, with_special, hit); from = hit.resume) {
    if (hit.begin > done)
      encode_words(text.substr(done, hit.begin - done), at_start && done == 0, scratch, out);
    out.push_back(hit.token->id);
    done = std::max(done, hit.end);
  }
  if (done < text.size()) encode_words(text.substr(done), at_start && done == 0, scratch, out);
}

// Splits at invalid UTF-8: each run of invalid bytes is a word of its own.
void Tokenizer::Impl::encode_raw(std::string_view text, bool at_start, bool with_special, Scratch& scratch,
                                 std::vector<int32_t>& out) const {
  while (!text.empty()) {
    const size_t valid = utf8::valid_prefix(text);
    if (valid > 0) encode_valid(text.substr(0, valid), at_start, with_special, scratch, out);
    text.remove_prefix(valid);
    const size_t invalid = utf8::invalid_prefix(text);
    if (invalid > 0) bpe.encode(text.substr(0, invalid), scratch.bpe, out);
    text.remove_prefix(invalid);
    at_start = false;
  }
}

void Tokenizer::Impl::encode_bpe(std::string_view text, const EncodeOptions& options,
                                 std::vector<int32_t>& out) const {
  Borrowed scratch(*this);
  AddedTokenFinder::Hit hit;
  const auto check = [&](std::string_view part) {
    const size_t at = options.strict ? bpe.find_unspellable(part) : part.npos;
    if (at == part.npos) return;
    throw Error(cat(
        "byte ", static_cast<int>(static_cast<unsigned char>(part[at])), " at offset ",
        part.data() - text.data() + static_cast<ptrdiff_t>(at), " of the text has no token in ", spec.origin,
        "; accepted: text that the vocabulary can spell. Remove it, or let it be left out (strict off)."));
  };
  size_t done = 0;
  for (size_t from = 0; raw_finder.find(text, from, done, options.parse_special, hit); from = hit.resume) {
    if (hit.begin > done) {
      const auto part = text.substr(done, hit.begin - done);
      check(part);
      encode_raw(part, done == 0, options.parse_special, *scratch, out);
    }
    out.push_back(hit.token->id);
    done = std::max(done, hit.end);
  }
  if (done >= text.size()) return;
  check(text.substr(done));
  encode_raw(text.substr(done), done == 0, options.parse_special, *scratch, out);
}

std::vector<int32_t> Tokenizer::encode(std::string_view text, const EncodeOptions& options) const {
  std::vector<int32_t> out;
  out.reserve(text.size() / 3 + 8);
  if (options.add_special) out = impl_->spec.prefix_ids;
  if (impl_->spec.kind == "characters")
    impl_->encode_characters(text, options, out);
  else
    impl_->encode_bpe(text, options, out);
  if (options.add_special)
    out.insert(out.end(), impl_->spec.suffix_ids.begin(), impl_->spec.suffix_ids.end());
  return out;
}

std::string Tokenizer::decode_token(int32_t id) const {
  if (id < 0 || id >= vocab_size())
    throw Error(cat("token id ", id, " is outside the vocabulary of ", impl_->spec.origin,
                    "; accepted: 0 to ", vocab_size() - 1,
                    ". The ids come from another tokenizer, or the model's embedding has padding rows."));
  return impl_->bytes[static_cast<size_t>(id)];
}

std::string Tokenizer::decode(std::span<const int32_t> ids, const DecodeOptions& options) const {
  std::string out;
  for (const int32_t id : ids)
    if (!(options.skip_special && is_special(id))) out += decode_token(id);
  if (impl_->spec.strip_decoded_space && !out.empty() && out.front() == ' ') out.erase(0, 1);
  return out;
}

int64_t Tokenizer::vocab_size() const { return static_cast<int64_t>(impl_->bytes.size()); }
std::optional<int32_t> Tokenizer::bos_id() const { return impl_->spec.bos_id; }
const std::vector<int32_t>& Tokenizer::eos_ids() const { return impl_->spec.eos_ids; }
std::optional<int32_t> Tokenizer::eos_id() const {
  return eos_ids().empty() ? std::nullopt : std::optional(eos_ids().front());
}
std::optional<int32_t> Tokenizer::pad_id() const { return impl_->spec.pad_id; }
bool Tokenizer::add_bos() const { return !impl_->spec.prefix_ids.empty(); }
bool Tokenizer::add_eos() const { return !impl_->spec.suffix_ids.empty(); }
bool Tokenizer::is_special(int32_t id) const {
  return id >= 0 && id < vocab_size() && impl_->special[static_cast<size_t>(id)];
}
std::optional<int32_t> Tokenizer::token_id(std::string_view text) const {
  const int32_t id = impl_->id_of_bytes.find(text);
  return id < 0 ? std::nullopt : std::optional(id);
}
bool Tokenizer::covers_all_bytes() const {
  return impl_->bpe.covers_all_bytes() && impl_->spec.normalizer.is_null();
}
const std::string& Tokenizer::kind() const { return impl_->spec.kind; }
const std::string& Tokenizer::chat_template() const { return impl_->spec.chat_template; }
const std::string& Tokenizer::hash() const { return impl_->hash; }

Tokenizer Tokenizer::gguf(const GgufVocabulary& vocabulary, const std::string& origin) {
  return make_tokenizer(convert_gguf(vocabulary, origin));
}

Tokenizer Tokenizer::tiktoken(const std::filesystem::path& file, const std::string& pretokenizer,
                              const std::vector<std::string>& special) {
  return make_tokenizer(read_tiktoken(file, pretokenizer, special));
}

Tokenizer Tokenizer::characters(std::string_view characters, const std::vector<std::string>& special) {
  return make_tokenizer(make_characters(characters, special, "the character vocabulary"));
}

Tokenizer Tokenizer::load(const std::filesystem::path& path) {
  namespace fs = std::filesystem;
  const char* accepted =
      "accepted: a folder with tokenizer.json or characters.json, one of these files, or a .gguf file";
  std::error_code ec;
  fs::path file = path;
  if (fs::is_directory(path, ec)) {
    file = path / "tokenizer.json";
    if (!fs::exists(file, ec)) file = path / "characters.json";
    if (!fs::exists(file, ec))
      throw Error(cat(path.string(), " holds neither tokenizer.json nor characters.json; ", accepted));
  } else if (!fs::exists(path, ec)) {
    throw Error(cat(path.string(), " does not exist; ", accepted, ". Check the path."));
  }
  if (file.extension() == ".gguf") return make_tokenizer(read_gguf_file(file));
  if (file.extension() == ".tiktoken")
    throw Error(cat(path.string(), " is a list of tiktoken ranks, which does not say how text is split; ",
                    "name the pre-tokenizer: Tokenizer::tiktoken(file, one of ",
                    join(pretokenizer_names(), ", "), ")"));
  if (file.extension() != ".json")
    throw Error(cat(path.string(), ": the extension is \"", file.extension().string(), "\"; ", accepted));
  const std::string text = read_file(file);
  check_nesting(text, file.string());
  const auto json = nlohmann::json::parse(text, nullptr, false);
  if (!json.is_object())
    throw Error(cat(file.string(), " is not a JSON object; ", accepted, ". The file may be cut short."));
  if (json.contains("type") && json["type"] == "characters")
    return make_tokenizer(parse_characters(json, file.string()));
  TokenizerSpec spec = parse_huggingface(json, file.string());
  read_huggingface_config(file.parent_path(), spec);
  guess_special_ids(spec);
  return make_tokenizer(std::move(spec));
}

}  // namespace r1
