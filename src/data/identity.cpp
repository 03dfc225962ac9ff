#define PCRE2_CODE_UNIT_WIDTH 8
#include "r1/data/identity.h"

#include <pcre2.h>

#include <algorithm>

#include "identity_rules.h"
#include "needle_finder.h"
#include "r1/util/error.h"
#include "r1/util/strings.h"
#include "words.h"

namespace r1 {
namespace {

// A claim reaches at most so far to both sides of a name in it; the rules' gaps are bounded.
constexpr size_t kBefore = 320, kAfter = 240, kStride = 120;

/// A pattern over bytes, so that text of any encoding can be searched.
class BytePattern {
 public:
  explicit BytePattern(const std::string& pattern) {
    int error = 0;
    PCRE2_SIZE at = 0;
    code_.reset(pcre2_compile(reinterpret_cast<PCRE2_SPTR>(pattern.data()), pattern.size(),
                              PCRE2_CASELESS | PCRE2_DOLLAR_ENDONLY, &error, &at, nullptr));
    if (!code_) {
      std::string reason(200, '\0');
      pcre2_get_error_message(error, reinterpret_cast<PCRE2_UCHAR*>(reason.data()), reason.size());
      throw Error(cat("identity rule: ", reason.c_str(), " at byte ", at, " of ", pattern));
    }
    pcre2_jit_compile(code_.get(), PCRE2_JIT_COMPLETE);  // where it is not possible, matching is only slower
    who_ = pcre2_substring_number_from_name(code_.get(), reinterpret_cast<PCRE2_SPTR>("who"));
  }

  struct Match {
    size_t begin, end, who_begin, who_end;
  };
  /// `at_line_start`: text[0] begins a line.
  std::optional<Match> find(std::string_view text, size_t from, bool at_line_start) const {
    const std::unique_ptr<pcre2_match_data, Free> data(
        pcre2_match_data_create_from_pattern(code_.get(), nullptr));
    if (!data) throw std::bad_alloc();
    const int count = pcre2_match(code_.get(), reinterpret_cast<PCRE2_SPTR>(text.data()), text.size(), from,
                                  at_line_start ? 0 : PCRE2_NOTBOL, data.get(), nullptr);
    if (count <= 0) return std::nullopt;
    const PCRE2_SIZE* groups = pcre2_get_ovector_pointer(data.get());
    const auto who = static_cast<size_t>(who_ > 0 ? who_ : 0);
    return Match{groups[0], groups[1], groups[2 * who], groups[2 * who + 1]};
  }

 private:
  struct Free {
    void operator()(pcre2_code* p) const { pcre2_code_free(p); }
    void operator()(pcre2_match_data* p) const { pcre2_match_data_free(p); }
  };
  std::unique_ptr<pcre2_code, Free> code_;
  int who_ = 0;
};

// "Qwen2.5" and "qwen 2.5" are one name.
std::string letters_of(std::string_view name) {
  std::string out;
  for_each_word(name, [&](uint64_t, size_t begin, size_t end) {
    out += folded_word(name.substr(begin, end - begin));
    return true;
  });
  return out;
}

bool has_letter(std::string_view text) {
  bool found = false;
  for_each_word(text, [&](uint64_t, size_t, size_t) { return !(found = true); });
  return found;
}

// Whether the claim stands in a quotation that other words of the line lead up to: 'the bot said: "I am
// ChatGPT"'.
bool is_quoted(std::string_view before) {
  const size_t newline = before.rfind('\n');
  const std::string_view line = newline == std::string_view::npos ? before : before.substr(newline + 1);
  struct Marks {
    std::string_view open, close;
  };
  for (const Marks& marks : {Marks{"\"", "\""}, Marks{"\xE2\x80\x9C", "\xE2\x80\x9D"},
                             Marks{"\xE3\x80\x8C", "\xE3\x80\x8D"}, Marks{"`", "`"}}) {
    size_t opened = std::string_view::npos;
    for (size_t i = 0; i < line.size(); ++i) {
      const bool open = line.substr(i).starts_with(marks.open),
                 close = line.substr(i).starts_with(marks.close);
      if (close && opened != std::string_view::npos)
        opened = std::string_view::npos;
      else if (open)
        opened = i;
    }
    if (opened != std::string_view::npos && has_letter(line.substr(0, opened))) return true;
  }
  // 'I am ChatGPT' in single quotes; inside a sentence they are apostrophes, so only right before the claim.
  return line.size() > 1 && line.back() == '\'' && has_letter(line);
}

}  // namespace

struct IdentityFilter::Impl {
  struct Rule {
    std::string name;
    BytePattern pattern;
  };
  std::vector<std::string> own;
  NeedleFinder needles{identity_needles()};
  std::vector<Rule> rules;
  BytePattern guard{identity_guard()};

  bool is_own(std::string_view who) const {
    const std::string name = letters_of(who);
    return std::any_of(own.begin(), own.end(),
                       [&](const std::string& mine) { return name.starts_with(mine); });
  }

  std::optional<IdentityClaim> find_in(std::string_view text, size_t begin, size_t end) const {
    const std::string_view window = text.substr(begin, end - begin);
    const bool line_start = begin == 0 || text[begin - 1] == '\n';
    for (const auto& rule : rules) {
      for (auto m = rule.pattern.find(window, 0, line_start); m;
           m = rule.pattern.find(window, m->begin + 1, line_start)) {
        const std::string_view before = text.substr(0, begin + m->begin),
                               nearby = before.substr(before.size() - std::min<size_t>(before.size(), 600));
        const auto who = window.substr(m->who_begin, m->who_end - m->who_begin);
        const auto lead = nearby.substr(nearby.size() - std::min<size_t>(nearby.size(), 60));
        if (is_own(who) || guard.find(lead, 0, false) || is_quoted(nearby)) continue;
        return IdentityClaim{rule.name, std::string(who),
                             std::string(window.substr(m->begin, m->end - m->begin)), before.size()};
      }
    }
    return std::nullopt;
  }
};

IdentityFilter::IdentityFilter(std::vector<std::string> own_names) : impl_(std::make_unique<Impl>()) {
  for (const auto& name : own_names) {
    const std::string letters = letters_of(name);
    if (letters.empty())
      throw Error(cat("own_names: \"", name, "\" has no letter; accepted: names such as DeepSeek-R1."));
    impl_->own.push_back(letters);
  }
  for (const auto& rule : identity_rules()) impl_->rules.push_back({rule.name, BytePattern(rule.pattern)});
}
IdentityFilter::~IdentityFilter() = default;
IdentityFilter::IdentityFilter(IdentityFilter&&) noexcept = default;
IdentityFilter& IdentityFilter::operator=(IdentityFilter&&) noexcept = default;

std::optional<IdentityClaim> IdentityFilter::find(std::string_view text) const {
  size_t from = 0;
  for (size_t hit = impl_->needles.find(text, from); hit != std::string_view::npos;
       hit = impl_->needles.find(text, from)) {
    const size_t begin = hit > kBefore ? hit - kBefore : 0, end = std::min(text.size(), hit + kAfter);
    if (auto claim = impl_->find_in(text, begin, end)) return claim;
    from = std::min(text.size(), hit + kStride);  // what begins until there lies in the window just searched
  }
  return std::nullopt;
}

}  // namespace r1
