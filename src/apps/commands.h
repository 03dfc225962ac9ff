#pragma once
#include <functional>

namespace CLI {
class App;
}

namespace r1::apps {

/// What the chosen command does; returns the exit code: 0 done, 1 a check failed, 130 or 143 stopped by a
/// signal. Throws r1::Error, which main prints.
using Action = std::function<int()>;

// Each function adds one subcommand with its options and help to `app`, and lets it set `action` when it is
// chosen. main runs the action after the whole command line has been read. One file per command:
// cmd_<name>.cpp.
void add_run_command(CLI::App& app, Action& action);
void add_plan_command(CLI::App& app, Action& action);
void add_resume_command(CLI::App& app, Action& action);
void add_verify_resume_command(CLI::App& app, Action& action);
void add_bench_command(CLI::App& app, Action& action);
void add_eval_command(CLI::App& app, Action& action);
void add_check_data_command(CLI::App& app, Action& action);
void add_generate_command(CLI::App& app, Action& action);
void add_logprobs_command(CLI::App& app, Action& action);
void add_report_command(CLI::App& app, Action& action);
void add_reward_command(CLI::App& app, Action& action);
void add_tokenize_command(CLI::App& app, Action& action);
void add_detokenize_command(CLI::App& app, Action& action);
void add_import_command(CLI::App& app, Action& action);
void add_export_command(CLI::App& app, Action& action);
void add_doctor_command(CLI::App& app, Action& action);

}  // namespace r1::apps
