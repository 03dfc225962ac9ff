// r1 import: a GGUF file or HF folder becomes a HF folder that a run can start from.
#include <memory>

#include "command_line.h"
#include "commands.h"
#include "output.h"
#include "r1/pipeline/model_transfer.h"

namespace r1::apps {

void add_import_command(CLI::App& app, Action& action) {
  auto* command =
      app.add_subcommand("import", "GGUF file or HF folder to a HF folder (config, safetensors, tokenizer)");
  const auto transfer = std::make_shared<pipeline::ModelTransfer>();
  command->add_option("SRC", transfer->source, ".gguf file, HF folder or a run's checkpoint")->required();
  command->add_option("DST", transfer->target, "folder to make")->required();
  command->add_option("--dtype", transfer->dtype, "of the weights written")
      ->check(one_of({"f32", "f16", "bf16"}))
      ->capture_default_str();
  command->add_option("--tokenizer", transfer->tokenizer,
                      "folder or file to take the tokenizer from instead of SRC");
  command->add_flag("--force", transfer->force, "replace DST if it is a model folder");
  set_examples(*command,
               "  r1 import smollm2.gguf models/smollm2              weights as float32: exact, whatever the "
               "file has\n"
               "  r1 import smollm2.gguf models/smollm2 --dtype bf16\n");
  command->callback([transfer, &action] {
    action = [transfer] {
      print(transfer->to_folder() + "\n");
      return 0;
    };
  });
}

}  // namespace r1::apps
