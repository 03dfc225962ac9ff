#pragma once
#include <memory>
#include <mutex>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "added_tokens.h"
#include "bpe.h"
#include "byte_string_map.h"
#include "normalizer.h"
#include "pretokenizer.h"
#include "r1/tokenizer/tokenizer.h"

namespace r1 {

/// What the readers of the several formats fill in; Tokenizer::Impl derives the rest.
struct TokenizerSpec {
  std::string kind;    ///< "byte_bpe", "sentencepiece", "characters"
  std::string origin;  ///< path, for messages

  BpeSpec bpe;                          ///< not for characters
  nlohmann::json normalizer;            ///< as in tokenizer.json; null for none
  nlohmann::json pre_tokenizer;         ///< as in tokenizer.json; null for none
  std::vector<AddedToken> added;        ///< sorted by id
  std::vector<std::string> characters;  ///< characters: by id - specials.size()
  std::vector<std::string> specials;    ///< characters: names by id
  bool strip_decoded_space = false;     ///< decode drops one leading space (the one the normaliser put there)

  std::vector<int32_t> prefix_ids, suffix_ids;  ///< what add_special puts around a text
  std::optional<int32_t> bos_id, pad_id;
  std::vector<int32_t> eos_ids;
  std::string chat_template;
};

struct Tokenizer::Impl {
  explicit Impl(TokenizerSpec spec);

  struct Scratch {
    explicit Scratch(const Impl& impl) : pretokenizer(impl.pretokenizer) {}
    PreTokenizer::Scratch pretokenizer;
    BpeModel::Scratch bpe;
    std::string normalized;
  };
  /// Borrows working memory for one call; as many exist as calls ever ran at once.
  class Borrowed {
   public:
    explicit Borrowed(const Impl& impl);
    ~Borrowed();
    Scratch& operator*() { return *scratch_; }

   private:
    const Impl& impl_;
    std::unique_ptr<Scratch> scratch_;
  };

  void encode_bpe(std::string_view text, const EncodeOptions& options, std::vector<int32_t>& out) const;
  void encode_raw(std::string_view text, bool at_start, bool with_special, Scratch& scratch,
                  std::vector<int32_t>& out) const;
  void encode_valid(std::string_view text, bool at_start, bool with_special, Scratch& scratch,
                    std::vector<int32_t>& out) const;
  void encode_words(std::string_view text, bool at_start, Scratch& scratch, std::vector<int32_t>& out) const;
  void encode_characters(std::string_view text, const EncodeOptions& options,
                         std::vector<int32_t>& out) const;

  TokenizerSpec spec;  // spec.bpe has moved into bpe
  Normalizer normalizer;
  PreTokenizer pretokenizer;
  BpeModel bpe;
  std::vector<AddedToken> normalized_added;  // those with `normalized`, their content normalised
  AddedTokenFinder raw_finder, normalized_finder;
  std::vector<std::string> bytes;  // by id: what decode writes
  std::vector<uint8_t> special;    // by id
  ByteStringMap id_of_bytes;       // for token_id
  std::string hash;

  mutable std::mutex mutex;
  mutable std::vector<std::unique_ptr<Scratch>> idle;
};

/// Checks what no format may get wrong (ids in range, a piece per merge); throws Error naming spec.origin.
Tokenizer make_tokenizer(TokenizerSpec spec);

TokenizerSpec parse_huggingface(const nlohmann::json& file, const std::string& origin);
/// eos, bos, pad and chat template from the files beside tokenizer.json that exist.
void read_huggingface_config(const std::filesystem::path& dir, TokenizerSpec& spec);
TokenizerSpec read_tiktoken(const std::filesystem::path& file, const std::string& pretokenizer,
                            const std::vector<std::string>& special);
TokenizerSpec read_gguf_file(const std::filesystem::path& file);
TokenizerSpec parse_tiktoken(std::string_view text, const std::string& origin,
                             const std::string& pretokenizer, const std::vector<std::string>& special);
TokenizerSpec convert_gguf(const GgufVocabulary& vocabulary, const std::string& origin);
TokenizerSpec make_characters(std::string_view characters, const std::vector<std::string>& special,
                              const std::string& origin);
TokenizerSpec parse_characters(const nlohmann::json& file, const std::string& origin);

/// Sets bos_id, eos_ids and pad_id that are still unknown from the names that the known families use.
void guess_special_ids(TokenizerSpec& spec);

}  // namespace r1
