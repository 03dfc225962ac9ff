#include "r1/train/metrics.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <filesystem>
#include <limits>
#include <nlohmann/json.hpp>

#include "../../src/train/tensorboard.h"
#include "r1/util/error.h"
#include "r1/util/file.h"
#include "r1/util/random.h"

namespace r1 {
namespace {

namespace fs = std::filesystem;

fs::path fresh_run_dir() {
  const auto* test = ::testing::UnitTest::GetInstance()->current_test_info();
  const auto folder = fs::path(::testing::TempDir()) / "r1_metrics" / test->name();
  fs::remove_all(folder);
  return folder;
}

/// Wall times 1700000000.25, 1700000001.25, ...
MetricsOptions fixed_time(const std::string& stage = "") {
  auto calls = std::make_shared<int>(0);
  return {stage, [calls] { return 1'700'000'000.25 + (*calls)++; }};
}

std::vector<fs::path> event_files(const fs::path& run_dir) {
  std::vector<fs::path> files;
  for (const auto& entry : fs::directory_iterator(run_dir / "tb")) files.push_back(entry.path());
  std::sort(files.begin(), files.end());
  return files;
}

TEST(Crc32c, KnownAnswers) {  // RFC 3720, B.4
  EXPECT_EQ(crc32c(std::string(32, '\0')), 0x8A9136AAu);
  EXPECT_EQ(crc32c(std::string(32, '\xFF')), 0x62A8AB43u);
  EXPECT_EQ(crc32c("123456789"), 0xE3069283u);
  EXPECT_EQ(crc32c(""), 0u);
}

TEST(MetricsWriter, RowsReadBackBitForBit) {
  const auto run_dir = fresh_run_dir();
  std::vector<double> values = {0.1, -0.0, 1.0 / 3, 1e-320, 1.7976931348623157e308, 3, 123456789.123456789};
  for (uint32_t i = 0; i < 200; ++i) {
    const auto bits = draw_bits({.seed = 1, .stream = Stream::kTest, .position = i});
    const auto value = std::bit_cast<double>(static_cast<uint64_t>(bits[0]) << 32 | bits[1]);
    if (std::isfinite(value)) values.push_back(value);
  }
  {
    MetricsWriter writer(run_dir);
    for (size_t i = 0; i < values.size(); ++i) writer.write(static_cast<int64_t>(i), {{"value", values[i]}});
  }
  std::istringstream lines(read_file(run_dir / "metrics.jsonl"));
  std::string line;
  for (size_t i = 0; i < values.size(); ++i) {
    ASSERT_TRUE(std::getline(lines, line));
    const auto row = nlohmann::json::parse(line);
    EXPECT_EQ(row["step"], i);
    EXPECT_EQ(std::bit_cast<uint64_t>(row["value"].get<double>()), std::bit_cast<uint64_t>(values[i]))
        << line;
  }
  EXPECT_FALSE(std::getline(lines, line));
}

TEST(MetricsWriter, KeepsOrderAndNamesWhatJsonLacks) {
  const auto run_dir = fresh_run_dir();
  MetricsWriter writer(run_dir, fixed_time("grpo"));
  const double inf = std::numeric_limits<double>::infinity();
  writer.write(3, {{"z", 1}, {"a", std::nan("")}, {"m", inf}, {"n", -inf}});
  EXPECT_EQ(
      read_file(run_dir / "metrics.jsonl"),
      "{\"stage\":\"grpo\",\"step\":3,\"z\":1.0,\"a\":\"NaN\",\"m\":\"Infinity\",\"n\":\"-Infinity\"}\n");
}

/// scripts/golden/tensorboard_check.py builds the same events with the `tensorboard` package, compares bytes,
/// and reads the file through its loader.
TEST(MetricsWriter, EventFilesEqualTensorBoardsOwn) {
  const auto run_dir = fresh_run_dir();
  {
    MetricsWriter writer(run_dir, fixed_time("grpo"));
    writer.write(0, {{"loss", 0.0}, {"reward", -1.5}});
    writer.write(1, {{"loss", 1.0 / 3}, {"reward/format", std::numeric_limits<double>::infinity()}});
    writer.write(1'000'000, {{"loss", 2}});
    std::string long_text = "**7+5** gives \xE2\x88\x92 12\n";
    long_text.append(200, 'x');
    writer.write_text(2, "sample", long_text);
    writer.write(3, {});
  }
  MetricsWriter::open_resumed(run_dir, 1, fixed_time("grpo")).write(2, {{"loss", 0.25}});
  const auto files = event_files(run_dir);
  ASSERT_EQ(files.size(), 2u);
  EXPECT_EQ(files[0].filename(), "events.out.tfevents.1700000000.r1");
  EXPECT_EQ(files[1].filename(), "events.out.tfevents.1700000001.r1");
  const fs::path golden = fs::path(R1_SOURCE_DIR) / "tests/golden/tensorboard";
  EXPECT_EQ(read_file(files[0]), read_file(golden / "first.tfevents"));
  EXPECT_EQ(read_file(files[1]), read_file(golden / "resumed.tfevents"));
}

TEST(MetricsWriter, ResumingDropsWhatLiesBeyond) {
  const auto run_dir = fresh_run_dir();
  const auto file = run_dir / "metrics.jsonl";
  {
    MetricsWriter pretrain(run_dir, fixed_time("pretrain"));
    for (int64_t step = 0; step < 20; ++step) pretrain.write(step, {{"loss", 1}});
    MetricsWriter grpo(run_dir, fixed_time("grpo"));
    for (int64_t step = 0; step < 10; ++step) grpo.write(step, {{"loss", 2}});
  }
  const auto count = [&] {
    const auto text = read_file(file);
    return std::count(text.begin(), text.end(), '\n');
  };
  ASSERT_EQ(count(), 30);
  {
    MetricsWriter::open_resumed(run_dir, 9, fixed_time("grpo"));
  }
  EXPECT_EQ(count(), 30);
  {
    MetricsWriter::open_resumed(run_dir, 6, fixed_time("grpo")).write(7, {{"loss", 3}});
  }
  EXPECT_EQ(count(), 28);
  EXPECT_TRUE(
      read_file(file).ends_with("{\"stage\":\"grpo\",\"step\":6,\"loss\":2.0}\n"
                                "{\"stage\":\"grpo\",\"step\":7,\"loss\":3.0}\n"));
  {
    MetricsWriter::open_resumed(run_dir, 4, fixed_time("pretrain"));
  }
  EXPECT_EQ(count(), 5);
  {
    MetricsWriter::open_resumed(run_dir, -1, fixed_time("pretrain"));
  }
  EXPECT_EQ(read_file(file), "");
}

TEST(MetricsWriter, AHalfWrittenLastLineIsDropped) {
  const auto run_dir = fresh_run_dir();
  const auto file = run_dir / "metrics.jsonl";
  const std::string good = "{\"step\":0,\"loss\":1.0}\n";
  for (const std::string torn : {"{\"step\":1,\"lo", "{\"step\":1,\"lo\n", "{\"step\":1,\"loss\":1.0}"}) {
    fs::create_directories(run_dir);
    write_file_atomic(file, good + torn);
    {
      MetricsWriter::open_resumed(run_dir, 5);
    }
    EXPECT_EQ(read_file(file), good) << torn;
  }
  write_file_atomic(file, "{\"step\":0\n" + good);
  try {
    MetricsWriter::open_resumed(run_dir, 5);
    ADD_FAILURE() << "a broken line in the middle was accepted";
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("metrics.jsonl:1"), std::string::npos) << error.what();
  }
}

TEST(MetricsWriter, ResumingWithoutAFileStartsOne) {
  const auto run_dir = fresh_run_dir();
  MetricsWriter::open_resumed(run_dir, 5).write(6, {{"loss", 1}});
  EXPECT_EQ(read_file(run_dir / "metrics.jsonl"), "{\"step\":6,\"loss\":1.0}\n");
}

TEST(MetricsWriter, APlaceThatCannotBeWrittenIsNamed) {
  const auto run_dir = fresh_run_dir();
  fs::create_directories(run_dir.parent_path());
  write_file_atomic(run_dir, "a file, not a folder");
  try {
    MetricsWriter writer(run_dir);
    ADD_FAILURE() << "no error";
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("metrics.jsonl"), std::string::npos) << error.what();
  }
}

}  // namespace
}  // namespace r1
