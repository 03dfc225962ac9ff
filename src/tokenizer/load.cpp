#include "impl.h"
#include "r1/util/error.h"
#include "r1/util/file.h"
#include "r1/util/strings.h"

namespace r1 {
namespace {

// Readers recurse into nested values: a file with more levels than any tokenizer has would overflow the
// stack.
void check_nesting(std::string_view json, const std::string& origin) {
  constexpr int kMaxDepth = 64;
  int depth = 0;
  bool in_string = false;
  for (size_t i = 0; i < json.size(); ++i) {
    const char c = json[i];
    if (in_string) {
      if (c == '\\')
        ++i;
      else if (c == '"')
        in_string = false;
      continue;
    }
    if (c == '"') in_string = true;
    if (c == '[' || c == '{') ++depth;
    if (c == ']' || c == '}') --depth;
    if (depth > kMaxDepth)
      throw Error(cat(origin, ": byte ", i, " opens more than ", kMaxDepth,
                      " nested values; expected a tokenizer's JSON"));
  }
}

}  // namespace

Tokenizer Tokenizer::gguf(const GgufVocabulary& vocabulary, const std::string& origin) {
  return make_tokenizer(convert_gguf(vocabulary, origin));
}

Tokenizer Tokenizer::tiktoken(const std::filesystem::path& file, const std::string& pretokenizer,
                              const std::vector<std::string>& special) {
  return make_tokenizer(read_tiktoken(file, pretokenizer, special));
}

Tokenizer Tokenizer::characters(std::string_view characters, const std::vector<std::string>& special) {
  return make_tokenizer(make_characters(characters, special, "the character vocabulary"));
}

Tokenizer Tokenizer::load(const std::filesystem::path& path) {
  namespace fs = std::filesystem;
  const char* accepted =
      "accepted: a folder with tokenizer.json or characters.json, one of these files, or a .gguf file";
  std::error_code ec;
  fs::path file = path;
  if (fs::is_directory(path, ec)) {
    file = path / "tokenizer.json";
    if (!fs::exists(file, ec)) file = path / "characters.json";
    if (!fs::exists(file, ec))
      throw Error(cat(path.string(), " holds neither tokenizer.json nor characters.json; ", accepted));
  } else if (!fs::exists(path, ec)) {
    throw Error(cat(path.string(), " does not exist; ", accepted, ". Check the path."));
  }
  if (file.extension() == ".gguf") return make_tokenizer(read_gguf_file(file));
  if (file.extension() == ".tiktoken")
    throw Error(cat(path.string(), " is a list of tiktoken ranks, which does not say how text is split; ",
                    "name the pre-tokenizer: Tokenizer::tiktoken(file, one of ",
                    join(pretokenizer_names(), ", "), ")"));
  if (file.extension() != ".json")
    throw Error(cat(path.string(), ": the extension is \"", file.extension().string(), "\"; ", accepted));
  const std::string text = read_file(file);
  check_nesting(text, file.string());
  const auto json = nlohmann::json::parse(text, nullptr, false);
  if (!json.is_object())
    throw Error(cat(file.string(), " is not a JSON object; ", accepted, ". The file may be cut short."));
  if (json.contains("type") && json["type"] == "characters")
    return make_tokenizer(parse_characters(json, file.string()));
  TokenizerSpec spec = parse_huggingface(json, file.string());
  read_huggingface_config(file.parent_path(), spec);
  guess_special_ids(spec);
  return make_tokenizer(std::move(spec));
}

}  // namespace r1
