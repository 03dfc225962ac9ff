#include "r1/util/safetensors.h"

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

class Safetensors : public ::testing::Test {
 protected:
  void SetUp() override {
    dir_ = fs::temp_directory_path() / cat("r1_safetensors_",
                                           ::testing::UnitTest::GetInstance()->current_test_info()->name(),
                                           "_", ::getpid());
    fs::create_directories(dir_);
  }
  void TearDown() override { fs::remove_all(dir_); }

  fs::path write(const std::string& bytes) const {
    const auto path = dir_ / "x.safetensors";
    fs::remove(path);  // writing over a file makes ext4 flush it
    std::ofstream(path, std::ios::binary | std::ios::trunc) << bytes;
    return path;
  }
  /// A file with this header and `data_bytes` bytes of data.
  fs::path write_header(const std::string& header, size_t data_bytes) const {
    std::string bytes(8, '\0');
    const uint64_t length = header.size();
    std::memcpy(bytes.data(), &length, 8);
    return write(bytes + header + std::string(data_bytes, 'x'));
  }

  fs::path dir_;
};

std::string bytes_of(const fs::path& path) { return read_file(path); }

std::string error_of(const std::function<void()>& action) {
  try {
    action();
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

#define EXPECT_SAYS(text, part) EXPECT_NE((text).find(part), std::string::npos) << text

std::vector<TensorView> three_tensors() {
  static const std::vector<float> kFloats = {1, 2, 3, 4, 5, 6};
  static const std::vector<uint8_t> kBytes = {7, 8, 9};
  static const std::vector<int64_t> kScalar = {-5};
  std::vector<TensorView> views(3);
  views[0] = {{"b.weight", TensorDtype::kF32, {2, 3}}, std::as_bytes(std::span(kFloats))};
  views[1] = {{"a.flags", TensorDtype::kU8, {3}}, std::as_bytes(std::span(kBytes))};
  views[2] = {{"c.step", TensorDtype::kI64, {}}, std::as_bytes(std::span(kScalar))};
  return views;
}

TEST_F(Safetensors, ReadsWhatItWrote) {
  const auto path = dir_ / "a.safetensors";
  write_safetensors(path, three_tensors(), {{"format", "pt"}, {"note", "ü \"quoted\""}});
  const SafetensorsFile file(path);
  ASSERT_EQ(file.tensors().size(), 3u);
  EXPECT_EQ(file.tensors()[0].name, "a.flags");
  EXPECT_EQ(file.metadata().at("note"), "ü \"quoted\"");
  for (const auto& expected : three_tensors()) {
    const auto& found = file.at(expected.name);
    EXPECT_EQ(found.dtype, expected.dtype);
    EXPECT_EQ(found.shape, expected.shape);
    ASSERT_EQ(found.bytes.size(), expected.bytes.size());
    EXPECT_EQ(std::memcmp(found.bytes.data(), expected.bytes.data(), expected.bytes.size()), 0)
        << expected.name;
    EXPECT_EQ(reinterpret_cast<uintptr_t>(found.bytes.data()) % tensor_dtype_bytes(found.dtype), 0u)
        << found.name;
  }
  EXPECT_EQ(file.find("nothing"), nullptr);
  const auto text = error_of([&] { file.at("b.weigth"); });
  EXPECT_SAYS(text, "b.weight");
  EXPECT_SAYS(text, path.string());
}

TEST_F(Safetensors, BytesDependOnTheTensorsAloneAndTheHeaderIsAligned) {
  auto tensors = three_tensors();
  write_safetensors(dir_ / "a", tensors, {{"k", "v"}});
  std::swap(tensors[0], tensors[2]);
  write_safetensors(dir_ / "b", tensors, {{"k", "v"}});
  const auto bytes = bytes_of(dir_ / "a");
  EXPECT_EQ(bytes, bytes_of(dir_ / "b"));
  uint64_t length;
  std::memcpy(&length, bytes.data(), 8);
  EXPECT_EQ(length % 8, 0u);
  EXPECT_EQ(bytes.size(), 8 + length + 24 + 8 + 3);
}

TEST_F(Safetensors, AFileOfNoTensorsAndEmptyTensorsAreFine) {
  write_safetensors(dir_ / "none", {});
  const SafetensorsFile none(dir_ / "none");
  EXPECT_TRUE(none.tensors().empty());
  std::vector<TensorView> views(3);
  views[0] = {{"z", TensorDtype::kF32, {0, 5}}, {}};
  views[1] = {{"a", TensorDtype::kF32, {int64_t{1} << 62, 0, int64_t{1} << 62}}, {}};
  static const std::vector<float> kOne = {3};
  views[2] = {{"m", TensorDtype::kF32, {1}}, std::as_bytes(std::span(kOne))};
  write_safetensors(dir_ / "empty", views);
  const SafetensorsFile file(dir_ / "empty");
  EXPECT_EQ(file.tensors().size(), 3u);
  EXPECT_TRUE(file.at("z").bytes.empty());
}

TEST_F(Safetensors, AWriterThatDoesNotFinishLeavesNothing) {
  {
    SafetensorsWriter writer(dir_ / "a", {{"x", TensorDtype::kF32, {2}}, {"y", TensorDtype::kF32, {1}}});
    const std::vector<float> values = {1, 2};
    EXPECT_SAYS(error_of([&] { writer.write(std::as_bytes(std::span(values)).subspan(4)); }), "'x'");
    writer.write(std::as_bytes(std::span(values)));
    EXPECT_SAYS(error_of([&] { writer.close(); }), "1 of 2");
  }
  EXPECT_TRUE(fs::is_empty(dir_));
}

TEST_F(Safetensors, AnOldFileStaysUntilTheNewOneIsComplete) {
  write_safetensors(dir_ / "a", three_tensors());
  const auto old = bytes_of(dir_ / "a");
  {
    SafetensorsWriter writer(dir_ / "a", {{"x", TensorDtype::kF32, {1}}});
  }
  EXPECT_EQ(bytes_of(dir_ / "a"), old);
}

TEST_F(Safetensors, AFolderThatIsNotThereIsNamed) {
  EXPECT_SAYS(error_of([&] { write_safetensors(dir_ / "no" / "a", {}); }), (dir_ / "no" / "a").string());
  EXPECT_SAYS(error_of([&] { SafetensorsFile(dir_ / "no" / "a"); }), (dir_ / "no" / "a").string());
}

TEST_F(Safetensors, RefusesTwoTensorsOfOneName) {
  EXPECT_SAYS(error_of([&] {
                SafetensorsWriter(dir_ / "a", {{"x", TensorDtype::kF32, {1}}, {"x", TensorDtype::kU8, {1}}});
              }),
              "two of that name");
  EXPECT_SAYS(error_of([&] { SafetensorsWriter(dir_ / "a", {{"__metadata__", TensorDtype::kF32, {1}}}); }),
              "reserves");
}

TEST_F(Safetensors, EveryClaimIsChecked) {
  struct Case {
    const char* header;
    size_t data_bytes;
    const char* says;
  };
  const Case cases[] = {
      {R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]})", 8, "not JSON"},
      {R"([1])", 0, "not a JSON object"},
      {R"({"a":5})", 0, "'a' is not described"},
      {R"({"a":{"shape":[2],"data_offsets":[0,8]}})", 8, "no 'dtype'"},
      {R"({"a":{"dtype":"F32","data_offsets":[0,8]}})", 8, "no 'shape'"},
      {R"({"a":{"dtype":"F32","shape":[2]}})", 8, "no 'data_offsets'"},
      {R"({"a":{"dtype":"Q4","shape":[2],"data_offsets":[0,8]}})", 8, "dtype Q4"},
      {R"({"a":{"dtype":7,"shape":[2],"data_offsets":[0,8]}})", 8, "dtype number"},
      {R"({"a":{"dtype":"F32","shape":2,"data_offsets":[0,8]}})", 8, "not a list"},
      {R"({"a":{"dtype":"F32","shape":[-2],"data_offsets":[0,8]}})", 8, "0 or more"},
      {R"({"a":{"dtype":"F32","shape":[2.0],"data_offsets":[0,8]}})", 8, "0 or more"},
      {R"({"a":{"dtype":"F32","shape":[18446744073709551615],"data_offsets":[0,8]}})", 8, "0 or more"},
      {R"({"a":{"dtype":"F32","shape":[4611686018427387904,4],"data_offsets":[0,0]}})", 0, "more than 2^63"},
      {R"({"a":{"dtype":"F32","shape":[3],"data_offsets":[0,8]}})", 8, "[3] = 12 bytes"},
      {R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,16]}})", 8, "0 to 16 of a file with 8"},
      {R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[8,0]}})", 8, "8 to 0"},
      {R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0]}})", 8, "two integers"},
      {R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,-8]}})", 8, "two integers"},
      {R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}})", 8, "a gap"},
      {R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})", 12, "end at byte 8"},
      {R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}})",
       12, "an overlap"},
      {R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})",
       4, "'a' twice"},
      {R"({"a":{"dtype":"F32","dtype":"F32","shape":[1],"data_offsets":[0,4]}})", 4, "'dtype' twice"},
      {R"({"__metadata__":[]})", 0, "__metadata__ is not"},
      {R"({"__metadata__":{"x":1}})", 0, "'x' is not a string"},
      {R"({"a":[[[[[[[[[[1]]]]]]]]]]})", 0, "deeper"},
  };
  for (const auto& c : cases) {
    const auto path = write_header(c.header, c.data_bytes);
    const auto text = error_of([&] { SafetensorsFile file(path); });
    EXPECT_SAYS(text, c.says);
    EXPECT_SAYS(text, path.string());
  }
}

