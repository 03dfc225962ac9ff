// r1: reads the command line, runs one command, turns what goes wrong into one message and an exit code.
#include <c10/util/Exception.h>
#include <malloc.h>
#include <torch/utils.h>

#include <cstdio>
#include <iostream>
#include <new>

#include "command_line.h"
#include "commands.h"
#include "kernels/parallel.h"
#include "output.h"
#include "r1/dist/launch.h"
#include "r1/util/error.h"
#include "r1/util/strings.h"
#include "version.h"

namespace r1::apps {
namespace {

constexpr int kFailed = 1, kWrongUsage = 2;

// In the order in which `r1 --help` shows them.
void add_commands(CLI::App& app, Action& action) {
  add_run_command(app, action);
  add_resume_command(app, action);
  add_plan_command(app, action);
  add_verify_resume_command(app, action);
  add_report_command(app, action);
  add_eval_command(app, action);
  add_bench_command(app, action);
  add_check_data_command(app, action);
  add_generate_command(app, action);
  add_logprobs_command(app, action);
  add_reward_command(app, action);
  add_tokenize_command(app, action);
  add_detokenize_command(app, action);
  add_import_command(app, action);
  add_export_command(app, action);
  add_doctor_command(app, action);
}

// Freed tensors stay with the process: giving them back and faulting them in again costs 0.1 s in every step.
void keep_freed_memory() {
  mallopt(M_MMAP_THRESHOLD, 1 << 30);
  mallopt(M_TRIM_THRESHOLD, 2'000'000'000);
}

// Of ranks that have not met yet, all of a node find the same mistake in the same config: one of them says it.
void print_failure(const std::string& message) {
  dist::Launch launch;
  try {
    launch = dist::read_launch();
  } catch (const Error&) {  // it is what `message` says
  }
  if (launch.rank > 0 && launch.local_rank > 0 && !dist::connected()) return;
  std::cerr << (launch.rank > 0 ? cat("r1 (rank ", launch.rank, "): ") : "r1: ") << message << '\n';
}

void use_threads(int threads) {
  if (threads == 0) return;
  torch::set_num_threads(threads);
  kernels::set_num_threads(threads);
}

int run_command_line(int argc, char** argv) {
  CLI::App app(
      "r1 turns a base language model into a reasoning model by reinforcement learning with verifiable "
      "rewards.",
      "r1");
  app.get_formatter()->column_width(34);
  app.require_subcommand(0, 1);
  app.fallthrough();  // `r1 generate --threads 1` is `r1 --threads 1 generate`
  app.set_version_flag("--version", version_line(), "print commit, compiler and LibTorch version");
  int threads = 0;
  app.add_option("--threads", threads, "CPU threads; 0: all cores")
      ->check(from_to(0, 1024))
      ->capture_default_str();
  set_examples(
      app,
      "  r1 doctor                                      is this machine ready?\n"
      "  r1 COMMAND --help                              options and examples of a command\n"
      "  r1 generate --model MODEL --prompt 'Hello'     MODEL: a HF folder, a checkpoint or a .gguf file\n");
  Action action;
  add_commands(app, action);
  try {
    app.parse(argc, argv);
  } catch (const CLI::CallForVersion&) {
    print(version_line() + "\n");
    return 0;
  } catch (const CLI::Success&) {
    print(app.help());
    return 0;
  } catch (const CLI::ParseError& error) {
    std::cerr << usage_error(app, error) << '\n';
    return kWrongUsage;
  }
  if (!action) {
    std::cerr << app.help() << "\nr1: no command was given\n";
    return kWrongUsage;
  }
  use_threads(threads);
  const int code = action();
  print("");  // what was printed by other means is flushed here, and a full disk noticed
  return code;
}

}  // namespace
}  // namespace r1::apps

int main(int argc, char** argv) {
  using r1::apps::kFailed;
  try {
    r1::apps::keep_freed_memory();
    std::ios::sync_with_stdio(false);
    return r1::apps::run_command_line(argc, argv);
  } catch (const r1::Error& error) {
    r1::apps::print_failure(error.what());
  } catch (const r1::dist::FailedElsewhere&) {  // that rank has said it
  } catch (const c10::Error& error) {
    const std::string text = error.what_without_backtrace();
    r1::apps::print_failure(text.substr(0, text.find('\n')));
  } catch (const std::bad_alloc&) {
    r1::apps::print_failure("not enough memory. Use a smaller model, batch or context, or a machine with more.");
  } catch (const std::exception& error) {
    r1::apps::print_failure(std::string("unexpected error: ") + error.what());
  }
  return kFailed;
}
