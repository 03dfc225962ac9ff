#pragma once
#include <CLI/CLI.hpp>
#include <string>
#include <vector>

namespace r1::apps {

/// Text of `--help` below the options: examples, then the exit codes that all commands share.
void set_examples(CLI::App& command, const std::string& examples);

/// Option values: one of `names`; a number from `low` to `high`.
CLI::Validator one_of(const std::vector<std::string>& names);
CLI::Validator from_to(double low, double high);

/// `--device auto|cpu|cuda`; `note` ends its help text.
void add_device_option(CLI::App& command, std::string& device, const std::string& note = "");

/// What to print for a command line that cannot be read: what was found, what is accepted, the usage line. An
/// option or a command that does not exist gets the nearest one that does.
std::string usage_error(const CLI::App& app, const CLI::ParseError& error);

}  // namespace r1::apps
