#include "command_line.h"

#include <cmath>

#include "r1/util/strings.h"

namespace r1::apps {
namespace {

std::vector<std::string> option_names(const CLI::App& app) {
  std::vector<std::string> names;
  for (const CLI::Option* option : app.get_options()) {
    for (const auto& name : option->get_lnames()) names.push_back("--" + name);
  }
  return names;
}

std::vector<std::string> command_names(const CLI::App& app) {
  std::vector<std::string> names;
  for (const CLI::App* command : app.get_subcommands([](const CLI::App*) { return true; })) {
    names.push_back(command->get_name());
  }
  return names;
}

std::string did_you_mean(const std::string& word, const std::vector<std::string>& known) {
  const std::string near = nearest(word, known);
  return near.empty() ? cat("; accepted: ", join(known, ", ")) : cat("; did you mean ", near, "?");
}

}  // namespace

void set_examples(CLI::App& command, const std::string& examples) {
  command.footer(
      cat("\nExamples:\n", examples,
          "\nExit codes: 0 done; 1 an error or a failed check, told in one message on standard error; "
          "2 wrong arguments."));
}

CLI::Validator one_of(const std::vector<std::string>& names) {
  return CLI::Validator(
      [names](std::string& value) {
        for (const auto& name : names) {
          if (value == name) return std::string();
        }
        return cat("is ", value, "; accepted: ", join(names, ", "));
      },
      join(names, "|"));
}

CLI::Validator from_to(double low, double high) {
  const std::string accepted = std::isinf(high) ? cat(low, " or more") : cat(low, " to ", high);
  return CLI::Validator(
      [low, high, accepted](std::string& value) {
        double number = 0;
        if (CLI::detail::lexical_cast(value, number) && number >= low && number <= high) return std::string();
        return cat("is ", value, "; accepted: ", accepted);
      },
      accepted);
}

void add_device_option(CLI::App& command, std::string& device, const std::string& note) {
  auto* option = command.add_option("--device", device, "auto takes a GPU where there is one; there a model computes in bf16" + note)
                     ->check(one_of({"auto", "cpu", "cuda"}));
  if (note.empty()) option->capture_default_str();
}

std::string usage_error(const CLI::App& app, const CLI::ParseError& error) {
  const auto chosen = app.get_subcommands();
  const CLI::App& command = chosen.empty() ? app : *chosen.front();
  const std::string name = chosen.empty() ? "r1" : cat("r1 ", command.get_name());
  std::string text = error.what();
  // A mistyped option also leaves its own required; the typo is what to tell.
  const auto rest = app.remaining(true);
  if (!rest.empty()) {
    const std::string word = rest.front().substr(0, rest.front().find('='));
    auto known = option_names(command);
    if (!chosen.empty()) {
      for (const auto& option : option_names(app)) known.push_back(option);
    }
    if (word.size() > 1 && word[0] == '-') {
      text = cat("unknown option ", word, did_you_mean(word, known));
    } else if (chosen.empty()) {
      text = cat("unknown command '", word, "'", did_you_mean(word, command_names(app)));
    } else {
      text = cat("one argument too many: '", rest.front(), "'");
    }
  }
  return cat(name, ": ", text, "\nusage: ", name, chosen.empty() ? " COMMAND" : "", " [OPTIONS]; `", name,
             " --help` shows them all");
}

}  // namespace r1::apps
