// r1 export: a HF folder, a run's checkpoint or a GGUF file becomes a GGUF file or a HF folder of another
// dtype.
#include <memory>

#include "command_line.h"
#include "commands.h"
#include "output.h"
#include "r1/pipeline/model_transfer.h"

namespace r1::apps {

void add_export_command(CLI::App& app, Action& action) {
  auto* command = app.add_subcommand(
      "export", "HF folder or checkpoint to a GGUF file, or to a HF folder of another dtype");
  const auto transfer = std::make_shared<pipeline::ModelTransfer>();
  command->add_option("SRC", transfer->source, "HF folder, a run's checkpoint or a .gguf file")->required();
  command
      ->add_option("DST", transfer->target, "a name that ends in .gguf makes a file, any other a HF folder")
      ->required();
  command
      ->add_option("--type", transfer->dtype,
                   "of the matrices: f32, f16, q8_0 in GGUF; f32, f16, bf16 in a folder")
      ->check(one_of({"f32", "f16", "bf16", "q8_0"}))
      ->capture_default_str();
  command->add_option("--tokenizer", transfer->tokenizer,
                      "folder or file to take the tokenizer from instead of SRC");
  command->add_flag("--force", transfer->force, "replace DST if it is a .gguf file or a model folder");
  set_examples(*command,
               "  r1 export runs/addition/checkpoints/grpo/latest addition.gguf --type q8_0\n"
               "  r1 export runs/addition/checkpoints/grpo/latest models/addition --type bf16\n");
  command->callback([transfer, &action] {
    action = [transfer] {
      print(transfer->run() + "\n");
      return 0;
    };
  });
}

}  // namespace r1::apps
