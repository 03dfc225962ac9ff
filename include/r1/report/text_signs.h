#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace r1::report {

/// The ten words by which the R1 paper counts reflection: wait, mistake, however, but, retry, error, verify,
/// wrong, evaluate, check. Source: Nature 2025, s41586-025-09422-z, Extended Data Fig. 1a.
const std::vector<std::string>& paper_reflective_words();

/// Ours, marked in texts beside the paper's and not counted: alternatively, let me, double-check, recheck,
/// hmm, actually, re-examine.
const std::vector<std::string>& more_reflective_words();

/// Occurrences of the paper's ten words in `text`, as whole words, whatever the case of ASCII letters. A word
/// is bounded by anything but letters, digits and `_` of ASCII, so "waiting" and "checked" do not count.
int64_t count_reflective_words(std::string_view text);

/// Share of a text's 4-grams that occurred in it before: 1 - distinct 4-grams / 4-grams; 0 for fewer than
/// four words. A word is a run of ASCII letters; every other character but white space is a word of its own.
/// Source: seq-rep-n with n = 4, Welleck et al., arXiv:1908.04319, section 6.1; there of tokens, here of
/// these words, because what was logged is text.
double repeated_share(std::string_view text);

}  // namespace r1::report