TEST_F(Safetensors, TruncatedFilesAreRefused) {
  write_safetensors(dir_ / "a", three_tensors());
  const auto whole = bytes_of(dir_ / "a");
  for (size_t size = 0; size < whole.size(); ++size) {
    const auto path = write(whole.substr(0, size));
    EXPECT_NE(error_of([&] { SafetensorsFile file(path); }), "no error")
        << size << " of " << whole.size() << " bytes";
  }
  const auto path = write(std::string("\xff\xff\xff\xff\xff\xff\xff\x7f", 8) + "{}");
  EXPECT_SAYS(error_of([&] { SafetensorsFile file(path); }), "claims a header of 9223372036854775807");
}

// Random damage: a file is read or refused with Error, and what is read lies within the file.
TEST_F(Safetensors, MutationsNeverCrash) {
  write_safetensors(dir_ / "a", three_tensors(), {{"format", "pt"}});
  const auto whole = bytes_of(dir_ / "a");
  const std::vector<std::string> pieces = {
      "0",    "9",   "-1",        "1e3",        "[",     "]",    "{",
      "}",    "\"",  ":",         ",",          "\\u12", "\xff", "18446744073709551615",
      "null", "F64", "\"shape\"", "\"a.flags\""};
  std::mt19937_64 random(1);
  const auto below = [&](size_t n) { return static_cast<size_t>(random() % n); };
  int refused = 0, read = 0;
  for (int round = 0; round < 6000; ++round) {
    std::string bytes = whole;
    for (size_t edits = 1 + below(4); edits > 0; --edits) {
      const size_t at = below(bytes.size());
      switch (below(5)) {
        case 0:
          bytes[at] = static_cast<char>(random());
          break;
        case 1:
          bytes[at] = static_cast<char>(bytes[at] ^ 1 << below(8));
          break;
        case 2:
          bytes.erase(at, 1 + below(4));
          break;
        case 3:
          bytes.insert(at, pieces[below(pieces.size())]);
          break;
        case 4:
          bytes.resize(at);
          break;
      }
      if (bytes.empty()) bytes = "x";
    }
    if (below(2) == 0 &&
        bytes.size() > 8) {  // keep the length plausible, so that the header's text is reached
      const uint64_t length = whole.size() - 35 - 8 + bytes.size() - whole.size();
      std::memcpy(bytes.data(), &length, 8);
    }
    const auto path = write(bytes);
    try {
      const SafetensorsFile file(path);
      uint64_t sum = 0;
      for (const auto& tensor : file.tensors()) {
        EXPECT_EQ(tensor.bytes.size(), tensor.num_bytes());
        for (const std::byte byte : tensor.bytes) sum += std::to_integer<uint64_t>(byte);
      }
      EXPECT_LE(sum, 255 * bytes.size());
      ++read;
    } catch (const Error&) {
      ++refused;
    }
  }
  EXPECT_GT(refused, 3000);
  EXPECT_GT(read, 50);  // damage of values alone cannot be seen
}

}  // namespace
}  // namespace r1
