#include "r1/pipeline/ledger.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/wait.h>

#include <chrono>
#include <csignal>
#include <thread>

#include "r1/pipeline/energy.h"
#include "r1/pipeline/run_config.h"
#include "r1/util/error.h"
#include "r1/util/progress.h"
#include "tiny_run.h"

namespace r1::pipeline {
namespace {

using test::error_of;
using test::expect_text;
using test::Folder;

std::vector<nlohmann::json> ledger_of(const std::filesystem::path& run_dir) {
  std::vector<nlohmann::json> rows;
  read_jsonl(run_dir / "ledger.jsonl", [&](int64_t, const nlohmann::json& row) { rows.push_back(row); });
  return rows;
}

void pause_s(double seconds) { std::this_thread::sleep_for(std::chrono::duration<double>(seconds)); }

/// Starts the run, or goes on with it, as a process of its own and kills it after `kill_after_s` (0: never). Returns its
/// wall clock in seconds.
double run_process(const Folder& folder, bool resume, double kill_after_s, const std::vector<std::string>& overrides = {}) {
  const std::string what = resume ? (folder / "run").string() : folder.config().string(), log = (folder / "log").string();
  std::vector<std::string> words{"test_pipeline", resume ? "resume" : "run", what};
  if (!resume) words.push_back("run_dir=" + (folder / "run").string());
  words.insert(words.end(), overrides.begin(), overrides.end());
  std::vector<char*> argv;
  for (auto& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  const double start_s = monotonic_s();
  const pid_t child = ::fork();
  if (child == 0) {
    const int out = ::open(log.c_str(), O_CREAT | O_WRONLY | O_APPEND, 0644);
    ::dup2(out, 1);
    ::dup2(out, 2);
    ::execv("/proc/self/exe", argv.data());
    ::_exit(127);
  }
  if (kill_after_s > 0) {
    pause_s(kill_after_s);
    ::kill(child, SIGKILL);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  const double wall_s = monotonic_s() - start_s;
  if (kill_after_s > 0) {
    EXPECT_TRUE(WIFSIGNALED(status)) << "ended by itself before it was killed";
  } else {
    EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << read_file(log);
  }
  return wall_s;
}

TEST(Ledger, SecondsAddUpToTheWallClockOfAllProcessesKilledOnesIncluded) {
  const Folder folder("ledger_kill");
  // Long steps, so that a kill throws much away: no checkpoint before the end of a stage.
  std::map<int64_t, double> wall_s, ledger_s;  // by session
  wall_s[1] = run_process(folder, false, 3.0, {"pipeline.0.steps=1000000", "checkpoint.every_steps=0"});
  wall_s[2] = run_process(folder, true, 2.5);
  ASSERT_TRUE(std::filesystem::exists(folder / "run/ledger.alive"));
  const auto config = read_file(folder / "run/config.yaml");
  const auto steps = config.find("1000000");
  ASSERT_NE(steps, std::string::npos);
  write_file_atomic(folder / "run/config.yaml", cat(config.substr(0, steps), "40", config.substr(steps + 7)));
  wall_s[3] = run_process(folder, true, 0);
  EXPECT_FALSE(std::filesystem::exists(folder / "run/ledger.alive"));
  const auto summary = cost_summary(folder / "run");
  EXPECT_EQ(summary.at("sessions"), 3);
  EXPECT_EQ(summary.at("stages").size(), 2u);
  EXPECT_EQ(summary.at("stages")[0].at("stage"), "pretrain");
  double lost_s = 0;
  int64_t sessions = 0;
  for (const auto& row : ledger_of(folder / "run")) {
    EXPECT_GE(row.at("session").get<int64_t>() + (row.value("lost", false) ? 1 : 0), sessions) << row;
    sessions = row.at("session");
    if (row.value("lost", false)) lost_s += row.at("seconds").at("other").get<double>();
    for (const auto& [phase, seconds] : row.at("seconds").items()) ledger_s[sessions] += seconds.get<double>();
    for (const auto& [phase, seconds] : row.at("seconds").items()) EXPECT_GE(seconds.get<double>(), 0) << phase << row;
  }
  // What no process can note: up to 0.05 s before it is killed, and unloading LibTorch after the last row (0.1 to 0.5 s).
  for (const int64_t killed : {1, 2}) EXPECT_NEAR(ledger_s[killed], wall_s[killed], 0.01 * wall_s[killed] + 0.15) << killed;
  EXPECT_NEAR(ledger_s[3], wall_s[3], 0.01 * wall_s[3] + 0.7);
  EXPECT_GT(lost_s, 0);
  EXPECT_LT(lost_s, 3.0);  // a row follows every second of short steps
  EXPECT_NEAR(lost_s, summary.at("total").at("lost_seconds").get<double>(), 1e-9);
}

// With V 89, C 16, F 24, one layer, 2 heads of 8: block 4 x 256 + 3 x 384 + 32 = 2208, final norm 16.
TEST(Ledger, TokensAndFlopsAreThoseOfTheWorkDone) {
  const Folder folder("ledger_flops");
  run_process(folder, false, 0);
  const auto config = RunConfig::load(folder.config(), {});
  const double head = 16.0 * static_cast<double>(config.load_tokenizer().vocab_size());
  const auto shape = model::FlopShape::of(config.base.config);
  EXPECT_EQ(shape.block_parameters, 2208 + 16);
  EXPECT_EQ(shape.head_parameters, head);
  double trained = 0, generated = 0;
  for (const auto& row : test::rows_of(folder / "run")) {
    if (row.at("stage") == "pretrain") trained += row.at("trained_tokens").get<double>();
    else if (row.contains("generated_tokens")) generated += row.at("generated_tokens").get<double>();
    else generated += row.at("eval_tokens_mean").get<double>() * row.at("eval_problems").get<double>();
  }
  const auto summary = cost_summary(folder / "run");
  const auto &pretrain = summary.at("stages")[0], &zero = summary.at("stages")[1];
  EXPECT_EQ(pretrain.at("trained_tokens"), trained);
  EXPECT_EQ(pretrain.at("tokens_out"), 0);
  EXPECT_NEAR(zero.at("tokens_out").get<double>(), generated, 1e-6);
  // Pre-training computes as many rows as it trains tokens, and a row attends to at least itself and at most 160 tokens.
  const double flops = pretrain.at("flops"), dense = trained * (3 * 2 * 2224 + 4 * 2 * head);
  EXPECT_GE(flops, dense + 3 * trained * shape.attention_per_pair);
  EXPECT_LE(flops, dense + 3 * trained * shape.attention_per_pair * 160);
  const auto& phases = zero.at("seconds");
  for (const char* phase : {"rollout", "reward", "update", "eval", "checkpoint", "load"}) EXPECT_GT(phases.at(phase).get<double>(), 0) << phase;
  EXPECT_EQ(phases.at("rollout").get<double>() > 0 && pretrain.at("seconds").at("rollout") == 0.0, true);
}

TEST(Ledger, ASecondReadingOfAKilledSessionChargesNothingTwice) {
  const Folder folder("ledger_twice");
  const CostConfig cost{.device = "cpu", .price_per_hour = 36, .watts = 100, .tariffs = {0.5}};
  write_file_atomic(folder / "ledger.jsonl", "");
  // A session that noted 100 s and whose rows hold 60: it was killed.
  const std::string row = R"({"session":4,"stage":"a","step":2,"time":1,"seconds":{"rollout":10,"reward":0,"update":50,"eval":0,"checkpoint":0,"load":0,"other":0},"devices":1,"tokens_in":1,"tokens_out":2,"trained_tokens":3,"flops":5,"joules":600,"joules_source":"assumed"})";
  write_file_atomic(folder / "ledger.jsonl", row + "\n{\"session\":4,\"sta");  // and its last line was cut off
  const std::string alive = R"({"session":4,"stage":"b","step":3,"seconds":100.0,"joules":1000.0,"joules_source":"assumed"})";
  write_file_atomic(folder / "config.yaml", "cost: {price_per_hour: 36, watts: 100, tariffs: [0.5]}\n");
  for (int round = 0; round < 2; ++round) {
    write_file_atomic(folder / "ledger.alive", alive);  // the second time as if killed before it was removed
    const Ledger ledger(folder.config().parent_path(), cost, 0);
  }
  const auto summary = cost_summary(folder.config().parent_path());
  EXPECT_NEAR(summary.at("total").at("lost_seconds").get<double>(), 40, 1e-9);
  const auto& stages = summary.at("stages");
  ASSERT_EQ(stages.size(), 3u);  // a, b, and the two sessions that ran no stage
  EXPECT_EQ(stages[0].at("total_seconds"), 60);
  EXPECT_EQ(stages[1].at("total_seconds"), 40);
  EXPECT_EQ(stages[1].at("joules"), 400);
  EXPECT_NEAR(stages[0].at("dollars").get<double>(), 60.0 / 3600 * 36, 1e-12);
  EXPECT_NEAR(stages[0].at("kwh").get<double>(), 600 / 3.6e6, 1e-15);
  EXPECT_NEAR(stages[0].at("energy_dollars")[0].get<double>(), 600 / 3.6e6 * 0.5, 1e-15);
  EXPECT_NEAR(stages[0].at("h800_hours").get<double>(), 5 / (989e12 * 0.39 * 3600), 1e-30);
  expect_text(cost_table(summary), {"cpu hours", "total", "DeepSeek-R1-Zero", "101.0k", "294.0k", "147.0k", "assumed", "40s lost to kills", "$ at 0.5"});
  const auto tables = cost_tables(summary);
  EXPECT_EQ(tables.at("stages").at("a"), "$0.6");
  for (const auto& table : tables.at("tables")) {
    for (const auto& row : table.at("rows")) EXPECT_EQ(row.size(), table.at("columns").size());
  }
}

TEST(Ledger, ABrokenLineIsNamed) {
  const Folder folder("ledger_broken");
  write_file_atomic(folder / "ledger.jsonl", "{\"session\": 1}\n");
  expect_text(error_of([&] { cost_summary(folder.config().parent_path()); }), {"ledger.jsonl:1", "Remove the line"});
}

TEST(Ledger, PricesAreChecked) {
  const auto parse = [](const std::string& yaml) { return error_of([&] { CostConfig::parse(ConfigNode::parse_text(yaml, "c.yaml")); }); };
  expect_text(parse("price_per_hour: -1"), {"c.yaml:1", "price_per_hour", "0 or more"});
  expect_text(parse("tariffs: [0.1, -2]"), {"tariffs", "$ per kWh"});
  expect_text(parse("prise_per_hour: 2"), {"Did you mean price_per_hour?"});
  const auto c = CostConfig::parse(ConfigNode::parse_text("{device: h100, price_per_hour: 2.5, watts: 700, tariffs: [0.3]}", "c.yaml"));
  EXPECT_EQ(c.device, "h100");
  EXPECT_EQ(c.tariffs, std::vector<double>{0.3});
}

TEST(Energy, RaplCountsPackagesAndMemoryAndSurvivesAWrap) {
  const Folder folder("rapl");
  const auto zone = [&](const std::string& name, const std::string& label, const std::string& uj) {
    std::filesystem::create_directories(folder / name);
    write_file_atomic(folder / name / "name", label + "\n");
    write_file_atomic(folder / name / "energy_uj", uj + "\n");
    write_file_atomic(folder / name / "max_energy_range_uj", "10000000\n");
  };
  zone("intel-rapl:0", "package-0", "9000000");
  zone("intel-rapl:0:0", "core", "1000");
  zone("intel-rapl:0:1", "dram", "500000");
  zone("intel-rapl:1", "psys", "77");
  const auto root = folder.config().parent_path();
  EnergyMeter meter(55, root);
  EXPECT_STREQ(meter.source(), "rapl");
  EXPECT_EQ(meter.joules(100), 0);
  zone("intel-rapl:0", "package-0", "9500000");
  zone("intel-rapl:0:0", "core", "900000");
  zone("intel-rapl:0:1", "dram", "1500000");
  EXPECT_DOUBLE_EQ(meter.joules(100), 1.5);
  zone("intel-rapl:0", "package-0", "500000");  // wrapped: 0.5 J to the end of the range and 0.5 more
  EXPECT_DOUBLE_EQ(meter.joules(100), 2.5);

  EnergyMeter none(55, root / "nowhere");
  EXPECT_STREQ(none.source(), "assumed");
  EXPECT_EQ(none.joules(2), 110);
}

}  // namespace
}  // namespace r1::pipeline
