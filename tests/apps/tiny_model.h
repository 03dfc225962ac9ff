#pragma once
#include <filesystem>
#include <string>

#include "util/temp_folder.h"

namespace r1::apps::testing_support {

/// 3 control tokens and 45 characters: as many as the golden models have in their vocabulary.
constexpr const char* kCharacters = "0123456789+-*/= abcdefghijklmnopqrstuvwxyz.,?";

std::filesystem::path golden_model(const std::string& name);  ///< folder below tests/golden/model

/// characters.json of kCharacters and `extra`, with <bos>, <eos>, <pad> as ids 0, 1, 2.
std::string characters_json(const std::string& extra = "");

/// A copy of a golden model with the character vocabulary, in `folder`/`name`.
std::filesystem::path model_with_tokenizer(const r1::testing_support::TempFolder& folder,
                                           const std::string& name,
                                           const std::string& golden = "llama_tied_llama3_rope");

}  // namespace r1::apps::testing_support
