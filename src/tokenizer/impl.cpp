#include "impl.h"

#include <algorithm>

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

}  // namespace r1
