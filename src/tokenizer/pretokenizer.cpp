#include "pretokenizer.h"

#include "json_fields.h"
#include "utf8.h"

namespace r1 {
namespace {

constexpr const char* kGpt2Pattern =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";

std::string escape_literal(const std::string& text) {
  std::string out;
  for (const char c : text) {
    const bool plain =
        (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c & 0x80);
    if (!plain) out += '\\';
    out += c;
  }
  return out;
}

}  // namespace

PreTokenizer::PreTokenizer(const nlohmann::json& spec, const std::string& where) : spec_(spec) {
  if (!spec.is_null()) add(spec, where);
}

void PreTokenizer::add_regex(const std::string& pattern, Behavior behavior, bool invert,
                             const std::string& where) {
  Step step;
  step.regex = std::make_unique<Regex>(pattern, where);
  step.behavior = behavior;
  step.invert = invert;
  steps_.push_back(std::move(step));
}

void PreTokenizer::add(const nlohmann::json& spec, const std::string& where) {
  using namespace json_fields;
  const auto behavior_of = [&](const std::string& name) {
    if (name == "Isolated") return Behavior::kIsolated;
    if (name == "Removed") return Behavior::kRemoved;
    if (name == "MergedWithPrevious") return Behavior::kMergedWithPrevious;
    if (name == "MergedWithNext") return Behavior::kMergedWithNext;
    if (name == "Contiguous") return Behavior::kContiguous;
    throw Error(cat(where, ".behavior is \"", name,
                    "\"; accepted: Isolated, Removed, MergedWithPrevious, MergedWithNext, Contiguous"));
  };
  const std::string type = text(spec, "type", where);
  if (type == "Sequence") {
    const auto& list = need(spec, "pretokenizers", where);
    if (!list.is_array()) throw Error(cat(where, ".pretokenizers is ", quote(list), "; accepted: a list"));
    for (size_t i = 0; i < list.size(); ++i) add(list[i], cat(where, ".pretokenizers[", i, "]"));
  } else if (type == "Split") {
    const auto& pattern = need(spec, "pattern", where);
    const bool regex = pattern.is_object() && pattern.contains("Regex");
    const std::string source = regex ? text(pattern, "Regex", where + ".pattern")
                                     : escape_literal(text(pattern, "String", where + ".pattern"));
    add_regex(source, behavior_of(text(spec, "behavior", where)), boolean(spec, "invert", false, where),
              where);
  } else if (type == "Digits") {
    Step step;
    step.kind = Kind::kDigits;
    step.individual_digits = boolean(spec, "individual_digits", false, where);
    steps_.push_back(std::move(step));
  } else if (type == "ByteLevel") {
    byte_level_ = true;
    if (boolean(spec, "add_prefix_space", true, where)) {
      Step step;
      step.kind = Kind::kPrefixSpace;
      steps_.push_back(std::move(step));
    }
    if (boolean(spec, "use_regex", true, where)) add_regex(kGpt2Pattern, Behavior::kIsolated, false, where);
  } else if (type == "Whitespace") {
    // Written for Rust's \w, which unlike Oniguruma's has the two joiners and no superscript digits.
    const std::string word = R"(\p{Alphabetic}\p{M}\p{Nd}\p{Pc}\x{200c}\x{200d})";
    add_regex(cat("[", word, "]+|[^", word, "\\s]+"), Behavior::kRemoved, true, where);
  } else if (type == "WhitespaceSplit") {
    add_regex(R"(\s)", Behavior::kRemoved, false, where);
  } else if (type == "Punctuation") {
    add_regex(R"([\p{P}$+<=>^`|~])", behavior_of(text(spec, "behavior", "Isolated", where)), false, where);
  } else if (type == "Metaspace") {
    Step step;
    step.kind = Kind::kMetaspace;
    step.replacement = text(spec, "replacement", "\xE2\x96\x81", where);
    const bool add_prefix = boolean(spec, "add_prefix_space", true, where);
    const std::string scheme = text(spec, "prepend_scheme", add_prefix ? "always" : "never", where);
    if (scheme == "always")
      step.prepend = Prepend::kAlways;
    else if (scheme == "first")
      step.prepend = Prepend::kFirst;
    else if (scheme == "never")
      step.prepend = Prepend::kNever;
    else
      throw Error(cat(where, ".prepend_scheme is \"", scheme, "\"; accepted: always, first, never"));
    step.metaspace_split = boolean(spec, "split", true, where);
    steps_.push_back(std::move(step));
  } else {
    throw Error(
        cat(where, ".type is \"", type,
            "\"; accepted: Sequence, Split, Digits, ByteLevel, Whitespace, WhitespaceSplit, Punctuation, ",
            "Metaspace"));
  }
}

PreTokenizer::Scratch::Scratch(const PreTokenizer& pretokenizer) {
  for (const Step& step : pretokenizer.steps_) {
    matchers.emplace_back();
    if (step.regex) matchers.back().emplace(*step.regex);
  }
}

void PreTokenizer::split(std::string_view text, bool at_start, Scratch& scratch, Sink& sink) const {
  run(0, text, at_start, scratch, sink);
}

void PreTokenizer::run(size_t i, std::string_view piece, bool at_start, Scratch& scratch, Sink& sink) const {
  if (piece.empty()) return;
  if (i == steps_.size()) return sink.word(piece);
  switch (steps_[i].kind) {
    case Kind::kRegex:
      return run_regex(i, piece, at_start, scratch, sink);
    case Kind::kDigits:
      return run_digits(i, piece, at_start, scratch, sink);
    case Kind::kMetaspace:
      return run_metaspace(i, piece, at_start, scratch, sink);
    case Kind::kPrefixSpace:
      if (piece.front() == ' ') return run(i + 1, piece, at_start, scratch, sink);
      return run(i + 1, cat(' ', piece), at_start, scratch, sink);
  }
}

void PreTokenizer::run_regex(size_t i, std::string_view piece, bool at_start, Scratch& scratch,
                             Sink& sink) const {
  const Step& step = steps_[i];
  Regex::Matcher& matcher = *scratch.matchers[i];
  size_t held_begin = 0, held_end = 0;  // a piece that a later one may be merged with
  bool held_match = false;
  const auto next = [&](size_t begin, size_t end) {
    if (begin < end) run(i + 1, piece.substr(begin, end - begin), at_start && begin == 0, scratch, sink);
  };
  const auto part = [&](size_t begin, size_t end, bool match) {
    if (begin == end) return;
    match ^= step.invert;
    bool joins = false;
    switch (step.behavior) {
      case Behavior::kIsolated:
        return next(begin, end);
      case Behavior::kRemoved:
        if (!match) next(begin, end);
        return;
      case Behavior::kContiguous:
        joins = match == held_match;
        break;
      case Behavior::kMergedWithPrevious:
        joins = match && !held_match;
        break;
      case Behavior::kMergedWithNext:
        joins = !match && held_match;
        break;
    }
    if (!(joins && held_end > held_begin)) {
      next(held_begin, held_end);
      held_begin = begin;
    }
    held_end = end;
    held_match = match;
  };
  size_t done = 0, from = 0, begin = 0, end = 0;
  while (from <= piece.size() && matcher.find(piece, from, begin, end)) {
    if (begin == end) {  // an empty match splits nothing
      if (end >= piece.size()) break;
      from = end + utf8::decode(piece, end).length;
      continue;
    }
    part(done, begin, false);
    part(begin, end, true);
    done = from = end;
  }
  part(done, piece.size(), false);
  next(held_begin, held_end);
}

void PreTokenizer::run_digits(size_t i, std::string_view piece, bool at_start, Scratch& scratch,
                              Sink& sink) const {
  size_t begin = 0;
  bool in_number = false;
  const auto cut = [&](size_t at) {
    if (at > begin) run(i + 1, piece.substr(begin, at - begin), at_start && begin == 0, scratch, sink);
    begin = at;
  };
  for (size_t at = 0; at < piece.size();) {
    const unsigned char byte = static_cast<unsigned char>(piece[at]);
    const auto c = byte < 0x80 ? utf8::Character{byte, 1} : utf8::decode(piece, at);
    const bool number = utf8::is_number(c.code);
    if (number != in_number || (number && steps_[i].individual_digits)) cut(at);
    in_number = number;
    at += c.length;
  }
  cut(piece.size());
}

void PreTokenizer::run_metaspace(size_t i, std::string_view piece, bool at_start, Scratch& scratch,
                                 Sink& sink) const {
  const Step& step = steps_[i];
  std::string out;
  for (const char c : piece) c == ' ' ? out += step.replacement : out += c;
  const bool prefix = step.prepend == Prepend::kAlways || (step.prepend == Prepend::kFirst && at_start);
  if (prefix && out.compare(0, step.replacement.size(), step.replacement) != 0)
    out.insert(0, step.replacement);
  if (!step.metaspace_split) return run(i + 1, out, at_start, scratch, sink);
  for (size_t begin = 0; begin < out.size();) {  // a word begins at each replacement
    const size_t end = std::min(out.find(step.replacement, begin + 1), out.size());
    run(i + 1, std::string_view(out).substr(begin, end - begin), at_start && begin == 0, scratch, sink);
    begin = end;
  }
}

}  // namespace r1
