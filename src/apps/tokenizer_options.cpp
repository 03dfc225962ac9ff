#include "tokenizer_options.h"

#include "command_line.h"

namespace r1::apps {

void TokenizerOptions::add_to(CLI::App& command) {
  command
      .add_option("--tokenizer", path,
                  "folder with tokenizer.json or characters.json (a model, a checkpoint), one of these "
                  "files, a .gguf "
                  "or a .tiktoken file")
      ->required();
  command
      .add_option("--pretokenizer", pretokenizer,
                  "how a .tiktoken vocabulary splits text; also for ranks in files of another extension")
      ->check(one_of(Tokenizer::pretokenizer_names()));
  command.add_option("--special", special, "names of the ids after a .tiktoken file's last rank, in order")
      ->needs(command.get_option("--pretokenizer"))
      ->take_all();
}

Tokenizer TokenizerOptions::load() const {
  return pretokenizer.empty() ? Tokenizer::load(path) : Tokenizer::tiktoken(path, pretokenizer, special);
}

}  // namespace r1::apps
