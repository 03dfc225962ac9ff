#include "pcre2_regex.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "r1/util/error.h"
#include "r1/util/strings.h"
#include "unicode_additions.h"

namespace r1 {
namespace {

constexpr const char* kSpaceRanges =
    "\\x09-\\x0d\\x20\\x85\\xa0\\x{1680}\\x{2000}-\\x{200a}\\x{2028}\\x{2029}\\x{202f}\\x{205f}\\x{3000}";
// Oniguruma's word characters: Alphabetic, M, Nd, Pc and six of No.
const std::string& word_ranges() {
  static const std::string ranges = "\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}\\xb2\\xb3\\xb9\\xbc-\\xbe" +
                                    unicode_additions("Alphabetic") + unicode_additions("Nd");
  return ranges;
}
constexpr size_t kMaxJitStackBytes = 64 << 20;

// Copies \p{..}, \P{..} or \pL, whose letter is at pattern[at], with the characters that PCRE2 is too old
// for. Returns the last index read. Inside a class \P{..} stays as it is: a class cannot take characters
// away.
size_t add_property(std::string_view pattern, size_t at, bool in_class, std::string& out) {
  const bool braces = pattern[at + 1] == '{';
  const size_t end = braces ? pattern.find('}', at) : at + 1;
  if (end == pattern.npos) {  // PCRE2 will say what is wrong
    out += cat('\\', pattern[at]);
    return at;
  }
  std::string_view name = braces ? pattern.substr(at + 2, end - at - 2) : pattern.substr(end, 1);
  const bool caret = !name.empty() && name.front() == '^';
  if (caret) name.remove_prefix(1);
  const bool negated = (pattern[at] == 'P') != caret;
  const std::string additions = unicode_additions(name);
  if (additions.empty() || (in_class && negated))
    out += cat(negated ? "\\P{" : "\\p{", name, '}');
  else if (in_class)
    out += cat("\\p{", name, '}', additions);
  else
    out += cat(negated ? "[^\\p{" : "[\\p{", name, '}', additions, ']');
  return end;
}

std::string pcre2_message(int code) {
  PCRE2_UCHAR buffer[256] = {};
  pcre2_get_error_message(code, buffer, sizeof buffer);
  return reinterpret_cast<const char*>(buffer);
}

}  // namespace

std::string to_pcre2(std::string_view pattern, const std::string& where) {
  std::string out;
  bool in_class = false;
  for (size_t i = 0; i < pattern.size(); ++i) {
    const char c = pattern[i];
    if (c == '\\' && i + 1 < pattern.size()) {
      const char next = pattern[++i];
      if (next == 's')
        out += in_class ? std::string(kSpaceRanges) : cat('[', kSpaceRanges, ']');
      else if (next == 'S')
        out += in_class ? std::string("\\P{White_Space}") : cat("[^", kSpaceRanges, ']');
      else if (next == 'd')
        out += in_class ? cat("\\p{Nd}", unicode_additions("Nd"))
                        : cat("[\\p{Nd}", unicode_additions("Nd"), ']');
      else if (next == 'w')
        out += in_class ? word_ranges() : cat('[', word_ranges(), ']');
      else if ((next == 'p' || next == 'P') && i + 1 < pattern.size())
        i = add_property(pattern, i, in_class, out);
      else
        out += {c, next};
      continue;
    }
    if (in_class && (c == '[' || (c == '&' && pattern.substr(i, 2) == "&&")))
      throw Error(
          cat(where, ": the regular expression '", std::string(pattern), "' has '", std::string(1, c),
              c == '&' ? "&" : "", "' inside a character class; nested classes and intersections are not ",
              "supported. Escape it as '\\", std::string(1, c), "' if the character itself is meant."));
    if (!in_class && c == '[') {
      in_class = true;
      out += c;
      if (i + 1 < pattern.size() && pattern[i + 1] == '^') out += pattern[++i];
      if (i + 1 < pattern.size() && pattern[i + 1] == ']') out += "\\]", ++i;  // "[]a]": a literal bracket
      continue;
    }
    if (in_class && c == ']') in_class = false;
    out += c;
  }
  return out;
}

Regex::Regex(const std::string& pattern, const std::string& where) {
  const std::string text = to_pcre2(pattern, where);
  int error = 0;
  PCRE2_SIZE offset = 0;
  code_.reset(pcre2_compile(reinterpret_cast<PCRE2_SPTR>(text.data()), text.size(),
                            PCRE2_UTF | PCRE2_UCP | PCRE2_NEVER_BACKSLASH_C, &error, &offset, nullptr));
  if (!code_)
    throw Error(cat(where, ": the regular expression '", pattern, "' is not valid: ", pcre2_message(error),
                    " (at byte ", offset, " of '", text, "')"));
  jit_ = pcre2_jit_compile(code_.get(), PCRE2_JIT_COMPLETE) ==
         0;  // a hardened kernel may refuse: then it interprets
}

void Regex::Free::operator()(pcre2_real_code_8* p) const { pcre2_code_free(p); }
void Regex::Matcher::Free::operator()(pcre2_real_match_data_8* p) const { pcre2_match_data_free(p); }
void Regex::Matcher::Free::operator()(pcre2_real_match_context_8* p) const { pcre2_match_context_free(p); }
void Regex::Matcher::Free::operator()(pcre2_real_jit_stack_8* p) const { pcre2_jit_stack_free(p); }

Regex::Matcher::Matcher(const Regex& regex)
    : regex_(&regex),
      data_(pcre2_match_data_create_from_pattern(regex.code_.get(), nullptr)),
      context_(pcre2_match_context_create(nullptr)),
      ovector_(pcre2_get_ovector_pointer(data_.get())) {
  pcre2_set_match_limit(context_.get(), 0xFFFFFFFFu);
  if (regex.jit_) {
    stack_.reset(pcre2_jit_stack_create(32 << 10, kMaxJitStackBytes, nullptr));
    pcre2_jit_stack_assign(context_.get(), nullptr, stack_.get());
  }
}

bool Regex::Matcher::find(std::string_view text, size_t from, size_t& begin, size_t& end) {
  const auto subject = reinterpret_cast<PCRE2_SPTR>(text.data());
  int rc = PCRE2_ERROR_JIT_STACKLIMIT;
  if (regex_->jit_)
    rc = pcre2_jit_match(regex_->code_.get(), subject, text.size(), from, 0, data_.get(), context_.get());
  if (rc == PCRE2_ERROR_JIT_STACKLIMIT)
    rc = pcre2_match(regex_->code_.get(), subject, text.size(), from, PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT,
                     data_.get(), context_.get());
  if (rc == PCRE2_ERROR_NOMATCH) return false;
  if (rc < 0)
    throw Error(cat("splitting a text of ", text.size(), " bytes failed: PCRE2 says ", pcre2_message(rc)));
  begin = ovector_[0];
  end = ovector_[1];
  return true;
}

}  // namespace r1
