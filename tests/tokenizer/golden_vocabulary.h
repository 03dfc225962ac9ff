#pragma once
#include <filesystem>

#include "r1/tokenizer/tokenizer.h"

namespace r1 {

/// The vocabularies of tests/golden/tokenizer.
std::filesystem::path golden_dir();
Tokenizer golden_gpt2();
Tokenizer golden_qwen2();
Tokenizer golden_llama3();
GgufVocabulary golden_smollm2();
GgufVocabulary golden_stories260k();

}  // namespace r1
