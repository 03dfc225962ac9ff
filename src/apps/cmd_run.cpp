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
#include "supervise.h"

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
    bool dry_run = false, or_resume = false;
    std::string from, until;
    Supervision supervision;
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
  command->add_flag("--or-resume", options->or_resume,
                    "where the run directory exists, go on with it as `r1 resume` does: the same command starts and restarts a job");
  command->add_option("--launch", options->supervision.launch, "start the ranks by these words before r1: \"mpirun -n 4\"");
  command->add_option("--max-restarts", options->supervision.max_restarts,
                      "go on from the newest checkpoint, so many times at most, when a rank is lost or killed")
      ->check(from_to(0, 1000000));
  set_examples(
      *command,
      "  r1 run configs/tiny/r1_zero.yaml\n"
      "  r1 run configs/tiny/r1_zero.yaml name=second seed=2 pipeline.1.group_size=16\n"
      "  r1 run configs/tiny/r1.yaml --from rl_2 --dry-run\n"
      "  mpirun -n 4 r1 run configs/tiny/r1_zero.yaml\n"
      "  r1 run configs/tiny/r1_zero.yaml --launch \"mpirun -n 4\" --max-restarts 10\n"
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
      if (options->supervision.wanted()) {
        std::vector<std::string> arguments{"run", options->config};
        arguments.insert(arguments.end(), options->overrides.begin(), options->overrides.end());
        if (options->or_resume) arguments.push_back("--or-resume");
        if (!options->from.empty()) arguments.insert(arguments.end(), {"--from", options->from});
        if (!options->until.empty()) arguments.insert(arguments.end(), {"--until", options->until});
        return supervise(options->supervision, arguments);
      }
      return interruptible(config.run_dir.string(), [&] {
        const bool begun = options->or_resume && std::filesystem::exists(config.run_dir / "config.yaml");
        if (begun) pipeline::resume(config.run_dir, {}, false, line + " --or-resume", options->until, process_age_s());
        else if (options->from.empty()) pipeline::run(config, line, options->until, process_age_s());
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
