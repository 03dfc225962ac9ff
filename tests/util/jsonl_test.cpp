#include "r1/util/jsonl.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "util/temp_folder.h"

namespace r1 {
namespace {

using nlohmann::json;
using testing_support::error_of;
using testing_support::slurp;
using testing_support::TempFolder;
using Rows = std::vector<std::pair<int64_t, json>>;

Rows rows_of(const std::filesystem::path& file) {
  Rows rows;
  read_jsonl(file, [&](int64_t line, const json& row) { rows.emplace_back(line, row); });
  return rows;
}

TEST(Jsonl, ReadsRowsWithTheirLineNumbers) {
  TempFolder folder;
  const Rows want = {{1, {{"a", 1}}}, {4, {{"b", "x\ny"}}}, {5, json::object()}};
  const std::string text = "{\"a\": 1}\n\n \t\r\n{\"b\": \"x\\ny\"}\r\n{}";
  EXPECT_EQ(rows_of(folder.write("a.jsonl", text)), want);
  write_zstd(folder / "a.jsonl.zst", text + "\n");
  EXPECT_EQ(rows_of(folder / "a.jsonl.zst"), want);
}

TEST(Jsonl, LinesLongerThanAnyBuffer) {
  TempFolder folder;
  std::string text;
  Rows want;
  for (const size_t length : {10, 262144, 262130, 1000000, 3, 524288}) {
    const json row = {{"text", std::string(length, 'x')}};
    text += row.dump() + "\n";
    want.emplace_back(static_cast<int64_t>(want.size()) + 1, row);
  }
  EXPECT_EQ(rows_of(folder.write("a.jsonl", text)), want);
}

TEST(Jsonl, BrokenLinesAreNamed) {
  TempFolder folder;
  const auto error = [&](const std::string& text) {
    const auto file = folder.write("a.jsonl", text);
    const std::string message = error_of([&] { rows_of(file); });
    EXPECT_EQ(message.rfind(file.string() + ":", 0), 0u) << message;
    return message.substr(std::min(message.size(), file.string().size()));
  };
  EXPECT_EQ(error("{\"a\": 1}\n{\"a\": }\n{}\n"),
            ":2: no JSON at byte 7: \"{\\\"a\\\": }\"; accepted: one JSON object per line.\n  Correct or "
            "remove the line.");
  EXPECT_HOLDS(error("{\"a\": 1}\n{\"a\": \"hal"),
               "The file ends in this line: was its copy or its writer cut off?");
  EXPECT_HOLDS(error("{\"a\": 1}\n\n[1, 2]\n"),
               ":3: is array: \"[1, 2]\"; accepted: one JSON object per line, for example {\"question\"");
  EXPECT_HOLDS(error("null\n"), ":1: is null");
  EXPECT_HOLDS(error("{\"a\": 1e999}\n"), ":1: ");
  EXPECT_HOLDS(error("{\"a\": \"\xff\"}\n"), ":1: no JSON at byte");
  EXPECT_HOLDS(error("{\"a\": 1} {\"b\": 2}\n"), ":1: no JSON at byte");
  EXPECT_HOLDS(error(""), ": holds no row; accepted: at least one JSON object");
  EXPECT_HOLDS(error("\n \r\n\n"), ": holds no row");
  EXPECT_HOLDS(error(std::string(1, '\0')), ":1: ");
  EXPECT_LT(error(std::string(100000, '[')).size(), 300u) << "long lines are cut in messages";
}

TEST(Jsonl, MissingFilesAndFolders) {
  TempFolder folder;
  EXPECT_HOLDS(error_of([&] { rows_of(folder / "no.jsonl"); }), "no.jsonl: cannot read: no such file");
  EXPECT_HOLDS(error_of([&] { rows_of(folder / "no.jsonl.zst"); }),
               "no.jsonl.zst: cannot read: no such file");
  EXPECT_HOLDS(error_of([&] { rows_of(folder.path()); }), "is a directory");
}

TEST(Jsonl, ErrorsOfTheCallerPassThrough) {
  TempFolder folder;
  const auto file = folder.write("a.jsonl", "{}\n{}\n");
  EXPECT_EQ(error_of([&] {
              read_jsonl(file, [](int64_t line, const json&) { throw Error("row " + std::to_string(line)); });
            }),
            "row 1");
}

TEST(Jsonl, WriterAppendsWholeLines) {
  TempFolder folder;
  const auto file = folder / "m.jsonl";
  {
    JsonlWriter out(file);
    out.write({{"step", 1}, {"loss", 0.1}});
    EXPECT_EQ(slurp(file), "{\"loss\":0.1,\"step\":1}\n") << "a row is in the file at once";
    JsonlWriter moved(std::move(out));
    moved.write({{"text", "a\nb"}});
  }
  JsonlWriter(file).write({{"step", 2}});
  EXPECT_EQ(rows_of(file).size(), 3u);
  EXPECT_EQ(rows_of(file)[1].second["text"], "a\nb");
  EXPECT_HOLDS(error_of([&] { JsonlWriter out(folder / "no/m.jsonl"); }), "cannot append: no such file");
}

TEST(Jsonl, DoublesComeBackBitForBit) {
  TempFolder folder;
  JsonlWriter out(folder / "m.jsonl");
  std::mt19937_64 random(1);
  std::vector<double> values{0.1, 1e-300, 5e-324, -0.0, 1.7976931348623157e308};
  for (int i = 0; i < 1000; ++i)
    values.push_back(std::ldexp(static_cast<double>(random()), static_cast<int>(random() % 600) - 300));
  for (const double value : values) out.write({{"v", value}});
  const auto rows = rows_of(folder / "m.jsonl");
  ASSERT_EQ(rows.size(), values.size());
  for (size_t i = 0; i < values.size(); ++i) {
    const double back = rows[i].second["v"].get<double>();
    EXPECT_TRUE(back == values[i] && std::signbit(back) == std::signbit(values[i])) << values[i];
  }
}

TEST(Jsonl, WriterNeedsNoValidUtf8NorFiniteNumbers) {
  TempFolder folder;
  JsonlWriter(folder / "m.jsonl")
      .write({{"text",
               "a\xff"
               "b\xe2\x82"},
              {"nan", NAN},
              {"inf", INFINITY}});
  const json row = rows_of(folder / "m.jsonl")[0].second;
  EXPECT_EQ(row["text"],
            "a\xef\xbf\xbd"
            "b\xef\xbf\xbd");
  EXPECT_TRUE(row["nan"].is_null());
  EXPECT_TRUE(row["inf"].is_null());
}

TEST(Jsonl, WriterMendsWhatAKilledOneLeft) {
  TempFolder folder;
  const auto file = folder.write("m.jsonl", "{\"step\":1}\n{\"step\":2,\"lo");
  ::testing::internal::CaptureStderr();
  JsonlWriter(file).write({{"step", 3}});
  EXPECT_HOLDS(::testing::internal::GetCapturedStderr(), "m.jsonl: dropped its last line, which was cut off");
  EXPECT_EQ(slurp(file), "{\"step\":1}\n{\"step\":3}\n");
  folder.write("m.jsonl", "{\"step\":1}");
  JsonlWriter(file).write({{"step", 2}});
  EXPECT_EQ(slurp(file), "{\"step\":1}\n{\"step\":2}\n") << "a whole row without its newline is kept";
}

TEST(Zstd, RoundTrips) {
  TempFolder folder;
  std::mt19937 random(1);
  for (const size_t size : {0, 1, 100, 131072, 131073, 3000000}) {
    std::string text;
    for (size_t i = 0; i < size; ++i) text += static_cast<char>(i % 3 == 0 ? random() % 256 : 'a');
    write_zstd(folder / "a.zst", text);
    EXPECT_EQ(read_zstd(folder / "a.zst"), text) << size;
  }
  const std::string zeros(3000000, '\0');  // many output buffers from few input bytes
  write_zstd(folder / "z.zst", zeros);
  EXPECT_LT(std::filesystem::file_size(folder / "z.zst"), 1000u);
  EXPECT_EQ(read_zstd(folder / "z.zst"), zeros);
}

TEST(Zstd, FramesInARowAreOneText) {
  TempFolder folder;
  write_zstd(folder / "a.zst", "first ");
  write_zstd(folder / "b.zst", "second");
  EXPECT_EQ(read_zstd(folder.write("ab.zst", slurp(folder / "a.zst") + slurp(folder / "b.zst"))),
            "first second");
}

TEST(Zstd, DamageIsNoticed) {
  TempFolder folder;
  std::mt19937 random(1);
  std::string text;
  for (int i = 0; i < 20000; ++i) text += static_cast<char>('a' + random() % 16);
  write_zstd(folder / "a.zst", text);
  const std::string whole = slurp(folder / "a.zst");
  for (const size_t keep : {size_t{0}, size_t{1}, size_t{3}, size_t{5}, whole.size() / 2, whole.size() - 1}) {
    const auto file = folder.write("cut.zst", whole.substr(0, keep));
    EXPECT_HOLDS(error_of([&] { read_zstd(file); }), "cut.zst: ends early") << keep;
  }
  EXPECT_HOLDS(error_of([&] { read_zstd(folder.write("no.zst", "plain text")); }),
               "no.zst: is no zstd file, or is damaged");
  for (int i = 0; i < 500; ++i) {
    std::string damaged = whole;
    damaged[random() % damaged.size()] ^= static_cast<char>(1 << random() % 8);
    std::string back;
    try {
      back = read_zstd(folder.write("damaged.zst", damaged));
    } catch (const Error&) {
      continue;
    }
    // Without a checksum a flipped bit could pass; with it only bits that mean nothing may.
    EXPECT_EQ(back, text);
  }
}

}  // namespace
}  // namespace r1
