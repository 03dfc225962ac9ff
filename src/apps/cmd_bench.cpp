#include <cstdio>

#include "command_line.h"
#include "commands.h"
#include "r1/pipeline/bench.h"

namespace r1::apps {

void add_bench_command(CLI::App& app, Action& action) {
  struct Options {
    std::string what, config;
    std::vector<std::string> overrides;
    bool json = false;
  };
  auto options = std::make_shared<Options>();
  auto* command = app.add_subcommand("bench", "time one kind of work: tokens/s and FLOP/s");
  command->add_option("what", options->what, "train, forward, rollout, grpo or experts")
      ->required()
      ->check(one_of({"train", "forward", "rollout", "grpo", "experts"}));
  command->add_option("overrides", options->overrides, "key=value");
  command->add_option("--config", options->config, "YAML file of shape and batch, see configs/bench/")
      ->required();
  command->add_flag("--json", options->json, "one JSON line instead of text");
  set_examples(*command,
               "  r1 bench train --config configs/bench/smollm2_train.yaml\n"
               "  r1 bench grpo --config configs/bench/smollm2_grpo.yaml repeats=1 --json\n"
               "  r1 bench experts --config configs/bench/experts.yaml\n"
               "FLOP = 2 x parameters met per token (attention not counted), three times that with a "
               "backward pass; weights and\n"
               "tokens are random, so the speed is that of the shape.\n");
  command->callback([options, &action] {
    action = [options] {
      const auto r = pipeline::bench(options->what, options->config, options->overrides);
      if (options->json) {
        std::printf("%s\n", r.dump().c_str());
      } else {
        std::printf("%s: %.1f tokens/s, %.3f s (median of %zu), %.1f GFLOP/s on %d threads\n",
                    options->what.c_str(), r.at("tokens_per_s").get<double>(), r.at("seconds").get<double>(),
                    r.at("seconds_all").size(), r.at("gflops_per_s").get<double>(),
                    r.at("threads").get<int>());
        if (r.contains("speedup")) {
          std::printf("without drafts %.3f s: %.2f times the speed; %.1f %% of the drafts accepted\n", r.at("plain_seconds").get<double>(),
                      r.at("speedup").get<double>(), 100 * r.value("speculation_acceptance", 0.0));
        }
      }
      return 0;
    };
  });
}

}  // namespace r1::apps
