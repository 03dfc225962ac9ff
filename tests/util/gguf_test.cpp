#include "r1/util/gguf.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <random>

#include "r1/util/error.h"
#include "r1/util/strings.h"

namespace r1 {
namespace {

namespace fs = std::filesystem;

std::string error_of(const std::function<void()>& action) {
  try {
    action();
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

#define EXPECT_SAYS(text, part) EXPECT_NE((text).find(part), std::string::npos) << text

/// Builds headers byte by byte, so that they can lie.
struct Header {
  std::string bytes;
  template <typename T>
  Header& number(T value) {
    char raw[sizeof(T)];
    std::memcpy(raw, &value, sizeof(T));
    bytes.append(raw, sizeof(T));
    return *this;
  }
  Header& text(const std::string& value) {
    number<uint64_t>(value.size());
    bytes += value;
    return *this;
  }
  static Header begin(uint64_t tensors, uint64_t keys, uint32_t version = 3) {
    Header h;
    h.bytes = "GGUF";
    return h.number(version).number(tensors).number(keys);
  }
  Header& tensor(const std::string& name, std::vector<uint64_t> dims, uint32_t type, uint64_t offset) {
    text(name).number(static_cast<uint32_t>(dims.size()));
    for (const uint64_t size : dims) number(size);
    return number(type).number(offset);
  }
  Header& data(size_t count) {
    bytes.resize((bytes.size() + 31) / 32 * 32, '\0');
    bytes += std::string(count, 'd');
    return *this;
  }
};

class Gguf : public ::testing::Test {
 protected:
  void SetUp() override {
    dir_ = fs::temp_directory_path() /
           cat("r1_gguf_", ::testing::UnitTest::GetInstance()->current_test_info()->name(), "_", ::getpid());
    fs::create_directories(dir_);
  }
  void TearDown() override { fs::remove_all(dir_); }

  fs::path write(const std::string& bytes) const {
    const auto path = dir_ / "x.gguf";
    fs::remove(path);  // writing over a file makes ext4 flush it
    std::ofstream(path, std::ios::binary | std::ios::trunc) << bytes;
    return path;
  }

  fs::path write_sample() const {
    const auto path = dir_ / "sample.gguf";
    std::vector<std::pair<std::string, GgufValue>> metadata = {
        {"general.architecture", GgufValue::string("llama")},
        {"llama.block_count", GgufValue::u32(4'000'000'000u)},
        {"llama.eps", GgufValue::f32(0.25f)},
        {"yes", GgufValue::boolean(true)},
        {"tokens", GgufValue::strings({"a", "", std::string("x\0y", 3), "ü"})},
        {"types", GgufValue::i32s({1, -2, 3})},
        {"scores", GgufValue::f32s({0.5f, -1.5f})},
        {"i8", {GgufValueType::kInt8, {}, int64_t{-128}}},
        {"u8", {GgufValueType::kUint8, {}, uint64_t{255}}},
        {"i16", {GgufValueType::kInt16, {}, int64_t{-32768}}},
        {"u16", {GgufValueType::kUint16, {}, uint64_t{65535}}},
        {"i64", {GgufValueType::kInt64, {}, INT64_MIN}},
        {"u64", {GgufValueType::kUint64, {}, UINT64_MAX}},
        {"f64", {GgufValueType::kFloat64, {}, 0.1}},
        {"nested",
         {GgufValueType::kArray, GgufValueType::kArray,
          std::vector<GgufValue>{GgufValue::i32s({7}), GgufValue::i32s({})}}}};
    GgufWriter writer(path, metadata,
                      {{"a", GgufType::kF32, {3, 2}, {}},
                       {"b", GgufType::kQ8_0, {64, 2}, {}},
                       {"s", GgufType::kF16, {}, {}}});
    const std::vector<float> a = {1, 2, 3, 4, 5, 6};
    const std::vector<uint8_t> b(4 * 34, 9), s = {1, 2};
    writer.write(std::as_bytes(std::span(a)));
    writer.write(std::as_bytes(std::span(b)));
    writer.write(std::as_bytes(std::span(s)));
    writer.close();
    return path;
  }

  fs::path dir_;
};

TEST_F(Gguf, ReadsWhatItWrote) {
  const GgufFile file(write_sample());
  EXPECT_EQ(file.version(), 3u);
  EXPECT_EQ(file.metadata().size(), 15u);
  EXPECT_EQ(file.get_string("general.architecture"), "llama");
  EXPECT_EQ(file.get_int("llama.block_count"), 4'000'000'000);
  EXPECT_EQ(file.get_number("llama.eps"), 0.25);
  EXPECT_TRUE(file.get_bool("yes", false));
  EXPECT_EQ(file.get_strings("tokens"), (std::vector<std::string>{"a", "", std::string("x\0y", 3), "ü"}));
  EXPECT_EQ(file.get_ints("types"), (std::vector<int64_t>{1, -2, 3}));
  EXPECT_EQ(file.get_numbers("scores"), (std::vector<double>{0.5, -1.5}));
  EXPECT_EQ(file.get_int("i8"), -128);
  EXPECT_EQ(file.get_int("u8"), 255);
  EXPECT_EQ(file.get_int("i16"), -32768);
  EXPECT_EQ(file.get_int("u16"), 65535);
  EXPECT_EQ(file.get_int("i64"), INT64_MIN);
  EXPECT_EQ(file.get_number("f64"), 0.1);
  const auto& nested = std::get<std::vector<GgufValue>>(file.metadata().at("nested").value);
  ASSERT_EQ(nested.size(), 2u);
  EXPECT_EQ(std::get<std::vector<GgufValue>>(nested[0].value).size(), 1u);

  ASSERT_EQ(file.tensors().size(), 3u);
  const GgufTensor* a = file.find("a");
  ASSERT_NE(a, nullptr);
  EXPECT_EQ(a->dims, (std::vector<int64_t>{3, 2}));
  float last;
  std::memcpy(&last, a->bytes.data() + 20, 4);
  EXPECT_EQ(last, 6);
  EXPECT_EQ(file.find("b")->bytes.size(), 4u * 34);
  EXPECT_EQ(file.find("b")->bytes[135], std::byte{9});
  EXPECT_EQ(file.find("s")->bytes.size(), 2u);
  EXPECT_EQ(file.find("c"), nullptr);
}

TEST_F(Gguf, ValuesOfAnotherKindAreRefused) {
  const GgufFile file(write_sample());
  EXPECT_SAYS(error_of([&] { file.get_int("general.architecture"); }),
              "is of type string; accepted: an integer");
  EXPECT_SAYS(error_of([&] { file.get_int("u64"); }), "below 2^63");
  EXPECT_SAYS(error_of([&] { file.get_int("f64"); }), "float64");
  EXPECT_SAYS(error_of([&] { file.get_string("yes"); }), "boolean; accepted: a string");
  EXPECT_SAYS(error_of([&] { file.get_bool("u8", true); }), "uint8");
  EXPECT_SAYS(error_of([&] { file.get_strings("types"); }), "array of int32");
  EXPECT_SAYS(error_of([&] { file.get_ints("tokens"); }), "array of string");
  EXPECT_SAYS(error_of([&] { file.get_numbers("tokens"); }), "array of string");
  EXPECT_SAYS(error_of([&] { file.get_ints("u8"); }), "an array of integers");
  EXPECT_SAYS(error_of([&] { file.get_int("llama.blockcount"); }), "nearest: 'llama.block_count'");
  EXPECT_EQ(file.get_int("absent", 7), 7);
  EXPECT_EQ(file.get_string("absent", "x"), "x");
  EXPECT_EQ(file.get_number("absent", 0.5), 0.5);
}

TEST_F(Gguf, ReadsVersion2AndOwnAlignment) {
  auto h = Header::begin(2, 1, 2);
  h.text("general.alignment").number<uint32_t>(4).number<uint32_t>(8);
  h.tensor("a", {1}, 0, 0).tensor("b", {1}, 0, 8);
  h.bytes.resize((h.bytes.size() + 7) / 8 * 8, '\0');
  h.bytes += std::string("\0\0\x80\x3f----\0\0\0\x40", 12);
  const GgufFile file(write(h.bytes));
  EXPECT_EQ(file.version(), 2u);
  float b;
  std::memcpy(&b, file.find("b")->bytes.data(), 4);
  EXPECT_EQ(b, 2.0f);
}

TEST_F(Gguf, EveryClaimIsChecked) {
  constexpr uint64_t kHuge = uint64_t{1} << 62;
  const auto key = [](Header h, const std::string& name) { return h.text(name); };
  const auto one_key = [&] { return key(Header::begin(0, 1), "k"); };
  struct Case {
    Header header;
    const char* says;
  };
  std::vector<Case> cases;
  cases.push_back({Header{"GGML1234567890"}, "does not begin with 'GGUF'"});
  cases.push_back({Header{""}, "does not begin with 'GGUF'"});
  cases.push_back({Header::begin(0, 0, 1), "version 1; accepted: 2 and 3"});
  cases.push_back({Header::begin(0, 0, 0x03000000), "version 50331648"});  // big-endian
  cases.push_back({Header::begin(kHuge, 0), "claims 4611686018427387904 tensors"});
  cases.push_back({Header::begin(0, kHuge), "claims 4611686018427387904 metadata keys"});
  cases.push_back(
      {Header::begin(0, 1).number(kHuge).number<uint64_t>(0), "a name of 4611686018427387904 bytes"});
  cases.push_back({one_key().number<uint32_t>(13), "value type 13"});
  cases.push_back({one_key().number<uint32_t>(10), "needs 8 bytes, but 0 are left"});
  cases.push_back({one_key().number<uint32_t>(8).number(kHuge), "a string of 4611686018427387904 bytes"});
  cases.push_back({one_key().number<uint32_t>(9).number<uint32_t>(0).number(kHuge),
                   "an array of 4611686018427387904 uint8"});
  cases.push_back({one_key().number<uint32_t>(9).number<uint32_t>(4).number<uint64_t>(2).number<uint32_t>(1),
                   "an array of 2 uint32 values, but 4 bytes"});
  {
    auto h = one_key().number<uint32_t>(9);
    for (int depth = 0; depth < 50; ++depth) h.number<uint32_t>(9).number<uint64_t>(1);
    cases.push_back({h, "nests arrays deeper than 4"});
  }
  {
    auto h = Header::begin(0, 2);
    h.text("k").number<uint32_t>(7).number<uint8_t>(1).text("k").number<uint32_t>(7).number<uint8_t>(1);
    cases.push_back({h, "'k' is there twice"});
  }
  for (const uint32_t alignment : {0u, 3u, 1u << 30})
    cases.push_back({key(Header::begin(0, 1), "general.alignment").number<uint32_t>(4).number(alignment),
                     "a power of two"});
  const auto one = [] { return Header::begin(1, 0); };
  cases.push_back({one().tensor("t", {2}, 0, 0).data(7), "claims 8 bytes at offset 0, but the file has 7"});
  cases.push_back({one().tensor("t", {2}, 0, 32).data(32), "claims 8 bytes at offset 32"});
  cases.push_back(
      {one().tensor("t", {2}, 0, ~uint64_t{31}).data(32), "claims 8 bytes at offset 18446744073709551584"});
  cases.push_back({one().tensor("t", {2}, 0, 4).data(64), "offset 4, not a multiple of 32"});
  cases.push_back({one().tensor("t", {0}, 0, 0).data(0), "size 0"});
  cases.push_back(
      {one().tensor("t", {uint64_t{1} << 40, uint64_t{1} << 40}, 0, 0).data(8), "more than 2^59"});
  cases.push_back({one().tensor("t", {kHuge}, 0, 0).data(8), "more than 2^59"});
  cases.push_back({one().tensor("t", {1, 1, 1, 1, 1}, 0, 0).data(8), "5 dimensions"});
  cases.push_back({one().tensor("t", {31}, 8, 0).data(64), "rows of 31; accepted: multiples of 32"});
  cases.push_back({one().tensor("t", {}, 8, 0).data(64), "without dimensions"});
  cases.push_back({one().tensor("t", {2}, 99, 0).data(8), "type number 99"});
  cases.push_back({one().tensor(std::string(2000, 'n'), {2}, 0, 0).data(8), "a tensor name of 2000 bytes"});
  cases.push_back(
      {Header::begin(2, 0).tensor("t", {2}, 0, 0).tensor("t", {2}, 0, 32).data(64), "'t' is there twice"});
  cases.push_back({Header::begin(2, 0).tensor("t", {9}, 0, 0).tensor("u", {2}, 0, 32).data(64),
                   "'t' overlaps tensor 'u'"});
  for (const auto& c : cases) {
    const auto path = write(c.header.bytes);
    const auto text = error_of([&] { GgufFile file(path); });
    EXPECT_SAYS(text, c.says);
    EXPECT_SAYS(text, path.string());
  }
  EXPECT_EQ(error_of([&] { GgufFile(write(one().tensor("t", {2}, 0, 0).data(8).bytes)); }), "no error");
}

TEST_F(Gguf, WriterRefusesWhatIsNotAFile) {
  const auto path = dir_ / "w.gguf";
  EXPECT_SAYS(error_of([&] { GgufWriter(path, {}, {{"t", GgufType::kQ8_0, {33}, {}}}); }),
              "'t' has rows of 33");
  EXPECT_SAYS(error_of([&] {
                GgufWriter(path, {}, {{"t", GgufType::kF32, {1}, {}}, {"t", GgufType::kF32, {1}, {}}});
              }),
              "two tensors");
  EXPECT_SAYS(error_of([&] { GgufWriter(path, {{"k", GgufValue::u32(1)}, {"k", GgufValue::u32(2)}}, {}); }),
              "'k'");
  {
    GgufWriter writer(path, {}, {{"t", GgufType::kF32, {2}, {}}});
    const std::vector<float> values = {1};
    EXPECT_SAYS(error_of([&] { writer.write(std::as_bytes(std::span(values))); }), "8 bytes, but 4");
    EXPECT_SAYS(error_of([&] { writer.close(); }), "0 of 1");
  }
  EXPECT_TRUE(fs::is_empty(dir_));
  EXPECT_SAYS(error_of([&] { GgufWriter(dir_ / "no" / "w.gguf", {}, {}); }),
              (dir_ / "no" / "w.gguf").string());
}

TEST_F(Gguf, TruncatedFilesAreRefused) {
  const auto whole = read_file(write_sample());
  const size_t needed = whole.size() - 30;  // the padding after the last tensor
  for (size_t size = 0; size < needed; ++size) {
    const auto path = write(whole.substr(0, size));
    ASSERT_NE(error_of([&] { GgufFile file(path); }), "no error")
        << size << " of " << whole.size() << " bytes";
  }
  EXPECT_EQ(error_of([&] { GgufFile(write(whole.substr(0, needed))); }), "no error");
}

// Random damage: a file is read or refused with Error, and what is read lies within the file.
TEST_F(Gguf, MutationsNeverCrash) {
  const auto whole = read_file(write_sample());
  std::mt19937_64 random(2);
  const auto below = [&](size_t n) { return static_cast<size_t>(random() % n); };
  int refused = 0, read = 0;
  for (int round = 0; round < 6000; ++round) {
    std::string bytes = whole;
    for (size_t edits = 1 + below(3); edits > 0; --edits) {
      const size_t at = below(bytes.size());
      switch (below(6)) {
        case 0:
          bytes[at] = static_cast<char>(random());
          break;
        case 1:
          bytes[at] = static_cast<char>(bytes[at] ^ 1 << below(8));
          break;
        case 2:
          bytes.erase(at, 1 + below(8));
          break;
        case 3:
          bytes.insert(at, std::string(1 + below(8), static_cast<char>(random())));
          break;
        case 4: {  // extreme numbers
          const uint64_t value = below(2) == 0 ? ~uint64_t{0} >> below(64) : uint64_t{1} << below(64);
          if (at + 8 <= bytes.size()) std::memcpy(bytes.data() + at, &value, 8);
          break;
        }
        case 5:
          if (below(4) == 0) bytes.resize(at);
          break;
      }
      if (bytes.empty()) bytes = "G";
    }
    const auto path = write(bytes);
    try {
      const GgufFile file(path);
      uint64_t sum = 0;
      for (const auto& tensor : file.tensors()) {
        EXPECT_EQ(tensor.bytes.size(), tensor.num_bytes());
        for (const std::byte byte : tensor.bytes) sum += std::to_integer<uint64_t>(byte);
      }
      EXPECT_LE(sum, 255 * bytes.size());
      for (const auto& [key, value] : file.metadata()) {
        try {
          if (value.type == GgufValueType::kArray) {
            file.get_strings(key);
          } else {
            file.get_int(key);
          }
        } catch (const Error&) {
        }
      }
      ++read;
    } catch (const Error&) {
      ++refused;
    }
  }
  EXPECT_GT(refused, 2000);
  EXPECT_GT(read, 200);  // damage of values alone cannot be seen
}

}  // namespace
}  // namespace r1
