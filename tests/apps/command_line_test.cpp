// Help, version and the shared form of all commands.
#include <gtest/gtest.h>

#include "process.h"
#include "util/temp_folder.h"

namespace r1::apps {
namespace {

using testing_support::run_r1;

TEST(CommandLine, HelpListsEveryCommandAndTheExitCodes) {
  const auto r = run_r1({"--help"});
  EXPECT_EQ(r.exit_code, 0);
  EXPECT_EQ(r.err, "");
  for (const char* part : {"generate", "logprobs", "tokenize", "detokenize", "import", "export", "doctor",
                           "--threads", "--version", "Examples:", "Exit codes:"}) {
    EXPECT_HOLDS(r.out, part);
  }
}

TEST(CommandLine, EveryCommandExplainsItself) {
  for (const char* command :
       {"generate", "logprobs", "tokenize", "detokenize", "import", "export", "doctor"}) {
    const auto r = run_r1({command, "--help"});
    EXPECT_EQ(r.exit_code, 0) << command;
    EXPECT_HOLDS(r.out, std::string("r1 ") + command);
    EXPECT_HOLDS(r.out, "Examples:");
    EXPECT_HOLDS(r.out, "Exit codes:");
  }
}

TEST(CommandLine, VersionNamesCommitAndLibTorch) {
  const auto r = run_r1({"--version"});
  EXPECT_EQ(r.exit_code, 0);
  EXPECT_HOLDS(r.out, "r1 (commit ");
  EXPECT_HOLDS(r.out, "LibTorch 2.11");
}

}  // namespace
}  // namespace r1::apps
