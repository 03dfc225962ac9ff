// r1 report: one HTML page of a run, or of two side by side.
#include <memory>

#include "command_line.h"
#include "commands.h"
#include "output.h"
#include "r1/report/report.h"
#include "r1/util/strings.h"

namespace r1::apps {

void add_report_command(CLI::App& app, Action& action) {
  struct Options {
    std::string run_dir, other, out;
  };
  auto* command = app.add_subcommand(
      "report", "one HTML page of a run, or of two side by side: curves, samples, evaluation, cost, alarms");
  const auto options = std::make_shared<Options>();
  command->add_option("run_dir", options->run_dir, "folder that `r1 run` made; the run may still be going on")
      ->required();
  command->add_option("other", options->other, "another one, to compare");
  command->add_option("--out", options->out,
                      "file to write; by default report.html in run_dir, of two runs report_vs_<other>.html");
  set_examples(
      *command,
      "  r1 report runs/tiny_r1_zero\n"
      "  r1 report runs/tiny_r1_zero runs/second              the same curves overlaid, the tables beside "
      "each other\n"
      "  watch -n 60 r1 report runs/tiny_r1_zero              while it trains; reload the page\n"
      "The page needs no network and no other file. The accuracy by stage and the alarms are printed too.\n");
  command->callback([options, &action] {
    action = [options] {
      std::vector<std::filesystem::path> dirs{options->run_dir};
      if (!options->other.empty()) dirs.emplace_back(options->other);
      const auto written = report::write_report(dirs, nullptr, options->out);
      print(cat(written.table, "report  ", written.html.string(), " (",
                human_bytes(static_cast<double>(written.bytes)), ")\n"));
      return 0;
    };
  });
}

}  // namespace r1::apps
