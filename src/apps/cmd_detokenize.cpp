// r1 detokenize: token ids in, texts out, as JSON lines.
#include <memory>

#include "command_line.h"
#include "commands.h"
#include "json_lines.h"
#include "token_ids.h"
#include "tokenizer_options.h"

namespace r1::apps {
namespace {

struct DetokenizeOptions {
  TokenizerOptions tokenizer;
  bool skip_special = false;
};

int detokenize(const DetokenizeOptions& options) {
  const Tokenizer tokenizer = options.tokenizer.load();
  answer_json_lines([&](const nlohmann::json& object) {
    reject_unknown_members(object, {"ids"});
    const auto ids = read_ids(object, tokenizer.vocab_size(), true);
    nlohmann::ordered_json row;
    add_text(row, "text", tokenizer.decode(ids, {.skip_special = options.skip_special}));
    return row.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  });
  return 0;
}

}  // namespace

void add_detokenize_command(CLI::App& app, Action& action) {
  auto* command = app.add_subcommand("detokenize", "token ids to text: JSON lines from stdin to stdout");
  const auto options = std::make_shared<DetokenizeOptions>();
  options->tokenizer.add_to(*command);
  command->add_flag("--skip-special", options->skip_special, "leave control tokens out of the text");
  set_examples(*command,
               "  echo '{\"ids\": [33, 34, 1232]}' | r1 detokenize --tokenizer MODEL   {\"text\":\"12 +\"}\n"
               "Text that is no UTF-8 has U+FFFD in \"text\" and its exact bytes in \"text_base64\".\n");
  command->callback([options, &action] { action = [options] { return detokenize(*options); }; });
}

}  // namespace r1::apps
