#include <algorithm>

#include "impl.h"
#include "r1/util/error.h"
#include "r1/util/strings.h"
#include "utf8.h"

namespace r1 {

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

}  // namespace r1
