#include <algorithm>
#include <utility>

#include "pretokenizer.h"
#include "r1/tokenizer/tokenizer.h"

namespace r1 {
namespace {

// Each is the pre_tokenizer that the model's own tokenizer.json has.
constexpr PreTokenizerPreset kGpt2 = {
    R"({"type":"ByteLevel","add_prefix_space":false,"trim_offsets":true,"use_regex":true})", "null", false};

constexpr PreTokenizerPreset kSmolLm = {
    R"({"type":"Sequence","pretokenizers":[{"type":"Digits","individual_digits":true},
        {"type":"ByteLevel","add_prefix_space":false,"trim_offsets":true,"use_regex":true}]})",
    "null", false};

constexpr PreTokenizerPreset kQwen2 = {
    R"json({"type":"Sequence","pretokenizers":[
        {"type":"Split","behavior":"Isolated","invert":false,"pattern":{"Regex":
         "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"}},
        {"type":"ByteLevel","add_prefix_space":false,"trim_offsets":false,"use_regex":false}]})json",
    R"({"type":"NFC"})", false};

constexpr PreTokenizerPreset kLlama3 = {
    R"json({"type":"Sequence","pretokenizers":[
        {"type":"Split","behavior":"Isolated","invert":false,"pattern":{"Regex":
         "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"}},
        {"type":"ByteLevel","add_prefix_space":false,"trim_offsets":true,"use_regex":false}]})json",
    "null", true};

constexpr PreTokenizerPreset kDeepSeekV3 = {
    R"json({"type":"Sequence","pretokenizers":[
        {"type":"Split","behavior":"Isolated","invert":false,"pattern":{"Regex":"\\p{N}{1,3}"}},
        {"type":"Split","behavior":"Isolated","invert":false,"pattern":{"Regex":"[一-龥぀-ゟ゠-ヿ]+"}},
        {"type":"Split","behavior":"Isolated","invert":false,"pattern":{"Regex":
         "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\\r\\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+| ?[\\p{P}\\p{S}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"}},
        {"type":"ByteLevel","add_prefix_space":false,"trim_offsets":true,"use_regex":false}]})json",
    "null", false};

struct Name {
  const char* name;
  const PreTokenizerPreset* preset;
};
// The name of the family first, then what GGUF files call it.
constexpr Name kNames[] = {
    {"gpt2", &kGpt2},
    {"gpt-2", &kGpt2},
    {"smollm", &kSmolLm},
    {"qwen2", &kQwen2},
    {"qwen", &kQwen2},
    {"deepseek-r1-qwen", &kQwen2},
    {"llama3", &kLlama3},
    {"llama-bpe", &kLlama3},
    {"llama-v3", &kLlama3},
    {"deepseek-v3", &kDeepSeekV3},
    {"deepseek-r1", &kDeepSeekV3},
};

}  // namespace

const PreTokenizerPreset* find_preset(std::string_view name) {
  for (const Name& n : kNames)
    if (name == n.name) return n.preset;
  return nullptr;
}

std::vector<std::string> Tokenizer::pretokenizer_names() {
  std::vector<std::string> names;
  for (const Name& n : kNames) names.emplace_back(n.name);
  return names;
}

}  // namespace r1
