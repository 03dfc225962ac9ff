#include "command_line.h"
#include "commands.h"
#include "r1/pipeline/verify_resume.h"
#include "r1/util/error.h"

namespace r1::apps {

void add_verify_resume_command(CLI::App& app, Action& action) {
  auto options = std::make_shared<pipeline::VerifyResumeOptions>();
  auto* command =
      app.add_subcommand("verify-resume", "prove that a killed and resumed run equals the unbroken one");
  command->add_option("config", options->config, "YAML file")->required();
  command->add_option("overrides", options->overrides, "key=value, as for run");
  command->add_option("--work-dir", options->work_dir, "new folder for both runs")->required();
  command->add_option("--kills", options->kills, "SIGKILLs at random moments")
      ->check(from_to(1, 1000))
      ->capture_default_str();
  command->add_option("--seed", options->seed, "of the moments")->capture_default_str();
  set_examples(*command,
               "  r1 verify-resume configs/tiny/r1_zero.yaml --work-dir /tmp/proof --kills 20\n"
               "Compares every figure of metrics.jsonl but times, and every byte of the last checkpoints. "
               "Exit code 0: equal; 1: not.\n");
  command->callback([options, &action] {
    action = [options] {
      options->program = std::filesystem::read_symlink("/proc/self/exe");
      return pipeline::verify_resume(*options) ? 0 : 1;
    };
  });
}

}  // namespace r1::apps
