#include <csignal>

#include "command_line.h"
#include "commands.h"
#include "output.h"
#include "r1/pipeline/plan.h"
#include "r1/pipeline/run.h"
#include "r1/train/stage_loop.h"
#include "r1/util/process_age.h"
#include "r1/util/stop_signal.h"
#include "run_support.h"

namespace r1::apps {

int interruptible(const std::string& run_dir, const std::function<void()>& work) {
  install_stop_signals();
  try {
    work();
  } catch (const train::Interrupted& stopped) {
    std::fprintf(stderr,
                 "r1: stopped by %s; the checkpoint of the last finished step is complete. Go on with `r1 "
                 "resume %s`.\n",
                 stopped.signal == SIGINT ? "Ctrl-C" : "SIGTERM", run_dir.c_str());
    return 128 + stopped.signal;
  }
  return 0;
}

void add_run_command(CLI::App& app, Action& action) {
  struct Options {
    std::string config;
    std::vector<std::string> overrides;
    bool dry_run = false;
    std::string from, until;
  };
  auto options = std::make_shared<Options>();
  auto* command = app.add_subcommand("run", "run all stages of a config in a new run directory");
  command->add_option("config", options->config, "YAML file")->required();
  command->add_option("overrides", options->overrides,
                      "key=value: replaces a key; list items by index: pipeline.1.steps=20");
  command->add_flag("--dry-run", options->dry_run,
                    "print batch arithmetic, memory and what would be done with each stage, then stop");
  command->add_option("--from", options->from,
                      "run this stage and all that depends on it again, in the run directory that is there");
  command->add_option("--until", options->until, "end after this stage; `r1 resume` goes on");
  set_examples(
      *command,
      "  r1 run configs/tiny/r1_zero.yaml\n"
      "  r1 run configs/tiny/r1_zero.yaml name=second seed=2 pipeline.1.group_size=16\n"
      "  r1 run configs/tiny/r1.yaml --from rl_2 --dry-run\n"
      "Ctrl-C ends after the running step with a checkpoint (exit code 130); a second Ctrl-C at once.\n");
  command->callback([options, &action] {
    action = [options] {
      const auto config = pipeline::RunConfig::load(options->config, options->overrides);
      if (options->dry_run) {
        print(pipeline::describe_plan(config) + pipeline::describe_states(config, options->from, options->until));
        return 0;
      }
      std::string line = "r1 run " + options->config;
      for (const auto& item : options->overrides) line += " " + item;
      return interruptible(config.run_dir.string(), [&] {
        if (options->from.empty()) pipeline::run(config, line, options->until, process_age_s());
        else pipeline::run_from(config, options->from, line + " --from " + options->from, options->until, process_age_s());
      });
    };
  });
}

void add_resume_command(CLI::App& app, Action& action) {
  struct Options {
    std::string run_dir;
    std::vector<std::string> overrides;
    bool allow_changes = false;
    std::string until;
  };
  auto options = std::make_shared<Options>();
  auto* command = app.add_subcommand("resume", "go on with a run from its newest complete checkpoint");
  command->add_option("run_dir", options->run_dir, "folder that `r1 run` made")->required();
  command->add_option("overrides", options->overrides,
                      "key=value: changed keys; those that alter results are refused");
  command->add_option("--until", options->until, "end after this stage");
  command->add_flag("--allow-changes", options->allow_changes, "accept changed keys that alter results, and run again what depends on them");
  set_examples(*command,
               "  r1 resume runs/tiny_r1_zero\n"
               "  r1 resume runs/tiny_r1_zero checkpoint.every_steps=10\n"
               "The rest equals the unbroken run bit for bit; `r1 verify-resume` proves it.\n");
  command->callback([options, &action] {
    action = [options] {
      return interruptible(options->run_dir, [&] {
        pipeline::resume(options->run_dir, options->overrides, options->allow_changes,
                         "r1 resume " + options->run_dir, options->until, process_age_s());
      });
    };
  });
}

}  // namespace r1::apps
