#pragma once
#include <string>
#include <string_view>
#include <vector>

namespace r1 {

/// One shape of a claim as a PCRE2 pattern over bytes, without case for ASCII; the group `who` is the name or
/// the maker.
struct IdentityRule {
  std::string name;
  std::string pattern;
};

const std::vector<IdentityRule>& identity_rules();

/// What may not stand right before a claim: "if ", "he thinks ", "假装". Matched against the end of the text
/// before it.
const std::string& identity_guard();

/// Pieces of every name and maker in the rules, in small letters: a text without any of them holds no claim.
const std::vector<std::string_view>& identity_needles();

}  // namespace r1
