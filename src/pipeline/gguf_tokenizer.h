#pragma once
#include <filesystem>

#include "r1/model/weights.h"

namespace r1::pipeline {

/// What a GGUF file says of the tokenizer at `path` (a .gguf file, or a folder that Tokenizer::load reads).
///
/// A character vocabulary becomes byte-level BPE without merges, which needs every character to be a single
/// byte. Before returning, the result is read back as a vocabulary: unless it gives the same ids for every
/// text (equal Tokenizer::hash; for characters, equal ids and bytes of every token), Error says why GGUF
/// cannot hold it.
model::GgufTokenizer gguf_tokenizer(const std::filesystem::path& path);

}  // namespace r1::pipeline
