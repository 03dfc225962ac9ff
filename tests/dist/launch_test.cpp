#include <gtest/gtest.h>

#include "r1/util/error.h"
#include "read_launch.h"

namespace r1::dist {
namespace {

using Variables = std::map<std::string, std::string>;
using By = Launch::By;

const Variables kMpirun{{"OMPI_COMM_WORLD_RANK", "3"}, {"OMPI_COMM_WORLD_SIZE", "4"}, {"OMPI_COMM_WORLD_LOCAL_RANK", "1"}, {"OMPI_COMM_WORLD_LOCAL_SIZE", "2"}};
const Variables kTorchrun{{"RANK", "9"},         {"WORLD_SIZE", "16"},     {"LOCAL_RANK", "1"},
                          {"LOCAL_WORLD_SIZE", "8"}, {"MASTER_ADDR", "gpu1"}, {"MASTER_PORT", "29500"}};
const Variables kSrun{{"SLURM_PROCID", "5"},   {"SLURM_STEP_NUM_TASKS", "7"},           {"SLURM_LOCALID", "1"}, {"SLURM_NODEID", "1"},
                      {"SLURM_JOB_ID", "41234"}, {"SLURM_STEP_TASKS_PER_NODE", "2(x2),3"}, {"SLURM_STEP_NODELIST", "gpu[007-009]"}};

Variables with(Variables v, const Variables& more) {
  for (const auto& [name, value] : more) v[name] = value;
  return v;
}

std::string error_of(const Variables& v) {
  try {
    launch_of(v);
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

TEST(Launch, NobodyStartedOthers) {
  const auto l = launch_of({{"PATH", "/bin"}, {"MASTER_ADDR", "left over"}});
  EXPECT_EQ(l.by, By::kNone);
  EXPECT_EQ(l.world_size, 1);
}

TEST(Launch, Mpirun) {
  const auto l = launch_of(kMpirun);
  EXPECT_EQ(l.by, By::kMpi);
  EXPECT_EQ(l.rank, 3);
  EXPECT_EQ(l.world_size, 4);
  EXPECT_EQ(l.local_rank, 1);
  EXPECT_EQ(l.local_size, 2);
  EXPECT_TRUE(l.pmi);
}

TEST(Launch, Torchrun) {
  const auto l = launch_of(with(kTorchrun, {{"TORCHELASTIC_RUN_ID", "x"}, {"TORCHELASTIC_USE_AGENT_STORE", "True"}, {"TORCHELASTIC_RESTART_COUNT", "2"}}));
  EXPECT_EQ(l.by, By::kTorchrun);
  EXPECT_EQ(l.rank, 9);
  EXPECT_EQ(l.world_size, 16);
  EXPECT_EQ(l.local_rank, 1);
  EXPECT_EQ(l.local_size, 8);
  EXPECT_EQ(l.master_address, "gpu1");
  EXPECT_EQ(l.master_port, 29500);
  EXPECT_TRUE(l.agent_store);
  EXPECT_EQ(l.restart, "2");
}

TEST(Launch, PodOfAPyTorchJobHasNoLocalRank) {
  const auto l = launch_of({{"RANK", "1"}, {"WORLD_SIZE", "2"}, {"MASTER_ADDR", "job-master-0"}, {"MASTER_PORT", "23456"}});
  EXPECT_EQ(l.by, By::kTorchrun);
  EXPECT_EQ(l.local_rank, 0);
  EXPECT_EQ(l.local_size, 1);
  EXPECT_FALSE(l.agent_store);
}

TEST(Launch, Srun) {
  const auto l = launch_of(kSrun);
  EXPECT_EQ(l.by, By::kSlurm);
  EXPECT_EQ(l.rank, 5);
  EXPECT_EQ(l.world_size, 7);
  EXPECT_EQ(l.local_rank, 1);
  EXPECT_EQ(l.local_size, 2);
  EXPECT_EQ(l.master_address, "gpu007");
  EXPECT_EQ(l.master_port, 21234);
  EXPECT_FALSE(l.pmi);
  EXPECT_TRUE(launch_of(with(kSrun, {{"PMIX_RANK", "5"}})).pmi);
  EXPECT_EQ(launch_of(with(kSrun, {{"SLURM_NODEID", "2"}})).local_size, 3);
  EXPECT_EQ(first_host("a1,b[2-3]"), "a1");
  EXPECT_EQ(first_host("b[12,14-15],c"), "b12");
  EXPECT_EQ(first_host("login"), "login");
}

TEST(Launch, ABatchScriptIsOneRank) {
  EXPECT_EQ(launch_of({{"SLURM_PROCID", "0"}, {"SLURM_NTASKS", "4"}, {"SLURM_JOB_ID", "1"}}).world_size, 1);
}

TEST(Launch, TheInnerLauncherCounts) {
  EXPECT_EQ(launch_of(with(kSrun, kMpirun)).by, By::kMpi);
  EXPECT_EQ(launch_of(with(kSrun, kTorchrun)).by, By::kTorchrun);
  EXPECT_EQ(launch_of(with(kTorchrun, kMpirun)).by, By::kMpi);
  EXPECT_EQ(launch_of(with(with(kTorchrun, kMpirun), {{"TORCHELASTIC_RUN_ID", "x"}})).by, By::kTorchrun);
  // A batch script that exports what torch wants, before srun.
  EXPECT_EQ(launch_of(with(kSrun, {{"WORLD_SIZE", "7"}, {"MASTER_ADDR", "gpu7"}, {"MASTER_PORT", "1234"}})).by, By::kSlurm);
  EXPECT_EQ(launch_of(with(kSrun, {{"WORLD_SIZE", "7"}, {"MASTER_ADDR", "gpu7"}, {"MASTER_PORT", "1234"}})).master_address, "gpu7");
}

TEST(Launch, IncompleteOrContradictorySetsAreNamed) {
  auto v = kMpirun;
  v.erase("OMPI_COMM_WORLD_SIZE");
  EXPECT_NE(error_of(v).find("OMPI_COMM_WORLD_SIZE is not set"), std::string::npos) << error_of(v);
  EXPECT_NE(error_of(with(kMpirun, {{"OMPI_COMM_WORLD_RANK", "4"}})).find("OMPI_COMM_WORLD_RANK is 4 and OMPI_COMM_WORLD_SIZE is 4"), std::string::npos);
  EXPECT_NE(error_of(with(kMpirun, {{"OMPI_COMM_WORLD_RANK", "x"}})).find("OMPI_COMM_WORLD_RANK is 'x'; accepted: a number of 0 or more"), std::string::npos);
  EXPECT_NE(error_of(with(kMpirun, {{"OMPI_COMM_WORLD_LOCAL_SIZE", "9"}})).find("OMPI_COMM_WORLD_LOCAL_SIZE is 9"), std::string::npos);
  EXPECT_NE(error_of({{"RANK", "0"}}).find("WORLD_SIZE is not set"), std::string::npos);
  EXPECT_NE(error_of({{"WORLD_SIZE", "2"}}).find("RANK is not set"), std::string::npos);
  EXPECT_NE(error_of({{"RANK", "0"}, {"WORLD_SIZE", "2"}}).find("MASTER_ADDR is not set"), std::string::npos);
  EXPECT_EQ(error_of({{"RANK", "0"}, {"WORLD_SIZE", "1"}}), "");
  v = kSrun;
  v.erase("SLURM_LOCALID");
  EXPECT_NE(error_of(v).find("SLURM_LOCALID is not set"), std::string::npos);
}

TEST(Launch, RanksOnCpusNeedALauncherThatMpiKnows) {
  for (auto l : {launch_of(kTorchrun), launch_of(kSrun)}) {
    try {
      connect(l, {}, false);
      FAIL();
    } catch (const Error& error) {
      EXPECT_NE(std::string(error.what()).find("Start them by `mpirun -n "), std::string::npos) << error.what();
      EXPECT_NE(std::string(error.what()).find("srun --mpi=pmix"), std::string::npos) << error.what();
    }
  }
}

}  // namespace
}  // namespace r1::dist
