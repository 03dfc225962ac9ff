#include <cstdio>

#include "command_line.h"
#include "commands.h"
#include "r1/pipeline/bench.h"
#include "r1/pipeline/bench_comm.h"
#include "r1/pipeline/bench_kernels.h"
#include "r1/util/error.h"
#include "r1/util/strings.h"

namespace r1::apps {
namespace {

struct Options {
  std::string what, config;
  std::vector<std::string> overrides;
  pipeline::KernelBenchOptions kernels;
  pipeline::CommBenchOptions comm;
  bool json = false;
};

std::string with_unit(double seconds) {
  char text[32];
  const double us = seconds * 1e6;
  std::snprintf(text, sizeof text, us < 1e4 ? "%.1f us" : "%.2f ms", us < 1e4 ? us : us / 1e3);
  return text;
}

void print_row(const nlohmann::json& r) {
  if (r.contains("limits")) {
    const auto& l = r.at("limits");
    std::printf("%s: copy %.1f GB/s, product %.2f TFLOP/s\n%-34s %-42s %11s %9s %9s %6s %6s  against\n",
                l.at("device").get<std::string>().c_str(), l.at("copy_gb_per_s").get<double>(),
                l.at("product_tflop_per_s").get<double>(), "operation", "shape", "time", "GB/s", "TFLOP/s", "share", "ratio");
  } else if (!r.contains("seconds")) {
    std::printf("%-34s %-42s FAILED: %s\n", r.at("op").get<std::string>().c_str(), r.at("shape").get<std::string>().c_str(),
                r.at("error").get<std::string>().c_str());
  } else {
    std::printf("%-34s %-42s %11s %9.1f %9.2f %5.0f%% %5.2fx  %s%s\n", r.at("op").get<std::string>().c_str(),
                r.at("shape").get<std::string>().c_str(), with_unit(r.at("seconds").get<double>()).c_str(),
                r.at("gb_per_s").get<double>(), r.at("tflop_per_s").get<double>(), 100 * r.at("share").get<double>(),
                r.at("ratio").get<double>(), r.at("plain").get<std::string>().c_str(),
                r.contains("error") ? (" FAILED: " + r.at("error").get<std::string>()).c_str() : "");
  }
}

int bench_kernels(const Options& options) {
  const auto failed = pipeline::bench_kernels(options.kernels, [&](const nlohmann::json& row) {
    if (options.json) {
      std::printf("%s\n", row.dump().c_str());
    } else {
      print_row(row);
    }
    std::fflush(stdout);  // what is measured is kept, whatever becomes of the rest
  });
  return failed > 0 ? 1 : 0;
}

void print_comm_row(const nlohmann::json& r) {
  if (r.contains("limits")) {
    std::printf("%d ranks; a rank copies %.1f GB/s in memory while all do\n%-16s %12s %11s %9s %9s %6s %11s %6s\n",
                r.at("limits").at("ranks").get<int>(), r.at("limits").at("copy_gb_per_s").get<double>(), "collective", "bytes", "time",
                "alg GB/s", "bus GB/s", "share", "plain MPI", "ratio");
    return;
  }
  std::printf("%-16s %12lld %11s %9.2f %9.2f %5.0f%%", r.at("collective").get<std::string>().c_str(),
              static_cast<long long>(r.at("bytes").get<int64_t>()), with_unit(r.at("seconds").get<double>()).c_str(),
              r.at("algorithm_gb_per_s").get<double>(), r.at("bus_gb_per_s").get<double>(), 100 * r.at("share").get<double>());
  if (r.contains("ratio")) {
    std::printf(" %11s %5.2fx", with_unit(r.at("plain_seconds").get<double>()).c_str(), r.at("ratio").get<double>());
  }
  std::printf("\n");
}

int bench_comm(const Options& options) {
  auto comm = options.comm;
  comm.only = options.kernels.only;
  comm.seconds_per_row = options.kernels.seconds_per_row;
  comm.gpu = options.kernels.device == "cuda";
  pipeline::bench_comm(comm, [&](const nlohmann::json& row) {
    if (options.json) {
      std::printf("%s\n", row.dump().c_str());
    } else {
      print_comm_row(row);
    }
    std::fflush(stdout);
  });
  return 0;
}

int bench_model(const Options& options) {
  if (options.config.empty()) throw Error(cat("bench ", options.what, ": --config is missing; see configs/bench/"));
  const auto r = pipeline::bench(options.what, options.config, options.overrides);
  if (options.json) {
    std::printf("%s\n", r.dump().c_str());
  } else {
    std::printf("%s: %.1f tokens/s, %.3f s (median of %zu), %.1f GFLOP/s on %d threads\n", options.what.c_str(),
                r.at("tokens_per_s").get<double>(), r.at("seconds").get<double>(), r.at("seconds_all").size(),
                r.at("gflops_per_s").get<double>(), r.at("threads").get<int>());
    if (r.contains("speedup")) {
      std::printf("without drafts %.3f s: %.2f times the speed; %.1f %% of the drafts accepted\n", r.at("plain_seconds").get<double>(),
                  r.at("speedup").get<double>(), 100 * r.value("speculation_acceptance", 0.0));
    }
  }
  return 0;
}

}  // namespace

void add_bench_command(CLI::App& app, Action& action) {
  auto options = std::make_shared<Options>();
  auto* command = app.add_subcommand("bench", "time one kind of work: tokens/s and FLOP/s, or operations against torch's");
  command->add_option("what", options->what, "train, forward, rollout, grpo, experts, kernels or comm")
      ->required()
      ->check(one_of({"train", "forward", "rollout", "grpo", "experts", "kernels", "comm"}));
  command->add_option("overrides", options->overrides, "key=value");
  command->add_option("--config", options->config, "YAML file of shape and batch, see configs/bench/; not for kernels and comm");
  command->add_option("--device", options->kernels.device, "kernels: cpu or cuda; a GPU where there is one. comm: cpu (MPI) or cuda (NCCL)");
  command->add_option("--only", options->kernels.only, "kernels, comm: operations whose name contains this");
  command->add_option("--seconds", options->kernels.seconds_per_row, "kernels, comm: time to measure a row")->check(CLI::PositiveNumber);
  command->add_option("--max-bytes", options->comm.max_bytes, "comm: largest tensor; 256 MiB")->check(CLI::PositiveNumber);
  command->add_option("--min-bytes", options->comm.min_bytes, "comm: smallest tensor; 1 KiB")->check(CLI::PositiveNumber);
  command->add_flag("--json", options->json, "JSON instead of text: one line, for kernels and comm one a row");
  set_examples(*command,
               "  r1 bench train --config configs/bench/smollm2_train.yaml\n"
               "  r1 bench grpo --config configs/bench/smollm2_grpo.yaml repeats=1 --json\n"
               "  r1 bench experts --config configs/bench/experts.yaml\n"
               "  r1 bench kernels --only expert\n"
               "  mpirun -n 2 r1 bench comm --max-bytes 67108864\n"
               "FLOP = 2 x parameters met per token (attention not counted), three times that with a "
               "backward pass; weights and\n"
               "tokens are random, so the speed is that of the shape. kernels: share is of the device's own copy and\n"
               "product, measured first; ratio is torch's time over ours, measured in alternation.\n"
               "comm: bus GB/s is what each rank receives a second (nccl-tests' convention), share is of a copy in memory.\n");
  command->callback([options, &action] {
    action = [options] {
      return options->what == "kernels" ? bench_kernels(*options) : options->what == "comm" ? bench_comm(*options) : bench_model(*options);
    };
  });
}

}  // namespace r1::apps
