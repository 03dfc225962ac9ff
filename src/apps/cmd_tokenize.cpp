// r1 tokenize: texts in, token ids out, as JSON lines.
#include <memory>

#include "base64.h"
#include "command_line.h"
#include "commands.h"
#include "json_lines.h"
#include "r1/util/error.h"
#include "r1/util/strings.h"
#include "tokenizer_options.h"

namespace r1::apps {
namespace {

struct TokenizeOptions {
  TokenizerOptions tokenizer;
  bool add_special = false, no_special = false, strict = false;
};

std::string text_of(const nlohmann::json& object) {
  reject_unknown_members(object, {"text", "text_base64"});
  if (object.contains("text") == object.contains("text_base64")) {
    throw Error(R"(accepted: {"text": "..."} or {"text_base64": "..."}, one of the two)");
  }
  const bool plain = object.contains("text");
  const auto& value = object[plain ? "text" : "text_base64"];
  if (!value.is_string()) throw Error(cat("the text is a JSON ", value.type_name(), "; accepted: a string"));
  if (plain) return value.get<std::string>();
  const auto bytes = from_base64(value.get_ref<const std::string&>());
  if (!bytes)
    throw Error("\"text_base64\" is not base64; accepted: RFC 4648 with padding, without white space");
  return *bytes;
}

int tokenize(const TokenizeOptions& options) {
  const Tokenizer tokenizer = options.tokenizer.load();
  const EncodeOptions encode{
      .parse_special = !options.no_special, .add_special = options.add_special, .strict = options.strict};
  answer_json_lines([&](const nlohmann::json& object) {
    return nlohmann::json{{"ids", tokenizer.encode(text_of(object), encode)}}.dump();
  });
  return 0;
}

}  // namespace

void add_tokenize_command(CLI::App& app, Action& action) {
  auto* command = app.add_subcommand("tokenize", "text to token ids: JSON lines from stdin to stdout");
  const auto options = std::make_shared<TokenizeOptions>();
  options->tokenizer.add_to(*command);
  command->add_flag("--add-special", options->add_special,
                    "put BOS before and EOS after a text where the vocabulary says so");
  command->add_flag("--no-special", options->no_special,
                    "spell names of control tokens in the text out as plain text");
  command->add_flag("--strict", options->strict,
                    "a byte without a token is an error; otherwise it is left out");
  set_examples(
      *command,
      "  echo '{\"text\": \"12 + 7 =\"}' | r1 tokenize --tokenizer MODEL      "
      "{\"ids\":[33,34,1232,216,39,446]}\n"
      "  echo '{\"text_base64\": \"/w==\"}' | r1 tokenize --tokenizer MODEL    bytes that are no UTF-8\n"
      "Each line is answered at once, so a script can converse with the command.\n");
  command->callback([options, &action] { action = [options] { return tokenize(*options); }; });
}

}  // namespace r1::apps
