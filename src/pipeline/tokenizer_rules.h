#pragma once
#include <nlohmann/json.hpp>

#include "r1/tokenizer/tokenizer.h"

namespace r1::pipeline {

/// tokenizer.json as Tokenizer::save writes it, without what decides no id and with one spelling for rules
/// that mean the same. Two tokenizers whose rules are equal give every text the same ids. Not for character
/// vocabularies.
///
/// Left out: decoder, offsets, padding, a normalizer of no steps, a sequence of one step. Where nothing is
/// normalised, an added token's `normalized` flag matters only if its name overlaps another's, and is dropped
/// if none does.
nlohmann::json tokenizer_rules(const Tokenizer& tokenizer);

}  // namespace r1::pipeline
