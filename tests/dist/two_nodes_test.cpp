// Two machines, as far as one can be two: network namespaces joined by a slow link, mpirun over both (two_nodes.sh).
#include <gtest/gtest.h>

#include "dist/mpirun.h"

namespace r1::dist {
namespace {

using testing_support::JobResult;
using testing_support::run_job;

JobResult run_on_two_nodes(const std::string& mode, const std::vector<std::string>& arguments) {
  std::vector<std::string> words{R1_SOURCE_DIR "/tests/dist/two_nodes.sh", mode, R1_RANK_PROGRAM};
  words.insert(words.end(), arguments.begin(), arguments.end());
  return run_job(words);
}

TEST(TwoNodes, CollectivesOverALink) {
  const auto result = run_on_two_nodes("run", {"short"});
  if (result.exit_code == 77) GTEST_SKIP() << result.out;
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_NE(result.out.find("ok 0"), std::string::npos) << result.out;
  EXPECT_NE(result.out.find("ok 1"), std::string::npos) << result.out;
}

TEST(TwoNodes, ACutLinkEndsBothSides) {
  const auto result = run_on_two_nodes("cut", {"fault", "busy", "0"});
  if (result.exit_code == 77) GTEST_SKIP() << result.out;
  EXPECT_NE(result.out.find("node-a: code 75, node-b: code 75"), std::string::npos) << result.out;
  for (const std::string lost : {"r1: rank 0 (pid ", "r1: rank 1 (pid "}) EXPECT_NE(result.out.find(lost), std::string::npos) << result.out;
  for (const std::string node : {" on node-a) is lost: no ", " on node-b) is lost: no "}) {
    EXPECT_NE(result.out.find(node), std::string::npos) << result.out;
  }
  EXPECT_NE(result.out.find("or a link is cut). It was in phase 'backward'"), std::string::npos) << result.out;
}

}  // namespace
}  // namespace r1::dist
