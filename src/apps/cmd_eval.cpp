#include <cstdio>
#include <nlohmann/json.hpp>

#include "command_line.h"
#include "commands.h"
#include "r1/pipeline/run.h"
#include "r1/util/strings.h"

namespace r1::apps {

void add_eval_command(CLI::App& app, Action& action) {
  struct Options {
    std::string config, model;
    std::vector<std::string> overrides;
    int64_t problems = 0;
    bool json = false;
  };
  auto options = std::make_shared<Options>();
  auto* command =
      app.add_subcommand("eval", "accuracy and reward parts of a model on a config's held-out problems");
  command->add_option("config", options->config, "YAML file, for example <run_dir>/config.yaml")->required();
  command->add_option("overrides", options->overrides, "key=value");
  command->add_option("--model", options->model, "HF folder, checkpoint or .gguf")->required();
  command->add_option("--problems", options->problems, "how many; 0: eval.problems of the config")
      ->check(from_to(0, 1e9));
  command->add_flag("--json", options->json, "one JSON line");
  set_examples(
      *command,
      "  r1 eval runs/tiny_r1_zero/config.yaml --model runs/tiny_r1_zero/checkpoints/r1_zero/latest\n");
  command->callback([options, &action] {
    action = [options] {
      const auto config = pipeline::RunConfig::load(options->config, options->overrides);
      const auto r = pipeline::evaluate_model(config, options->model, options->problems);
      nlohmann::json json{{"problems", r.problems},
                          {"accuracy", r.accuracy},
                          {"tokens_mean", r.mean_tokens},
                          {"truncated", r.truncated},
                          {"gold_unreadable", r.gold_unreadable}};
      for (const auto& [name, value] : r.parts) json["reward_" + name] = value;
      if (options->json) {
        std::printf("%s\n", json.dump().c_str());
        return 0;
      }
      for (const auto& [key, value] : json.items())
        std::printf("%-20s %s\n", key.c_str(), value.dump().c_str());
      return 0;
    };
  });
}

}  // namespace r1::apps
