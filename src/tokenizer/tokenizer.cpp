#include "r1/tokenizer/tokenizer.h"

#include "impl.h"
#include "r1/util/error.h"
#include "r1/util/strings.h"

namespace r1 {

std::vector<int32_t> Tokenizer::encode(std::string_view text, const EncodeOptions& options) const {
  std::vector<int32_t> out;
  out.reserve(text.size() / 3 + 8);
  if (options.add_special) out = impl_->spec.prefix_ids;
  if (impl_->spec.kind == "characters")
    impl_->encode_characters(text, options, out);
  else
    impl_->encode_bpe(text, options, out);
  if (options.add_special)
    out.insert(out.end(), impl_->spec.suffix_ids.begin(), impl_->spec.suffix_ids.end());
  return out;
}

std::string Tokenizer::decode_token(int32_t id) const {
  if (id < 0 || id >= vocab_size())
    throw Error(cat("token id ", id, " is outside the vocabulary of ", impl_->spec.origin,
                    "; accepted: 0 to ", vocab_size() - 1,
                    ". The ids come from another tokenizer, or the model's embedding has padding rows."));
  return impl_->bytes[static_cast<size_t>(id)];
}

std::string Tokenizer::decode(std::span<const int32_t> ids, const DecodeOptions& options) const {
  std::string out;
  for (const int32_t id : ids)
    if (!(options.skip_special && is_special(id))) out += decode_token(id);
  if (impl_->spec.strip_decoded_space && !out.empty() && out.front() == ' ') out.erase(0, 1);
  return out;
}

int64_t Tokenizer::vocab_size() const { return static_cast<int64_t>(impl_->bytes.size()); }
std::optional<int32_t> Tokenizer::bos_id() const { return impl_->spec.bos_id; }
const std::vector<int32_t>& Tokenizer::eos_ids() const { return impl_->spec.eos_ids; }
std::optional<int32_t> Tokenizer::eos_id() const {
  return eos_ids().empty() ? std::nullopt : std::optional(eos_ids().front());
}
std::optional<int32_t> Tokenizer::pad_id() const { return impl_->spec.pad_id; }
bool Tokenizer::add_bos() const { return !impl_->spec.prefix_ids.empty(); }
bool Tokenizer::add_eos() const { return !impl_->spec.suffix_ids.empty(); }
bool Tokenizer::is_special(int32_t id) const {
  return id >= 0 && id < vocab_size() && impl_->special[static_cast<size_t>(id)];
}
std::optional<int32_t> Tokenizer::token_id(std::string_view text) const {
  const int32_t id = impl_->id_of_bytes.find(text);
  return id < 0 ? std::nullopt : std::optional(id);
}
bool Tokenizer::covers_all_bytes() const {
  return impl_->bpe.covers_all_bytes() && impl_->spec.normalizer.is_null();
}
const std::string& Tokenizer::kind() const { return impl_->spec.kind; }
const std::string& Tokenizer::chat_template() const { return impl_->spec.chat_template; }
const std::string& Tokenizer::hash() const { return impl_->hash; }

}  // namespace r1
