#pragma once
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace r1 {

/// What a GGUF file's `tokenizer.ggml.*` metadata holds; whoever reads the container fills it.
struct GgufVocabulary {
  std::string model;  ///< tokenizer.ggml.model: "gpt2" (byte-level BPE) or "llama" (SentencePiece)
  std::string pre;    ///< tokenizer.ggml.pre: "smollm", "qwen2", "llama-bpe", "deepseek-v3", ...
  std::vector<std::string> tokens;  ///< tokenizer.ggml.tokens, one per id, as stored in the file
  std::vector<std::string> merges;  ///< tokenizer.ggml.merges, "left right" by rank; "gpt2" only
  std::vector<float> scores;        ///< tokenizer.ggml.scores; "llama" only
  std::vector<int32_t>
      token_types;  ///< tokenizer.ggml.token_type: 1 normal 2 unknown 3 control 4 user 5 unused 6 byte
  std::optional<int32_t> bos_id;      ///< tokenizer.ggml.bos_token_id
  std::vector<int32_t> eos_ids;       ///< eos_token_id, eot_token_id, eom_token_id
  std::optional<int32_t> pad_id;      ///< padding_token_id
  std::optional<int32_t> unknown_id;  ///< unknown_token_id
  bool add_bos = false;               ///< add_bos_token ("llama": absent means true)
  bool add_eos = false;               ///< add_eos_token
  bool add_space_prefix = true;       ///< add_space_prefix; "llama" only
  std::string chat_template;          ///< tokenizer.chat_template
};

class GgufFile;
/// The metadata of an open GGUF file. Throws Error naming path and key.
GgufVocabulary read_gguf_vocabulary(const GgufFile& file);

struct EncodeOptions {
  /// Whether "<|im_end|>" in the text becomes the control token. HF's tokenizers do that always; for text
  /// that comes from users or data files set it to false, then control tokens are spelled out as plain text.
  bool parse_special = true;
  /// Puts BOS before and EOS after the text where the vocabulary asks for that (add_bos(), add_eos()).
  bool add_special = false;
  /// What to do with a byte that has no token (SmolLM2 lacks six control characters and the bytes of invalid
  /// UTF-8): false leaves it out, as HF's tokenizers do; true throws Error with its offset. Where the
  /// vocabulary has an unknown token, that stands for it in both cases. Characters that a character
  /// vocabulary lacks always throw.
  bool strict = false;
};

struct DecodeOptions {
  bool skip_special = false;  ///< leaves control tokens (is_special) out
};

/// A vocabulary with the rules that turn text into token ids and back: byte-level BPE, SentencePiece ('llama'
/// GGUF models) or plain characters. A cheap value: copies share one immutable vocabulary, and every method
/// may be called from many threads at once.
///
/// Text is bytes, normally UTF-8. With byte-level BPE, invalid UTF-8 goes in and the same bytes come out of
/// decode.
class Tokenizer {
 public:
  /// Reads one of
  ///   a folder          tokenizer.json (+ tokenizer_config.json, generation_config.json) or characters.json
  ///   tokenizer.json    HF format, model.type BPE (byte-level, or SentencePiece-like with byte_fallback)
  ///   characters.json   {"type": "characters", "characters": "0123+=", "special": ["<pad>", "<bos>",
  ///   "<eos>"]}
  ///   *.gguf            the tokenizer.ggml.* metadata
  ///   *.tiktoken        lines of "base64-bytes rank"; needs `pretokenizer`, and `special` for ids after the
  ///   last rank
  /// Throws Error naming the file (and key) with what was found and what is accepted.
  static Tokenizer load(const std::filesystem::path& path);

  /// tiktoken ranks. `pretokenizer` is a name of pretokenizer_names(); special[i] gets id (number of ranks) +
  /// i. bos_id and eos_ids are recognised by name ("<|endoftext|>", "<|im_end|>", "<|eot_id|>", ...).
  static Tokenizer tiktoken(const std::filesystem::path& file, const std::string& pretokenizer,
                            const std::vector<std::string>& special = {});

  static Tokenizer gguf(const GgufVocabulary& vocabulary, const std::string& origin = "GGUF");

  /// One id per Unicode character: special[i] has id i, then the characters (UTF-8) follow in their order.
  /// "<pad>", "<bos>", "<eos>" among `special` become pad_id, bos_id, eos_ids.
  static Tokenizer characters(std::string_view characters, const std::vector<std::string>& special = {});

  /// "gpt2", "smollm", "qwen2", "llama3", "deepseek-v3" and their aliases in GGUF files.
  static std::vector<std::string> pretokenizer_names();

  /// Token ids of `text`. Throws Error for a character that the vocabulary cannot spell, with its byte
  /// offset.
  std::vector<int32_t> encode(std::string_view text, const EncodeOptions& options = {}) const;

  /// Bytes of the tokens in a row; decode(encode(text)) == text for byte-level BPE and characters.
  /// Throws Error for an id outside [0, vocab_size).
  std::string decode(std::span<const int32_t> ids, const DecodeOptions& options = {}) const;
  /// Bytes of one token: may be a part of a UTF-8 character. An id that has no token (a hole) is "".
  std::string decode_token(int32_t id) const;

  /// 1 + the largest id. A model's embedding may have more rows (padding), never fewer.
  int64_t vocab_size() const;
  std::optional<int32_t> bos_id() const;
  const std::vector<int32_t>& eos_ids() const;  ///< every id that ends a completion; may be empty
  std::optional<int32_t> eos_id() const;        ///< the first of eos_ids
  std::optional<int32_t> pad_id() const;
  bool add_bos() const;
  bool add_eos() const;
  bool is_special(int32_t id) const;  ///< a control token; false outside the vocabulary
  /// Id of the token whose text is exactly `text` (special ones by their name, "<|im_end|>").
  std::optional<int32_t> token_id(std::string_view text) const;

  /// "characters", "byte_bpe" or "sentencepiece".
  const std::string& kind() const;
  /// Jinja source of the chat template, "" when the vocabulary brought none.
  const std::string& chat_template() const;

  /// 32 hex digits over everything that decides ids: tokens, merges, splitting rules, special tokens. Two
  /// tokenizers with the same hash give the same ids for every text; a checkpoint records it to refuse
  /// another vocabulary.
  const std::string& hash() const;

  /// Whether every byte string can be encoded and decoded without loss.
  bool covers_all_bytes() const;

  /// Writes into the folder `dir` (made if absent) what load(dir) reads back with the same ids:
  /// tokenizer.json and tokenizer_config.json, readable by HF tokenizers, or characters.json. Each file is
  /// written atomically.
  void save(const std::filesystem::path& dir) const;

  struct Impl;
  explicit Tokenizer(std::shared_ptr<const Impl> impl) : impl_(std::move(impl)) {}

 private:
  std::shared_ptr<const Impl> impl_;
};

/// One turn of a conversation for apply_chat_template.
struct ChatMessage {
  std::string role;  ///< "system", "user", "assistant"
  std::string content;
};

/// ChatML as SmolLM2 and Qwen2 write it:
///   "<|im_start|>" role "\n" content "<|im_end|>\n" per message, then "<|im_start|>assistant\n" if
///   `add_generation_prompt`. A conversation without a system message gets the default one that the
///   tokenizer's template spells out, if it has one.
/// Throws Error when the tokenizer's chat template is not of the ChatML family.
std::string apply_chat_template(const Tokenizer& tokenizer, const std::vector<ChatMessage>& messages,
                                bool add_generation_prompt = true);

}  // namespace r1
