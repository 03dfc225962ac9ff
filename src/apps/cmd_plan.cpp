#include "command_line.h"
#include "commands.h"
#include "output.h"
#include "r1/pipeline/plan.h"
#include "r1/pipeline/simulate.h"
#include "r1/util/error.h"
#include "r1/util/strings.h"

namespace r1::apps {

void add_plan_command(CLI::App& app, Action& action) {
  struct Options {
    std::string config, hardware;
    std::vector<std::string> overrides, simulate;
  };
  auto options = std::make_shared<Options>();
  auto* command = app.add_subcommand("plan", "memory, time, GPU hours, $ and kWh of a config before anything is allocated");
  command->add_option("config", options->config, "YAML file")->required();
  command->add_option("overrides", options->overrides, "key=value: replaces a key; list items by index: pipeline.1.steps=20");
  command->add_option("--hardware", options->hardware, "a file of configs/hardware/; default: the config's plan.hardware, or else what device means here");
  command
      ->add_option("--simulate", options->simulate,
                   "ranks=N: simulate the run on so many devices instead; with commas also pipeline=, expert=, sampler=, gpus_per_node=, nodes_per_token=")
      ->allow_extra_args(false);
  set_examples(*command,
               "  r1 plan configs/tiny/r1.yaml                                        on this machine\n"
               "  r1 plan configs/r1/r1_zero.yaml                                     R1-Zero's 101K H800 hours\n"
               "  r1 plan configs/r1/r1_zero.yaml model.shape=configs/models/gpt_oss_120b.yaml\n"
               "  r1 plan configs/plan/qwen_1.5b_grpo.yaml --hardware configs/hardware/h100.yaml\n"
               "  r1 plan configs/r1/r1_zero.yaml --simulate ranks=512               the same hours from layers, links and schedules\n"
               "  r1 plan configs/plan/v3_pretraining.yaml --simulate ranks=2048     V3's 180K H800 hours per trillion tokens\n"
               "Weights and data need not be there when the config names a model.shape. Exit code 1 when a stage does not fit: what\n"
               "would fit is said.\n");
  command->callback([options, &action] {
    action = [options] {
      const auto config = pipeline::RunConfig::load(options->config, options->overrides, pipeline::LoadFor::kPlan);
      if (!options->simulate.empty()) {
        print(pipeline::simulate(config, options->hardware, pipeline::SimulateOptions::parse(options->simulate)));
        return 0;
      }
      const auto plan = pipeline::make_plan(config, options->hardware);
      print(pipeline::long_text(plan));
      if (!plan.does_not_fit.empty()) throw Error(cat(options->config, ": ", join(plan.does_not_fit, "\n  ")));
      return 0;
    };
  });
}

}  // namespace r1::apps
