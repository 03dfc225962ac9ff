// Ranks as they really run: mpirun starts rank_program.cpp, which compares every collective with a plain computation.
#include <gtest/gtest.h>

#include <algorithm>

#include "dist/mpirun.h"
#include "util/temp_folder.h"

namespace r1::dist {
namespace {

using testing_support::run_ranks;

void expect_ok(int num_ranks, const std::vector<std::string>& arguments) {
  const auto result = run_ranks(num_ranks, arguments);
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_EQ(std::count(result.out.begin(), result.out.end(), '\n'), num_ranks) << result.out;
}

TEST(Ranks, OneIsAlone) { expect_ok(1, {"all"}); }
TEST(Ranks, TwoAgreeWithAPlainComputation) { expect_ok(2, {"all"}); }
TEST(Ranks, ThreeAgreeWithAPlainComputation) { expect_ok(3, {"all"}); }
TEST(Ranks, FourAgreeWithAPlainComputation) { expect_ok(4, {"all"}); }

TEST(Ranks, ShowTheirStatusInAFolder) {
  const r1::testing_support::TempFolder folder;
  expect_ok(2, {"status", (folder / "").string()});
  const auto line = r1::testing_support::slurp(folder / "rank-1");
  EXPECT_EQ(line.size(), 256u);
  EXPECT_EQ(line.rfind("rank 1 pid ", 0), 0u) << line;
  EXPECT_NE(line.find(" phase two words number 2 barrier 'end of the job' ended"), std::string::npos) << line;
}

}  // namespace
}  // namespace r1::dist
